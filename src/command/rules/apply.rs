//! `bellwether rules apply`: the plan, the question, and the rules in force.
//!
//! The set goes to the rules topic, where its version is taken, and then as a control record into every partition of
//! observations, so that both workers of a partition switch at the same offset. Done twice, or cut short and done again,
//! it is harmless: the machine ignores a version that is not above its own.

use super::plan::{Plan, Prospect, aim};
use super::{Files, checked, sets};
use crate::command::output;
use crate::config::Config;
use crate::error::Error;
use crate::shell::kafka::Topics;
use crate::shell::kafka::log::{Log, Write, write};
use crate::shell::store::{Patience, Store};
use crate::shell::verify::present_from_snapshot;
use crate::shell::{clock, files, keys};
use crate::wire::record::RECORD_BYTES_MAX;
use crate::wire::{Control, RuleSet};
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// What the plan waits for the store of snapshots: it is shown without its alerts rather than late.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(3),
    attempt: Duration::from_secs(5),
    bytes_per_second: 500_000,
    attempts: 2,
    backoff: Duration::from_millis(200),
};

/// Flags of `bellwether rules apply`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The files.
    #[command(flatten)]
    files: Files,
    /// Show the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask. Needed where standard input is no terminal.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Leave out what would become of alerts now: it is worked out from the newest snapshot of each partition and the log
    /// behind it, which takes a while for many series.
    #[arg(long)]
    no_alerts: bool,
    /// The plan as one JSON object, and another one once it is applied.
    #[arg(long)]
    json: bool,
    /// Who applies it, for `rules list`. [default: the user's name]
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
}

/// Runs it. Exit 1 for faults, for a no, and where another set came between.
pub(super) fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let Some(set) = checked(&args.files)? else { return Ok(ExitCode::from(1)) };
    let signer = keys::signer(config)?;
    let asks = !args.yes && !args.dry_run;
    if asks && !std::io::stdin().is_terminal() {
        eprintln!(
            "bellwether: standard input is no terminal, so nobody can be asked, and nothing was applied: look at the plan \
             with --dry-run, then apply with --yes"
        );
        return Ok(ExitCode::from(2));
    }
    let topics = Topics::new(&config.kafka.topic_prefix);
    let partitions = Log::open(config, &topics.observations)?.partitions()?;
    let old = newest(config, &topics)?;
    let previous = old.as_ref().map_or(0, |set| set.version);
    let set = RuleSet {
        version: previous.saturating_add(1),
        applied_ms: clock::wall_ms(),
        author: args.author.clone().or_else(|| files::environment("USER")).unwrap_or_default(),
        partitions: i64::from(partitions),
        limits: config.limits,
        ..set
    };
    let longest = set.encode().len().max(signer.seal(0, &Control::Rules(set.clone())).len());
    if longest > RECORD_BYTES_MAX {
        eprintln!(
            "bellwether: the set takes {longest} bytes in one record, at most {RECORD_BYTES_MAX} are read: use fewer or \
             smaller files"
        );
        return Ok(ExitCode::from(1));
    }
    let prospects = if args.no_alerts { Vec::new() } else { prospects(config, &set, partitions) };
    let plan = Plan::new(old.as_ref(), &set, &topics.observations, prospects);
    let shown = if args.json { format!("{}\n", plan.in_json()) } else { plan.in_words() };
    output::print(&shown)?;
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if asks && !is_yes(&mut std::io::stdin().lock()) {
        eprintln!("bellwether: nothing was applied");
        return Ok(ExitCode::from(1));
    }
    // While somebody read the plan, somebody else may have applied another.
    let now = newest(config, &topics)?.map_or(0, |set| set.version);
    if now != previous {
        return Ok(overtaken(now));
    }
    let set = RuleSet { applied_ms: clock::wall_ms(), ..set };
    let code = put(config, &topics, &set, partitions)?;
    if code == ExitCode::SUCCESS {
        let text = match args.json {
            true => serde_json::json!({"applied": set.version}).to_string(),
            false => format!("applied {}", aim(&set, &topics.observations)),
        };
        output::line(&text)?;
    }
    Ok(code)
}

/// The newest set of the rules topic; of two with one version the one that was there first has it.
fn newest(config: &Config, topics: &Topics) -> Result<Option<RuleSet>, Error> {
    let sets = sets(config, topics)?;
    Ok(sets.into_iter().rev().max_by_key(|set| set.version))
}

/// What would become of the alerts of each partition. A store that does not answer is asked once.
fn prospects(config: &Config, set: &RuleSet, partitions: i32) -> Vec<Prospect> {
    let nowhere = |why: &str| (0..partitions).map(|partition| Prospect::unknown(partition, why)).collect();
    let store = match Store::open(&config.snapshots, PATIENCE) {
        Ok(Some(store)) => Arc::new(store),
        Ok(None) => return nowhere("snapshots.url is not set, so no snapshots are kept"),
        Err(fault) => return nowhere(&fault.to_string()),
    };
    let mut prospects = Vec::new();
    let mut broken: Option<String> = None;
    for partition in 0..partitions {
        if let Some(why) = &broken {
            prospects.push(Prospect::unknown(partition, why));
            continue;
        }
        prospects.push(match present_from_snapshot(config, &store, partition) {
            Ok((machine, begun)) => {
                let (as_of_ms, version) = (machine.clock_ms(), machine.summary().rule_set_version);
                match machine.rehearse(set) {
                    Ok(rehearsal) => Prospect::new(partition, begun, as_of_ms, version, rehearsal),
                    Err(fault) => Prospect::unknown(partition, &fault.to_string()),
                }
            }
            Err(fault) => {
                let why = fault.to_string();
                if fault.is_retryable() {
                    broken = Some(why.clone());
                }
                Prospect::unknown(partition, &why)
            }
        });
    }
    prospects
}

/// Asks on standard error. Only y and yes are yes.
fn is_yes(answers: &mut impl BufRead) -> bool {
    eprint!("apply? [y/N] ");
    let mut answer = String::new();
    let read = answers.read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

fn overtaken(version: i64) -> ExitCode {
    eprintln!(
        "bellwether: another `rules apply` took version {version} meanwhile, and nothing of this one is in force. Look at \
         `bellwether rules list`, then apply again"
    );
    ExitCode::from(1)
}

/// Writes the set to the rules topic and into every partition.
fn put(config: &Config, topics: &Topics, set: &RuleSet, partitions: i32) -> Result<ExitCode, Error> {
    let signer = keys::signer(config)?;
    let (record, control) = (set.encode(), Control::Rules(set.clone()));
    let key = set.version.to_string();
    let in_rules = Write { topic: &topics.rules, partition: 0, key: Some(key.as_bytes()), value: &record };
    write(config, &[in_rules])?;
    // Who wrote this version first has it. Another `apply` at the same moment may have been that.
    let first = sets(config, topics)?.into_iter().find(|other| other.version == set.version);
    if first.is_some_and(|first| first != *set) {
        return Ok(overtaken(set.version));
    }
    let controls: Vec<(i32, Vec<u8>)> =
        (0..partitions).map(|partition| (partition, signer.seal(partition, &control))).collect();
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
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_yes_is_yes() {
        for (answer, expected) in
            [("y\n", true), ("YES\n", true), ("\n", false), ("n\n", false), ("yep\n", false), ("", false)]
        {
            assert_eq!(is_yes(&mut answer.as_bytes()), expected, "{answer:?}");
        }
    }
}
