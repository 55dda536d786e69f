//! Preflight: what of an installation would cost alerts later, each finding with its remedy. `bellwether preflight` asks
//! for it, and every worker looks once Kafka answers.
//!
//! This file asks Kafka and ZooKeeper; `findings.rs` judges what was seen.

mod findings;
#[cfg(test)]
mod tests;

pub use findings::{CLOCK_OFFSET_MS_MAX, Finding, LiveWorker, RETENTION_INTERVALS, Seen, Severity, judge};

use crate::config::Config;
use crate::shell::kafka::admin::Admin;
use crate::shell::kafka::log::{Log, Record};
use crate::shell::kafka::{KafkaError, Topics, topics};
use crate::shell::{keys, registry, thread};
use crate::wire::keyring::Keyring;
use crate::wire::{Control, Inbound};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long ZooKeeper may take.
const ZOOKEEPER_ANSWER: Duration = Duration::from_secs(3);
/// The newest tick of a worker is looked for among so many last records of each partition.
const TICK_WITHIN: i64 = 200;
/// The group of `bellwether notify` is named as a zone's is, and is none.
const NOTIFY: &str = "notify";

/// Looks at the installation that `config` names. Waits for Kafka; does without ZooKeeper.
pub fn look(config: &Config) -> Result<Seen, KafkaError> {
    let names = Topics::new(&config.kafka.topic_prefix);
    let admin = Admin::connect(config)?;
    let prefix = format!("{}.", config.kafka.topic_prefix);
    let topics: BTreeMap<_, _> = admin
        .find(&topics::wanted(config))?
        .into_iter()
        .map(|(name, found)| (name.strip_prefix(&prefix).unwrap_or(&name).to_owned(), found))
        .collect();
    let log = Log::open(config, &names.observations)?;
    // Without keys nobody's tick is to be believed; that there are none, whoever needs them says.
    let clock_offsets_ms = match (topics.get("observations"), keys::keyring(config)) {
        (Some(found), Ok(keyring)) => clock_offsets(&log, found.partitions, &keyring)?,
        (Some(_), Err(_)) | (None, _) => BTreeMap::new(),
    };
    let workers = registry::read_all(config, ZOOKEEPER_ANSWER).ok().map(|reports| {
        let live = |report: registry::WorkerReport| LiveWorker {
            id: report.worker,
            zone: report.zone,
            http: report.http,
            snapshot_interval_ms: report.settings.snapshot_interval_ms,
        };
        reports.into_iter().map(live).collect()
    });
    Ok(Seen {
        topics,
        verifies_transactions: admin.verifies_transactions()?,
        snapshot_interval_ms: config.snapshots.interval_ms(),
        workers,
        zones: zones(&log, config)?,
        clock_offsets_ms,
    })
}

/// Looks once, on a thread of its own, and logs each finding: nobody waits for it.
pub fn log(config: &Arc<Config>) {
    let config = Arc::clone(config);
    let look = move || match look(&config) {
        Ok(seen) => {
            for Finding { code, what, remedy, .. } in judge(&seen) {
                tracing::warn!(code, remedy, "preflight: {what}");
            }
        }
        Err(fault) => tracing::warn!(%fault, "no preflight: `bellwether preflight` asks again"),
    };
    if let Err(fault) = thread::spawn("preflight", look) {
        tracing::warn!(%fault, "no thread for the preflight");
    }
}

/// The zones that have a consumer group: those that live, and those whose offsets Kafka still keeps.
pub fn zones(log: &Log, config: &Config) -> Result<Vec<String>, KafkaError> {
    let mut zones = log.groups(&format!("bellwether.{}.", config.cluster))?;
    zones.retain(|zone| zone != NOTIFY);
    Ok(zones)
}

/// By worker, the broker's stamp of its newest tick, less its own clock then: the way of the tick included.
fn clock_offsets(log: &Log, partitions: i32, keyring: &Keyring) -> Result<BTreeMap<String, i64>, KafkaError> {
    let mut newest: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    log.read_last(0..partitions, TICK_WITHIN, |record: Record| {
        let Ok(Inbound::Control(sealed)) = Inbound::read(&record.value) else { return };
        if let Ok(Control::Tick(tick)) = keyring.open(record.partition, sealed) {
            let offset_ms = record.append_ms.saturating_sub(tick.wall_ms);
            let entry = newest.entry(tick.worker).or_insert((i64::MIN, 0));
            *entry = (*entry).max((record.append_ms, offset_ms));
        }
    })?;
    Ok(newest.into_iter().map(|(worker, (_, offset_ms))| (worker, offset_ms)).collect())
}
