//! Partitions of alerts that a transaction holds up which nobody ends (KIP-664; whoever left it open).
//!
//! A reader of committed records stands still before it. People are to be told all the same, so where a partition's last
//! stable offset has stood still behind its end for [`STUCK`], the notifier reads the records as they are. That is safe
//! here: a transition that was aborted and one that was committed are the same where their `seq` is the same (both are
//! what the machine derives), and a `seq` that was seen is dropped (`notify::Sequence`).

use crate::shell::kafka::KafkaError;
use crate::shell::{clock, thread};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Workers' transactions take a second at most, and what a dead one left open is ended by its successor.
const STUCK: Duration = Duration::from_secs(4);
/// Between two looks at all partitions.
const LOOK: Duration = Duration::from_secs(1);
/// One question.
const ASK: Duration = Duration::from_secs(2);

/// Where a partition's stable part ended when that last changed, and since when; whether it is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    stable: i64,
    since: Duration,
    held: bool,
}

impl Seen {
    /// Takes a look: the last stable offset and the end. Tells if the partition is held up now and was not, or no longer.
    fn look(&mut self, stable: i64, end: i64, now: Duration) -> Option<bool> {
        if stable != self.stable || stable >= end {
            (self.stable, self.since) = (stable, now);
        }
        let held = now.saturating_sub(self.since) >= STUCK;
        (std::mem::replace(&mut self.held, held) != held).then_some(held)
    }
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<BTreeMap<i32, Seen>>,
    stop: AtomicBool,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<i32, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that asks. Ends when this is dropped, without being waited for.
#[derive(Debug)]
pub(super) struct Open {
    shared: Arc<Shared>,
    /// Partition, and whether it is held up from now on.
    pub(super) changes: Receiver<(i32, bool)>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Open {
    /// `committed` is told last stable offsets, `raw` ends: two clients, for these questions alone.
    pub(super) fn start(committed: BaseConsumer, raw: BaseConsumer, topic: &str) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (asking, topic) = (Arc::clone(&shared), topic.to_owned());
        let (tell, changes) = channel();
        let ask = move |consumer: &BaseConsumer, partition| -> Result<i64, KafkaError> {
            let doing = "asking how far the alerts topic is stable";
            let answer = consumer.fetch_watermarks(&topic, partition, ASK);
            answer.map(|(_, end)| end).map_err(|source| KafkaError::Client { doing, source })
        };
        thread::spawn("alerts-open", move || {
            while !asking.stop.load(Ordering::Relaxed) {
                thread::pause(LOOK);
                let partitions: Vec<i32> = asking.seen().keys().copied().collect();
                for partition in partitions {
                    // In this order: what is committed in between is not taken for open.
                    let answers = ask(&raw, partition).and_then(|end| Ok((end, ask(&committed, partition)?)));
                    // Kafka that does not answer holds everybody up: reading otherwise would not help.
                    let Ok((end, stable)) = answers else { continue };
                    let now = clock::monotonic();
                    let change =
                        asking.seen().get_mut(&partition).and_then(|seen| seen.look(stable, end, now));
                    if let Some(held) = change
                        && tell.send((partition, held)).is_err()
                    {
                        return;
                    }
                }
            }
        })?;
        Ok(Self { shared, changes })
    }

    /// Begins to look at a partition.
    pub(super) fn watch(&self, partition: i32) {
        let seen = Seen { stable: -1, since: clock::monotonic(), held: false };
        self.shared.seen().insert(partition, seen);
    }

    /// No longer.
    pub(super) fn forget(&self, partition: i32) {
        self.shared.seen().remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_partition_is_held_up_when_its_stable_part_has_stood_still_behind_its_end() {
        let mut seen = Seen { stable: -1, since: at(0), held: false };
        assert_eq!(seen.look(10, 20, at(1)), None);
        assert_eq!(seen.look(10, 30, at(4)), None, "three seconds");
        assert_eq!(seen.look(10, 40, at(5)), Some(true));
        assert_eq!(seen.look(10, 50, at(6)), None, "told once");
        assert_eq!(seen.look(50, 60, at(7)), Some(false), "it moves again");
    }

    #[test]
    fn a_quiet_partition_is_not_held_up() {
        let mut seen = Seen { stable: -1, since: at(0), held: false };
        assert_eq!(seen.look(10, 10, at(1)), None);
        assert_eq!(seen.look(10, 10, at(100)), None);
        assert_eq!(seen.look(10, 11, at(101)), None, "a transaction has just begun");
        assert_eq!(seen.look(10, 11, at(103)), None);
    }
}
