//! Prometheus's own expression tests, run as data against the engine. They lie beside the repository, in
//! `../shared/promql/*.test`, and are not copied into it; `BELLWETHER_PROMQL_TESTS` names another folder.
//!
//! An `eval` whose expression is refused as unsupported is counted and listed by the name of what is missing. So is one
//! that expects a native histogram or a string, which no series of ours can be, and one that selects a histogram and
//! would need it. Everything else must agree, within the tolerance of Prometheus's own runner (1e-6, relative).

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test that reads data files reads files, and may panic"
)]

use bellwether::machine::promql::{Element, Plan, PlanFault, Value};
use bellwether::machine::series::{STALE_NAN_BITS, Store};
use bellwether::wire::{Labels, labels::METRIC_NAME};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A slot of a sequence: a value, or nothing at that time. `Histogram` is a native histogram, which is left out.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    Value(f64),
    Nothing,
    Histogram,
}

type Sequence = Vec<Slot>;
/// Floats by series and time. A series that held native histograms stays in it, with its floats only.
type Samples = BTreeMap<Labels, (BTreeMap<i64, f64>, HasHistograms)>;
type HasHistograms = bool;

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    unsupported: BTreeMap<String, usize>,
    failed: Vec<String>,
}

/// One `eval` and its expectations.
#[derive(Debug)]
struct Eval {
    line: usize,
    from_ms: i64,
    to_ms: i64,
    step_ms: usize,
    expr: String,
    fails: Option<String>,
    string: bool,
    scalar: Option<f64>,
    series: Vec<(Labels, Sequence)>,
}

#[test]
fn prometheus_own_expression_tests_agree() {
    let folder = std::env::var("BELLWETHER_PROMQL_TESTS")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/promql"), PathBuf::from);
    if !folder.is_dir() {
        eprintln!("SKIPPED: {} does not exist: Prometheus's expression tests were NOT run", folder.display());
        return;
    }
    let mut files: Vec<PathBuf> =
        folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    assert!(!files.is_empty(), "{} holds no *.test", folder.display());
    let (mut failed, mut passed) = (Vec::new(), 0);
    for file in files {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a test is text");
        let tally = run(&name, &text);
        let unsupported: usize = tally.unsupported.values().sum();
        println!(
            "{name}: {} passed, {} failed, {unsupported} unsupported {:?}",
            tally.passed,
            tally.failed.len(),
            tally.unsupported
        );
        passed += tally.passed;
        failed.extend(tally.failed);
    }
    assert!(failed.is_empty(), "{} evals disagree:\n{}", failed.len(), failed.join("\n"));
    assert!(passed > 200, "only {passed} evals ran");
}

fn run(file: &str, text: &str) -> Tally {
    let mut tally = Tally::default();
    let mut samples = Samples::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        let head = lines[at].trim();
        let body_end = (at + 1..lines.len())
            .find(|next| {
                let line = lines[*next];
                !line.trim().is_empty() && !line.starts_with([' ', '\t', '#'])
            })
            .unwrap_or(lines.len());
        let body: Vec<&str> = lines[at + 1..body_end]
            .iter()
            .map(|line| line.trim())
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        if head == "clear" {
            samples.clear();
        } else if let Some(step) = head.strip_prefix("load ").or(head.strip_prefix("load_with_nhcb ")) {
            load(&mut samples, steps(step), &body);
        } else if head.starts_with("eval") {
            let eval = read_eval(at + 1, head, &body);
            judge(file, &eval, &samples, &mut tally);
        } else {
            assert!(head.is_empty() || head.starts_with('#'), "{file}:{}: {head:?}", at + 1);
        }
        at = body_end;
    }
    tally
}

fn load(samples: &mut Samples, step_ms: usize, body: &[&str]) {
    // The last of two equal series in one load counts.
    let series: BTreeMap<Labels, Sequence> = body.iter().map(|line| read_series(line)).collect();
    for (labels, sequence) in series {
        let (points, has_histograms) = samples.entry(labels).or_default();
        *has_histograms |= sequence.contains(&Slot::Histogram);
        for (slot, time_ms) in sequence.into_iter().zip((0..).step_by(step_ms)) {
            if let Slot::Value(value) = slot {
                points.insert(time_ms, value);
            }
        }
    }
}

fn read_eval(line: usize, head: &str, body: &[&str]) -> Eval {
    let (command, rest) = head.split_once(' ').expect("eval what");
    let (kind, rest) = rest.split_once(' ').expect("eval kind when");
    let (_, rest) = rest.split_once(' ').expect("at or from");
    let (from, rest) = rest.split_once(' ').expect("a time");
    let from_ms = duration_ms(from);
    let (to_ms, step_ms, expr) = match kind {
        "instant" => (from_ms, 1, rest),
        "range" => {
            let mut words = rest.splitn(5, ' ');
            let mut word = || words.next().expect("eval range from … to … step … expr");
            word();
            let to = word();
            word();
            (duration_ms(to), steps(word()), word())
        }
        _ => panic!("line {line}: eval {kind}"),
    };
    let mut eval = Eval {
        line,
        from_ms,
        to_ms,
        step_ms,
        expr: expr.to_owned(),
        fails: (command == "eval_fail").then(String::new),
        string: false,
        scalar: None,
        series: Vec::new(),
    };
    for line in body {
        if let Some(expectation) = line.strip_prefix("expect ") {
            if let Some(fail) = expectation.strip_prefix("fail") {
                let message = fail.trim().strip_prefix("msg:").unwrap_or_default();
                eval.fails = Some(message.trim().to_owned());
            }
            eval.string |= expectation.starts_with("string");
        } else if let Some(scalar) = number(line) {
            eval.scalar = Some(scalar);
        } else {
            eval.series.push(read_series(line));
        }
    }
    eval
}

fn judge(file: &str, eval: &Eval, samples: &Samples, tally: &mut Tally) {
    let mut missing = |what: &str| *tally.unsupported.entry(what.to_owned()).or_default() += 1;
    if eval.string {
        return missing("string result");
    }
    if eval.series.iter().any(|(_, sequence)| sequence.contains(&Slot::Histogram)) {
        return missing("native histogram");
    }
    let plan = match Plan::compile(&eval.expr) {
        Ok(plan) => plan,
        Err(PlanFault::Unsupported { what, .. }) => return missing(&what),
        Err(_) if eval.fails.is_some() => {
            tally.passed += 1;
            return;
        }
        Err(fault) => {
            tally.failed.push(format!("{file}:{}: {}: {fault}", eval.line, eval.expr));
            return;
        }
    };
    let selects = |labels: &Labels| plan.interests().iter().any(|i| i.selector.matches(labels));
    let on_histograms = samples.iter().any(|(labels, (_, histograms))| *histograms && selects(labels));
    match agrees(eval, plan, samples) {
        Ok(()) => tally.passed += 1,
        Err(_) if on_histograms => missing("native histogram"),
        Err(why) => tally.failed.push(format!("{file}:{}: {}: {why}", eval.line, eval.expr)),
    }
}

fn agrees(eval: &Eval, mut plan: Plan, samples: &Samples) -> Result<(), String> {
    let store = store_for(&mut plan, samples);
    for (step, at_ms) in (eval.from_ms..=eval.to_ms).step_by(eval.step_ms).enumerate() {
        match (plan.evaluate(&store, at_ms), &eval.fails) {
            (Err(fault), Some(message)) if fault.to_string().contains(message.as_str()) => {}
            (Err(fault), _) => return Err(format!("at {at_ms}: {fault}")),
            (Ok(value), Some(_)) => return Err(format!("at {at_ms}: should fail, is {value:?}")),
            (Ok(Value::Scalar(got)), None) if eval.scalar.is_some_and(|want| close(want, got)) => {}
            (Ok(Value::Scalar(got)), None) => return Err(format!("is {got}, should be {:?}", eval.scalar)),
            (Ok(Value::Vector(got)), None) => {
                compare(&eval.series, step, &got).map_err(|why| format!("at {at_ms}: {why}"))?;
            }
        }
    }
    Ok(())
}

/// A store that keeps everything the plan selects, for good.
fn store_for(plan: &mut Plan, samples: &Samples) -> Store {
    let mut store = Store::new(7);
    let mut interests = plan.interests();
    interests.iter_mut().for_each(|interest| interest.lookback_ms = i64::MAX / 4);
    plan.bind(&store.set_interests(interests));
    for (labels, (points, _)) in samples {
        let Some(id) = store.lookup_labels(labels) else { continue };
        for (time_ms, value) in points {
            store.append(id, *time_ms, *value, *time_ms).expect("samples come in order");
        }
    }
    store
}

fn compare(want: &[(Labels, Sequence)], step: usize, got: &[Element]) -> Result<(), String> {
    let at_step = |sequence: &Sequence| match sequence.get(step) {
        Some(Slot::Value(value)) => Some(*value),
        Some(Slot::Nothing | Slot::Histogram) | None => None,
    };
    let want: BTreeMap<&Labels, f64> =
        want.iter().filter_map(|(labels, sequence)| Some((labels, at_step(sequence)?))).collect();
    let got: BTreeMap<&Labels, f64> = got.iter().map(|element| (&element.labels, element.value)).collect();
    let same = want.len() == got.len()
        && want
            .iter()
            .zip(&got)
            .all(|((want_labels, want), (got_labels, got))| want_labels == got_labels && close(*want, *got));
    if same { Ok(()) } else { Err(format!("is {got:?}, should be {want:?}")) }
}

fn close(want: f64, got: f64) -> bool {
    if want == got || (want.is_nan() && got.is_nan()) {
        return true;
    }
    (want - got).abs() / (want.abs() + got.abs()) < 1e-6
}

/// `name{label="value", …} values`.
fn read_series(line: &str) -> (Labels, Sequence) {
    let (name, rest) = match line.find(['{', ' ', '\t']) {
        Some(end) if line.as_bytes()[end] == b'{' && !line[end..].starts_with("{{") => line.split_at(end),
        Some(end) => line.split_at(end),
        None => (line, ""),
    };
    let mut pairs = vec![(METRIC_NAME.to_owned(), name.to_owned())];
    let mut rest = rest.trim_start();
    if rest.starts_with('{') && !rest.starts_with("{{") {
        rest = rest[1..].trim_start();
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once('=').expect("label=");
            let after = after.trim_start().strip_prefix('"').expect("a quoted value");
            let (value, after) = after.split_once('"').expect("a closed value");
            pairs.push((label.trim().to_owned(), value.to_owned()));
            rest = after.trim_start().trim_start_matches(',').trim_start();
        }
        rest = &rest[1..];
    }
    (Labels::new(pairs), read_sequence(rest))
}

fn read_sequence(mut text: &str) -> Sequence {
    let mut slots = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return slots;
        }
        let end = match text.find("}}") {
            Some(close) if text.starts_with("{{") => {
                close + text[close..].find(char::is_whitespace).unwrap_or(text.len() - close)
            }
            _ => text.find(char::is_whitespace).unwrap_or(text.len()),
        };
        let (word, rest) = text.split_at(end);
        text = rest;
        read_word(word, &mut slots);
    }
}

/// `1`, `_`, `_x3`, `stale`, `1x3`, `1+2x3`, `1-2x3`, `{{…}}`, `{{…}}x3`.
fn read_word(word: &str, slots: &mut Sequence) {
    if word.starts_with("{{") {
        let (_, times) = word.rsplit_once("}}").expect("a closed histogram");
        let times = times.strip_prefix('x').map_or(0, |n| n.parse().expect("times"));
        slots.extend(std::iter::repeat_n(Slot::Histogram, times + 1));
        return;
    }
    match word {
        "stale" => return slots.push(Slot::Value(f64::from_bits(STALE_NAN_BITS))),
        "_" => return slots.push(Slot::Nothing),
        _ => {}
    }
    if let Some(value) = number(word) {
        return slots.push(Slot::Value(value));
    }
    let (value, times) = word.rsplit_once('x').expect("value x times");
    let times: usize = times.parse().expect("times");
    if value == "_" {
        return slots.extend(std::iter::repeat_n(Slot::Nothing, times));
    }
    let (start, step) = match number(value) {
        Some(start) => (start, 0.0),
        None => {
            let sign = value[1..].find(['+', '-']).expect("start and step") + 1;
            (number(&value[..sign]).expect("a start"), number(&value[sign..]).expect("a step"))
        }
    };
    slots.extend((0..=times).map(|n| Slot::Value(start + n as f64 * step)));
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A duration as a stride through milliseconds.
fn steps(text: &str) -> usize {
    usize::try_from(duration_ms(text)).expect("a step goes forward")
}

/// `1m30s`, `10s`, `1ms`, `0`.
fn duration_ms(text: &str) -> i64 {
    let mut total = 0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let amount: i64 = rest[..digits].parse().expect("a number");
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += amount
            * match &rest[..letters] {
                "ms" => 1,
                "" | "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                unit => panic!("unit {unit:?}"),
            };
        rest = &rest[letters..];
    }
    total
}
