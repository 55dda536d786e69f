//! The transitions that are not out yet, in order, with the running hash at each: what a standby keeps, and what a
//! primary emits from.
//!
//! The backlog is bounded. When it is full, one of two things happens, and [`super::Replica`] says which:
//!
//! - It *forgets* all that waits and keeps only where it is: the newest `seq` and the running hash there. The machine goes
//!   on. Where markers advance past that `seq`, nothing was lost; see `promotion.rs` for when they do not.
//! - The emission thread stops taking from the machine, whose bounded queue fills in turn: the partition lags, nothing is
//!   lost, and memory stays where it is.

use crate::wire::Transition;
use std::collections::VecDeque;

/// Most transitions of one transaction.
pub const CHUNK_TRANSITIONS_MAX: usize = 500;
/// Most bytes of one transaction's transitions; a single larger one still goes alone.
pub const CHUNK_BYTES_MAX: usize = 512 << 10;
/// Transitions at which the backlog is full.
pub const BACKLOG_TRANSITIONS_MAX: usize = 100_000;
/// Bytes at which the backlog is full.
pub const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// What a backlog and a transaction may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most transitions of one transaction.
    pub chunk_transitions: usize,
    /// Most bytes of one transaction's transitions; a single larger one still goes alone.
    pub chunk_bytes: usize,
    /// Transitions at which the backlog is full.
    pub backlog_transitions: usize,
    /// Bytes at which the backlog is full.
    pub backlog_bytes: usize,
}

/// What production has; the simulator takes smaller ones, to meet them more often.
impl Default for Bounds {
    fn default() -> Self {
        Self {
            chunk_transitions: CHUNK_TRANSITIONS_MAX,
            chunk_bytes: CHUNK_BYTES_MAX,
            backlog_transitions: BACKLOG_TRANSITIONS_MAX,
            backlog_bytes: BACKLOG_BYTES_MAX,
        }
    }
}

/// One transition as it will stand in the alerts topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// Dense, from 1.
    pub seq: i64,
    /// Offset of the record that caused it.
    pub input_offset: i64,
    /// Position among the transitions that this record caused.
    pub ordinal: i32,
    /// LogAppendTime of that record, milliseconds since the epoch.
    pub append_ms: i64,
    /// Rule set that decided.
    pub rule_set_version: i64,
    /// Kafka key of the record.
    pub key: Vec<u8>,
    /// Value of the record, framing included: what the running hash covers.
    pub bytes: Vec<u8>,
}

impl Derived {
    /// A transition of the machine, encoded as it will be written.
    #[must_use]
    pub fn of(transition: &Transition) -> Self {
        Self {
            seq: transition.seq,
            input_offset: transition.input_offset,
            ordinal: transition.ordinal,
            append_ms: transition.append_ms,
            rule_set_version: transition.rule_set_version,
            key: transition.alert.to_string().into_bytes(),
            bytes: transition.encode(),
        }
    }
}

/// The running hash after one more transition: BLAKE3 over the previous hash and the record's bytes. It starts from 32
/// zero bytes before `seq` 1.
#[must_use]
pub fn chain(previous: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(previous).update(bytes).finalize().as_bytes()
}

#[derive(Debug, Clone)]
struct Waiting {
    derived: Derived,
    hash: [u8; 32],
    since_ms: i64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Backlog {
    bounds: Bounds,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The newest transition that is no longer kept, and the running hash there.
    floor: (i64, [u8; 32]),
}

impl Backlog {
    /// For a machine that has derived everything up to `seq`, where its running hash was `hash`.
    pub(super) fn new(bounds: Bounds, seq: i64, hash: [u8; 32]) -> Self {
        Self { bounds, waiting: VecDeque::new(), bytes: 0, floor: (seq, hash) }
    }

    /// The newest transition that was derived, and the running hash there.
    pub(super) fn head(&self) -> (i64, [u8; 32]) {
        self.waiting.back().map_or(self.floor, |last| (last.derived.seq, last.hash))
    }

    /// Keeps a transition. Panics if it is not the next: a gap would be emitted as one.
    pub(super) fn push(&mut self, derived: Derived, now_ms: i64) {
        let (seq, hash) = self.head();
        assert!(derived.seq == seq + 1, "the machine gave seq {} after {seq}", derived.seq);
        self.bytes += derived.bytes.len();
        let hash = chain(&hash, &derived.bytes);
        self.waiting.push_back(Waiting { derived, hash, since_ms: now_ms });
    }

    /// Forgets everything up to `seq`: it is out.
    pub(super) fn forget(&mut self, seq: i64) {
        while let Some(first) = self.waiting.front().filter(|first| first.derived.seq <= seq) {
            self.floor = (first.derived.seq, first.hash);
            self.bytes -= first.derived.bytes.len();
            self.waiting.pop_front();
        }
    }

    /// Keeps no transition, only where it is.
    pub(super) fn forget_all(&mut self) {
        self.floor = self.head();
        self.waiting.clear();
        self.bytes = 0;
    }

    /// The newest transition that is no longer kept: one can emit only what comes after it.
    pub(super) fn floor(&self) -> i64 {
        self.floor.0
    }

    /// The running hash at `seq`, where it is still known.
    pub(super) fn hash_at(&self, seq: i64) -> Option<[u8; 32]> {
        if seq == self.floor.0 {
            return Some(self.floor.1);
        }
        let index = usize::try_from(seq - self.floor.0 - 1).ok()?;
        self.waiting.get(index).map(|waiting| waiting.hash)
    }

    /// What the next transaction holds: its first transition, its last, and the running hash after it.
    pub(super) fn chunk(&self) -> Option<(&Derived, &Derived, [u8; 32])> {
        let mut bytes = 0;
        let fits = |waiting: &&Waiting| {
            let alone = bytes == 0;
            bytes += waiting.derived.bytes.len();
            alone || bytes <= self.bounds.chunk_bytes
        };
        let last = self.waiting.iter().take(self.bounds.chunk_transitions).take_while(fits).last()?;
        Some((&self.waiting.front()?.derived, &last.derived, last.hash))
    }

    /// Those of a range of `seq` that are still kept, in order.
    pub(super) fn range(&self, first: i64, last: i64) -> impl Iterator<Item = &Derived> {
        let derived = self.waiting.iter().map(|waiting| &waiting.derived);
        derived.skip_while(move |derived| derived.seq < first).take_while(move |derived| derived.seq <= last)
    }

    /// Since when the oldest has waited (wall clock), and its append time (log clock).
    pub(super) fn oldest(&self) -> Option<(i64, i64)> {
        self.waiting.front().map(|first| (first.since_ms, first.derived.append_ms))
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.bounds.backlog_transitions || self.bytes >= self.bounds.backlog_bytes
    }
}
