//! The machine of a partition as it is now: from the newest snapshot that the log still reaches, or from the log's first
//! record, replayed to the end. What a look inside needs; it asks no worker.

use super::reader::{Isolation, Reader, position_of};
use super::{Beginning, VerifyError, snapshot};
use crate::config::Config;
use crate::machine::{Action, Event, Machine, Options, Position};
use crate::shell::kafka::Topics;
use crate::shell::store::{Patience, Store};
use crate::shell::{keys, quarantine};
use crate::wire::Labels;
use rdkafka::message::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How far a sample's time may be ahead of its record's, milliseconds: the machine takes none that is further.
const AHEAD_MS: i64 = 600_000;

/// Replays a partition. `each` is shown every record that is replayed, and what the machine did at it.
pub fn present(
    config: &Config,
    partition: i32,
    mut each: impl FnMut(Position, &[Action]),
) -> Result<Machine, VerifyError> {
    let keyring = keys::keyring(config)?;
    let topic = Topics::new(&config.kafka.topic_prefix).observations;
    let mut log = Reader::open(config, &topic, Isolation::Uncommitted)?;
    let last = log.partitions()? - 1;
    if !(0..=last).contains(&partition) {
        return Err(VerifyError::NoPartition { partition, topic, last });
    }
    let (low, end) = log.range(partition)?;
    let options = Options {
        partition,
        keyring: Arc::clone(&keyring),
        hash_key: 0,
        producer_time: false,
        snapshot_interval_ms: 0,
    };
    let store = Store::open(&config.snapshots, Patience::default())?.map(Arc::new);
    let restored =
        store.map(|store| snapshot::restore(config, &store, &options, Beginning::NewestSnapshot, low));
    let mut machine = match restored {
        Some(Ok(machine)) => machine,
        None | Some(Err(VerifyError::NoSnapshot { .. })) if low == 0 => Machine::new(options),
        None => return Err(VerifyError::LogCut { partition, low }),
        Some(Err(fault)) => return Err(fault),
    };
    let skips = quarantine::read(config, partition, &keyring)?;
    log.begin(partition, machine.summary().next_offset)?;
    let mut actions = Vec::new();
    while log.position < end {
        let Some(message) = log.next(Duration::ZERO)? else { break };
        let position = position_of(&message);
        let event = if skips.contains(&position.offset) {
            Event::Quarantined(position)
        } else {
            Event::read(position, message.payload())
        };
        machine.step(event, &mut actions);
        each(position, &actions);
        actions.clear();
    }
    Ok(machine)
}

/// The offsets of the records that brought these samples: series and time. What the log does not hold any more, or what
/// a rule wrote, is not among them.
pub fn offsets(
    config: &Config,
    partition: i32,
    service_label: &str,
    wanted: &BTreeSet<(Labels, i64)>,
) -> Result<BTreeMap<(Labels, i64), i64>, VerifyError> {
    let mut found = BTreeMap::new();
    let Some(oldest_ms) = wanted.iter().map(|(_, time_ms)| *time_ms).min() else { return Ok(found) };
    let mut log =
        Reader::open(config, &Topics::new(&config.kafka.topic_prefix).observations, Isolation::Uncommitted)?;
    let (_, end) = log.range(partition)?;
    log.begin(partition, log.at_time(partition, oldest_ms.saturating_sub(AHEAD_MS))?.unwrap_or(end))?;
    while log.position < end {
        let Some(message) = log.next(Duration::ZERO)? else { break };
        let position = position_of(&message);
        let Event::Observations(_, batch) = Event::read(position, message.payload()) else { continue };
        let service = batch.service();
        let mut note = |mut labels: Labels, time_ms: i64| {
            if labels.get(service_label).is_empty() {
                labels.set(service_label, service);
            }
            let place = (labels, time_ms);
            if wanted.contains(&place) {
                found.entry(place).or_insert(position.offset);
            }
        };
        batch.samples().for_each(|sample| note(sample.labels(), sample.time_ms));
        batch.checks().for_each(|check| note(check.labels(), check.time_ms));
    }
    Ok(found)
}
