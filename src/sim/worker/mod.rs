//! A worker process: what it hosts, whether it runs, and what it can reach.
//!
//! It mirrors `shell/worker/partition.rs` (`hosting`) and `shell/emitter/run.rs` (`emission`) as thinly as it can: the
//! machine, the replica and the ticker are production's, and every decision is theirs.

mod emission;
mod follower;
mod hosting;

use super::fault::Aim;
use super::keeper::LockClient;
use super::store::Beginning;
use super::story::{Fact, Who};
use super::world::{Event, START_MS, What, World};
use crate::machine::Machine;
use crate::replica::{Bounds, Input, Options, Replica, Role};
use crate::shell::worker::ticker::Ticker;
use emission::Emission;
use std::time::Duration;

/// Transitions of its own that stay unseen for longer make a standby take over, milliseconds: the default of production.
const TAKEOVER_AFTER_MS: i64 = 2_000;
/// Smaller than production's, so that every run meets them.
const BOUNDS: Bounds =
    Bounds { chunk_transitions: 5, chunk_bytes: 4 << 10, backlog_transitions: 24, backlog_bytes: 1 << 20 };

/// Name of a worker: the zone's letter and a digit.
pub(super) fn name(worker: usize) -> String {
    format!("{}1", ["a", "b", "c"][worker % 3])
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Paused,
    Dead,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Worker {
    state: State,
    /// Counts the processes that it was: what was meant for an earlier one is dropped.
    pub(super) life: u32,
    engine_version: i32,
    /// What it will be from its next start on.
    next_engine: Option<i32>,
    /// How far its wall clock is ahead, milliseconds.
    skew_ms: i64,
    pub(super) session: Option<i64>,
    pub(super) keeper_cut_until_ms: i64,
    pub(super) kafka_cut_until_ms: i64,
    /// Since when nothing has disturbed it, once it had caught up.
    pub(super) well_since_ms: Option<i64>,
    /// One for each partition; none while it is dead.
    pub(super) hosted: Vec<Hosted>,
    /// What waits for it to go on.
    deferred: Vec<(usize, What)>,
    /// To be stopped as an operator would: for how long.
    stopping_ms: Option<i64>,
}

/// One partition of it.
#[derive(Debug)]
pub(super) struct Hosted {
    machine: Machine,
    /// Offset of the next record to apply.
    next: i64,
    ticker: Ticker,
    caught_up: bool,
    fetching: bool,
    next_pulse_ms: i64,
    emission: Emission,
    pub(super) lock: LockClient,
}

impl Worker {
    pub(super) fn new(skew_ms: i64) -> Self {
        Self {
            state: State::Dead,
            life: 0,
            engine_version: 1,
            next_engine: None,
            skew_ms,
            session: None,
            keeper_cut_until_ms: 0,
            kafka_cut_until_ms: 0,
            well_since_ms: None,
            hosted: Vec::new(),
            deferred: Vec::new(),
            stopping_ms: None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    pub(super) fn engine(&self) -> i32 {
        self.engine_version
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state == State::Dead
    }

    pub(super) fn role(&self, p: usize) -> Option<Role> {
        self.hosted.get(p).map(|hosted| hosted.emission.replica.role())
    }
}

impl World {
    /// Time since a process-independent start, as the ticker wants it.
    fn monotonic(&self) -> Duration {
        Duration::from_millis((self.now_ms - START_MS).unsigned_abs())
    }

    /// A process begins.
    pub(super) fn start(&mut self, worker: usize) {
        if !self.workers[worker].is_dead() {
            return;
        }
        let me = &mut self.workers[worker];
        me.state = State::Running;
        me.life += 1;
        (me.session, me.stopping_ms, me.well_since_ms) = (None, None, None);
        me.deferred.clear();
        me.engine_version = me.next_engine.unwrap_or(me.engine_version);
        let engine = me.engine_version;
        for p in 0..self.plan.partitions {
            let hosted = self.host(worker, p);
            self.workers[worker].hosted.push(hosted);
        }
        self.tell(Who::Worker(worker), &Fact::Started { engine });
        self.open_session(worker);
        for p in 0..self.plan.partitions {
            for what in [What::Timer, What::Pulse] {
                self.to(worker, p, 1, what);
            }
            self.fetch_soon(worker, p);
        }
    }

    /// A partition of it begins: the machine, and a replica that knows how far that is.
    fn host(&mut self, worker: usize, p: usize) -> Hosted {
        let Beginning { machine, next, derived } = self.begin(worker, p);
        let me = &self.workers[worker];
        let options = Options {
            worker: name(worker),
            zone: format!("zone-{worker}"),
            engine_version: me.engine_version,
            topic_id: "observations-1".to_owned(),
            partition_count: i32::try_from(self.plan.partitions).unwrap_or(1),
            takeover_after_ms: TAKEOVER_AFTER_MS,
            derived,
            bounds: BOUNDS,
            standalone: false,
        };
        let partition = i32::try_from(p).unwrap_or_default();
        Hosted {
            machine,
            next,
            ticker: Ticker::new(&options.worker, partition, self.monotonic()),
            caught_up: false,
            fetching: false,
            next_pulse_ms: self.now_ms,
            emission: Emission::new(Replica::new(options, self.now_ms + me.skew_ms)),
            lock: LockClient::default(),
        }
    }

    /// A partition whose replica has forgotten too much begins anew, in the same process: another machine, another
    /// emission thread, another handle of the lock.
    fn rederive(&mut self, worker: usize, p: usize) {
        let hosted = self.host(worker, p);
        self.drop_lock(worker, p);
        self.workers[worker].hosted[p] = hosted;
        self.workers[worker].well_since_ms = None;
        self.fetch_soon(worker, p);
        self.look(worker, p);
    }

    /// A process is killed; its connections and threads are gone, its session and what it sent are not.
    pub(super) fn kill(&mut self, worker: usize) {
        if self.workers[worker].is_dead() {
            return;
        }
        self.unheard(worker);
        let me = &mut self.workers[worker];
        me.state = State::Dead;
        me.life += 1;
        me.hosted.clear();
        me.deferred.clear();
        me.well_since_ms = None;
        self.tell(Who::Worker(worker), &Fact::Killed);
    }

    /// A process stands still.
    pub(super) fn pause(&mut self, worker: usize, ms: i64) {
        if self.workers[worker].state != State::Running {
            return;
        }
        self.workers[worker].state = State::Paused;
        self.workers[worker].well_since_ms = None;
        self.tell(Who::Worker(worker), &Fact::Paused { ms });
        self.unheard(worker);
        let life = self.workers[worker].life;
        self.later(ms, Event::Resume { worker, life });
    }

    /// It goes on, with everything that came meanwhile.
    pub(super) fn resume(&mut self, worker: usize) {
        if self.workers[worker].state != State::Paused {
            return;
        }
        self.workers[worker].state = State::Running;
        self.workers[worker].well_since_ms = Some(self.now_ms);
        self.tell(Who::Worker(worker), &Fact::Resumed);
        for (p, what) in std::mem::take(&mut self.workers[worker].deferred) {
            self.to(worker, p, 0, what);
        }
        self.heard(worker);
    }

    /// A worker is told to stop; another process of it starts `ms` after it has.
    pub(super) fn stop(&mut self, worker: usize, ms: i64, upgrade: Option<i32>) {
        if self.workers[worker].state != State::Running || self.workers[worker].stopping_ms.is_some() {
            return;
        }
        self.workers[worker].stopping_ms = Some(ms);
        if upgrade.is_some() {
            self.workers[worker].next_engine = upgrade;
        }
        self.workers[worker].well_since_ms = None;
        (0..self.plan.partitions).for_each(|p| self.mail(worker, p, Input::Stop));
    }

    /// An emission thread has ended: the process ends with the last of them.
    fn stopped(&mut self, worker: usize) {
        let Some(ms) = self.workers[worker].stopping_ms else { return };
        if !self.workers[worker].hosted.iter().all(|hosted| hosted.emission.stopped) {
            return;
        }
        self.end_session_of(worker);
        let me = &mut self.workers[worker];
        me.state = State::Dead;
        me.life += 1;
        me.hosted.clear();
        self.tell(Who::Worker(worker), &Fact::Stopped);
        self.later(ms, Event::Start { worker });
    }

    /// The worker that a fault means.
    pub(super) fn aimed(&self, aim: Aim, p: usize) -> usize {
        let is_primary = |worker: &usize| self.workers[*worker].role(p) == Some(Role::Primary);
        let find = |wanted: bool| (0..self.workers.len()).find(|worker| is_primary(worker) == wanted);
        match aim {
            Aim::Primary => find(true).unwrap_or(0),
            Aim::Standby => find(false).unwrap_or(0),
            Aim::Worker(worker) => worker % self.workers.len(),
        }
    }

    pub(super) fn reaches_kafka(&self, worker: usize) -> bool {
        self.now_ms >= self.workers[worker].kafka_cut_until_ms
    }

    /// Something for a worker's thread of a partition, in `in_ms`.
    pub(super) fn to(&mut self, worker: usize, p: usize, in_ms: i64, what: What) {
        let life = self.workers[worker].life;
        self.later(in_ms, Event::To { worker, life, p, what });
    }

    /// It has arrived.
    pub(super) fn arrived(&mut self, worker: usize, p: usize, what: What) {
        match self.workers[worker].state {
            State::Dead => return,
            State::Paused => return self.workers[worker].deferred.push((p, what)),
            State::Running => {}
        }
        match what {
            What::Fetch => self.fetch(worker, p),
            What::Pulse => self.pulse(worker, p),
            What::Timer => self.timer(worker, p),
            What::Wake => self.wake(worker, p),
            What::Unhung => self.unhung(worker, p),
            What::Answer(number, answer) => self.answered(worker, p, number, answer),
            What::Deadline(number) => self.overdue(worker, p, number),
            What::Tail => self.read_tail(worker, p),
            What::SessionOver(session) => self.session_over(worker, session),
            What::Put(stored) => self.put_snapshot(worker, p, *stored),
            What::Refused(dead) => self.mail(worker, p, Input::PrimaryDead { worker: name(dead) }),
        }
    }
}
