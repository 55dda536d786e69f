//! What Prometheus's rules do not have, through a death on the real stack: two workers in two zones, a rule set with every
//! extension, an edit of it in mid-flight, and the primary killed with -9 in the middle of `for`, of `keep_firing_for`, of
//! a flap count, of a soft state, of a ladder and of a seasonal warm-up. The alerts topic then equals a naive replay, record
//! by record, and both workers took the edit at one offset.
//!
//! The load has three phases. In the first, everything that is to be in the middle of something later is set up; in the
//! second, which lasts [`SECOND_MS`], it is in the middle; the third ends it.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    reason = "a test that starts processes and threads, waits for the real world, and may panic"
)]

mod common;

use bellwether::config::{self, Config};
use bellwether::machine::series::STALE_NAN_BITS;
use bellwether::shell::kafka::log::Log;
use bellwether::shell::kafka::{Topics, client};
use bellwether::shell::verify::{Question, Verifier};
use bellwether::wire::{
    AlertRecord, AlertState, CheckResult, Labels, Marker, ObservationsWriter, Reason, Transition,
};
use common::{Process, Scratch, control_key, free_port, get, now_ms, stack, succeed, wait_for};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);
const PACE: Duration = Duration::from_millis(200);
/// How long the second phase lasts.
const SECOND_MS: i64 = 15_000;
/// The third: long enough for what ends then.
const THIRD_MS: i64 = 7_000;

/// What has to last longer than the edit and the kill take, and less than the second phase.
const RULES: &str = r#"
baselines:
- name: logins
  series: site_logins
  min_samples: 95
  models:
  - {model: seasonal, season: week, bucket: 1d, tz: Europe/Tallinn}
inhibit_rules:
- source_matchers: ['alertname="Big"']
  target_matchers: ['alertname="Noise"']
  equal: [service]
groups:
- name: extensions
  interval: 500ms
  rules:
  - {alert: InFor, expr: phase == 2, for: 12s}
  - {alert: Kept, expr: phase == 1, keep_firing_for: 12s}
  - {alert: Flaps, expr: flap > 0, flap_detection: {low: 0.2, high: 0.3, history: 41}}
  - {alert: Soft, expr: phase >= 2, for_samples: 24}
  - {alert: Ladder, expr: phase > 1, severity: {critical: phase > 2, warning: true}}
  - {alert: WarmedUp, expr: 'logins:score < 100'}
  - {alert: Recovers, expr: level < 20, resolve_expr: level > 30}
  - {alert: Silent, expr: beat < 0, no_data_state: Alerting, missing_series_evals_to_resolve: 24}
  - {alert: Reports, expr: report < 0, no_data_state: Alerting, expected: [{service: shop, disk: c}]}
  - {alert: Big, expr: phase == 2, priority: 100}
  - {alert: Small, expr: phase > 0, priority: 50}
  - {alert: Noise, expr: phase > 0}
  - {alert: Fast, expr: 'speed(ramp[3s]) > 100'}
  - {alert: Accelerates, expr: 'acceleration(ramp[3s]) > 100'}
  - {alert: Checked, expr: 'check_status{check="http"} == 2'}
- name: limited
  interval: 500ms
  limit: 2
  rules:
  - {alert: Many, expr: many > 0}
"#;

/// Two workers and a load.
struct Line {
    scratch: Scratch,
    file: String,
    config: Config,
    topics: Topics,
    workers: Vec<(&'static str, String, Process)>,
}

impl Line {
    fn start() -> Self {
        let cluster = format!("rules-{}-{}", std::process::id(), now_ms());
        let scratch = Scratch::new("rules-stack");
        let text = format!(
            "cluster: {cluster}\nkafka: {{brokers: '{}', topic_prefix: {cluster}, partitions: 1}}\n\
             zookeeper: {{hosts: '{}', session_timeout: 1s}}\n\
             snapshots: {{url: 'file://{}/snapshots', interval: 2s}}\n{}",
            stack("BELLWETHER_KAFKA"),
            stack("BELLWETHER_ZOOKEEPER"),
            scratch.0.display(),
            control_key(&scratch)
        );
        let file = scratch.write("bellwether.yaml", &text);
        let config = config::load(&[(file.clone(), text)], &|_| None).expect("a sound configuration");
        let topics = Topics::new(&config.kafka.topic_prefix);
        let mut line = Self { scratch, file, config, topics, workers: Vec::new() };
        line.ask(&["topics", "apply"]);
        for zone in ["zone-a", "zone-b"] {
            let address = format!("127.0.0.1:{}", free_port());
            let sets = [format!("zone={zone}"), format!("worker={zone}"), format!("http.listen={address}")];
            let mut arguments = vec!["--config", line.file.as_str()];
            sets.iter().for_each(|set| arguments.extend(["--set", set]));
            arguments.push("worker");
            let process = Process::bellwether(&line.scratch, zone, &arguments);
            line.workers.push((zone, address, process));
        }
        line
    }

    fn ask(&self, arguments: &[&str]) -> String {
        succeed(&[&["--config", self.file.as_str()], arguments].concat())
    }

    /// The offsets at which each worker says that a version came into force.
    fn switched_at(&self, version: i64) -> Vec<Option<i64>> {
        let of = |(_, _, process): &(_, _, Process)| {
            let log = plain(&process.log());
            let line =
                log.lines().find(|line| line.contains(&format!("rules version {version} in force")))?;
            let digits = line.split("offset").nth(1)?.trim_start_matches(|c: char| !c.is_ascii_digit());
            digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        self.workers.iter().map(of).collect()
    }

    /// What is out, each with the marker that followed it.
    fn emitted(&self) -> Vec<(Transition, Marker)> {
        let log = Log::open(&self.config, &self.topics.alerts).expect("a consumer");
        let (mut found, mut open) = (Vec::new(), Vec::new());
        log.read_all([0], |record| match AlertRecord::read(&record.value).expect("it can be read") {
            AlertRecord::Transition(transition) => open.push(*transition),
            AlertRecord::Marker(marker) => found.extend(open.drain(..).map(|t| (t, marker.clone()))),
        })
        .expect("Kafka answers");
        found
    }

    /// Who wrote last.
    fn primary(&self) -> Option<usize> {
        let (_, marker) = self.emitted().pop()?;
        self.workers.iter().position(|(zone, ..)| *zone == marker.worker)
    }
}

/// A log without its colours.
fn plain(log: &str) -> String {
    let mut parts = log.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').map_or("", |(_, text)| text))
}

/// The load, five batches a second; `second_ms` is when the second phase began, 0 before.
fn load(line: &Line, second_ms: Arc<AtomicI64>) -> JoinHandle<()> {
    let producer: BaseProducer =
        client(&line.config, "load").set("linger.ms", "0").create().expect("a producer");
    let topic = line.topics.observations.clone();
    std::thread::spawn(move || {
        loop {
            let began_ms = second_ms.load(Ordering::Relaxed);
            let into_ms = if began_ms == 0 { -1 } else { now_ms() - began_ms };
            if into_ms > SECOND_MS + THIRD_MS {
                break;
            }
            let value = batch(into_ms);
            let record = BaseRecord::to(&topic).partition(0).key(b"shop").payload(&value);
            producer.send(record).map_err(|(fault, _)| fault).expect("room in the queue");
            producer.poll(Duration::ZERO);
            std::thread::sleep(PACE);
        }
        producer.flush(LIMIT).expect("Kafka takes the load");
    })
}

/// Values at so many milliseconds of the second phase; below 0 is the first.
fn batch(into_ms: i64) -> Vec<u8> {
    let mut writer = ObservationsWriter::new("shop").expect("a service");
    let phase = match into_ms {
        ..0 => 1,
        0..SECOND_MS => 2,
        _ => 3,
    };
    let mut put = |name: &str, labels: &[(&str, &str)], value: f64| {
        writer.sample(name, &Labels::new(labels.iter().copied()), now_ms(), value).expect("a sample");
    };
    put("phase", &[], f64::from(phase));
    // Two evaluations up, two down.
    put("flap", &[], if phase == 2 && into_ms / 1000 % 2 == 0 { 1.0 } else { 0.0 });
    put("site_logins", &[], 100.0 + (into_ms % 7) as f64);
    // Between its two bounds for most of the second phase.
    put("level", &[], [50.0, if into_ms < 1500 { 10.0 } else { 25.0 }, 40.0][phase as usize - 1]);
    let ramp = if phase == 2 { (into_ms as f64 / 1000.0).powi(2) * 10.0 } else { 0.0 };
    put("ramp", &[], ramp);
    let gone = f64::from_bits(STALE_NAN_BITS);
    if phase == 1 || into_ms < 1000 {
        put("beat", &[], if phase == 1 { 1.0 } else { gone });
    }
    if phase != 2 || into_ms < 1000 {
        put("report", &[("disk", "c")], if phase == 2 { gone } else { 1.0 });
    }
    for host in ["a", "b", "c", "d"] {
        put("many", &[("host", host)], if phase == 2 { 1.0 } else { 0.0 });
    }
    let check = CheckResult {
        key: &[],
        host: "h1",
        check: "http",
        status: if phase == 2 { 2 } else { 0 },
        output: "CRITICAL - 503",
        perfdata: "",
        time_ms: now_ms(),
    };
    writer.check(&check, &Labels::default()).expect("a check result");
    writer.finish()
}

/// The edit: a rule that waits has another text and waits on; one is gone; one is new.
fn edited() -> String {
    let edited = RULES.replace("expr: phase == 2, for: 12s", "expr: phase == 2, for: 13s");
    let edited = edited.replace(
        "  - {alert: Noise, expr: phase > 0}\n",
        "  - {alert: Noise, expr: phase > 0}\n  - {alert: New, expr: phase > 0}\n",
    );
    let edited = edited.replace("  - {alert: Checked, expr: 'check_status{check=\"http\"} == 2'}\n", "");
    assert_eq!(edited.lines().count(), RULES.lines().count());
    edited
}

#[test]
fn every_extension_outlives_a_death_in_its_middle_and_an_edit_is_taken_at_one_offset() {
    let mut line = Line::start();
    let rules = line.scratch.write("rules.yaml", RULES);
    let second_ms = Arc::new(AtomicI64::new(0));
    // Nobody is asked where nobody can answer, and nothing is done.
    let refused = Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .args(["--config", &line.file, "rules", "apply", &rules])
        .stdin(Stdio::null())
        .output()
        .expect("the binary was built");
    let talk = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && talk.contains("--yes"), "{talk}");
    let told = line.ask(&["rules", "apply", "--yes", &rules]);
    assert!(
        told.contains("the first\n") && told.contains("19 added") && told.contains("is not known"),
        "{told}"
    );
    for (zone, address, _) in &line.workers {
        wait_for(&format!("{zone} to be ready"), LIMIT, || {
            get(address, "/-/ready").filter(|(s, _)| *s == 200)
        });
    }
    let load = load(&line, Arc::clone(&second_ms));
    // The plan of the edit is made from a snapshot.
    wait_for("a snapshot", LIMIT, || {
        line.ask(&["snapshots", "list", "--json"]).contains("manifest").then_some(())
    });
    wait_for("the first alerts", LIMIT, || (line.emitted().len() >= 3).then_some(()));

    second_ms.store(now_ms(), Ordering::Relaxed);
    let since_ms = second_ms.load(Ordering::Relaxed);
    wait_for("what the second phase begins", LIMIT, || {
        line.emitted().iter().any(|(t, _)| t.rule == "InFor").then_some(())
    });
    let rules = line.scratch.write("rules.yaml", &edited());
    let plan = line.ask(&["rules", "apply", "--json", "--yes", &rules]);
    let applied_ms = now_ms() - since_ms;
    wait_for("both to take the edit", LIMIT, || {
        line.switched_at(2).iter().all(Option::is_some).then_some(())
    });
    wait_for("an alert of the new rules", LIMIT, || {
        line.emitted().iter().any(|(_, marker)| marker.rule_set_version == 2).then_some(())
    });
    let victim = line.primary().expect("somebody wrote");
    let killed_ms = now_ms();
    line.workers[victim].2.kill();
    println!(
        "edit applied {applied_ms} ms into the second phase, primary killed {} ms",
        killed_ms - since_ms
    );
    // Every timer of the rules is longer, counted from the first evaluation in the second phase.
    assert!(killed_ms - since_ms < 10_000, "too slow a machine for what this test shows");
    load.join().expect("the load ends");

    let survivor = 1 - victim;
    wait_for("the rest to be out", LIMIT, || {
        let rules: Vec<String> = line.emitted().into_iter().map(|(t, _)| t.rule).collect();
        rules.iter().any(|rule| rule == "WarmedUp").then_some(())
    });
    let (_, metrics) = get(&line.workers[survivor].1, "/metrics").expect("it lives");
    let mut divergences = metrics.lines().filter(|line| line.starts_with("bellwether_divergences_total"));
    assert!(divergences.all(|line| line.ends_with(" 0")), "{metrics}");
    assert_eq!(line.workers[survivor].2.terminate(), Some(0));

    let mut verifier =
        Verifier::open(&line.config, Question { at_rest: true, ..Question::default() }).expect("a consumer");
    let verdict = verifier.verify(0).expect("the stack answers");
    println!("{verdict:?}");
    assert!(verdict.is_equal(), "{verdict:?}");
    let emitted = line.emitted();
    crossed(&emitted, killed_ms, [line.workers[victim].0, line.workers[survivor].0]);
    switched(&line, &emitted);
    planned(&plan);
}

/// What began before the primary died, and ended after.
fn crossed(emitted: &[(Transition, Marker)], killed_ms: i64, [victim, survivor]: [&str; 2]) {
    let when = |rule: &str, reason: Reason| -> Vec<i64> {
        let found = emitted.iter().filter(|(t, _)| t.rule == rule && t.reason == reason);
        found.map(|(t, _)| t.event_ms).collect()
    };
    for (rule, begins, ends) in [
        ("InFor", Reason::ConditionMet, Reason::HeldFor),
        ("Kept", Reason::ConditionMet, Reason::KeepFiringElapsed),
        ("Soft", Reason::ConditionMet, Reason::HeldForSamples),
        ("Ladder", Reason::ConditionMet, Reason::SeverityChanged),
        ("Recovers", Reason::ConditionMet, Reason::ResolveConditionMet),
        ("Silent", Reason::NoData, Reason::MissingSeries),
        ("Reports", Reason::NoData, Reason::ConditionCleared),
        ("Small", Reason::Suppressed, Reason::SuppressionEnded),
        ("Noise", Reason::Inhibited, Reason::SuppressionEnded),
        ("Many", Reason::ConditionMet, Reason::ConditionCleared),
    ] {
        let (begun, ended) = (when(rule, begins), when(rule, ends));
        assert!(
            begun.first().is_some_and(|ms| *ms < killed_ms),
            "{rule} {begins:?}: {begun:?}\n{emitted:#?}"
        );
        assert!(ended.last().is_some_and(|ms| *ms > killed_ms), "{rule} {ends:?}: {ended:?}\n{emitted:#?}");
        assert_eq!(
            (begun.len(), ended.len()),
            (begun.len().min(2), begun.len()),
            "{rule}: {begun:?} {ended:?}"
        );
    }
    // It came and went before and after, and then flapped: it stays though its condition is gone for seconds.
    let flaps: Vec<&Transition> = emitted.iter().map(|(t, _)| t).filter(|t| t.rule == "Flaps").collect();
    let cleared = when("Flaps", Reason::ConditionCleared);
    assert!(
        cleared.len() >= 3
            && cleared.iter().any(|ms| *ms < killed_ms)
            && cleared.iter().any(|ms| *ms > killed_ms),
        "{flaps:#?}"
    );
    assert_eq!(flaps.last().map(|last| last.to), Some(AlertState::Firing), "{flaps:#?}");
    assert!(when("WarmedUp", Reason::ConditionMet).iter().all(|ms| *ms > killed_ms));
    assert!(when("Fast", Reason::ConditionMet).first().is_some_and(|ms| *ms < killed_ms));
    assert!(when("Accelerates", Reason::ConditionMet).first().is_some_and(|ms| *ms < killed_ms));
    let (checked, _) = emitted.iter().find(|(t, _)| t.rule == "Checked").expect("a check fails");
    assert_eq!(checked.output, "CRITICAL - 503");
    let limit = emitted.iter().filter(|(t, _)| t.reason == Reason::LimitReached).count();
    assert_eq!((limit, when("Many", Reason::ConditionMet).len()), (1, 2), "two of four, and one says so");
    let mut writers: Vec<&str> = emitted.iter().map(|(_, marker)| marker.worker.as_str()).collect();
    writers.dedup();
    assert_eq!(writers, [victim, survivor]);
}

/// Both workers took version 2 at one offset, and so did what they emitted: one before its death and the other after.
fn switched(line: &Line, emitted: &[(Transition, Marker)]) {
    let at = line.switched_at(2);
    let offset = at[0].expect("it was waited for");
    assert_eq!(at, [Some(offset), Some(offset)]);
    for (transition, marker) in emitted {
        let version = if transition.input_offset < offset { 1 } else { 2 };
        assert!(
            transition.rule_set_version == version || transition.input_offset == offset,
            "version 2 is at offset {offset}: {transition:?}"
        );
        assert!(marker.rule_set_version >= transition.rule_set_version, "{marker:?}");
    }
    let of = |version| emitted.iter().filter(move |(t, _)| t.rule_set_version == version);
    assert!(of(1).count() > 5 && of(2).count() > 5);
    let mut writers: Vec<&str> = of(2).map(|(_, marker)| marker.worker.as_str()).collect();
    writers.dedup();
    assert_eq!(writers.len(), 2, "both have emitted under version 2");
    let removed = emitted.iter().filter(|(t, _)| t.reason == Reason::RuleRemoved);
    assert_eq!(removed.map(|(t, _)| t.rule.as_str()).collect::<Vec<_>>(), ["Checked"]);
}

/// The plan said so before: what waits goes on waiting, what is gone ends, what is new begins.
fn planned(plan: &str) {
    let lines: Vec<Value> = plan.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.last(), Some(&serde_json::json!({"applied": 2})));
    let plan = &lines[0];
    assert_eq!((&plan["version"], &plan["previous"], &plan["partitions"]), (&2.into(), &1.into(), &1.into()));
    let upshots: Vec<String> = plan["changes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|change| format!("{} {}", change["alert"], change["upshot"]).replace('"', ""))
        .collect();
    assert_eq!(upshots, ["Checked ends", "InFor keeps", "New begins"]);
    let known = &plan["alerts"][0];
    assert!(
        known["snapshot"].is_string() && known["as_of_ms"].as_i64() >= known["snapshot_ms"].as_i64(),
        "{known}"
    );
    assert_eq!(known["rule_set_version"], 1);
    let fate = |rule: &str| {
        let outlooks = known["outlooks"].as_array().into_iter().flatten();
        outlooks.filter(|outlook| outlook["rule"] == rule).map(|o| o["fate"].clone()).collect::<Vec<Value>>()
    };
    for (rule, expected) in
        [("InFor", "keep"), ("Kept", "keep"), ("Checked", "stop"), ("New", "start"), ("Silent", "keep")]
    {
        assert_eq!(fate(rule), [expected], "{rule}: {known}");
    }
    let same = known["outlooks"].as_array().into_iter().flatten().filter(|o| o["fate"] == "keep");
    assert!(same.into_iter().all(|outlook| outlook["before"] == outlook["after"]), "{known}");
}
