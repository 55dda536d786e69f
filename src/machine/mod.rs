//! PURE. One partition's log in, transitions of its alerts out.
//!
//! `Machine::step` takes a closed [`Event`] and gives closed [`Action`]s. It cannot fail, it reads no clock (the time
//! is in the event), and its state after record *n* depends on records 0..=n alone: two machines fed the same log by
//! any two batch boundaries are equal, and their digests say so.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::wire::{Batch, Fault, RuleSet, Tick, Transition};

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
