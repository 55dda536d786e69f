//! The naive loop: one fresh machine, one record after the other, nothing else.

use crate::machine::{Action, Event, Machine, Options, Position};
use crate::wire::Transition;
use std::collections::{BTreeSet, VecDeque};

/// A machine that is fed a log, and what came out of it that nobody has asked for yet.
///
/// Holds the transitions of the records since the last `Replay::next`; fed one record at a time, those of one record.
#[derive(Debug)]
pub struct Replay {
    machine: Machine,
    actions: Vec<Action>,
    derived: VecDeque<Transition>,
    records: u64,
    skips: BTreeSet<i64>,
}

impl Replay {
    /// Before the first record of a partition.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::from_machine(Machine::new(options))
    }

    /// After the records that `machine` has applied.
    #[must_use]
    pub fn from_machine(machine: Machine) -> Self {
        Self { machine, actions: Vec::new(), derived: VecDeque::new(), records: 0, skips: BTreeSet::new() }
    }

    /// Skips the records at these offsets, as the workers do: they are in quarantine.
    #[must_use]
    pub fn skipping(self, skips: BTreeSet<i64>) -> Self {
        Self { skips, ..self }
    }

    /// Applies the next record of the log.
    pub fn step(&mut self, position: Position, value: Option<&[u8]>) {
        let event = if self.skips.contains(&position.offset) {
            Event::Quarantined(position)
        } else {
            Event::read(position, value)
        };
        self.machine.step(event, &mut self.actions);
        self.records += 1;
        for action in self.actions.drain(..) {
            if let Action::Emit(transition) = action {
                self.derived.push_back(*transition);
            }
        }
    }

    /// Records applied so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Offset after the last record applied.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.machine.summary().next_offset
    }

    /// The partition's clock, milliseconds since the epoch; 0 before the first record.
    #[must_use]
    pub fn clock_ms(&self) -> i64 {
        self.machine.summary().clock_ms
    }

    /// `seq` of the last transition derived, and the running hash there.
    #[must_use]
    pub fn head(&self) -> (i64, [u8; 32]) {
        let summary = self.machine.summary();
        (summary.seq, summary.running_hash)
    }

    /// The oldest transition that was not taken yet.
    pub(super) fn next(&mut self) -> Option<Transition> {
        self.derived.pop_front()
    }
}
