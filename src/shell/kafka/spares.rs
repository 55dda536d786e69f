//! Spare handles: producers of alerts partitions, made and connected before anyone needs them, for all partitions that a
//! worker hosts.
//!
//! Over a transaction that a dead primary left open, the first `init_transactions` makes the broker abort it and then
//! waits out librdkafka's fixed 500 ms retry. A second handle need not: so the first gets a few milliseconds, is dropped
//! on another thread, and the next is tried (`shell::emitter::handles`). One thread makes what is missing, fewest
//! first; nobody ever waits for it, and one partition never for another's handle: each has a transactional id of its own.
//!
//! How many: a standby keeps `emission.warm_handles` (3), a primary one, to start over with. All partitions of a process
//! share a budget of [`WARM_MAX`], so a worker that hosts more than 32 keeps two for each, and one from 49 on.
//!
//! | hosted | for each standby | takeover over an open transaction |
//! |---|---|---|
//! | up to 32 | 3 | 20–40 ms |
//! | 33 to 48 | 2 | 20 ms, or 0.5 s where the abort takes longer than that |
//! | 49 and more | 1 | 0.5–1 s |
//!
//! Where nothing was left open each of them takes 5 ms.
//!
//! What a handle costs, by `/proc` of a standby of 16 partitions with one and with three: 6 threads, about one connection
//! (the one to the broker that told the metadata; two more when it is used) and 0.5 MiB. A worker that hosts 64 partitions
//! in all had 570 threads, 119 sockets and 125 MB as standby of all of them, 954, 306 and 192 MB as primary of all.

use super::producer::AlertsProducer;
use crate::config::Config;
use crate::shell::{clock, thread};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Handles that a process keeps warm for all its partitions together.
pub const WARM_MAX: usize = 96;
/// After one was taken the next is made only later: a takeover needs the machine for its first transactions.
const REFILL_AFTER: Duration = Duration::from_secs(1);
/// After a handle could not be made.
const RETRY: Duration = Duration::from_secs(1);

/// What a partition's handles are kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It may be promoted at any time.
    Standby,
    /// It emits: one handle, to start over with.
    Primary,
}

/// How many handles each standby keeps where a process hosts so many partitions, and at most `asked`.
#[must_use]
pub fn per_standby(hosted: usize, asked: usize) -> usize {
    (WARM_MAX / hosted.max(1)).clamp(1, asked.max(1))
}

/// The spare handles of one process. Clones share them; the thread ends with the last of them.
#[derive(Debug, Clone)]
pub struct Spares(Arc<Owner>);

#[derive(Debug)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    shelves: BTreeMap<i32, Shelf>,
    ended: bool,
}

#[derive(Debug)]
struct Shelf {
    keep: Keep,
    warm: Vec<AlertsProducer>,
    /// Nothing is made before.
    not_before: Duration,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: makes what is missing until the last owner is gone.
    fn run(&self) {
        let mut complained = false;
        let mut state = self.lock();
        while !state.ended {
            let now = clock::monotonic();
            match state.next(now, self.config.warm_handles) {
                Next::Make(partition) => {
                    drop(state);
                    let made = AlertsProducer::connect(&self.config, partition);
                    state = self.lock();
                    let shelf = state.shelves.get_mut(&partition);
                    match (made, shelf) {
                        (Ok(producer), Some(shelf)) => shelf.warm.push(producer),
                        (Ok(_), None) | (Err(_), None) => {}
                        (Err(fault), Some(shelf)) => {
                            shelf.not_before = now + RETRY;
                            if !std::mem::replace(&mut complained, true) {
                                tracing::warn!(partition, %fault, "cannot make a spare producer: takeover is slower");
                            }
                        }
                    }
                }
                Next::Wait(wait) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Make(i32),
    Wait(Duration),
}

impl State {
    /// What to do next: the shelf with the fewest handles first.
    fn next(&self, now: Duration, asked: usize) -> Next {
        let standby = per_standby(self.shelves.len(), asked);
        let wanted = |shelf: &Shelf| match shelf.keep {
            Keep::Standby => standby,
            Keep::Primary => 1,
        };
        let mut short: Vec<(&i32, &Shelf)> =
            self.shelves.iter().filter(|(_, shelf)| shelf.warm.len() < wanted(shelf)).collect();
        short.sort_by_key(|(_, shelf)| shelf.warm.len());
        match short.iter().find(|(_, shelf)| shelf.not_before <= now) {
            Some((partition, _)) => Next::Make(**partition),
            None => {
                let soonest = short.iter().map(|(_, shelf)| shelf.not_before.saturating_sub(now)).min();
                Next::Wait(soonest.unwrap_or(Duration::from_secs(3600)))
            }
        }
    }
}

impl Spares {
    /// Starts the thread. Makes nothing before a partition is hosted. Fails only where the system has no thread left.
    pub fn start(config: &Config) -> std::io::Result<Self> {
        let config = Arc::new(config.clone());
        let shared = Arc::new(Shared { config, state: Mutex::default(), changed: Condvar::new() });
        let maker = Arc::clone(&shared);
        thread::spawn("spares", move || maker.run())?;
        Ok(Self(Arc::new(Owner(shared))))
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }

    /// Begins to keep handles of a partition, or changes what they are kept for. Those that are too many then stay
    /// until they are taken.
    pub fn keep(&self, partition: i32, keep: Keep) {
        let mut state = self.shared().lock();
        let new = || Shelf { keep, warm: Vec::new(), not_before: Duration::ZERO };
        state.shelves.entry(partition).or_insert_with(new).keep = keep;
        drop(state);
        self.shared().changed.notify_all();
    }

    /// The partition is no longer hosted: its handles go, on a thread of their own.
    pub fn drop_all(&self, partition: i32) {
        let shelf = self.shared().lock().shelves.remove(&partition);
        drop(shelf);
    }

    /// One warm handle, the oldest.
    #[must_use]
    pub fn take(&self, partition: i32) -> Option<AlertsProducer> {
        let mut state = self.shared().lock();
        let shelf = state.shelves.get_mut(&partition)?;
        shelf.not_before = clock::monotonic() + REFILL_AFTER;
        if shelf.warm.is_empty() {
            return None;
        }
        let taken = shelf.warm.remove(0);
        drop(state);
        self.shared().changed.notify_all();
        Some(taken)
    }

    /// How many handles of a partition are warm now.
    #[must_use]
    pub fn warm(&self, partition: i32) -> usize {
        self.shared().lock().shelves.get(&partition).map_or(0, |shelf| shelf.warm.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_partitions_the_fewer_handles_for_each_but_never_none() {
        let kept: Vec<usize> = [1, 8, 32, 33, 48, 49, 64, 1000].map(|hosted| per_standby(hosted, 3)).into();
        assert_eq!(kept, [3, 3, 3, 2, 2, 1, 1, 1]);
        assert_eq!(per_standby(8, 1), 1);
    }

    #[test]
    fn the_shelf_with_the_fewest_is_filled_first_and_a_primary_keeps_one() {
        let shelf = |keep, not_before| Shelf { keep, warm: Vec::new(), not_before };
        let (now, later) = (Duration::from_secs(5), Duration::from_secs(6));
        let mut state = State::default();
        assert_eq!(state.next(now, 3), Next::Wait(Duration::from_secs(3600)));
        state.shelves.insert(0, shelf(Keep::Standby, later));
        assert_eq!(state.next(now, 3), Next::Wait(Duration::from_secs(1)), "just used: made later");
        state.shelves.insert(4, shelf(Keep::Primary, Duration::ZERO));
        assert_eq!(state.next(now, 3), Next::Make(4));
        assert_eq!(state.next(later, 3), Next::Make(0));
    }
}
