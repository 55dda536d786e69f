//! PURE. One partition's log in, transitions of its alerts out.
//!
//! [`Machine::step`] takes a closed [`Event`] and gives closed [`Action`]s. It cannot fail, it reads no clock (the time
//! is in the event), and its state after record *n* depends on records 0..=n alone: two machines fed the same log by
//! any two batch boundaries are equal, and their digests say so.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod index;
pub mod promql;
pub mod rules;
pub mod series;
mod summary;

pub use summary::{RuleStatus, Summary};

use crate::wire::{Batch, Fault, RuleSet, Tick, Transition};

/// Version of the engine's semantics: one more whenever the same log may give another digest or another transition.
pub const ENGINE_VERSION: i32 = 1;

/// Where in the partition's log an event stands. Every event has one: the log is the only source of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Kafka offset of the record.
    pub offset: i64,
    /// Time stamp of the record, milliseconds since the epoch.
    pub append_ms: i64,
    /// Whether the broker stamped it (LogAppendTime). A producer's stamp does not move the clock.
    pub log_append: bool,
}

/// What happens to a machine. Made from the bytes of one record, whoever feeds it: the worker's
/// machine thread, the naive replay, the simulator, a golden script.
#[derive(Debug)]
pub enum Event<'a> {
    /// Samples and check results of one service.
    Observations(Position, Batch<'a>),
    /// A worker says that time passes.
    Tick(Position, Tick),
    /// An operator changed the rules.
    Rules(Position, RuleSet),
    /// A record that could not be read. It moves the clock and nothing else.
    Unreadable(Position, Fault),
}

impl<'a> Event<'a> {
    /// Reads one record of the observations topic. Total: what cannot be read becomes [`Event::Unreadable`], a
    /// tombstone (no value) among it.
    #[must_use]
    pub fn read(position: Position, _value: Option<&'a [u8]>) -> Self {
        Self::Unreadable(position, Fault::Truncated { at: 0 })
    }

    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Observations(position, _)
            | Self::Tick(position, _)
            | Self::Rules(position, _)
            | Self::Unreadable(position, _) => *position,
        }
    }
}

/// What a machine wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Goes to `replica/`: the primary emits it, a standby keeps it until it has seen it out.
    Emit(Box<Transition>),
    /// Goes to the worker's reject writer, which samples it into the rejected topic and counts it.
    Reject(Position, Fault),
    /// The worker logs it and reports the version in `status`. `faults` is empty if the set is in force; else the old set stays.
    RulesSwitched {
        /// Version of the set.
        version: i64,
        /// Why it was refused, one line each, with file, line and column.
        faults: Vec<String>,
    },
    /// The log's clock ran ahead further than ticks agree with. The worker writes a tick so that it is settled.
    ConfirmTime(Position),
}

/// What a machine is told once, alike in both replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Partition of the observations topic.
    pub partition: i32,
    /// Key of the look-up table's hash, a secret of the cluster: keeps producers from choosing colliding series.
    pub hash_key: u64,
    /// Lets a producer's stamp (CreateTime) move the clock. Only for a broker that knows no LogAppendTime, such as the
    /// demo's mock: a producer with a wrong clock then moves the partition's.
    pub producer_time: bool,
}

/// The state of one partition.
#[derive(Debug)]
pub struct Machine {
    options: Options,
}

impl Machine {
    /// Before the first record.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// One record. Appends what is to be done to `out`, in order. Cannot fail.
    pub fn step(&mut self, _event: Event<'_>, _out: &mut Vec<Action>) {}

    /// BLAKE3 over the canonical logical state: equal in two machines that were fed the same records.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        blake3::hash(&self.options.partition.to_le_bytes()).into()
    }

    /// Numbers for metrics and `status`.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::default()
    }

    /// The rules in force, for `status` and the console.
    pub fn rules(&self) -> impl Iterator<Item = RuleStatus<'_>> {
        std::iter::empty()
    }
}
