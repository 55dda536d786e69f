//! What waits for Kafka: encoded records, one lane a service, bounded in bytes over all of them.
//!
//! A lane hands out one chunk at a time and no more until that chunk is settled, so the results of one service stay in
//! order; lanes know nothing of each other, so a partition without a leader holds up its own services alone. When the
//! bound is reached, the oldest record that waits is dropped, whichever lane it is in: fresh news is worth more. What
//! is in flight counts towards the bound and is not dropped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Most bytes of one chunk; a larger record goes alone.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// A record and its place in the order of arrival.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    arrival: u64,
    /// The encoded record.
    pub(super) payload: Vec<u8>,
}

/// The buffer.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes_max: usize,
    bytes: usize,
    arrivals: u64,
    lanes: BTreeMap<Arc<str>, Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    /// Somebody takes chunks from this lane and settles them.
    pumped: bool,
}

/// What a push did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// Nobody pumped this lane: the caller must, until [`Outbox::take`] gives nothing.
    pub(super) start_pump: bool,
    /// Records that were dropped to make room.
    pub(super) dropped: u64,
}

impl Outbox {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, arrivals: 0, lanes: BTreeMap::new() }
    }

    /// Bytes that wait or are in flight.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether all is settled.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn push(&mut self, service: &Arc<str>, payload: Vec<u8>) -> Pushed {
        self.bytes += payload.len();
        self.arrivals += 1;
        let lane = self.lanes.entry(Arc::clone(service)).or_default();
        lane.waiting.push_back(Waiting { arrival: self.arrivals, payload });
        let start_pump = !std::mem::replace(&mut lane.pumped, true);
        Pushed { start_pump, dropped: self.make_room() }
    }

    /// The next chunk of a lane, in order. Nothing: the lane is done, and its pump ends.
    pub(super) fn take(&mut self, service: &Arc<str>) -> Vec<Waiting> {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        let Some(lane) = self.lanes.get_mut(service) else { return chunk };
        while let Some(next) = lane.waiting.front() {
            bytes += next.payload.len();
            if !chunk.is_empty() && bytes > CHUNK_BYTES_MAX {
                break;
            }
            chunk.extend(lane.waiting.pop_front());
        }
        if chunk.is_empty() {
            self.lanes.remove(service);
        }
        chunk
    }

    /// A chunk came back: `done` bytes of it are settled, `back` is to be taken again before anything else of the lane.
    /// Returns how many records were dropped because the bound was reached meanwhile.
    pub(super) fn settle(&mut self, service: &Arc<str>, done: usize, back: Vec<Waiting>) -> u64 {
        self.bytes -= done;
        if let Some(lane) = self.lanes.get_mut(service) {
            back.into_iter().rev().for_each(|waiting| lane.waiting.push_front(waiting));
        }
        self.make_room()
    }

    fn make_room(&mut self) -> u64 {
        let mut dropped = 0;
        while self.bytes > self.bytes_max {
            let lanes = self.lanes.values_mut().filter(|lane| !lane.waiting.is_empty());
            let oldest = lanes.min_by_key(|lane| lane.waiting.front().map(|waiting| waiting.arrival));
            let Some(waiting) = oldest.and_then(|lane| lane.waiting.pop_front()) else { break };
            self.bytes -= waiting.payload.len();
            dropped += 1;
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(chunk: &[Waiting]) -> Vec<&[u8]> {
        chunk.iter().map(|waiting| waiting.payload.as_slice()).collect()
    }

    #[test]
    fn a_lane_is_pumped_once_and_in_order() {
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let mut outbox = Outbox::new(100);
        assert!(outbox.push(&a, vec![1]).start_pump);
        assert!(!outbox.push(&a, vec![2]).start_pump, "it is pumped already");
        assert!(outbox.push(&b, vec![3]).start_pump, "lanes know nothing of each other");
        let chunk = outbox.take(&a);
        assert_eq!(payloads(&chunk), [[1], [2]]);
        assert!(!outbox.push(&a, vec![4]).start_pump);
        assert_eq!(outbox.settle(&a, 0, chunk), 0);
        assert_eq!(payloads(&outbox.take(&a)), [[1], [2], [4]], "what came back goes first");
        assert_eq!(outbox.settle(&a, 3, Vec::new()), 0);
        assert!(outbox.take(&a).is_empty());
        assert!(!outbox.is_empty() && outbox.bytes() == 1);
        outbox.take(&b);
        outbox.settle(&b, 1, Vec::new());
        outbox.take(&b);
        assert!(outbox.is_empty() && outbox.bytes() == 0);
        assert!(outbox.push(&a, vec![5]).start_pump, "a lane that was done starts anew");
    }

    #[test]
    fn the_oldest_that_waits_is_dropped_whichever_lane_it_is_in() {
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let mut outbox = Outbox::new(10);
        outbox.push(&b, vec![0; 4]);
        outbox.push(&a, vec![1; 4]);
        assert_eq!(outbox.push(&a, vec![2; 4]).dropped, 1);
        assert!(outbox.take(&b).is_empty(), "b's was the oldest");
        let chunk = outbox.take(&a);
        assert_eq!(payloads(&chunk), [[1; 4], [2; 4]]);
        assert_eq!(outbox.push(&a, vec![3; 4]).dropped, 1, "what is in flight stays, the newcomer goes");
        assert_eq!(outbox.bytes(), 8);
        assert_eq!(outbox.push(&a, vec![4; 2]).dropped, 0);
        assert_eq!(outbox.settle(&a, 0, chunk), 0);
        assert_eq!(outbox.push(&a, vec![5; 1]).dropped, 1, "what came back is the oldest again");
        assert_eq!(payloads(&outbox.take(&a)), [&[2; 4][..], &[4; 2], &[5; 1]]);
    }

    #[test]
    fn a_chunk_is_bounded_and_a_large_record_goes_alone() {
        let a = Arc::from("a");
        let mut outbox = Outbox::new(usize::MAX);
        for size in [CHUNK_BYTES_MAX + 1, CHUNK_BYTES_MAX / 2, CHUNK_BYTES_MAX / 2, 1] {
            outbox.push(&a, vec![0; size]);
        }
        assert_eq!([outbox.take(&a).len(), outbox.take(&a).len(), outbox.take(&a).len()], [1, 2, 1]);
    }
}
