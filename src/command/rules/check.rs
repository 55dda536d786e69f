//! `bellwether rules check`: every fault of rule files at once, and what gives to think.
//!
//! Exit codes are promtool's: 0 no fault, 1 a fault or a file that cannot be read, 3 a lint and `--lint-fatal`.

use super::{counted, rule_set};
use crate::command::output;
use crate::config::Config;
use crate::error::Error;
use crate::machine::rules::lint::{self, CODES, Lint, SELECTS_NOTHING, Site};
use crate::machine::rules::{self, Kind, duration};
use crate::machine::{Machine, Options};
use crate::replica::choice::Usable;
use crate::shell::files;
use crate::shell::snapshot::read;
use crate::shell::store::Store;
use crate::wire::keyring::Keyring;
use crate::wire::{Limits, RuleFile, RuleSet, manifest::Manifest};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Flags of `bellwether rules check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Rule files, as Prometheus has them; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Label that holds the service of a batch on each of its series that has none of that name.
    #[arg(long, default_value = "service", value_name = "LABEL")]
    service_label: String,
    /// Lints to look for, comma separated: all, none, or among duplicate-rules, for-below-interval, few-samples, fixed-at,
    /// spans-services, selects-nothing.
    #[arg(long, default_value = "all", value_name = "LINTS", value_parser = lints)]
    lint: Wanted,
    /// Exit 3 if there is a lint.
    #[arg(long)]
    lint_fatal: bool,
    /// Partitions of observations that the rules will run on. [default: kafka.partitions of the configuration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Time between two samples of a series: functions such as rate() need two in their window.
    #[arg(long, default_value = "15s", value_name = "DURATION", value_parser = interval_ms)]
    scrape_interval: i64,
    /// Look into the newest snapshots of each partition for selectors that select nothing. Needs snapshots.url.
    #[arg(long)]
    snapshots: bool,
}

/// The codes that `--lint` asks for.
#[derive(Debug, Clone)]
struct Wanted(Vec<&'static str>);

fn lints(text: &str) -> Result<Wanted, String> {
    let mut codes = Vec::new();
    for word in text.split(',').map(str::trim) {
        match (word, CODES.iter().find(|code| **code == word)) {
            ("all", _) => codes.extend(CODES),
            ("none", _) => {}
            (_, Some(code)) => codes.push(*code),
            (_, None) => return Err(format!("{word:?} is none of all, none, {}", CODES.join(", "))),
        }
    }
    Ok(Wanted(codes))
}

fn interval_ms(text: &str) -> Result<i64, String> {
    let ms = duration::parse_ms(text).filter(|ms| *ms > 0);
    ms.ok_or_else(|| format!("{text:?} is no duration above 0; write 15s, 1m or 1m30s"))
}

/// Runs it.
pub(super) fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let (mut read, mut faults) = (Vec::new(), Vec::new());
    for path in &args.files {
        let name = path.display().to_string();
        let content = if name == "-" { files::read_stdin() } else { files::read_text(path) };
        match content {
            Ok(content) => {
                read.push(RuleFile { name: if name == "-" { "stdin".to_owned() } else { name }, content })
            }
            Err(fault) => faults.push(fault.to_string()),
        }
    }
    let set = rule_set(read, &args.service_label, Limits::default());
    let count = counted(set.files.len(), "file");
    let compiled = rules::load(&set);
    faults.extend(compiled.as_ref().err().into_iter().flatten().map(ToString::to_string));
    for fault in &faults {
        output::line(fault)?;
    }
    let Some(compiled) = compiled.ok().filter(|_| faults.is_empty()) else {
        eprintln!("bellwether: {count}, {}", counted(faults.len(), "fault"));
        return Ok(ExitCode::from(1));
    };
    let kinds = compiled.groups.iter().flat_map(|group| &group.rules).map(|rule| &rule.kind);
    let alerts = kinds.clone().filter(|kind| matches!(kind, Kind::Alerting(_))).count();
    let recordings = kinds.count() - alerts;
    let partitions = args.partitions.unwrap_or(config.kafka.partitions);
    let mut lints = lint::lint(&set, Site { partitions, scrape_interval_ms: args.scrape_interval });
    if args.snapshots && args.lint.0.contains(&SELECTS_NOTHING) {
        lints.extend(selects_nothing(&set, config)?);
    }
    lints.retain(|lint| args.lint.0.contains(&lint.code));
    for lint in &lints {
        output::line(&lint.to_string())?;
    }
    if lints.iter().any(|lint| lint.code == "spans-services") {
        output::print(&ways_out(&args.service_label, partitions))?;
    }
    let rules = format!("{}, {}", counted(alerts, "alert"), counted(recordings, "recording"));
    eprintln!("bellwether: {count} ({rules}), no fault, {}", counted(lints.len(), "lint"));
    Ok(ExitCode::from(if args.lint_fatal && !lints.is_empty() { 3 } else { 0 }))
}

/// What to do about rules that span services.
fn ways_out(label: &str, partitions: i32) -> String {
    format!(
        "A service's series are in one of {partitions} partitions, and a rule sees one partition. Three ways out for what \
         spans services:\n  \
         1. tell services apart: sum by ({label}, …), on ({label}, …), or pin one: {{{label}=\"…\"}}\n  \
         2. one partition: kafka.partitions: 1 when the topics are made (--partitions 1 checks for that)\n  \
         3. record it where the series are made, and send what is recorded as a series of one service\n"
    )
}

/// Lints of selectors that select nothing in the newest snapshot of any partition.
fn selects_nothing(set: &RuleSet, config: &Config) -> Result<Vec<Lint>, Error> {
    let store = Arc::new(Store::need(&config.snapshots)?);
    let machines = newest(&store, &config.cluster)?;
    if machines.is_empty() {
        eprintln!(
            "bellwether: {} holds no snapshots of cluster {:?} that can be read",
            store.url(),
            config.cluster
        );
        return Ok(Vec::new());
    }
    // In one partition it may select nothing and in another something.
    let (lints, unknown) = lint::selects_nothing(set, |selector| {
        machines.iter().filter_map(|machine| machine.selects(selector)).max()
    });
    eprintln!(
        "bellwether: {} looked into; {} no rule in force has, so that nothing is known of what they select",
        counted(machines.len(), "snapshot"),
        counted(unknown, "selector")
    );
    Ok(lints)
}

/// The newest snapshot of each partition that is whole.
fn newest(store: &Arc<Store>, cluster: &str) -> Result<Vec<Machine>, Error> {
    let listed = store.list(&format!("{cluster}/"))?;
    let mut found: BTreeMap<i32, Vec<(String, Manifest)>> = BTreeMap::new();
    for (folder, objects) in read::folders(&listed) {
        // <cluster>/<topic id>/<partition>/<engine>/<seq>-<offset>
        let Some(partition) = folder.split('/').nth(2).and_then(|part| part.parse().ok()) else { continue };
        if let Ok(manifest) = read::candidate(store, folder.clone(), &objects).manifest {
            found.entry(partition).or_default().push((folder, manifest));
        }
    }
    let nobody = Arc::new(Keyring::new("", []));
    let mut machines = Vec::new();
    for (partition, mut candidates) in found {
        candidates.sort_by_key(|(_, manifest)| std::cmp::Reverse((manifest.clock_ms, manifest.next_offset)));
        let options = Options {
            partition,
            keyring: Arc::clone(&nobody),
            hash_key: 0,
            producer_time: false,
            snapshot_interval_ms: 0,
        };
        for (folder, manifest) in candidates {
            let usable = Usable { folder, manifest, cosigned: false };
            match read::restore(store, &usable, options.clone()) {
                Ok((machine, _)) => {
                    machines.push(machine);
                    break;
                }
                Err(why) => eprintln!("bellwether: {}: {why}", usable.folder),
            }
        }
    }
    Ok(machines)
}
