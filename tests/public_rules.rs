//! Public rule files, as their authors wrote them: each loads, and each of its expressions is evaluated over series made
//! for it, without a fault. `RULES_DIR` names the folder; without it, nothing is run.
//!
//! For every selector of every rule a few series are made: with the labels that it pins, with one that its regular
//! expressions match where a simple one can be found, and with counters that grow, fall and stop.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test that reads data files reads files, and may panic"
)]

use bellwether::machine::promql::{Plan, Value};
use bellwether::machine::rules::lint::{Site, lint};
use bellwether::machine::rules::{Kind, load};
use bellwether::machine::series::{Selector, Store};
use bellwether::wire::{Labels, Limits, RuleFile, RuleSet, labels::METRIC_NAME};
use regex::Regex;
use std::path::{Path, PathBuf};

/// Series are sampled each half minute for two hours, and rules evaluated each minute of the last ten.
const STEP_MS: i64 = 30_000;
const END_MS: i64 = 2 * 3_600_000;

#[test]
fn every_public_rule_loads_and_is_evaluated() {
    let Ok(folder) = std::env::var("RULES_DIR") else {
        eprintln!("RULES_DIR names no folder: no public rules are tried");
        return;
    };
    let (mut lints, mut spanning) = (0, 0);
    let (mut files, mut alerts, mut recordings, mut evaluations, mut elements) = (0, 0, 0, 0, 0);
    for path in rule_files(Path::new(&folder)) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let content = std::fs::read_to_string(&path).expect("a rule file is text");
        let set = RuleSet {
            version: 1,
            applied_ms: 0,
            author: String::new(),
            service_label: "service".to_owned(),
            files: vec![RuleFile { name: name.clone(), content }],
            limits: Limits::default(),
            partitions: 0,
        };
        let site = Site { partitions: 1, scrape_interval_ms: 15_000 };
        let found = lint(&set, site);
        lints += found.len();
        assert!(found.iter().all(|lint| lint.code != "spans-services"), "{name}: {found:?}");
        let several = lint(&set, Site { partitions: 8, ..site });
        spanning += several.iter().filter(|lint| lint.code == "spans-services").count();
        let compiled = load(&set).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        files += 1;
        for rule in compiled.groups.into_iter().flat_map(|group| group.rules) {
            match rule.kind {
                Kind::Alerting(_) => alerts += 1,
                Kind::Recording => recordings += 1,
            }
            let what = format!("{name}: {}: {}", rule.name, rule.expression);
            let (times, found) = evaluate(&what, &joined_on(&rule.expression), rule.plan);
            evaluations += times;
            elements += found;
        }
    }
    println!(
        "{files} files: {alerts} alerts and {recordings} recordings load; {evaluations} evaluations without a fault, \
         {elements} elements; {lints} lints with one partition; {spanning} rules span services with several"
    );
    assert!(alerts + recordings > 0, "{folder} holds no rule");
}

fn rule_files(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yml" || extension == "yaml"));
    files.sort();
    files
}

/// The labels by which an expression joins and groups: series that carry them find their like.
fn joined_on(expression: &str) -> Vec<String> {
    let lists = Regex::new(r"(?i)\b(?:on|by|group_left|group_right)\s*\(([^)]*)\)").expect("a regex");
    let names = lists
        .captures_iter(expression)
        .flat_map(|found| found[1].split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>());
    names.filter(|name| !name.is_empty()).collect()
}

/// How often an expression was evaluated, and how many elements it gave.
fn evaluate(what: &str, joined_on: &[String], mut plan: Plan) -> (usize, usize) {
    let mut store = Store::new(11);
    let mut interests = plan.interests();
    let made: Vec<Labels> =
        interests.iter().flat_map(|interest| series_for(&interest.selector, joined_on)).collect();
    interests.iter_mut().for_each(|interest| interest.lookback_ms = i64::MAX / 4);
    plan.bind(&store.set_interests(interests));
    for (number, labels) in made.iter().enumerate() {
        let Some(id) = store.lookup_labels(labels) else { continue };
        for step in 0..=END_MS / STEP_MS {
            // Every third series falls to zero now and then, and every fourth stops.
            let stops = number % 4 == 3 && step > 200;
            let value = if number % 3 == 2 { step % 37 } else { step * (number as i64 + 1) };
            if !stops {
                // A series that two selectors made is there already.
                _ = store.append(id, step * STEP_MS, value as f64, step * STEP_MS);
            }
        }
    }
    let mut elements = 0;
    for minute in 0..=10 {
        let value = plan.evaluate(&store, END_MS - minute * 60_000);
        if let Value::Vector(found) = value.unwrap_or_else(|fault| panic!("{what}: {fault}")) {
            elements += found.len();
        }
    }
    (11, elements)
}

/// Two instances of a series that a selector selects; none where a regular expression is not simple.
fn series_for(selector: &Selector, joined_on: &[String]) -> Vec<Labels> {
    let instance = |instance: &str| {
        let mut labels = Labels::new([(METRIC_NAME, "made_up"), ("instance", instance), ("job", "made")]);
        joined_on.iter().for_each(|name| labels.set(name, instance));
        for matcher in selector.matchers() {
            let words = matcher
                .value()
                .split(['|', '(', ')', '^', '$'])
                .map(|word| word.replace(".*", "").replace(".+", "x"));
            let candidates =
                [labels.get(matcher.name()).to_owned(), matcher.value().to_owned(), "other".to_owned()];
            let fits = candidates.into_iter().chain(words).find(|value| matcher.matches(value));
            labels.set(matcher.name(), &fits.unwrap_or_default());
        }
        labels
    };
    [instance("one"), instance("two")].into_iter().filter(|labels| selector.matches(labels)).collect()
}
