//! The host thread: starts and ends partitions as the group decides, and once a second looks at Kafka, ZooKeeper, the
//! lag and the registry.

use super::partition::{self, Slot, condition, emission_condition, take};
use super::standing::{Line, Standing, show_lag};
use super::{Ending, Shared, Shown};
use crate::replica::choice;
use crate::shell::kafka::assignment::{self, Assignment, Giving, GroupEvent};
use crate::shell::kafka::topic_id::topic_id;
use crate::shell::lock::LockService;
use crate::shell::meta::{Kind, WHOLE};
use crate::shell::registry::{Joined, Registry};
use crate::shell::{clock, preflight, thread};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The condition of Kafka in `/-/ready`.
pub(super) const KAFKA: &str = "kafka";
/// The condition of ZooKeeper in `/-/ready`.
const ZOOKEEPER: &str = "zookeeper";
/// How long a machine may take to finish its batch before its emission thread is ended under it: it may be waiting for
/// room there, and Kafka be away.
const FINISH: Duration = Duration::from_millis(1500);
/// Where ZooKeeper gives no session, the group is joined without it after this time.
const REGISTER: Duration = Duration::from_secs(3);
/// The condition of this worker's id in `/-/ready`.
const REGISTRY: &str = "registry";
/// How soon an ending is noticed.
const TURN: Duration = Duration::from_millis(20);
/// How often the lag and the conditions are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often Kafka is asked for metadata while it answers.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// One hosted partition's thread.
struct Hosted {
    ending: Arc<Ending>,
    line: Line,
    slot: Slot,
    thread: JoinHandle<()>,
}

/// The host thread's own state.
pub(super) struct Host {
    shared: Arc<Shared>,
    ending: Arc<Ending>,
    shown: Arc<Shown>,
    outbox: JoinHandle<()>,
    events: Sender<GroupEvent>,
    decisions: Receiver<GroupEvent>,
    /// None until this worker's id is known to be its own.
    assignment: Option<Assignment>,
    hosted: BTreeMap<i32, Hosted>,
    registry: Option<Registry>,
    partition_count: Option<i32>,
    dropped: u64,
    next_look: Duration,
    next_ask: Duration,
    /// The partition whose retention was looked at last.
    looked_at: i32,
    /// Partitions whose retention is close: said once.
    close: BTreeSet<i32>,
}

impl Host {
    pub(super) fn new(
        shared: Arc<Shared>,
        ending: Arc<Ending>,
        shown: Arc<Shown>,
        outbox: JoinHandle<()>,
    ) -> Self {
        let registry = match &shared.lock {
            LockService::ZooKeeper(keeper) => {
                let report = shown.publish(BTreeMap::new());
                Some(Registry::join(keeper, shared.config.zookeeper.session_timeout, report))
            }
            LockService::InProcess(_) | LockService::Standalone(_) => None,
        };
        let (events, decisions) = channel();
        Self {
            shared,
            ending,
            shown,
            outbox,
            events,
            decisions,
            assignment: None,
            hosted: BTreeMap::new(),
            registry,
            partition_count: None,
            dropped: 0,
            next_look: Duration::ZERO,
            next_ask: Duration::ZERO,
            looked_at: -1,
            close: BTreeSet::new(),
        }
    }

    /// Until the worker ends.
    pub(super) fn run(mut self) {
        let started = clock::monotonic();
        while self.ending.is_running() {
            if self.shared.lock.is_standalone() {
                // All of them, and no group: the cluster's groups stay as they are.
                let all: Vec<i32> = (0..self.partition_count.unwrap_or_default()).collect();
                self.assigned(&all);
            } else if self.assignment.is_none() && self.may_join(clock::monotonic().saturating_sub(started)) {
                self.join();
            }
            match self.decisions.recv_timeout(TURN) {
                Ok(GroupEvent::Assigned(partitions)) => {
                    self.assigned(&partitions);
                    self.shared.readiness.ready(assignment::CONDITION);
                }
                Ok(GroupEvent::Revoked(partitions)) => self.end(&partitions),
                Ok(GroupEvent::Fenced) => self.fenced(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::pause(TURN),
            }
            if clock::monotonic() >= self.next_look {
                self.next_look = clock::monotonic() + LOOK_EVERY;
                self.look();
            }
        }
        if self.ending.is_killed() {
            return self.let_go();
        }
        let all: Vec<i32> = self.hosted.keys().copied().collect();
        self.end(&all);
        // After the machines: what they applied last is committed with the goodbye.
        if let Some(assignment) = self.assignment.take() {
            assignment.leave();
        }
        let Self { shared, outbox, .. } = self;
        let worker = shared.config.worker.clone();
        drop(shared);
        let _ = outbox.join();
        tracing::info!(worker, "worker {worker} stopped");
    }

    /// A second worker of one id would put the first out of the group: the registry is asked before. Without ZooKeeper
    /// there is nobody to ask, and alerts matter more.
    fn may_join(&self, waited: Duration) -> bool {
        let Some(registry) = &self.registry else { return true };
        let may = match registry.joined() {
            Joined::Yes => true,
            Joined::Taken(_) => false,
            Joined::Foreign(other) => {
                let why = format!(
                    "worker {} of {} at {} does not believe what this worker signs, or the other way round: control.key and \
                     control.trusted must let each believe the other. This worker does not stand by until they do",
                    other.worker, other.zone, other.http
                );
                self.shared.doors.meta.raise(Kind::SettingsDiffer, WHOLE, why.as_str());
                if self.shared.readiness.reasons().get(REGISTRY) != Some(&why) {
                    tracing::error!(code = "settings_differ", "{why}");
                }
                self.shared.readiness.not_ready(REGISTRY, why);
                false
            }
            Joined::Pending(why) => {
                self.shared.readiness.not_ready(REGISTRY, why);
                self.shared.lock.state().is_err() && waited >= REGISTER
            }
        };
        if may {
            self.shared.doors.meta.resolve(Kind::SettingsDiffer, WHOLE);
            self.shared.readiness.ready(REGISTRY);
        }
        may
    }

    fn join(&mut self) {
        let shared = &self.shared;
        let joined = Assignment::start(
            &shared.config,
            &shared.topics.observations,
            Giving::WhenReplaced,
            Arc::clone(&shared.applied),
            Arc::clone(&shared.readiness),
            self.events.clone(),
        );
        match joined {
            Ok(assignment) => self.assignment = Some(assignment),
            Err(fault) => self.shown.refuse(fault.to_string()),
        }
    }

    fn assigned(&mut self, partitions: &[i32]) {
        for partition in partitions.iter().copied() {
            if self.hosted.contains_key(&partition) {
                continue;
            }
            self.shared.readiness.not_ready(&condition(partition), "not begun yet");
            let ending = Arc::new(Ending::default());
            let line = Line::default();
            let mut standing = Standing::new(partition, self.shared.metrics.clone(), Arc::clone(&line));
            let slot = Slot::default();
            let body = {
                let (shared, ending) = (Arc::clone(&self.shared), Arc::clone(&ending));
                let slot = Arc::clone(&slot);
                move || partition::host(&shared, partition, &ending, &slot, &mut standing)
            };
            match thread::spawn(format!("machine-{partition}"), body) {
                Ok(thread) => drop(self.hosted.insert(partition, Hosted { ending, line, slot, thread })),
                Err(fault) => {
                    tracing::error!(partition, %fault, "no thread left: partition {partition} is not hosted");
                    self.shared.readiness.not_ready(&condition(partition), fault.to_string());
                }
            }
        }
    }

    /// Ends partitions and waits for them, so that the next thread of a partition never meets its last.
    fn end(&mut self, partitions: &[i32]) {
        let ended: Vec<(i32, Hosted)> =
            partitions.iter().filter_map(|partition| self.hosted.remove_entry(partition)).collect();
        let mut beginning = BTreeSet::new();
        for (partition, hosted) in &ended {
            hosted.ending.set(Ending::STOP);
            // At once, whatever the machine is at: what it has not handed on its successor derives itself.
            match hosted.slot.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
                Some(emitter) => emitter.hand_over(),
                None => drop(beginning.insert(*partition)),
            }
        }
        let deadline = clock::monotonic() + FINISH;
        while ended.iter().any(|(_, hosted)| !hosted.thread.is_finished()) && clock::monotonic() < deadline {
            thread::pause(Duration::from_millis(5));
        }
        for (partition, hosted) in &ended {
            if let Some(emitter) = take(&hosted.slot) {
                // Beside each other: each takes up to two seconds.
                let _ = thread::spawn(format!("hand-over-{partition}"), move || emitter.stop());
            }
        }
        for (partition, hosted) in ended {
            // One that waits for an answer of Kafka or of the store has begun nothing and touches nothing any more.
            let waits = beginning.contains(&partition) && !hosted.thread.is_finished();
            if !waits && hosted.thread.join().is_err() {
                tracing::error!(partition, "the thread of partition {partition} panicked on its way out");
            }
            self.shared.readiness.ready(&condition(partition));
            self.shared.readiness.ready(&emission_condition(partition));
            self.shared.metrics.forget(partition);
        }
    }

    /// Another process has this worker's id.
    fn fenced(&mut self) {
        let all: Vec<i32> = self.hosted.keys().copied().collect();
        self.end(&all);
        self.shown.refuse(format!(
            "another process joined the consumer group as worker {:?}: give each an id of its own with --id",
            self.shared.config.worker
        ));
    }

    /// As a killed process would: nothing is handed over, nobody is told.
    fn let_go(self) {
        if let LockService::ZooKeeper(keeper) = &self.shared.lock {
            keeper.abandon();
        }
        for (partition, hosted) in &self.hosted {
            hosted.ending.set(Ending::KILL);
            if let Some(emitter) = take(&hosted.slot) {
                let _ = thread::spawn(format!("kill-{partition}"), move || emitter.kill());
            }
        }
    }

    fn look(&mut self) {
        if clock::monotonic() >= self.next_ask {
            self.ask_kafka();
        }
        match self.shared.lock.state() {
            Ok(()) => self.shared.readiness.ready(ZOOKEEPER),
            Err(why) => self.shared.readiness.not_ready(ZOOKEEPER, why),
        }
        let lines: BTreeMap<i32, Line> =
            self.hosted.iter().map(|(partition, hosted)| (*partition, Arc::clone(&hosted.line))).collect();
        show_lag(&self.shared.metrics, &lines, &self.shared.data.ends());
        let dropped = self.shared.outbox.counts().dropped.load(Ordering::Relaxed);
        self.shared.metrics.outbox_dropped.inc_by(dropped.saturating_sub(self.dropped));
        self.dropped = dropped;
        let copy = |line: &Line| line.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let report =
            self.shown.publish(lines.iter().map(|(partition, line)| (*partition, copy(line))).collect());
        let Some(registry) = &self.registry else { return };
        registry.publish(report);
        if let Joined::Taken(other) = registry.joined() {
            self.shown.refuse(format!(
                "worker id {:?} is taken: a worker of {} lives under it at {:?}. Give each an id of its own with --id",
                other.worker, other.zone, other.http
            ));
        }
    }

    /// Whether Kafka answers, and how many partitions the topic has.
    fn ask_kafka(&mut self) {
        match self.shared.data.partition_count() {
            Ok(count) => {
                self.shared.readiness.ready(KAFKA);
                self.next_ask = clock::monotonic() + ASK_EVERY;
                if self.partition_count.is_none() {
                    preflight::log(&self.shared.config);
                }
                // A topic that was made again under its name is found by its id; the partitions look at it themselves.
                if !self.hosted.is_empty()
                    && let Ok(id) = topic_id(&self.shared.config, &self.shared.topics.observations)
                {
                    self.shared.topic.set(&id);
                }
                self.watch_retention();
                if let Some(before) = self.partition_count.replace(count).filter(|before| *before != count) {
                    tracing::warn!(
                        "{} went from {before} to {count} partitions: services whose key moved begin anew on another one",
                        self.shared.topics.observations
                    );
                }
            }
            Err(fault) => self.shared.readiness.not_ready(KAFKA, fault.to_string()),
        }
    }

    /// Looks at one partition a turn: whether retention of the log comes close to what a restart would begin from.
    fn watch_retention(&mut self) {
        let Some(writer) = &self.shared.snapshots else { return };
        let next = self.hosted.range(self.looked_at + 1..).next().or_else(|| self.hosted.iter().next());
        let Some(partition) = next.map(|(partition, _)| *partition) else { return };
        self.looked_at = partition;
        let Ok((low, high)) = self.shared.data.range(partition) else { return };
        // Without any snapshot a restart would begin at the log's first record.
        let newest = writer.newest(partition).unwrap_or(0);
        let is_close = choice::is_retention_close(low, high, newest);
        self.shared.metrics.snapshots.retention(partition, is_close);
        if !is_close {
            self.close.remove(&partition);
        } else if self.close.insert(partition) {
            tracing::warn!(
                partition,
                low,
                high,
                snapshot = newest,
                "partition {partition}: retention comes close to the newest snapshot: the log reaches back {} records, the \
                 snapshot {}. Find out why none newer is stored, or raise kafka.observations_retention",
                high - low,
                high - newest
            );
        }
    }
}
