//! Prometheus's format of expression tests, run as data: what is loaded, what is asked, what must come of it.
//!
//! ```text
//!  PROMQLTEST_DIR=<folder> cargo test --test promqltest -- --nocapture
//! ```
//!
//! runs every `*.test` of that folder as well as our own, `tests/promql/*.test`, and prints for each file how many evals
//! passed and failed, with the first that differs. Nothing is skipped in silence: what needs a native histogram, which
//! no series of ours can be, is counted apart, and so is what is refused by name.
//!
//! The folder's files are Prometheus's, and are judged as its own runner judges them: with the experimental functions,
//! arithmetic on durations, and metric names dropped late (`promql-delayed-name-removal`). How many of them also agree
//! with names dropped at once, which is Prometheus's default and what rules get, is printed beside. Our own are judged
//! with names dropped at once, and those in `tests/promql/late_names/` with names dropped late.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test that reads data files reads files, and may panic"
)]

mod judge;
mod script;

use judge::{Judgement, judge};
use script::Command;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What came of one file.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    /// Of those that passed: agree with the other way of dropping names, too.
    either_way: usize,
    native: usize,
    /// By the name of what is refused.
    refused: BTreeMap<String, usize>,
    failed: Vec<String>,
}

#[test]
fn our_own_expression_tests_pass() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql");
    let tallies = [run_folder(&own, false), run_folder(&own.join("late_names"), true)];
    let failed: Vec<String> = tallies.into_iter().flat_map(|tally| tally.failed).collect();
    assert!(failed.is_empty(), "{} evals differ:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn the_expression_tests_of_the_folder_that_is_named_pass() {
    let Ok(folder) = std::env::var("PROMQLTEST_DIR") else {
        eprintln!("PROMQLTEST_DIR names no folder: only our own expression tests are run");
        return;
    };
    let tally = run_folder(Path::new(&folder), true);
    assert!(tally.failed.is_empty(), "{} evals differ:\n{}", tally.failed.len(), tally.failed.join("\n"));
}

/// Runs every file of a folder and prints what came of it.
fn run_folder(folder: &Path, late_names: bool) -> Tally {
    let entries = folder.read_dir().unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    assert!(!files.is_empty(), "{} holds no *.test", folder.display());
    let mut all = Tally::default();
    for file in files {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        // A test may hold bytes that are no text, to show that they are refused.
        let text = String::from_utf8_lossy(&std::fs::read(&file).expect("a readable file")).into_owned();
        let tally = run(&name, &text, late_names);
        println!("{name}: {tally}");
        if let Some(first) = tally.failed.first() {
            println!("    first: {first}");
        }
        all.add(tally);
    }
    println!("{}: {all}", folder.display());
    all
}

fn run(file: &str, text: &str, late_names: bool) -> Tally {
    let mut tally = Tally::default();
    let mut loaded = judge::Loaded::default();
    for (line, command) in script::commands(text) {
        match command {
            Ok(Command::Clear) => loaded.clear(),
            Ok(Command::Load(load)) => loaded.add(load),
            Ok(Command::Eval(eval)) => match judge(&eval, &loaded, late_names) {
                Judgement::Passed => {
                    tally.passed += 1;
                    let other = judge(&eval, &loaded, !late_names);
                    tally.either_way += usize::from(matches!(other, Judgement::Passed));
                }
                Judgement::Native => tally.native += 1,
                Judgement::Refused(what) => *tally.refused.entry(what).or_default() += 1,
                Judgement::Failed(why) => tally.failed.push(format!("{file}:{line}: {}: {why}", eval.expr)),
            },
            Err(why) => tally.failed.push(format!("{file}:{line}: {why}")),
        }
    }
    tally
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.either_way += other.either_way;
        self.native += other.native;
        self.failed.extend(other.failed);
        for (what, count) in other.refused {
            *self.refused.entry(what).or_default() += count;
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passed, either_way, native, refused, failed } = self;
        write!(f, "{passed} passed, {} failed", failed.len())?;
        write!(f, "; apart: {native} need a native histogram")?;
        for (what, count) in refused {
            write!(f, ", {count} refused: {what}")?;
        }
        write!(f, " ({either_way} pass whenever names are dropped)")
    }
}
