//! `bellwether snapshots list|verify|restore --dry-run`: what the store holds, whether it is whole, and what a worker
//! would make of it if it started now.

use super::output;
use crate::config::Config;
use crate::error::Error;
use crate::machine::{Machine, Options};
use crate::replica::choice::{self, Candidate, Choice, Facts, Otherwise, Refusal, Standing, Stop, Usable};
use crate::shell::kafka::Topics;
use crate::shell::kafka::consumer::Data;
use crate::shell::kafka::tail::Follower;
use crate::shell::keys;
use crate::shell::snapshot::ask::{Asked, ask};
use crate::shell::snapshot::replay::{Replay, replay};
use crate::shell::snapshot::{Site, read};
use crate::shell::store::Store;
use crate::wire::keyring::Keyring;
use crate::wire::manifest::{self, Manifest};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;

/// Flags of `bellwether snapshots`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List this cluster's snapshots: where each was cut, who wrote and who signed it. Exit 1 if one is damaged or disputed.
    List(Flags),
    /// Read every part of every snapshot, compare every hash, and build the state. Exit 1 if one is not whole.
    Verify(Flags),
    /// Show, for each partition, what a worker that starts now would begin from, and do it. Exit 1 if one would not begin.
    Restore(RestoreFlags),
}

#[derive(Debug, clap::Args)]
struct Flags {
    /// Of this partition alone.
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct RestoreFlags {
    /// Nothing is changed anywhere: the state is built, measured, and dropped. A worker restores by itself when it starts.
    #[arg(long, required = true)]
    dry_run: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Runs it.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let store = Arc::new(Store::need(&config.snapshots)?);
    match &args.action {
        Action::List(flags) => list(config, &store, flags, false),
        Action::Verify(flags) => list(config, &store, flags, true),
        Action::Restore(RestoreFlags { flags, dry_run: _ }) => restore(config, &store, flags),
    }
}

fn code(found: bool) -> ExitCode {
    ExitCode::from(u8::from(found))
}

/// One snapshot of the listing: whose it is, as its folder's name says, and what it is.
struct Line {
    partition: i32,
    candidate: Candidate,
}

fn list(config: &Config, store: &Arc<Store>, flags: &Flags, verify: bool) -> Result<ExitCode, Error> {
    let listed = store.list(&format!("{}/", config.cluster))?;
    let mut lines = Vec::new();
    for (folder, objects) in read::folders(&listed) {
        // <cluster>/<topic id>/<partition>/<engine>/<seq>-<offset>
        let Some(partition) = folder.split('/').nth(2).and_then(|part| part.parse().ok()) else { continue };
        if flags.partition.is_none_or(|only| only == partition) {
            lines.push(Line { partition, candidate: read::candidate(store, folder, &objects) });
        }
    }
    lines.sort_by(|a, b| (a.partition, &a.candidate.folder).cmp(&(b.partition, &b.candidate.folder)));
    let (mut rows, mut bad) = (Vec::new(), false);
    for line in &lines {
        let (state, is_bad) = state(store, line, verify);
        bad |= is_bad;
        if flags.json {
            if !output::line(&line.to_json(&state).to_string())? {
                break;
            }
        } else {
            rows.push(line.cells(&state));
        }
    }
    if !flags.json {
        output::print(&output::table(&Line::HEADER, &rows))?;
    }
    if lines.is_empty() {
        eprintln!("bellwether: {} holds no snapshots of cluster {:?}", store.url(), config.cluster);
    }
    Ok(code(bad))
}

/// What to say of a snapshot, and whether someone should look at it.
fn state(store: &Arc<Store>, line: &Line, verify: bool) -> (String, bool) {
    let manifest = match &line.candidate.manifest {
        Ok(manifest) => manifest,
        Err(fault) => {
            let why = Refusal::Manifest(fault.clone());
            return (why.code().to_owned(), why.is_alarming());
        }
    };
    let (standing, ..) = line.candidate.standing(manifest);
    let word = match standing {
        Standing::Cosigned => "co-signed",
        Standing::Lone => "signed once",
        Standing::Disputed => "disputed",
    };
    let bad = standing == Standing::Disputed || line.candidate.unreadable_cosigns > 0;
    if !verify {
        return (word.to_owned(), bad);
    }
    let usable =
        Usable { folder: line.candidate.folder.clone(), manifest: manifest.clone(), cosigned: false };
    // Nothing is applied to it: whose control records count does not matter.
    let nobody = Arc::new(Keyring::new("", []));
    match read::restore(store, &usable, options(&nobody, line.partition)) {
        Ok((_, spent)) => (format!("{word}, whole ({:.1?})", spent.total), bad),
        Err(why) => {
            eprintln!("bellwether: {}: {why}", line.candidate.folder);
            (why.code().to_owned(), true)
        }
    }
}

/// For a machine that is built to be looked at: the key of its look-up table is no part of its state.
fn options(keyring: &Arc<Keyring>, partition: i32) -> Options {
    Options {
        partition,
        keyring: Arc::clone(keyring),
        hash_key: 0,
        producer_time: false,
        snapshot_interval_ms: 0,
    }
}

impl Line {
    const HEADER: [&'static str; 9] =
        ["PARTITION", "SEQ", "OFFSET", "CLOCK", "RULES", "BYTES", "WRITER", "SIGNED BY", "STATE"];

    fn signers(&self, manifest: &Manifest) -> String {
        let same = self.candidate.cosigns.iter().filter(|cosign| cosign.digest == manifest.digest);
        let signers: Vec<&str> = same.map(|cosign| cosign.worker.as_str()).collect();
        if signers.is_empty() { "-".to_owned() } else { signers.join(",").escape_debug().to_string() }
    }

    fn cells(&self, state: &str) -> Vec<String> {
        let Ok(manifest) = &self.candidate.manifest else {
            let dash = || "-".to_owned();
            let folder = self.candidate.folder.rsplit('/').next().unwrap_or_default();
            let (seq, offset) = manifest::read_folder(folder).unwrap_or_default();
            let numbers = [self.partition.to_string(), seq.to_string(), offset.to_string()];
            let rest = [dash(), dash(), dash(), dash(), dash(), state.to_owned()];
            return numbers.into_iter().chain(rest).collect();
        };
        vec![
            self.partition.to_string(),
            manifest.seq.to_string(),
            manifest.next_offset.to_string(),
            output::time(manifest.clock_ms),
            manifest.rule_set_version.to_string(),
            manifest.stored_bytes.to_string(),
            manifest.worker.escape_debug().to_string(),
            self.signers(manifest),
            state.to_owned(),
        ]
    }

    fn to_json(&self, state: &str) -> Value {
        let Candidate { folder, manifest, cosigns, unreadable_cosigns } = &self.candidate;
        let base = json!({ "partition": self.partition, "folder": folder, "state": state });
        let Ok(manifest) = manifest else { return base };
        let mut line = base;
        line["manifest"] = json!(manifest);
        line["cosigns"] = json!(cosigns);
        line["unreadable_cosigns"] = json!(unreadable_cosigns);
        line
    }
}

fn restore(config: &Config, store: &Arc<Store>, flags: &Flags) -> Result<ExitCode, Error> {
    let topic = Topics::new(&config.kafka.topic_prefix).observations;
    let data = Data::start(config, &topic)?;
    let follower = Follower::start(config)?;
    let count = data.partition_count()?;
    let keyring = keys::keyring(config)?;
    let mut bad = false;
    for partition in (0..count).filter(|partition| flags.partition.is_none_or(|only| only == *partition)) {
        let asked = ask(config, &topic, &data, &follower, partition)?;
        let site = Site::new(config, &topic, &asked.topic_id, partition, count);
        let plan = plan(store, &site, &data, &options(&keyring, partition), &asked)?;
        bad |= plan.stops;
        let more =
            if flags.json { output::line(&plan.json.to_string())? } else { output::print(&plan.text)? };
        if !more {
            break;
        }
    }
    Ok(code(bad))
}

struct Plan {
    text: String,
    json: Value,
    stops: bool,
}

fn plan(
    store: &Arc<Store>,
    site: &Site,
    data: &Data,
    options: &Options,
    asked: &Asked,
) -> Result<Plan, Error> {
    let facts = &asked.facts;
    let Choice { usable, refused, otherwise } =
        choice::choose(&site.own, facts, &read::candidates(store, site)?);
    let mut refused: Vec<(String, Refusal)> =
        refused.into_iter().map(|refused| (refused.folder, refused.why)).collect();
    let mut restored = None;
    for usable in usable {
        match read::restore(store, &usable, options.clone()) {
            Ok((machine, spent)) => {
                restored = Some((usable, machine, spent));
                break;
            }
            Err(why) => refused.push((usable.folder, why)),
        }
    }
    let found = Found { site, facts, refused: &refused, data };
    Ok(match (restored, otherwise) {
        (Some((usable, machine, spent)), _) => found.restores(&usable, machine, &spent),
        (None, Otherwise::WholeLog | Otherwise::NewInstallation { .. }) => {
            found.replays(Machine::new(options.clone()))
        }
        (None, Otherwise::Stop(stop)) => found.stops(&stop),
    })
}

/// What was found of one partition, to be told in words and in JSON.
struct Found<'f> {
    site: &'f Site,
    facts: &'f Facts,
    refused: &'f [(String, Refusal)],
    data: &'f Data,
}

impl Found<'_> {
    /// What is said whatever follows.
    fn base(&self) -> (String, Value) {
        let (partition, facts) = (self.site.own.partition, self.facts);
        let marker = facts.marker.as_ref().map(|marker| marker.seq);
        let reason = |(folder, why): &(String, Refusal)| json!({ "folder": folder, "code": why.code(), "why": why.to_string() });
        let reasons: Vec<Value> = self.refused.iter().map(reason).collect();
        let json = json!({
            "partition": partition, "low": facts.low, "high": facts.high, "marker_seq": marker, "refused": reasons,
        });
        let marker = marker.map_or("none".to_owned(), |seq| format!("at seq {seq}"));
        let mut text =
            format!("partition {partition}: log {} to {}, marker {marker}\n", facts.low, facts.high);
        for (folder, why) in self.refused {
            text += &format!("  not {folder}: {why}\n");
        }
        (text, json)
    }

    fn restores(&self, usable: &Usable, machine: Machine, spent: &read::Spent) -> Plan {
        let (mut text, mut json) = self.base();
        let Manifest { seq, next_offset, .. } = usable.manifest;
        let ahead = replay(self.data, machine, self.site.own.partition, next_offset, self.facts.high);
        let signed = if usable.cosigned { "co-signed" } else { "signed once" };
        text += &format!(
            "  restores {} ({signed}, seq {seq}) in {:.2?}, then replays {}\n",
            usable.folder,
            spent.total,
            ahead.words()
        );
        json["restores"] = json!(usable.folder);
        json["cosigned"] = json!(usable.cosigned);
        json["seq"] = json!(seq);
        json["restore_ms"] = json!(spent.total.as_millis());
        put(&mut json, &ahead);
        Plan { text, json, stops: false }
    }

    fn replays(&self, machine: Machine) -> Plan {
        let (mut text, mut json) = self.base();
        let (low, high) = (self.facts.low, self.facts.high);
        let ahead = replay(self.data, machine, self.site.own.partition, low, high);
        text += &format!("  restores nothing, and replays the log from its beginning: {}\n", ahead.words());
        json["restores"] = Value::Null;
        put(&mut json, &ahead);
        Plan { text, json, stops: false }
    }

    fn stops(&self, stop: &Stop) -> Plan {
        let (mut text, mut json) = self.base();
        text += &format!("  does not begin: {stop}\n");
        json["stops"] = json!({ "code": stop.code(), "why": stop.to_string() });
        Plan { text, json, stops: true }
    }
}

fn put(json: &mut Value, ahead: &Replay) {
    json["replay_records"] = json!(ahead.records);
    json["replay_ms"] = json!(ahead.about().map(|about| about.as_millis()));
}
