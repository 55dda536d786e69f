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

/// The snapshot that a machine began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Its folder in the store.
    pub folder: String,
    /// The partition's clock in it, milliseconds since the epoch.
    pub clock_ms: i64,
}

/// Replays a partition. `each` is shown every record that is replayed, and what the machine did at it.
pub fn present(
    config: &Config,
    partition: i32,
    each: impl FnMut(Position, &[Action]),
) -> Result<Machine, VerifyError> {
    let store = Store::open(&config.snapshots, Patience::default())?.map(Arc::new);
    let mut log = Log::open(config, partition)?;
    let restored = store.map(|store| log.restore(config, &store));
    let machine = match restored {
        Some(Ok((machine, _))) => machine,
        None | Some(Err(VerifyError::NoSnapshot { .. })) if log.low == 0 => Machine::new(log.options.clone()),
        None => return Err(VerifyError::LogCut { partition, low: log.low }),
        Some(Err(fault)) => return Err(fault),
    };
    log.replay(config, machine, each)
}

/// The same from the newest snapshot only: without one it is an error, however far back the log reaches.
pub fn present_from_snapshot(
    config: &Config,
    store: &Arc<Store>,
    partition: i32,
) -> Result<(Machine, Begun), VerifyError> {
    let mut log = Log::open(config, partition)?;
    let (machine, begun) = log.restore(config, store)?;
    Ok((log.replay(config, machine, |_, _| ())?, begun))
}

/// A partition's log, and what a machine over it is told.
struct Log {
    reader: Reader,
    low: i64,
    end: i64,
    options: Options,
}

impl Log {
    fn open(config: &Config, partition: i32) -> Result<Self, VerifyError> {
        let topic = Topics::new(&config.kafka.topic_prefix).observations;
        let reader = Reader::open(config, &topic, Isolation::Uncommitted)?;
        let last = reader.partitions()? - 1;
        if !(0..=last).contains(&partition) {
            return Err(VerifyError::NoPartition { partition, topic, last });
        }
        let (low, end) = reader.range(partition)?;
        let options = Options {
            partition,
            keyring: keys::keyring(config)?,
            hash_key: 0,
            producer_time: false,
            snapshot_interval_ms: 0,
        };
        Ok(Self { reader, low, end, options })
    }

    fn restore(&self, config: &Config, store: &Arc<Store>) -> Result<(Machine, Begun), VerifyError> {
        let (machine, folder) =
            snapshot::restore(config, store, &self.options, Beginning::NewestSnapshot, self.low)?;
        let clock_ms = machine.clock_ms();
        Ok((machine, Begun { folder, clock_ms }))
    }

    /// Brings a machine to where the log ended when it was opened.
    fn replay(
        &mut self,
        config: &Config,
        mut machine: Machine,
        mut each: impl FnMut(Position, &[Action]),
    ) -> Result<Machine, VerifyError> {
        let Options { partition, keyring, .. } = &self.options;
        let skips = quarantine::read(config, *partition, keyring)?;
        self.reader.begin(*partition, machine.summary().next_offset)?;
        let mut actions = Vec::new();
        while self.reader.position < self.end {
            let Some(message) = self.reader.next(Duration::ZERO)? else { break };
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
