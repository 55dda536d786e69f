//! The locks of workers that share a process.

use super::{Listener, LockHolder};
use crate::replica::LockEvent;
use crate::shell::thread;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks shared by the workers of one process. Clones share them.
#[derive(Debug, Clone)]
pub struct InProcessLocks {
    table: Arc<Mutex<Table>>,
    session_timeout: Duration,
}

#[derive(Debug, Default)]
struct Table {
    /// Counts followers and acquisitions alike, from 1.
    counter: i64,
    partitions: BTreeMap<i32, Slot>,
}

#[derive(Default)]
struct Slot {
    /// The follower that holds it, and its worker.
    holder: Option<(i64, String)>,
    followers: BTreeMap<i64, (LockHolder, Listener)>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("holder", &self.holder).finish_non_exhaustive()
    }
}

impl Slot {
    fn state(&self) -> LockEvent {
        match &self.holder {
            None => LockEvent::Free,
            Some((_, worker)) => LockEvent::Held { worker: worker.clone() },
        }
    }

    fn tell_others(&self, but: i64) {
        let others = self.followers.iter().filter(|(follower, _)| **follower != but);
        others.for_each(|(_, (_, tell))| tell(self.state()));
    }
}

impl InProcessLocks {
    /// No lock is taken. A killed holder's lock is free after `session_timeout`.
    #[must_use]
    pub fn new(session_timeout: Duration) -> Self {
        Self { table: Arc::default(), session_timeout }
    }

    pub(super) fn follow(&self, partition: i32, holder: LockHolder, tell: Listener) -> Handle {
        let mut table = self.lock();
        table.counter += 1;
        let follower = table.counter;
        let slot = table.partitions.entry(partition).or_default();
        tell(slot.state());
        slot.followers.insert(follower, (holder, tell));
        drop(table);
        Handle { locks: self.clone(), partition, follower, abandoned: false }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free(&self, partition: i32, follower: i64) {
        let mut table = self.lock();
        let Some(slot) = table.partitions.get_mut(&partition) else { return };
        if slot.holder.take_if(|(holder, _)| *holder == follower).is_some() {
            slot.tell_others(-1);
        }
    }
}

/// One worker's view of one lock.
#[derive(Debug)]
pub struct Handle {
    locks: InProcessLocks,
    partition: i32,
    follower: i64,
    abandoned: bool,
}

impl Handle {
    pub(super) fn acquire(&self) {
        let mut table = self.locks.lock();
        table.counter += 1;
        let czxid = table.counter;
        let Some(slot) = table.partitions.get_mut(&self.partition) else { return };
        let Some((me, tell)) = slot.followers.get(&self.follower) else { return };
        if slot.holder.as_ref().is_some_and(|(holder, _)| *holder != self.follower) {
            tell(slot.state());
            return;
        }
        tell(LockEvent::Acquired { czxid });
        slot.holder = Some((self.follower, me.worker.clone()));
        slot.tell_others(self.follower);
    }

    pub(super) fn release(&self) {
        self.locks.free(self.partition, self.follower);
    }

    pub(super) fn abandon(mut self) {
        self.abandoned = true;
        let (locks, partition, follower) = (self.locks.clone(), self.partition, self.follower);
        let expire = move || {
            thread::pause(locks.session_timeout);
            locks.free(partition, follower);
        };
        if thread::spawn("lock-expiry", expire).is_err() {
            self.release();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(slot) = self.locks.lock().partitions.get_mut(&self.partition) {
            slot.followers.remove(&self.follower);
        }
        if !self.abandoned {
            self.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn follow(locks: &InProcessLocks, worker: &str) -> (Handle, mpsc::Receiver<LockEvent>) {
        let (sender, events) = mpsc::channel();
        let holder = LockHolder { worker: worker.into(), zone: "z".into(), version: "0".into() };
        let handle = locks.follow(0, holder, Box::new(move |event| sender.send(event).unwrap()));
        (handle, events)
    }

    fn held(worker: &str) -> LockEvent {
        LockEvent::Held { worker: worker.into() }
    }

    #[test]
    fn the_second_is_told_who_holds_it_and_when_it_is_free() {
        let locks = InProcessLocks::new(Duration::from_secs(60));
        let (a, a_events) = follow(&locks, "a");
        let (b, b_events) = follow(&locks, "b");
        assert_eq!((a_events.recv().unwrap(), b_events.recv().unwrap()), (LockEvent::Free, LockEvent::Free));
        a.acquire();
        assert!(matches!(a_events.recv().unwrap(), LockEvent::Acquired { .. }));
        assert_eq!(b_events.recv().unwrap(), held("a"));
        b.acquire();
        assert_eq!(b_events.recv().unwrap(), held("a"));
        drop(a);
        assert_eq!(b_events.recv().unwrap(), LockEvent::Free);
        b.acquire();
        assert!(matches!(b_events.recv().unwrap(), LockEvent::Acquired { .. }));
    }

    #[test]
    fn a_killed_holder_keeps_its_lock_until_the_session_times_out() {
        let locks = InProcessLocks::new(Duration::from_millis(50));
        let (a, _a_events) = follow(&locks, "a");
        a.acquire();
        let (b, b_events) = follow(&locks, "b");
        assert_eq!(b_events.recv().unwrap(), held("a"));
        a.abandon();
        b.acquire();
        assert_eq!(b_events.recv().unwrap(), held("a"), "still inside the session");
        assert_eq!(b_events.recv_timeout(Duration::from_secs(5)).unwrap(), LockEvent::Free);
    }
}
