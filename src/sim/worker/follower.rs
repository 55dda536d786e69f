//! The follower of the alerts partition: `shell/kafka/tail.rs`. It tells markers, in order, from where the first look
//! at the tail ended.

use super::super::kafka::alerts::Entry;
use super::super::world::{What, World};
use super::emission::TICK_MS;
use crate::replica::Input;
use crate::wire::Marker;

impl World {
    /// The follower's place is lost, or it is far behind.
    pub(in crate::sim) fn lose_tail(&mut self, worker: usize, p: usize, ms: i64) {
        let now_ms = self.now_ms;
        let lost = self.random.one_in(2);
        let Some(emission) = self.emission(worker, p) else { return };
        emission.tail_until_ms = now_ms + ms;
        if lost {
            (emission.following, emission.follow_at_ms) = (None, Some(now_ms));
        }
        self.to(worker, p, ms, What::Tail);
    }

    /// The follower hears of what was committed.
    pub(in crate::sim) fn tail_soon(&mut self, worker: usize, p: usize) {
        let in_ms = self.latency_ms();
        self.to(worker, p, in_ms, What::Tail);
    }

    pub(super) fn read_tail(&mut self, worker: usize, p: usize) {
        if !self.reaches_kafka(worker) {
            return self.to(worker, p, TICK_MS, What::Tail);
        }
        let now_ms = self.now_ms;
        let log = &self.kafka.alerts[p];
        let Some(hosted) = self.workers[worker].hosted.get_mut(p) else { return };
        let emission = &mut hosted.emission;
        let Some(from) = emission.following.filter(|_| now_ms >= emission.tail_until_ms) else { return };
        let markers = log.committed(from).filter_map(|(_, _, _, entry)| match entry {
            Entry::Marker(marker) => Some(Input::Seen(Box::new(Marker::clone(marker)))),
            Entry::Transition { .. } => None,
        });
        emission.others.extend(markers);
        emission.following = Some(log.stable().max(from));
        self.wake_soon(worker, p);
    }
}
