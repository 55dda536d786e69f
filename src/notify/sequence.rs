//! The alerts partition as a reader has to take it: a `seq` that was seen is dropped, and at a gap the reader waits.

use crate::wire::Transition;
use std::collections::BTreeMap;

/// How long a gap is waited at. What is still missing then is lost, and people are told of the rest.
pub const GAP_WAIT_MS: i64 = 30_000;
/// Transitions that are kept while a gap is waited at.
const WAITING_MAX: usize = 10_000;

/// Puts transitions in order.
#[derive(Debug, Default)]
pub struct Sequence {
    /// The next one; none before the first, whatever it is.
    next: Option<i64>,
    /// What came after a gap, with its offset.
    waiting: BTreeMap<i64, (i64, Box<Transition>)>,
    gap_since_ms: i64,
}

/// A gap that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First `seq` that is missing.
    pub first: i64,
    /// Last `seq` that is missing.
    pub last: i64,
}

impl Sequence {
    /// A reader that has everything up to `seq`; none where the log no longer reaches back to it.
    #[must_use]
    pub fn after(seq: Option<i64>) -> Self {
        Self { next: seq.map(|seq| seq + 1), ..Self::default() }
    }

    /// Takes a transition as it was read.
    pub fn push(&mut self, offset: i64, transition: Box<Transition>, now_ms: i64) {
        let next = *self.next.get_or_insert(transition.seq);
        if transition.seq >= next {
            if self.waiting.is_empty() {
                self.gap_since_ms = now_ms;
            }
            self.waiting.entry(transition.seq).or_insert((offset, transition));
        }
    }

    /// The next transition in order, and the offset from which a restart would have to read.
    pub fn pop(&mut self) -> Option<(i64, Box<Transition>)> {
        let next = self.next?;
        let (offset, transition) = self.waiting.remove(&next)?;
        self.next = Some(next + 1);
        let earliest = self.waiting.values().map(|(offset, _)| *offset).min();
        Some((earliest.map_or(offset + 1, |earliest| earliest.min(offset + 1)), transition))
    }

    /// Whether the next one is missing while later ones wait.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.next.is_some_and(|next| self.waiting.first_key_value().is_some_and(|(seq, _)| *seq > next))
    }

    /// Gives a gap up that has been waited at for long enough.
    pub fn give_up(&mut self, now_ms: i64) -> Option<Gap> {
        let late = now_ms >= self.gap_since_ms.saturating_add(GAP_WAIT_MS);
        if !self.is_waiting() || !(late || self.waiting.len() >= WAITING_MAX) {
            return None;
        }
        let (first, (seq, _)) = (self.next?, self.waiting.first_key_value()?);
        let gap = Gap { first, last: seq - 1 };
        self.next = Some(*seq);
        Some(gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{AlertId, AlertState, Labels, Reason};

    fn push(sequence: &mut Sequence, offset: i64, seq: i64) {
        let transition = Transition {
            seq,
            alert: AlertId([0; 16]),
            from: AlertState::Pending,
            to: AlertState::Firing,
            reason: Reason::HeldFor,
            group: String::new(),
            rule: String::new(),
            rule_set_version: 1,
            service: String::new(),
            labels: Labels::default(),
            annotations: Labels::default(),
            value: 0.0,
            output: String::new(),
            event_ms: 0,
            active_since_ms: 0,
            input_offset: 0,
            ordinal: 0,
            append_ms: 0,
            suppressed_by: None,
        };
        sequence.push(offset, Box::new(transition), 0);
    }

    /// Each `seq` that is ready, with the offset from which a restart would read.
    fn ready(sequence: &mut Sequence) -> Vec<(i64, i64)> {
        std::iter::from_fn(|| sequence.pop()).map(|(from, transition)| (transition.seq, from)).collect()
    }

    #[test]
    fn what_was_seen_is_dropped() {
        let mut sequence = Sequence::after(Some(5));
        push(&mut sequence, 10, 5);
        push(&mut sequence, 11, 6);
        push(&mut sequence, 12, 6);
        assert_eq!(ready(&mut sequence), [(6, 12)]);
    }

    #[test]
    fn a_gap_is_waited_at_and_a_restart_would_read_what_waits_again() {
        let mut sequence = Sequence::after(Some(5));
        push(&mut sequence, 10, 8);
        push(&mut sequence, 11, 7);
        assert_eq!(ready(&mut sequence), []);
        assert!(sequence.is_waiting());
        push(&mut sequence, 12, 6);
        assert_eq!(ready(&mut sequence), [(6, 10), (7, 10), (8, 11)]);
        assert!(!sequence.is_waiting());
    }

    #[test]
    fn a_gap_is_given_up_aloud() {
        let mut sequence = Sequence::after(Some(5));
        push(&mut sequence, 10, 8);
        assert_eq!(sequence.give_up(GAP_WAIT_MS - 1), None);
        assert_eq!(sequence.give_up(GAP_WAIT_MS), Some(Gap { first: 6, last: 7 }));
        assert_eq!(ready(&mut sequence), [(8, 11)]);
    }

    #[test]
    fn without_a_position_the_first_one_is_the_beginning() {
        let mut sequence = Sequence::after(None);
        push(&mut sequence, 10, 8);
        assert_eq!(ready(&mut sequence), [(8, 11)]);
    }
}
