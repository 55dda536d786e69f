//! The emission thread's loop.

use super::concerns::Concerns;
use super::handles::Handles;
use super::inbox::{Inbox, Mail};
use super::{EmitterOptions, EmitterStatus, FromMachine};
use crate::machine;
use crate::replica::{Action, Bounds, Derived, Event, Input, Options, Replica, Role};
use crate::shell::clock;
use crate::shell::kafka::KafkaError;
use crate::shell::kafka::producer::Outgoing;
use crate::shell::kafka::spares::Keep;
use crate::shell::kafka::tail::{TailEvent, TailListener};
use crate::shell::lock::{LockHolder, PartitionLock};
use crate::wire::{AlertRecord, Marker, hex};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest wait between two looks at the time.
const TICK: Duration = Duration::from_millis(100);
/// One read-back.
const READ_BACK: Duration = Duration::from_secs(2);
/// Between two attempts to find the alerts partition's tail.
const FOLLOW_RETRY: Duration = Duration::from_secs(1);
/// Kafka key of a marker; a transition's is its alert's identity.
const MARKER_KEY: &[u8] = b"marker";

/// The emission thread, from start to end.
pub(super) fn run(options: EmitterOptions, inbox: Arc<Inbox>, status: Arc<Mutex<EmitterStatus>>) {
    let told = Arc::clone(&inbox);
    let tell = Box::new(move |event| told.put(Input::Lock(event)));
    let lock = options.lock.follow(options.partition, LockHolder::of(&options.config), tell);
    let told = Arc::clone(&inbox);
    let tell = Box::new(move |worker: &str| told.put(Input::PrimaryDead { worker: worker.to_owned() }));
    options.doors.peers.listen(options.partition, tell);
    let concerns = Concerns::new(&options.doors.meta, options.partition);
    let handles = Handles::new(&options.config, options.partition, &options.doors.spares);
    let config = &options.config;
    let replica = Replica::new(
        Options {
            worker: config.worker.clone(),
            zone: config.zone.clone(),
            engine_version: machine::ENGINE_VERSION,
            topic_id: options.topic_id.clone(),
            partition_count: options.partition_count,
            takeover_after_ms: i64::try_from(config.takeover_after.as_millis()).unwrap_or(i64::MAX),
            derived: options.derived,
            bounds: Bounds::default(),
            standalone: options.lock.is_standalone(),
        },
        now_ms(),
    );
    let mut thread = Thread {
        options,
        inbox,
        status,
        replica,
        lock,
        handles,
        concerns,
        follow_at: Some(clock::monotonic()),
        promoting_since: None,
        first_commit: false,
        stopped: false,
    };
    thread.serve();
    thread.options.doors.peers.unlisten(thread.options.partition);
    thread.options.doors.follower.unfollow(thread.options.partition);
    thread.inbox.close();
    if thread.inbox.is_killed() {
        thread.lock.abandon();
    }
}

/// Milliseconds since the epoch by a clock that never goes back: the wall clock at the first call, plus what has passed.
fn now_ms() -> i64 {
    static START_MS: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let passed_ms = millis(clock::monotonic());
    START_MS.get_or_init(|| clock::wall_ms() - passed_ms) + passed_ms
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

struct Thread {
    options: EmitterOptions,
    inbox: Arc<Inbox>,
    status: Arc<Mutex<EmitterStatus>>,
    replica: Replica,
    lock: PartitionLock,
    handles: Handles,
    concerns: Concerns,
    /// When to look for the tail of the alerts partition; none while it is followed.
    follow_at: Option<Duration>,
    promoting_since: Option<Duration>,
    /// It has become primary, and has not committed yet.
    first_commit: bool,
    stopped: bool,
}

impl Thread {
    fn serve(&mut self) {
        while !self.stopped {
            if self.follow_at.is_some_and(|at| clock::monotonic() >= at) {
                self.follow();
            }
            let mail = self.inbox.take(TICK, !self.replica.is_full());
            if mail.killed {
                return;
            }
            for input in self.inputs(mail) {
                self.step(input);
            }
            let mut trouble = None;
            self.show(|status| trouble.clone_from(&status.trouble));
            self.concerns.look(&self.replica, trouble.as_deref());
        }
    }

    /// One event, and everything that follows from it. Where Kafka fails again and again, that has no end: a planned stop
    /// does not wait for it.
    fn step(&mut self, input: Input) {
        let mut answers = VecDeque::from([input]);
        while let Some(input) = answers.pop_front() {
            answers.extend(self.inbox.take_stop());
            let mut actions = Vec::new();
            self.replica.step(Event { now_ms: now_ms(), input }, &mut actions);
            for action in actions {
                if self.inbox.is_killed() {
                    return;
                }
                answers.extend(self.execute(action));
            }
        }
    }

    /// In an order that lets one transaction take everything that waits: all transitions first, then the clock.
    fn inputs(&mut self, mail: Mail) -> Vec<Input> {
        let mut inputs: Vec<Input> = mail.others.into();
        if mail.tail_lost {
            self.follow_at = Some(clock::monotonic());
        }
        let (mut derived, mut progress, mut caught_up) = (Vec::new(), None, false);
        for message in mail.machine {
            match message {
                FromMachine::Derived(transitions) => derived.extend(transitions.iter().map(Derived::of)),
                FromMachine::Progress(newer) => progress = Some(newer),
                FromMachine::CaughtUp => caught_up = true,
            }
        }
        if !derived.is_empty() {
            inputs.push(Input::Derived(derived));
        }
        if let Some(progress) = progress {
            inputs.push(Input::Progress { clock_ms: progress.clock_ms, offset: progress.offset });
        }
        if caught_up {
            inputs.push(Input::CaughtUp);
        }
        inputs.push(Input::Tick);
        self.show(|status| {
            status.progress = progress.or(status.progress);
            status.caught_up |= caught_up;
        });
        inputs
    }

    fn execute(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Acquire => self.lock.acquire(),
            Action::Release => self.lock.release(),
            Action::RenewProducer => self.handles.renew(),
            Action::Initialise => return Some(self.initialise()),
            Action::ReadBack => return Some(self.read_back()),
            Action::Commit { first, marker } => return Some(self.commit(first, *marker)),
            Action::RoleChanged { from, to, reason } => {
                let (partition, epoch) = (self.options.partition, self.replica.epoch());
                let (from, why) = (from.code(), reason.code());
                tracing::info!(partition, from, to = to.code(), reason = why, epoch, "role changed");
                self.show(|status| *status.role_changes.entry((to, reason)).or_default() += 1);
                match to {
                    Role::Primary => self.handles.keep(Keep::Primary),
                    Role::Standby | Role::Fenced => self.handles.keep(Keep::Standby),
                    Role::Locking | Role::Initialising | Role::ReadingBack | Role::Stopping => {}
                }
                if to == Role::Initialising {
                    self.concerns.took_over(reason);
                }
                if to == Role::Initialising && self.promoting_since.is_none() {
                    self.promoting_since = Some(clock::monotonic());
                }
                if to == Role::Primary {
                    let took = self.promoting_since.map(|since| clock::monotonic().saturating_sub(since));
                    self.show(|status| status.promotion = took);
                    self.first_commit = true;
                }
                if to == Role::Standby {
                    // What stood in a primary's way is no trouble of a standby's.
                    self.show(|status| status.trouble = None);
                }
                if !matches!(to, Role::Initialising | Role::ReadingBack) {
                    self.promoting_since = None;
                }
            }
            Action::Diverged { seq, ours, theirs, worker } => {
                tracing::error!(
                    partition = self.options.partition,
                    seq,
                    ours = hex::digits(&ours),
                    theirs = hex::digits(&theirs),
                    other = worker,
                    "the replicas' histories differ at this seq: keep both logs; alerts go on, from the primary"
                );
                self.show(|status| status.divergences += 1);
                self.concerns.diverged(seq, &worker);
            }
            Action::PartitionsChanged { theirs, ours } => {
                tracing::warn!(
                    partition = self.options.partition,
                    theirs,
                    ours,
                    "the last marker was written when the observations topic had {theirs} partitions, now it has {ours}: \
                     services whose key moved begin anew on another partition"
                );
                self.show(|status| status.partitions_before = Some(theirs));
            }
            Action::Rederive { seq } => {
                tracing::warn!(
                    partition = self.options.partition,
                    seq,
                    "alerts after seq {seq} were forgotten while nobody emitted them: deriving them again from a snapshot"
                );
                self.inbox.put_rederive();
            }
            Action::Stopped => self.stopped = true,
        }
        None
    }

    fn initialise(&mut self) -> Input {
        match self.handles.initialise() {
            Ok(()) => Input::Initialised,
            Err((failure, fault)) => {
                self.trouble(&fault);
                Input::InitialiseFailed(failure)
            }
        }
    }

    fn read_back(&mut self) -> Input {
        match self.options.doors.follower.last_marker(self.options.partition, READ_BACK) {
            Ok(tail) if tail.is_open => {
                self.trouble(&KafkaError::OpenTransaction { partition: self.options.partition });
                Input::ReadBackFailed
            }
            Ok(tail) if tail.marker.is_none() && tail.low_offset > 0 => Input::MarkerMissing,
            Ok(tail) => Input::ReadBack(tail.marker.map(Box::new)),
            Err(fault) => {
                self.trouble(&fault);
                Input::ReadBackFailed
            }
        }
    }

    fn commit(&mut self, first: i64, marker: Marker) -> Input {
        let seq = marker.seq;
        let transitions = self.replica.transitions(first, seq);
        let end = AlertRecord::Marker(marker).encode();
        let mut records: Vec<Outgoing<'_>> = transitions
            .map(|derived| Outgoing { key: derived.key.as_slice(), value: derived.bytes.as_slice() })
            .collect();
        let count = records.len() as u64;
        records.push(Outgoing { key: MARKER_KEY, value: &end });
        match self.handles.commit(&records) {
            Ok(took) => {
                if std::mem::take(&mut self.first_commit) {
                    let partition = self.options.partition;
                    tracing::info!(
                        partition,
                        seq,
                        count,
                        "partition {partition}: first commit in {took:.1?}"
                    );
                }
                self.show(|status| {
                    status.commits += 1;
                    status.transitions += count;
                    status.commit_latency.record(took);
                    status.trouble = None;
                });
                Input::Committed { took_ms: millis(took) }
            }
            Err((failure, fault)) => {
                self.show(|status| status.commit_failures += 1);
                self.trouble(&fault);
                Input::CommitFailed(failure)
            }
        }
    }

    /// Finds the end of the alerts partition, tells the replica what is out, and follows from there.
    fn follow(&mut self) {
        self.follow_at = Some(clock::monotonic() + FOLLOW_RETRY);
        let (partition, follower) = (self.options.partition, self.options.doors.follower.clone());
        let followed = follower.last_marker(partition, READ_BACK).and_then(|tail| {
            let inbox = Arc::clone(&self.inbox);
            let tell: TailListener = Box::new(move |event| match event {
                TailEvent::Marker(marker) => inbox.put(Input::Seen(marker)),
                TailEvent::Lost => inbox.put_tail_lost(),
            });
            follower.follow(partition, tail.next_offset, tell).map(|()| tail.marker)
        });
        match followed {
            Ok(marker) => {
                self.follow_at = None;
                self.show(|status| status.trouble = None);
                if let Some(marker) = marker {
                    self.step(Input::Seen(Box::new(marker)));
                }
                self.step(Input::TailReached);
            }
            Err(fault) => self.trouble(&fault),
        }
    }

    /// Said once for each new trouble, and shown until it is over.
    fn trouble(&mut self, fault: &KafkaError) {
        let text = format!("{fault} [{}]", fault.code());
        let partition = self.options.partition;
        self.show(|status| {
            if status.trouble.as_ref() != Some(&text) {
                tracing::warn!(partition, "{text}");
            }
            status.trouble = Some(text);
        });
    }

    /// Brings the status up to date, and one thing more.
    fn show(&self, change: impl FnOnce(&mut EmitterStatus)) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.role = self.replica.role();
        status.reason = self.replica.reason();
        status.epoch = self.replica.epoch();
        status.marker_seq = self.replica.out_seq();
        status.unsent = self.replica.waiting();
        status.czxid = self.replica.lock_czxid();
        status.diverged = self.replica.is_diverged();
        status.refusal = self.replica.refusal();
        status.forgotten = self.replica.has_forgotten();
        change(&mut status);
    }
}
