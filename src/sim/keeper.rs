//! A ZooKeeper: sessions that end when they are not heard of, and each partition's lock as an ephemeral node. A
//! worker's side of it follows `shell/lock/zookeeper.rs`: it looks at the node whenever that changes, or what is wanted
//! does, and tells the emission thread what it saw.

use super::fault::SESSION_MS;
use super::story::{Fact, Who};
use super::world::{Event, What, World};
use crate::replica::{Input, LockEvent};
use std::collections::BTreeMap;

/// The ensemble.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// Since when it has no quorum, and until when.
    pub(super) down_until_ms: i64,
    counter: i64,
    sessions: BTreeMap<i64, Session>,
    locks: BTreeMap<usize, Node>,
}

#[derive(Debug)]
struct Session {
    worker: usize,
    /// Since when its client was not heard of; none while it pings.
    unheard_since_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    session: i64,
    worker: usize,
    czxid: i64,
}

/// A worker's side of one lock.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct LockClient {
    hold: bool,
    /// A request to hold it has no answer yet.
    asked: bool,
    held: bool,
}

impl World {
    fn keeper_answers(&self, worker: usize) -> bool {
        self.now_ms >= self.keeper.down_until_ms
            && self.now_ms >= self.workers[worker].keeper_cut_until_ms
            && self.workers[worker].is_running()
    }

    /// A new session of a process that has none, as soon as the ensemble answers.
    pub(super) fn open_session(&mut self, worker: usize) {
        if !self.keeper_answers(worker) || self.workers[worker].session.is_some() {
            return;
        }
        self.keeper.counter += 1;
        let id = self.keeper.counter;
        self.keeper.sessions.insert(id, Session { worker, unheard_since_ms: None });
        self.workers[worker].session = Some(id);
        self.tell(Who::Keeper, &Fact::Session { worker, what: "begins" });
        (0..self.plan.partitions).for_each(|p| self.look(worker, p));
    }

    /// The ensemble no longer hears of a worker, whatever the reason.
    pub(super) fn unheard(&mut self, worker: usize) {
        let now_ms = self.now_ms;
        let own = self.keeper.sessions.iter_mut().filter(|(_, session)| session.worker == worker);
        let mut begun = Vec::new();
        for (id, session) in own.filter(|(_, session)| session.unheard_since_ms.is_none()) {
            session.unheard_since_ms = Some(now_ms);
            begun.push(*id);
        }
        for session in begun {
            let in_ms = SESSION_MS + self.random.between(0, SESSION_MS / 4);
            self.later(in_ms, Event::SessionDue { session });
            // The client gives up by itself at 7/5 of the timeout.
            let life = self.workers[worker].life;
            self.later(
                SESSION_MS * 7 / 5,
                Event::To { worker, life, p: 0, what: What::SessionOver(session) },
            );
        }
    }

    /// The ensemble hears of a worker again, if nothing stands between.
    pub(super) fn heard(&mut self, worker: usize) {
        if !self.keeper_answers(worker) {
            return;
        }
        match self.workers[worker].session {
            Some(id) => match self.keeper.sessions.get_mut(&id) {
                Some(session) => {
                    session.unheard_since_ms = None;
                    (0..self.plan.partitions).for_each(|p| self.look(worker, p));
                }
                None => self.session_over(worker, id),
            },
            None => self.open_session(worker),
        }
    }

    /// A worker learns that its session is over, and begins another.
    pub(super) fn session_over(&mut self, worker: usize, session: i64) {
        let unheard =
            self.keeper.sessions.get(&session).is_none_or(|session| session.unheard_since_ms.is_some());
        if self.workers[worker].session != Some(session) || !unheard {
            return;
        }
        self.workers[worker].session = None;
        for p in 0..self.plan.partitions {
            if let Some(hosted) = self.workers[worker].hosted.get_mut(p) {
                hosted.lock.held = false;
                self.mail(worker, p, Input::Lock(LockEvent::Lost));
            }
        }
        self.open_session(worker);
    }

    /// A session that was not heard of for its timeout ends, unless the ensemble itself was away.
    pub(super) fn session_due(&mut self, id: i64) {
        let Some(session) = self.keeper.sessions.get_mut(&id) else { return };
        let Some(since_ms) = session.unheard_since_ms else { return };
        if self.now_ms < self.keeper.down_until_ms {
            // It gives every session its full time again when it is back.
            let back_ms = self.keeper.down_until_ms;
            session.unheard_since_ms = Some(back_ms);
            self.later(back_ms - self.now_ms + SESSION_MS, Event::SessionDue { session: id });
        } else if self.now_ms - since_ms >= SESSION_MS {
            self.end_session(id);
        } else {
            self.later(SESSION_MS, Event::SessionDue { session: id });
        }
    }

    /// Ends a worker's session: it closes it, or the ensemble does.
    pub(super) fn end_session_of(&mut self, worker: usize) {
        if let Some(id) = self.workers[worker].session {
            self.end_session(id);
            if self.keeper_answers(worker) {
                self.session_over(worker, id);
            }
        }
    }

    fn end_session(&mut self, id: i64) {
        let Some(session) = self.keeper.sessions.remove(&id) else { return };
        self.tell(Who::Keeper, &Fact::Session { worker: session.worker, what: "has ended" });
        for p in 0..self.plan.partitions {
            if self.keeper.locks.get(&p).is_some_and(|node| node.session == id) {
                self.free(p);
            }
        }
    }

    fn free(&mut self, p: usize) {
        self.keeper.locks.remove(&p);
        (0..self.workers.len()).for_each(|worker| self.look(worker, p));
    }

    /// What is wanted of a lock has changed.
    pub(super) fn want(&mut self, worker: usize, p: usize, hold: bool) {
        let lock = &mut self.workers[worker].hosted[p].lock;
        lock.hold = hold;
        lock.asked |= hold;
        self.look(worker, p);
    }

    /// A handle of the lock is dropped: the lock is given back.
    pub(super) fn drop_lock(&mut self, worker: usize, p: usize) {
        let session = self.workers[worker].session;
        if self.keeper.locks.get(&p).is_some_and(|node| Some(node.session) == session) {
            self.free(p);
        }
    }

    pub(super) fn look(&mut self, worker: usize, p: usize) {
        let life = self.workers[worker].life;
        let in_ms = self.random.between(1, 12);
        self.later(in_ms, Event::LookAtLock { worker, life, p });
    }

    /// One round of a worker's side of a lock. See `shell/lock/zookeeper.rs`, `in_session`.
    pub(super) fn look_at_lock(&mut self, worker: usize, p: usize) {
        let Some(id) = self.workers[worker].session else { return };
        if !self.keeper_answers(worker) || !self.keeper.sessions.contains_key(&id) {
            return;
        }
        let Some(hosted) = self.workers[worker].hosted.get_mut(p) else { return };
        let lock = &mut hosted.lock;
        let node = self.keeper.locks.get(&p).copied();
        if lock.held && !lock.hold {
            lock.held = false;
            if node.is_some_and(|node| node.session == id) {
                self.tell(Who::Worker(worker), &Fact::Lock { p, what: "released" });
                return self.free(p);
            }
        }
        match node {
            None if lock.hold && !lock.held && lock.asked => {
                self.keeper.counter += 1;
                let czxid = self.keeper.counter;
                (lock.held, lock.asked) = (true, false);
                self.keeper.locks.insert(p, Node { session: id, worker, czxid });
                self.tell(Who::Worker(worker), &Fact::Lock { p, what: "acquired" });
                self.mail(worker, p, Input::Lock(LockEvent::Acquired { czxid }));
                (0..self.workers.len())
                    .filter(|other| *other != worker)
                    .for_each(|other| self.look(other, p));
            }
            None if lock.held => {
                lock.held = false;
                self.mail(worker, p, Input::Lock(LockEvent::Lost));
            }
            None => self.mail(worker, p, Input::Lock(LockEvent::Free)),
            Some(node) if node.session == id => {
                if !lock.held || (lock.hold && lock.asked) {
                    (lock.held, lock.asked) = (true, false);
                    self.mail(worker, p, Input::Lock(LockEvent::Acquired { czxid: node.czxid }));
                }
            }
            // Left behind by an earlier session of this very worker.
            Some(node) if node.worker == worker => self.free(p),
            Some(node) => {
                lock.asked = false;
                let holder = super::worker::name(node.worker);
                self.mail(worker, p, Input::Lock(LockEvent::Held { worker: holder }));
            }
        }
    }

    /// The ensemble is back: it hears of everyone who is there.
    pub(super) fn keeper_back(&mut self) {
        (0..self.workers.len()).for_each(|worker| self.heard(worker));
    }
}
