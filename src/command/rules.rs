//! `bellwether rules check|test|diff|apply|list|explain`: rule files, checked by the machine's own loader and tried by its own
//! evaluator, and the sets in the log.
//!
//! `apply` writes the set to the rules topic, where its version is taken, and then a control record into every
//! partition of observations, so that both workers of a partition switch at the same offset. Done twice, or cut short
//! and done again, it is harmless: the machine ignores a version that is not above its own.

mod check;
mod diff;
mod explain;
mod list;
mod test;

use super::output;
use crate::config::Config;
use crate::error::Error;
use crate::machine::rules;
use crate::shell::kafka::Topics;
use crate::shell::kafka::log::{Log, Write, write};
use crate::shell::{clock, files, keys};
use crate::wire::record::RECORD_BYTES_MAX;
use crate::wire::{Control, Inbound, Limits, RuleFile, RuleSet};
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
    /// Check rule files and put them in force: the whole set, in place of the one before.
    Apply {
        /// The files.
        #[command(flatten)]
        files: Files,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
        /// Who applies it, for `rules list`. [default: the user's name]
        #[arg(long, value_name = "NAME")]
        author: Option<String>,
    },
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
        Action::Apply { files, dry_run, author } => {
            let Some(set) = checked(files)? else { return Ok(ExitCode::from(1)) };
            let set = RuleSet { limits: config.limits, ..set };
            apply(config, set, author.clone(), *dry_run)
        }
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

fn apply(config: &Config, set: RuleSet, author: Option<String>, dry_run: bool) -> Result<ExitCode, Error> {
    let signer = keys::signer(config)?;
    let topics = Topics::new(&config.kafka.topic_prefix);
    let partitions = Log::open(config, &topics.observations)?.partitions()?;
    let newest = sets(config, &topics)?.into_iter().map(|set| set.version).max().unwrap_or(0);
    let author = author.or_else(|| files::environment("USER")).unwrap_or_default();
    let set = RuleSet {
        version: newest.saturating_add(1),
        applied_ms: clock::wall_ms(),
        author,
        partitions: i64::from(partitions),
        ..set
    };
    let (record, control) = (set.encode(), Control::Rules(set.clone()));
    let controls = (0..partitions).map(|partition| (partition, signer.seal(partition, &control)));
    let controls: Vec<(i32, Vec<u8>)> = controls.collect();
    let longest = controls.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
    if record.len().max(longest) > RECORD_BYTES_MAX {
        eprintln!(
            "bellwether: the set takes {} bytes in one record, at most {RECORD_BYTES_MAX} are read: use fewer or \
             smaller files",
            record.len().max(longest)
        );
        return Ok(ExitCode::from(1));
    }
    let summary = format!(
        "version {} ({}, {}) to {} of {}",
        set.version,
        counted(set.files.len(), "file"),
        short_hash(&set),
        counted(usize::try_from(partitions).unwrap_or_default(), "partition"),
        topics.observations
    );
    if dry_run {
        output::line(&format!("would apply {summary}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let key = set.version.to_string();
    let in_rules = Write { topic: &topics.rules, partition: 0, key: Some(key.as_bytes()), value: &record };
    write(config, &[in_rules])?;
    // Who wrote this version first has it. Another `apply` at the same moment may have been that.
    let first = sets(config, &topics)?.into_iter().find(|other| other.version == set.version);
    if first.is_some_and(|first| first != set) {
        eprintln!(
            "bellwether: another `rules apply` took version {} at this moment. Look at `bellwether rules list`, \
             then apply again",
            set.version
        );
        return Ok(ExitCode::from(1));
    }
    let everywhere: Vec<Write<'_>> = controls
        .iter()
        .map(|(partition, value)| Write {
            topic: &topics.observations,
            partition: *partition,
            key: None,
            value,
        })
        .collect();
    if let Err(fault) = write(config, &everywhere) {
        eprintln!(
            "bellwether: version {} may be in some partitions and not in others: apply again, which makes the next \
             version and puts it into all",
            set.version
        );
        return Err(fault.into());
    }
    output::line(&format!("applied {summary}"))?;
    Ok(ExitCode::SUCCESS)
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
