//! What is refused, and where.

use super::*;

fn load_one(content: &str) -> Result<Compiled, Vec<RuleFault>> {
    let file = RuleFile { name: "disk.yaml".to_owned(), content: content.to_owned() };
    load(&RuleSet {
        version: 1,
        applied_ms: 0,
        author: String::new(),
        service_label: "service".to_owned(),
        limits: crate::wire::Limits::default(),
        partitions: 0,
        files: vec![file],
    })
}

fn faults(content: &str) -> Vec<String> {
    load_one(content).expect_err("it is refused").iter().map(ToString::to_string).collect()
}

/// A group with these rules, each given by its lines.
fn group(rules: &str) -> String {
    format!("groups:\n- name: g\n  rules:\n{rules}")
}

#[test]
fn a_whole_file_is_read() {
    let compiled = load_one(
        "groups:\n- name: disk\n  interval: 30s\n  query_offset: 5s\n  limit: 7\n  labels: {team: storage, a: '1'}\n  \
         rules:\n  - record: free\n    expr: disk_free\n  - alert: Full\n    expr: free < 1\n    for: 1m\n    \
         keep_firing_for: 2m\n    labels: {a: 2}\n    annotations: {summary: 'x {{ $value }}'}\n",
    )
    .expect("it is fine");
    let group = &compiled.groups[0];
    assert_eq!((group.interval_ms, group.query_offset_ms, group.limit), (30_000, 5_000, 7));
    let rule = &group.rules[1];
    let labels: Vec<_> = rule.labels_text.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(labels, [("a", "2"), ("team", "storage")]);
    let Kind::Alerting(alerting) = &rule.kind else { panic!("{rule:?}") };
    assert_eq!((alerting.for_ms, alerting.keep_firing_for_ms), (60_000, 120_000));
}

#[test]
fn an_empty_file_has_no_groups() {
    assert!(load_one("").expect("it is fine").groups.is_empty());
    assert!(load_one("groups:\n").expect("it is fine").groups.is_empty());
}

#[test]
fn defaults_are_prometheuss() {
    let compiled = load_one(&group("  - {alert: A, expr: up}\n")).expect("it is fine");
    let group = &compiled.groups[0];
    assert_eq!((group.interval_ms, group.query_offset_ms, group.limit), (60_000, 0, 0));
}

#[test]
fn all_faults_come_at_once_in_order() {
    let text = "groups:\n- name: g\n  intervall: 1m\n  interval: fast\n  limit: -1\n  rules:\n  - alert: A\n    \
                fore: 1m\n    expr: up\n  - record: B\n    for: 1m\n    expr: up\n  - expr: up\n- name: g\n";
    let expected = [
        "disk.yaml:3:3: unknown key \"intervall\" in a group; known are name, interval, query_offset, limit, \
         labels, rules; did you mean interval?",
        "disk.yaml:4:13: interval is \"fast\", which is no duration; write 500ms, 30s, 5m, 1h30m or 7d",
        "disk.yaml:5:10: limit is \"-1\"; it is a whole number from 0, 0 is no limit",
        "disk.yaml:8:5: rule \"A\": unknown key \"fore\" in a rule; known are record, alert, expr, for, \
         keep_firing_for, labels, annotations, for_samples, resolve_expr, no_data_state, \
         missing_series_evals_to_resolve, expected, flap_detection, severity, priority; did you mean for?",
        "disk.yaml:11:10: rule \"B\": a recording rule has no for",
        "disk.yaml:13:5: a rule has either `alert` or `record`; it has none",
        "disk.yaml:14:3: the group \"g\" stands twice in this file",
    ];
    assert_eq!(faults(text), expected);
}

#[test]
fn mistakes_that_prometheus_lets_pass_are_refused() {
    let table = [
        (
            "  - alert: A\n    expr: up\n    labels: {v: '{{ $value }}'}\n",
            "6:17: rule \"A\": the label v uses $value",
        ),
        ("  - {alert: A, expr: up}\n  - {alert: A, expr: down}\n", "5:5: rule \"A\": a rule of this name"),
        ("  - {alert: A, expr: up, labels: {alertname: B}}\n", "4:46: rule \"A\": the label alertname"),
        ("  - {alert: A, expr: up, labels: {__name__: B}}\n", "\"__name__\" is no name that labels may have"),
        ("  - {alert: A, record: B, expr: up}\n", "it has both"),
        ("  - {alert: A}\n", "this one has none"),
        ("  - {record: 'a{b=\"c\"}', expr: up}\n", "holds braces"),
        ("  - {alert: A, expr: [up]}\n", "expr is a text"),
        ("  - {alert: A, expr: up, labels: [a]}\n", "labels is a mapping"),
        ("  - up\n", "a rule is a mapping"),
    ];
    for (rules, words) in table {
        let found = faults(&group(rules));
        assert!(found.iter().any(|fault| fault.contains(words)), "{rules}: {found:#?}");
    }
    assert_eq!(faults("groups: [{name: g, rules: [}\n").len(), 1);
}

#[test]
fn an_unsupported_function_is_refused_by_name_and_place() {
    let found = faults(&group("  - alert: A\n    for: 1m\n    expr: up == 0 and topq(up)\n"));
    assert_eq!(found, ["disk.yaml:6:23: rule \"A\": expr: unknown function topq(); did you mean topk()?"]);
}

#[test]
fn a_fault_in_a_template_has_its_place() {
    let text = group(
        "  - alert: A\n    expr: up\n    annotations:\n      summary: |\n        line one\n        {{ $labels.a }} {{ now }}\n",
    );
    let found = faults(&text);
    assert!(
        found[0].starts_with("disk.yaml:9:28: rule \"A\": summary: \"now\" is not supported"),
        "{found:?}"
    );
}

#[test]
fn a_baseline_is_read_with_its_defaults() {
    use crate::machine::baseline::{Direction, Guards, Learns};
    let compiled = load_one("baselines:\n- {name: n, series: 'a{b!=\"c\"}'}\n").expect("it is fine");
    let baseline = &compiled.baselines[0];
    assert_eq!((baseline.name.as_str(), baseline.counter, baseline.guards), ("n", false, Guards::default()));
    let model = &baseline.models[0];
    assert_eq!((model.name.as_str(), model.weight), ("moving", 1.0));
    assert_eq!(model.learns, Learns::Moving { pane_ms: 300_000, panes: 12 });
    assert_eq!((baseline.models.len(), compiled.zones()), (1, None));

    let text = "baselines:\n- name: n\n  series: a\n  kind: counter\n  detection_direction: below_expected\n  min_samples: \
                20\n  models:\n  - {model: moving, name: short, window: 10m, panes: 5, weight: 0.5}\n  - {model: moving}\n  \
                - {model: ewma, decay: 0.9, clip: 2}\n  - {model: seasonal, tz: Europe/Tallinn, bucket: 15m}\n";
    let compiled = load_one(text).expect("it is fine");
    let baseline = &compiled.baselines[0];
    let names: Vec<&str> = baseline.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["short", "moving", "ewma", "seasonal"]);
    assert_eq!(baseline.models[0].learns, Learns::Moving { pane_ms: 120_000, panes: 5 });
    assert_eq!(baseline.models[2].learns, Learns::Ewma { decay: 0.9, clip: 2.0 });
    assert_eq!(
        (baseline.guards.detection_direction, baseline.guards.min_samples),
        (Direction::BelowExpected, 20)
    );
    assert!(baseline.counter && compiled.zones().is_some_and(|release| release.starts_with("20")));
}

#[test]
fn what_is_wrong_with_a_baseline_is_said_with_its_place() {
    let table = [
        ("name: n, series: a, min_sample: 3", "disk.yaml:2:24: unknown key \"min_sample\" in a baseline"),
        ("name: n, series: a, min_sample: 3", "did you mean min_samples?"),
        ("name: n", "a baseline has a selector, `series`; this one has none"),
        ("series: a", "a baseline has a name"),
        ("name: 1n, series: a", "\"1n\" is none"),
        ("name: n, series: 'a{'", "series: "),
        ("name: n, series: 'rate(a[5m])'", "it is a selector by itself"),
        ("name: n, series: 'a offset 5m'", "it is a selector by itself"),
        (
            "name: n, series: a, kind: conter",
            "2:30: kind is \"conter\"; known are gauge, counter; did you mean counter?",
        ),
        ("name: n, series: a, min_samples: 0", "it is a whole number from 1 to 1000000"),
        ("name: n, series: a, scale_floor: -1", "scale_floor is \"-1\"; it is a number from 0"),
        ("name: n, series: a, scale_floor: NaN", "it is a number from 0"),
        ("name: n, series: a, models: []", "a baseline has at least one model"),
        ("name: n, series: a, models: [{window: 5m}]", "a model says which, `model`: moving, seasonal, ewma"),
        ("name: n, series: a, models: [{model: movin}]", "did you mean moving?"),
        (
            "name: n, series: a, models: [{model: moving, decay: 1}]",
            "unknown key \"decay\" in a moving model",
        ),
        ("name: n, series: a, models: [{model: moving, window: 5s}]", "no less than 1s"),
        ("name: n, series: a, models: [{model: moving, panes: 1}]", "it is a whole number from 2 to 60"),
        ("name: n, series: a, models: [{model: moving, weight: 0}]", "every model has weight 0"),
        (
            "name: n, series: a, models: [{model: moving}, {model: moving}]",
            "two models are called \"moving\"",
        ),
        ("name: n, series: a, models: [{model: ewma, decay: 1}]", "it is a number above 0 and below 1"),
        ("name: n, series: a, models: [{model: seasonal, bucket: 7m}]", "it divides a day"),
        (
            "name: n, series: a, models: [{model: seasonal, tz: Europe/Talinn}]",
            "did you mean Europe/Tallinn?",
        ),
        ("name: n, series: a, models: [{model: seasonal, season: month}]", "known are week, day"),
    ];
    for (baseline, words) in table {
        let found = faults(&format!("baselines:\n- {{{baseline}}}\n"));
        assert!(found.iter().any(|fault| fault.contains(words)), "{baseline}: {found:#?}");
    }
    let twice = faults("baselines:\n- {name: n, series: a}\n- {name: n, series: b}\n");
    assert_eq!(twice, ["disk.yaml:3:3: another baseline writes n:expected as well: give one another name"]);
    assert_eq!(
        faults("baseline: []\n"),
        [
            "disk.yaml:1:1: unknown key \"baseline\" in a rule file; known are baselines, groups, inhibit_rules; did you mean baselines?"
        ]
    );
}
