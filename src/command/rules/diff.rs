//! `bellwether rules diff OLD NEW`: which rules an edit adds, changes and removes, by group and name.
//!
//! Exit codes are those of `diff`: 0 they say the same, 1 they differ, 2 one of them cannot be read.

use super::{counted, rule_set, sets};
use crate::command::output;
use crate::config::Config;
use crate::error::Error;
use crate::machine::rules;
use crate::machine::rules::compare::{Change, Difference, Subject, compare};
use crate::shell::files;
use crate::shell::kafka::Topics;
use crate::wire::{Limits, RuleFile, RuleSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `bellwether rules diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A rule file, a folder of them (*.yaml, *.yml), or a version of `rules list`.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The same.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let (Some(old), Some(new)) = (read(&args.old, config)?, read(&args.new, config)?) else {
        return Ok(ExitCode::from(2));
    };
    let differences = compare(&old, &new);
    for difference in &differences {
        let text = if args.json { format!("{}\n", in_json(difference)) } else { in_words(difference) };
        if !output::print(&text)? {
            break;
        }
    }
    let count = |wanted: fn(&Change) -> bool| differences.iter().filter(|d| wanted(&d.change)).count();
    eprintln!(
        "bellwether: {} added, {} changed, {} removed",
        count(|change| *change == Change::Added),
        count(|change| matches!(change, Change::Changed(_))),
        count(|change| *change == Change::Removed)
    );
    Ok(ExitCode::from(u8::from(!differences.is_empty())))
}

/// A set without faults; none where there is none of that name, or it has faults: then that is said.
fn read(path: &Path, config: &Config) -> Result<Option<RuleSet>, Error> {
    let name = path.display().to_string();
    let set = match name.parse::<i64>() {
        Ok(version) if !files::exists(path) => {
            let found = sets(config, &Topics::new(&config.kafka.topic_prefix))?;
            let Some(set) = found.into_iter().find(|set| set.version == version) else {
                eprintln!("bellwether: there is no version {version}: look at `bellwether rules list`");
                return Ok(None);
            };
            set
        }
        Ok(_) | Err(_) => from_files(path)?,
    };
    match rules::load(&set) {
        Ok(_) => Ok(Some(set)),
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            eprintln!("bellwether: {name}: {}", counted(faults.len(), "fault"));
            Ok(None)
        }
    }
}

fn from_files(path: &Path) -> Result<RuleSet, Error> {
    let inside =
        files::names(path).into_iter().filter(|name| name.ends_with(".yaml") || name.ends_with(".yml"));
    let mut paths: Vec<PathBuf> = inside.map(|name| path.join(name)).collect();
    if paths.is_empty() {
        paths.push(path.to_owned());
    }
    let mut read = Vec::new();
    for path in paths {
        read.push(RuleFile { name: path.display().to_string(), content: files::read_text(&path)? });
    }
    Ok(rule_set(read, "service", Limits::default()))
}

pub(super) fn in_words(Difference { subject, file, place, change }: &Difference) -> String {
    let (mark, keys) = match change {
        Change::Added => ('+', &[][..]),
        Change::Removed => ('-', &[][..]),
        Change::Changed(keys) => ('~', keys.as_slice()),
    };
    let one_line = |text: &str| {
        if text.is_empty() {
            "(none)".to_owned()
        } else {
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        }
    };
    let keys =
        keys.iter().map(|(key, old, new)| format!("    {key}: {} -> {}\n", one_line(old), one_line(new)));
    format!("{mark} {subject}  {file}:{place}\n{}", keys.collect::<String>())
}

pub(super) fn in_json(Difference { subject, file, place, change }: &Difference) -> serde_json::Value {
    let mut line = serde_json::json!({"file": file, "line": place.line, "column": place.column});
    match subject {
        Subject::Baseline(name) => line["baseline"] = name.as_str().into(),
        Subject::Group(name) => line["group"] = name.as_str().into(),
        Subject::Rule { group, name, alerts, labels, number: _ } => {
            line["group"] = group.as_str().into();
            line[if *alerts { "alert" } else { "record" }] = name.as_str().into();
            line["labels"] =
                labels.iter().cloned().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect();
        }
    }
    match change {
        Change::Added => line["change"] = "added".into(),
        Change::Removed => line["change"] = "removed".into(),
        Change::Changed(keys) => {
            line["change"] = "changed".into();
            line["keys"] = keys
                .iter()
                .map(|(key, old, new)| serde_json::json!({"key": key, "old": old, "new": new}))
                .collect::<Vec<_>>()
                .into();
        }
    }
    line
}
