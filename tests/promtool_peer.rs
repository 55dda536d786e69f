//! Prometheus as the peer: each story that promtool can tell, too, becomes a unit test of `promtool test rules`, which
//! must see the same alerts firing, with the same labels and annotations, at every evaluation.
//!
//! Debian's is 2.42. What it lacks (`keep_firing_for`, `query_offset`) or has no words for (late samples, clocks, rule
//! changes) is left out: a story says so in a line `# promtool: why not`. It looks back over closed windows and we, as
//! Prometheus 3, over left-open ones; so the stories that are told to both have no sample just at the edge of one.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test starts its peer, writes its input, and may panic"
)]

mod peer;
mod story;

use bellwether::wire::Labels;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use story::{Alert, Input, Run, Story};

/// Spacing of promtool's input: every sample of every story is at a multiple of it.
const STEP_MS: i64 = 5_000;

#[test]
fn promtool_sees_the_same_alerts_firing() {
    let promtool = peer::promtool();
    let mut told = Vec::new();
    let mut left_out = Vec::new();
    let mut checks = 0;
    for path in story::files() {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = std::fs::read_to_string(&path).expect("a story");
        let story = story::parse(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        if let Some(why) = &story.not_for_promtool {
            left_out.push(format!("{name}: {why}"));
            continue;
        }
        let run = story::run(&story);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("promtool").join(&name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let (rules, interval_ms) = rules(&story);
        std::fs::write(folder.join("rules.yaml"), rules).expect("the rules");
        let test = unit_test(&story, &run, interval_ms, &mut checks);
        std::fs::write(folder.join("test.yaml"), test.to_string()).expect("the test");
        let output = Command::new(&promtool)
            .args(["test", "rules", "test.yaml"])
            .current_dir(&folder)
            .output()
            .expect("promtool starts");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: promtool does not agree ({}):\n{said}", folder.display());
        told.push(name);
    }
    println!("{} stories, {checks} sets of firing alerts compared: {}", told.len(), told.join(", "));
    println!("left out:\n  {}", left_out.join("\n  "));
    assert!(
        told.len() >= 8 && checks >= 100,
        "too little was compared: {} stories, {checks} sets",
        told.len()
    );
}

/// The one rule file of the story and the one interval of its groups.
fn rules(story: &Story) -> (&str, i64) {
    let mut files = story.items.iter().filter_map(|item| {
        if let Input::Rules { yaml, .. } = &item.input { Some(yaml.as_str()) } else { None }
    });
    let (Some(yaml), None) = (files.next(), files.next()) else {
        panic!("promtool wants one rule file a story")
    };
    let intervals: BTreeSet<&str> =
        yaml.lines().filter_map(|line| line.trim().strip_prefix("interval: ")).collect();
    assert!(intervals.len() <= 1, "promtool evaluates all groups at one interval");
    let interval = intervals.first().copied().unwrap_or("1m");
    (yaml, bellwether::machine::rules::duration::parse_ms(interval).expect("an interval"))
}

/// promtool's test file; JSON is YAML.
fn unit_test(story: &Story, run: &Run, interval_ms: i64, checks: &mut usize) -> Value {
    let names: BTreeSet<&str> = rules(story)
        .0
        .lines()
        .filter_map(|line| line.trim().trim_start_matches(['-', ' ', '{']).strip_prefix("alert: "))
        .filter_map(|rest| rest.split(',').next())
        .collect();
    assert!(!names.is_empty(), "the story has no alerts");
    let mut tests = Vec::new();
    for (grid_ms, firing) in &run.firing {
        for name in &names {
            *checks += 1;
            let alerts: Vec<Value> =
                firing.iter().filter(|alert| alert.name == *name).map(expected).collect();
            tests.push(
                json!({"eval_time": prometheus_duration(*grid_ms), "alertname": name, "exp_alerts": alerts}),
            );
        }
    }
    let series: Vec<Value> = series(story)
        .into_iter()
        .map(|(labels, values)| json!({"series": series_text(&labels), "values": values_text(&values)}))
        .collect();
    json!({
        "rule_files": ["rules.yaml"],
        "evaluation_interval": prometheus_duration(interval_ms),
        "tests": [{
            "interval": prometheus_duration(STEP_MS),
            "input_series": series,
            "alert_rule_test": tests,
        }],
    })
}

fn expected(alert: &Alert) -> Value {
    let map = |labels: &Labels| -> BTreeMap<String, String> {
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let mut labels = map(&alert.labels);
    labels.remove("alertname");
    json!({"exp_labels": labels, "exp_annotations": map(&alert.annotations)})
}

/// Each series with the service as a label, and its values by step.
fn series(story: &Story) -> BTreeMap<Labels, BTreeMap<i64, f64>> {
    let mut series: BTreeMap<Labels, BTreeMap<i64, f64>> = BTreeMap::new();
    let mut put = |service: &str, mut labels: Labels, time_ms: i64, value: f64| {
        if labels.get("service").is_empty() {
            labels.set("service", service);
        }
        assert_eq!(time_ms % STEP_MS, 0, "every sample is at a multiple of {STEP_MS} ms");
        series.entry(labels).or_default().insert(time_ms / STEP_MS, value);
    };
    for item in &story.items {
        match &item.input {
            Input::Feed(steps) => {
                for point in steps.iter().flat_map(|(_, points)| points) {
                    put(&point.service, point.labels.clone(), point.time_ms, point.value);
                }
            }
            Input::Check { service, host, check, status, time_ms, .. } => {
                let labels =
                    [("__name__", "check_status"), ("host", host.as_str()), ("check", check.as_str())];
                put(service, Labels::new(labels), *time_ms, f64::from(*status));
            }
            Input::Rules { .. } | Input::Show | Input::End => {}
            Input::Garbage
            | Input::Forge
            | Input::Quarantine(_)
            | Input::Skipped
            | Input::Tick
            | Input::Ticks(_)
            | Input::TickEvery(_)
            | Input::BrokerClock(_)
            | Input::WorkerClock(_) => panic!("promtool has no words for {:?}", item.input),
        }
    }
    series
}

fn series_text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{}{{{}}}", labels.get("__name__"), pairs.join(", "))
}

fn values_text(values: &BTreeMap<i64, f64>) -> String {
    let last = values.keys().next_back().copied().unwrap_or(-1);
    let word = |step| match values.get(&step) {
        None => "_".to_owned(),
        Some(value) if value.is_nan() => "stale".to_owned(),
        Some(value) => format!("{value}"),
    };
    (0..=last).map(word).collect::<Vec<_>>().join(" ")
}

fn prometheus_duration(ms: i64) -> String {
    format!("{ms}ms")
}
