//! The independent judge: one naive loop replays a partition's log through a fresh machine, and the alerts partition is
//! held against what comes out, record by record. It shares no code with `replica/`, the emitter or the worker's
//! consumers: what they got wrong, it does not repeat.
//!
//! ```text
//!  observations, partition p ──▶ replay (one machine) ──▶ transitions ─┐
//!                                                                      ├─▶ judge ──▶ verdict
//!  alerts, partition p, committed records ─────────────────────────────┘
//! ```
//!
//! The topic leads: each of its records draws the replay on as far as that record needs it, so neither side is ever held
//! whole. On a running cluster the comparison ends where the alerts partition ended when it began; what the replay
//! derives beyond the last marker is counted and is not due yet. [`judge`](Judge) does no I/O: the simulator feeds it, too.

mod judge;
mod present;
mod reader;
mod replay;
mod snapshot;
mod verdict;

#[cfg(test)]
mod tests;

pub use judge::{Judge, OtherEngine};
pub use present::{Begun, offsets, present, present_from_snapshot};
pub use replay::Replay;
pub use verdict::{Difference, Field, Verdict};

use super::kafka::{KafkaError, Topics};
use super::keys::{self, KeyError};
use super::quarantine;
use super::store::{Store, StoreError};
use crate::config::Config;
use crate::machine::{ENGINE_VERSION, Options};
use crate::wire::keyring::Keyring;
use rdkafka::Message;
use reader::{Isolation, Reader, position_of};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How long a record of observations that the alerts topic names as a cause is waited for: a broker that has just become
/// leader may show its followers' end a moment later.
const CAUSE: Duration = Duration::from_secs(5);

/// Why a partition could not be judged.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// Whose control records count is not known.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// There is no such partition.
    #[error("partition {partition}: topic {topic:?} has the partitions 0 to {last}")]
    NoPartition {
        /// As asked for.
        partition: i32,
        /// Observations.
        topic: String,
        /// The last there is.
        last: i32,
    },
    /// Retention took what the replay has to begin with.
    #[error(
        "partition {partition}: the observations log begins at offset {low}, not at 0: retention has taken what a replay \
         must begin with. Verify from a snapshot (--from-snapshot), or keep kafka.observations_retention longer than what you \
         want to verify"
    )]
    LogCut {
        /// Partition.
        partition: i32,
        /// First offset that is kept.
        low: i64,
    },
    /// The store of snapshots.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No snapshot to begin with.
    #[error(
        "partition {partition}: {store} holds no whole snapshot of it at or behind offset {low}, where the log begins{why}"
    )]
    NoSnapshot {
        /// Partition.
        partition: i32,
        /// Where was looked.
        store: String,
        /// First offset that is kept.
        low: i64,
        /// What is wrong with those that were looked at; empty if there are none.
        why: String,
    },
    /// Another engine decided.
    #[error(
        "partition {partition}: the marker at alerts offset {at} is of engine version {theirs}, this is {ENGINE_VERSION}: \
         verify with the version of bellwether that wrote it"
    )]
    OtherEngine {
        /// Partition.
        partition: i32,
        /// Offset of the marker.
        at: i64,
        /// Its engine version.
        theirs: i32,
    },
}

impl VerifyError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Kafka(fault) => fault.code(),
            Self::Keys(fault) => fault.code(),
            Self::Store(fault) => fault.code(),
            Self::NoSnapshot { .. } => "verify_no_snapshot",
            Self::NoPartition { .. } => "verify_no_partition",
            Self::LogCut { .. } => "verify_log_cut",
            Self::OtherEngine { .. } => "verify_other_engine",
        }
    }

    /// Whether the same call may succeed later, with nothing changed by an operator.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Kafka(fault) => fault.is_retryable(),
            Self::Keys(fault) => fault.is_retryable(),
            Self::Store(fault) => fault.is_retryable(),
            Self::NoPartition { .. }
            | Self::NoSnapshot { .. }
            | Self::LogCut { .. }
            | Self::OtherEngine { .. } => false,
        }
    }
}

/// Where a replay begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Beginning {
    /// With the log, which must still have its first record.
    #[default]
    Log,
    /// With the oldest whole snapshot that the log still reaches: as much is judged as can be. The snapshot itself is taken
    /// at its word, but for the running hash, which every marker behind it must continue.
    OldestSnapshot,
    /// With the newest: the quickest look at what was emitted of late.
    NewestSnapshot,
}

/// What is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Question {
    /// Where the replay begins.
    pub from: Beginning,
    /// Nothing is being written any more: what the replay derives beyond the last marker must be out, too.
    pub at_rest: bool,
    /// Producers' stamps move the clock: the demo's mock of Kafka knows no others.
    pub producer_time: bool,
}

/// Both topics, opened once for any number of partitions.
pub struct Verifier {
    observations: Reader,
    alerts: Reader,
    keyring: Arc<Keyring>,
    /// Opened where the replay begins with a snapshot.
    store: Option<Arc<Store>>,
    config: Config,
    question: Question,
}

/// Why the judge stopped inside a partition.
enum Stop {
    Kafka(KafkaError),
    OtherEngine(OtherEngine),
}

impl From<OtherEngine> for Stop {
    fn from(other: OtherEngine) -> Self {
        Self::OtherEngine(other)
    }
}

impl Verifier {
    /// Makes the consumers. Does not wait for Kafka.
    pub fn open(config: &Config, question: Question) -> Result<Self, VerifyError> {
        let topics = Topics::new(&config.kafka.topic_prefix);
        let store = match question.from {
            Beginning::Log => None,
            Beginning::OldestSnapshot | Beginning::NewestSnapshot => {
                Some(Arc::new(Store::need(&config.snapshots)?))
            }
        };
        Ok(Self {
            store,
            keyring: keys::keyring(config)?,
            config: config.clone(),
            observations: Reader::open(config, &topics.observations, Isolation::Uncommitted)?,
            alerts: Reader::open(config, &topics.alerts, Isolation::Committed)?,
            question,
        })
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> Result<i32, VerifyError> {
        Ok(self.observations.partitions()?)
    }

    /// Replays a partition from the beginning of its log, or from a snapshot, and compares, both to their ends at the time
    /// of the call.
    pub fn verify(&mut self, partition: i32) -> Result<Verdict, VerifyError> {
        // In this order: whatever stands in alerts before its end, its cause stands in observations before theirs.
        let (first_alert, alerts_end) = self.alerts.range(partition)?;
        let (low, end) = self.observations.range(partition)?;
        let options = Options {
            partition,
            keyring: Arc::clone(&self.keyring),
            hash_key: 0,
            producer_time: self.question.producer_time,
            snapshot_interval_ms: 0,
        };
        let (replay, from) = match &self.store {
            None if low > 0 => return Err(VerifyError::LogCut { partition, low }),
            None => (Replay::new(options), 0),
            Some(store) => {
                let (machine, _) = snapshot::restore(&self.config, store, &options, self.question.from, low)?;
                let from = machine.summary().next_offset;
                (Replay::from_machine(machine), from)
            }
        };
        let replay = replay.skipping(quarantine::read(&self.config, partition, &self.keyring)?);
        let judge = Judge::from_replay(partition, replay, from, first_alert > 0);
        self.alerts.begin(partition, first_alert)?;
        self.observations.begin(partition, from)?;
        self.compare(judge, alerts_end, end).map_err(|stop| match stop {
            Stop::Kafka(fault) => fault.into(),
            Stop::OtherEngine(OtherEngine { at, theirs }) => {
                VerifyError::OtherEngine { partition, at, theirs }
            }
        })
    }

    fn compare(&mut self, mut judge: Judge, alerts_end: i64, end: i64) -> Result<Verdict, Stop> {
        let log = &mut self.observations;
        let mut feed = |replay: &mut Replay, needed: i64| {
            if log.position >= end.max(needed.saturating_add(1)) {
                return Ok(false);
            }
            let wait = if needed >= log.position { CAUSE } else { Duration::ZERO };
            let Some(message) = log.next(wait).map_err(Stop::Kafka)? else { return Ok(false) };
            replay.step(position_of(&message), message.payload());
            Ok(true)
        };
        while self.alerts.position < alerts_end {
            let Some(message) = self.alerts.next(Duration::ZERO).map_err(Stop::Kafka)? else { break };
            let value = message.payload().unwrap_or_default();
            judge.alert(message.offset(), message.key(), value, &mut feed)?;
        }
        judge.finish(self.question.at_rest, &mut feed)
    }
}
