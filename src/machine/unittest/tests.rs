//! Files of tests, read and run as `rules test` does.

use super::file::{TestFile, read};
use super::run::{Outcome, Setting, diff, run};
use crate::wire::{Limits, RuleFile, RuleSet};

const RULES: &str = "
groups:
- name: second
  rules:
  - record: twice:sum
    expr: sum:m * 2
- name: first
  query_offset: 0s
  rules:
  - record: sum:m
    expr: sum(m)
  - alert: High
    expr: m > 2
    for: 1m
    labels: {severity: page, zone: '{{ $externalLabels.zone }}'}
    annotations: {summary: '{{ $labels.host }} is {{ $value }}', link: '{{ externalURL }}{{ pathPrefix }}'}
";

fn set(rules: &str) -> RuleSet {
    RuleSet {
        version: 1,
        applied_ms: 0,
        author: String::new(),
        service_label: "service".to_owned(),
        files: vec![RuleFile { name: "rules.yaml".to_owned(), content: rules.to_owned() }],
        limits: Limits::default(),
        partitions: 0,
    }
}

fn parsed(text: &str) -> Result<TestFile, Vec<String>> {
    let file = RuleFile { name: "t.yaml".to_owned(), content: text.to_owned() };
    read(&file).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// What failed, in words: what was asked, then what was expected and what was there.
fn failures(rules: &str, tests: &str) -> Vec<String> {
    let TestFile { interval_ms, group_order, fuzzy, tests, .. } = parsed(tests).expect("a file of tests");
    let setting = Setting { interval_ms, group_order, fuzzy };
    let failures = tests.into_iter().flat_map(|test| run(test, &set(rules), &setting));
    let told = |outcome| match outcome {
        Outcome::Fault(why) => why,
        Outcome::Differs { expected, got } => format!("{expected:?} / {got:?}"),
    };
    failures
        .map(|failure| format!("{}: {}: {}", failure.place, failure.what, told(failure.outcome)))
        .collect()
}

const HEAD: &str = "
tests:
- interval: 1m
  external_labels: {zone: za}
  external_url: http://prom.example/pre
  input_series:
  - {series: 'm{host=\"a\"}', values: '1+1x9'}
  - {series: 'm{host=\"b\"}', values: '1x3 9 stale'}
";

#[test]
fn what_is_expected_passes() {
    let tests = "
  alert_rule_test:
  - {eval_time: 2m, alertname: High}
  - {eval_time: 3m59s, alertname: High, exp_alerts: [{exp_labels: {host: a, severity: page, zone: za},
     exp_annotations: {summary: a is 4, link: 'http://prom.example/pre/pre'}}]}
  - {eval_time: 4m, alertname: High, exp_alerts_subset: [{exp_labels: {host: a}, exp_annotations: {summary: a is 5}}]}
  - {eval_time: 4m, alertname: Nobody}
  promql_expr_test:
  - {expr: 'sum:m', eval_time: 3m, exp_samples: [{labels: 'sum:m', value: 5}]}
  - {expr: 'm{host=\"a\"}', eval_time: 4m, exp_samples: [{labels: 'm{host=\"a\"}', value: 5}]}
  - {expr: 'ALERTS{alertstate=\"pending\"}', eval_time: 2m,
     exp_samples: [{labels: 'ALERTS{alertname=\"High\", alertstate=\"pending\", host=\"a\", severity=\"page\", zone=\"za\"}', value: 1}]}
  - {expr: 'time() + 0.5', eval_time: 90s, exp_samples: [{value: 90.5}]}
  - {expr: 'absent(nothing) / 0', exp_samples: [{labels: '{}', value: .inf}]}
  - {expr: 'm * NaN', eval_time: 5m, exp_samples: [{labels: '{host=\"a\"}', value: .NaN}]}
";
    assert_eq!(failures(RULES, &format!("{HEAD}{tests}")), Vec::<String>::new());
}

#[test]
fn what_differs_is_told_with_both_sides() {
    let tests = "
  alert_rule_test:
  - {eval_time: 3m, alertname: High, exp_alerts: [{exp_labels: {host: a, severity: page, zone: za}}]}
  - {eval_time: 3m, alertname: High, exp_alerts_subset: [{exp_labels: {host: b}}]}
  - {eval_time: 3m, alertname: High, exp_alerts_subset: []}
  promql_expr_test:
  - {expr: 'm < 7', eval_time: 4m, exp_samples: [{labels: 'm{host=\"a\"}', value: 6}]}
  - {expr: 'm + on() m', eval_time: 3m}
";
    let got = r#"["High{alertname=\"High\"#;
    let found = failures(RULES, &format!("{HEAD}{tests}"));
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(!found[0].contains(got), "labels stand without the alert's name in front: {}", found[0]);
    assert!(
        found[0].starts_with("11:5: alert High at 3m: ") && found[0].contains("summary: \\\"a is 4\\\""),
        "{}",
        found[0]
    );
    assert!(found[1].starts_with("12:5: alert High at 3m, at least: "), "{}", found[1]);
    assert!(found[2].ends_with("zone=\\\"za\\\"}\", \"  link: \\\"http://prom.example/pre/pre\\\"\", \"  summary: \\\"a is 4\\\"\"]"), "{}", found[2]);
    assert_eq!(found[3], "15:5: expr m < 7 at 4m: [\"m{host=\\\"a\\\"} 6\"] / [\"m{host=\\\"a\\\"} 5\"]");
    assert!(found[4].starts_with("16:5: expr m + on() m at 3m: found duplicate series"), "{}", found[4]);
}

/// `second` reads what `first` writes: at the same evaluation only if it comes after it.
#[test]
fn groups_are_evaluated_in_the_order_that_is_asked_for() {
    let tests = "
  promql_expr_test:
  - {expr: 'twice:sum', eval_time: 1m, exp_samples: [{labels: 'twice:sum', value: 6}]}
";
    let ordered = format!("group_eval_order: [first, second]{HEAD}{tests}");
    assert_eq!(failures(RULES, &ordered), Vec::<String>::new());
    let found = failures(RULES, &format!("{HEAD}{tests}"));
    assert_eq!(found, ["11:5: expr twice:sum at 1m: [\"twice:sum{} 6\"] / [\"twice:sum{} 4\"]"]);
}

#[test]
fn time_may_begin_anywhere_and_groups_may_look_back() {
    let rules = "groups:\n- name: g\n  query_offset: 30s\n  rules:\n  - {record: r, expr: time()}\n";
    for (start, wanted) in [
        ("", 30.0),
        ("  start_timestamp: 2024-02-29T10:00:07Z\n", 1_709_200_837.0),
        ("  start_timestamp: 7.5\n", 37.5),
    ] {
        let tests = format!(
            "tests:\n- name: x\n{start}  input_series: [{{series: m, values: 1x9}}]\n  promql_expr_test:\n  \
             - {{expr: r, eval_time: 90s, exp_samples: [{{labels: r, value: {wanted}}}]}}\n"
        );
        assert_eq!(failures(rules, &tests), Vec::<String>::new(), "{start}");
    }
}

#[test]
fn values_may_differ_in_the_last_bit_where_that_is_asked_for() {
    let tests = |fuzzy| {
        format!(
            "fuzzy_compare: {fuzzy}\ntests:\n- promql_expr_test:\n  \
             - {{expr: vector(0.1) + 0.2, exp_samples: [{{labels: '{{}}', value: 0.3}}]}}\n"
        )
    };
    assert_eq!(
        failures("", &tests("false")),
        ["4:5: expr vector(0.1) + 0.2 at 0s: [\"{} 0.3\"] / [\"{} 0.30000000000000004\"]"]
    );
    assert_eq!(failures("", &tests("true")), Vec::<String>::new());
}

/// The first expected one fits both alerts, the second only one of them: the first has to move.
#[test]
fn a_subset_is_matched_one_to_one() {
    let tests = |expected: &str| {
        format!(
            "tests:\n- input_series: [{{series: 'm{{a=\"1\", b=\"1\"}}', values: 9x9}}, {{series: 'm{{a=\"1\", b=\"2\"}}', values: 9x9}}]\n  \
             alert_rule_test: [{{alertname: High, eval_time: 2m, exp_alerts_subset: {expected}}}]\n"
        )
    };
    let good = "[{exp_labels: {a: 1}}, {exp_labels: {b: 1}}]";
    assert_eq!(failures(RULES, &tests(good)), Vec::<String>::new());
    for bad in [
        "[{exp_labels: {b: 1}}, {exp_labels: {b: 1}}]",
        "[{exp_labels: {a: 1}}]",
        "[{}, {}, {}]",
        "[{}, {exp_annotations: {x: y}}]",
    ] {
        assert_eq!(failures(RULES, &tests(bad)).len(), 1, "{bad}");
    }
}

/// A rule that has no value ends its test, as in promtool.
#[test]
fn a_rule_that_fails_ends_the_test() {
    let rules = "groups: [{name: g, rules: [{record: r, expr: m + on() m}]}]";
    let found = failures(rules, &format!("{HEAD}  promql_expr_test: [{{expr: 'm + 1', eval_time: 3m}}]\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("3:3: rule r at 0s: found duplicate series"), "{found:?}");
}

#[test]
fn a_baseline_is_at_work_in_a_test() {
    let rules = "baselines: [{name: b, series: m, min_samples: 2}]\ngroups: [{name: g, rules: [{alert: Odd, expr: 'b:score > 3'}]}]";
    let tests = "tests:\n- input_series: [{series: m, values: 1 2 1 2 1 2 1 2 90}]\n  alert_rule_test:\n  \
                 - {alertname: Odd, eval_time: 7m}\n  - {alertname: Odd, eval_time: 8m, exp_alerts_subset: [{}]}\n";
    assert_eq!(failures(rules, tests), Vec::<String>::new());
}

#[test]
fn every_fault_of_a_file_is_named_with_its_place() {
    let text = "\
rule_file: [a.yaml]
evaluation_interval: 1 minute
group_eval_order: [a, b, a]
fuzzy_compare: maybe
tests:
- interval: 1m
  start_timestamp: yesterday
  input_series:
  - {series: 'm{a=b}', values: '1'}
  - {series: m, values: '1 2 x3'}
  - {series: m, values: '{{schema:1}}'}
  - {series: '', values: '1'}
  alert_rule_test:
  - {eval_time: 1m}
  - {alertname: A, exp_alerts: [], exp_alerts_subset: []}
  - {alertname: A, exp_alerts: [{exp_label: {}}]}
  promql_expr_test:
  - {eval_time: 1m}
  - {expr: 'sum(m) + ratee(m[5m])'}
  - {expr: 'm[5m]'}
  - {expr: m, exp_samples: [{labels: 'm 1', value: 1}, {labels: m, value: one}, {labels: m, histogram: '{{}}'}]}
  - {expr: m, eval_time: 3y}
";
    let found = parsed(text).expect_err("faults");
    let places: Vec<&str> = found.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    let expected = [
        "1:1", "2:22", "3:26", "4:16", "6:3", "7:20", "9:19", "10:30", "11:25", "12:14", "14:5", "15:55",
        "16:34", "18:5", "19:22", "20:13", "21:41", "21:75", "21:104",
    ];
    let expected: Vec<String> = expected.iter().map(|place| format!("t.yaml:{place}:")).collect();
    assert_eq!(places, expected, "{found:#?}");
    assert!(found[0].contains("did you mean rule_files?"), "{}", found[0]);
    assert!(found.iter().any(|line| line.contains("did you mean rate()?")), "{found:#?}");
    assert!(found.iter().any(|line| line.contains("native histograms")), "{found:#?}");
}

#[test]
fn an_empty_file_has_no_tests_and_what_is_no_yaml_is_refused() {
    assert_eq!(parsed("").map(|tests| tests.tests.len()), Ok(0));
    assert_eq!(parsed("tests:\n").map(|tests| tests.tests.len()), Ok(0));
    assert!(parsed("tests: [").expect_err("a fault")[0].contains("it is not YAML"));
    let twice = parsed("tests: [{input_series: [{series: m, values: 1}, {series: m, values: 2}]}]")
        .expect("it is read");
    assert_eq!(twice.warnings.len(), 1);
}

#[test]
fn a_diff_keeps_what_is_common() {
    let lines = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    assert_eq!(diff(&lines("a b c d"), &lines("a x c d e")), ["  a", "- b", "+ x", "  c", "  d", "+ e"]);
    assert_eq!(diff(&lines("a"), &[]), ["- a"]);
    assert_eq!(diff(&[], &lines("a")), ["+ a"]);
}
