//! `bellwether rules check|test|diff|apply|list|explain`: rule files, checked by the machine's own loader and tried by its own
//! evaluator, and the sets in the log.

mod apply;
mod check;
mod diff;
mod explain;
mod list;
mod plan;
mod test;

use super::output;
use crate::config::Config;
use crate::error::Error;
use crate::machine::rules;
use crate::shell::files;
use crate::shell::kafka::Topics;
use crate::shell::kafka::log::Log;
use crate::wire::{Inbound, Limits, RuleFile, RuleSet};
use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of `bellwether rules`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check rule files: every fault with its file, line and column, and what gives to think. Exit 1 if there is a fault.
    Check(check::Args),
    /// Run unit tests of rules, in promtool's format. Exit 1 if one fails.
    Test(test::Args),
    /// Say which rules an edit adds, changes and removes. Exit 1 if there is a difference.
    Diff(diff::Args),
    /// Check rule files, show the plan, ask, and put them in force: the whole set, in place of the one before.
    Apply(apply::Args),
    /// Say why a rule fires, waits or is quiet: its expression part by part with every value at the last evaluation, the
    /// samples behind it with their offsets, its timers, and how near it is. From the newest snapshot and the log.
    Explain(explain::Args),
    /// List the versions in the rules topic, newest first, and where each is active.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Files {
    /// Rule files, as Prometheus has them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Label that holds the service of a batch on each of its series that has none of that name.
    #[arg(long, default_value = "service", value_name = "LABEL")]
    service_label: String,
}

/// Runs it.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    match &args.action {
        Action::Check(args) => check::run(args, config),
        Action::Test(args) => test::run(args, config),
        Action::Diff(args) => diff::run(args, config),
        Action::Apply(args) => apply::run(args, config),
        Action::Explain(args) => explain::run(args, config),
        Action::List { json } => list::run(config, *json),
    }
}

/// The set that files make, version 1, in order of their names; a file that is named twice stands in it once.
fn rule_set(mut files: Vec<RuleFile>, service_label: &str, limits: Limits) -> RuleSet {
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files.dedup_by(|a, b| a.name == b.name);
    RuleSet {
        version: 1,
        applied_ms: 0,
        author: String::new(),
        service_label: service_label.to_owned(),
        files,
        limits,
        partitions: 0,
    }
}

/// The set that the files make; none if they have faults, which are then printed.
fn checked(files: &Files) -> Result<Option<RuleSet>, Error> {
    let mut read = Vec::new();
    for path in &files.files {
        read.push(RuleFile { name: path.display().to_string(), content: files::read_text(path)? });
    }
    let set = rule_set(read, &files.service_label, Limits::default());
    match rules::load(&set) {
        Ok(_) => Ok(Some(set)),
        Err(faults) => {
            for fault in &faults {
                output::line(&fault.to_string())?;
            }
            eprintln!("bellwether: {}", counted(faults.len(), "fault"));
            Ok(None)
        }
    }
}

/// Every readable set of the rules topic, in the order of the log.
fn sets(config: &Config, topics: &Topics) -> Result<Vec<RuleSet>, Error> {
    let log = Log::open(config, &topics.rules)?;
    let partitions = log.partitions()?;
    let mut sets = Vec::new();
    log.read_all(0..partitions, |record| match RuleSet::read(&record.value) {
        Ok(set) => sets.push(set),
        // A record in quarantine, which stands beside the sets.
        Err(_) if matches!(Inbound::read(&record.value), Ok(Inbound::Control(_))) => {}
        Err(fault) => {
            tracing::warn!(offset = record.offset, %fault, "a record of the rules topic cannot be read")
        }
    })?;
    Ok(sets)
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// First 12 hexadecimal digits of BLAKE3 over the files' names and contents, and the release of the time zones that
/// their baselines use: equal for rules that mean the same, whoever applied them and when.
fn short_hash(set: &RuleSet) -> String {
    let set = RuleSet { version: 1, applied_ms: 0, author: String::new(), partitions: 0, ..set.clone() };
    let zones = rules::load(&set).ok().and_then(|compiled| compiled.zones());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&set.encode());
    hasher.update(zones.unwrap_or_default().as_bytes());
    hasher.finalize().to_hex()[..12].to_owned()
}
