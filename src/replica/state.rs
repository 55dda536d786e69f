//! The state machine of one partition's emission.

use super::backlog::{Backlog, Bounds};
use super::claim::Claim;
use super::{Action, Derived, Event, Input, LEGAL, Reason, Role};
use crate::sim::planted::{Bug, planted};
use crate::wire::Marker;
use std::collections::VecDeque;

/// What a replica is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Identity of this worker.
    pub worker: String,
    /// Its zone.
    pub zone: String,
    /// Version of the engine's semantics.
    pub engine_version: i32,
    /// Kafka's id of the observations topic; empty where the broker tells none.
    pub topic_id: String,
    /// Partitions of the observations topic.
    pub partition_count: i32,
    /// Takes over when a transition of its own stays unseen for longer, in log time and in wall time, milliseconds.
    pub takeover_after_ms: i64,
    /// The last transition that the machine had derived when this replica was made, and the running hash there:
    /// (0, zeroes) for a machine that starts at the beginning of the log.
    pub derived: (i64, [u8; 32]),
    /// What may wait, and go out at once.
    pub bounds: Bounds,
    /// Primary by an operator's word, whatever other workers' locks say: its markers tell them to stand back.
    pub standalone: bool,
}

/// What the newest marker says besides how far the partition is out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) topic_id: String,
    pub(super) engine_version: i32,
}

/// What this replica knows of the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// No word yet, or none since the session was lost.
    Unknown,
    Free,
    /// Asked for, no answer yet.
    Asked,
    Theirs,
    Mine(i64),
}

/// How far the partition is out: the part of a marker that only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) seq: i64,
    pub(super) input_offset: i64,
    pub(super) ordinal: i32,
    pub(super) rule_set_version: i64,
    pub(super) running_hash: [u8; 32],
}

impl Out {
    const NOTHING: Self =
        Self { seq: 0, input_offset: -1, ordinal: 0, rule_set_version: 0, running_hash: [0; 32] };

    fn of(marker: &Marker) -> Self {
        Self {
            seq: marker.seq,
            input_offset: marker.input_offset,
            ordinal: marker.ordinal,
            rule_set_version: marker.rule_set_version,
            running_hash: marker.running_hash,
        }
    }
}

/// A marker whose `seq` the machine has not reached yet: its hash is compared when it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ahead {
    seq: i64,
    running_hash: [u8; 32],
    epoch: i64,
    worker: String,
}

/// Another worker that holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) worker: String,
    /// Newest epoch known when it was first seen to hold it.
    pub(super) epoch: i64,
}

/// One partition's emission, in one worker. See the module.
#[derive(Debug, Clone)]
pub struct Replica {
    pub(super) options: Options,
    pub(super) role: Role,
    pub(super) reason: Reason,
    pub(super) now_ms: i64,
    /// The log's clock.
    pub(super) clock_ms: i64,
    /// Offset after the last record that the machine has applied.
    pub(super) applied: i64,
    /// When the machine reached the end of the log, and what it had derived then.
    pub(super) caught_up: Option<(i64, i64)>,
    /// No transition that is not out may be forgotten: everything is needed to begin with.
    pub(super) keeps_all: bool,
    /// Since when the oldest of the forgotten transitions has waited, and its append time.
    pub(super) forgotten: Option<(i64, i64)>,
    pub(super) rederive_asked: bool,
    /// When `out` last advanced, by the wall clock and by the log's.
    pub(super) advanced: (i64, i64),
    pub(super) facts: Option<Facts>,
    /// What the last read-back was refused for.
    pub(super) refused: Option<Reason>,
    /// Partition count of the newest marker, where it is another than ours.
    pub(super) partitions_told: Option<i32>,
    /// When this replica was promoted in the last minute, out of standby.
    pub(super) promotions: VecDeque<i64>,
    /// Since when the lock is free, and whether a primary that went over its last holder's head may take it first.
    pub(super) free: (i64, bool),
    pub(super) tail_reached: bool,
    pub(super) lock: Lock,
    pub(super) holder: Option<Holder>,
    pub(super) backlog: Backlog,
    pub(super) out: Out,
    /// This replica's epoch while it is primary; that of its last time before.
    pub(super) epoch: i64,
    /// Newest epoch that a marker showed.
    pub(super) epoch_seen: i64,
    /// Worker that wrote a marker of that epoch.
    pub(super) emitter: Option<String>,
    pub(super) claim: Claim,
    /// A standalone replica that stops: its last marker, which ends the claim, is under way or out.
    pub(super) disclaimed: bool,
    /// A fenced primary: until when it keeps its lock for a successor that it has not seen.
    pub(super) lock_kept_until_ms: i64,
    pub(super) ahead: Option<Ahead>,
    /// Epoch in which the histories were last found to differ.
    pub(super) diverged_epoch: Option<i64>,
    /// What the transaction in flight brings out.
    pub(super) committing: Option<Out>,
    /// It starts over, and asks until then whether the lock is still its own.
    pub(super) verify_until_ms: Option<i64>,
    /// When a primary writes a marker although nothing waits.
    pub(super) marker_due_ms: i64,
    /// Since when a way through to Kafka is sought.
    pub(super) promoting_ms: i64,
    /// A fenced replica: when it may stand by again.
    pub(super) fenced_until_ms: i64,
    pub(super) fenced_ms: i64,
    pub(super) fences: u32,
    /// Only the lock promotes, until this time or a newer epoch than the one given.
    pub(super) lock_only: Option<(i64, i64)>,
    /// The promotion under way comes out of standby: no start-over.
    pub(super) rising: bool,
    /// It took over although that same holder still has the lock.
    pub(super) overrode_lock: bool,
    /// A planned stop: until when it waits for what is not out.
    pub(super) stop_until_ms: i64,
    pub(super) stopped: bool,
}

impl Replica {
    /// A standby that has seen nothing yet.
    #[must_use]
    pub fn new(options: Options, now_ms: i64) -> Self {
        let (seq, hash) = options.derived;
        let backlog = Backlog::new(options.bounds, seq, hash);
        Self {
            options,
            role: Role::Standby,
            reason: Reason::Started,
            now_ms,
            clock_ms: 0,
            applied: 0,
            caught_up: None,
            keeps_all: true,
            forgotten: None,
            rederive_asked: false,
            advanced: (now_ms, 0),
            facts: None,
            refused: None,
            partitions_told: None,
            promotions: VecDeque::new(),
            free: (now_ms, false),
            tail_reached: false,
            lock: Lock::Unknown,
            holder: None,
            backlog,
            out: Out::NOTHING,
            epoch: 0,
            epoch_seen: 0,
            emitter: None,
            claim: Claim::default(),
            disclaimed: false,
            lock_kept_until_ms: now_ms,
            ahead: None,
            diverged_epoch: None,
            committing: None,
            verify_until_ms: None,
            marker_due_ms: 0,
            promoting_ms: now_ms,
            fenced_until_ms: now_ms,
            fenced_ms: now_ms,
            fences: 0,
            lock_only: None,
            rising: false,
            overrode_lock: false,
            stop_until_ms: now_ms,
            stopped: false,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Why it stands there.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The newest epoch that it knows of: its own while it is primary.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch_seen.max(self.epoch)
    }

    /// `seq` of the last transition that is known to be out.
    #[must_use]
    pub fn out_seq(&self) -> i64 {
        self.out.seq
    }

    /// The newest transition that the machine has given, and the running hash there.
    #[must_use]
    pub fn head(&self) -> (i64, [u8; 32]) {
        self.backlog.head()
    }

    /// How many transitions wait to be seen out, the forgotten among them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        usize::try_from(self.backlog.head().0 - self.out.seq).unwrap_or(0)
    }

    /// For how long transitions have waited and none has come out, milliseconds; 0 where none waits.
    #[must_use]
    pub fn overdue_ms(&self) -> i64 {
        self.unseen_ms().unwrap_or(0)
    }

    /// The transitions of a commit, in order.
    pub fn transitions(&self, first: i64, last: i64) -> impl Iterator<Item = &Derived> {
        self.backlog.range(first, last)
    }

    /// Whether the emission thread should stop taking from the machine for now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.backlog.is_full() && !self.may_forget()
    }

    /// Whether it has forgotten transitions that are not out.
    #[must_use]
    pub fn has_forgotten(&self) -> bool {
        self.backlog.floor() > self.out.seq && !planted(Bug::BufferForgets)
    }

    /// Why it may not emit, where an operator has to do something about it: [`Reason::remedy`] says what.
    #[must_use]
    pub fn refusal(&self) -> Option<Reason> {
        self.refused.or_else(|| self.unfit())
    }

    /// Transaction id of the lock node's creation, where this worker holds the lock.
    #[must_use]
    pub fn lock_czxid(&self) -> Option<i64> {
        match self.lock {
            Lock::Mine(czxid) => Some(czxid),
            Lock::Unknown | Lock::Free | Lock::Asked | Lock::Theirs => None,
        }
    }

    /// Whether a marker showed another history than this replica's.
    #[must_use]
    pub fn is_diverged(&self) -> bool {
        self.diverged_epoch.is_some()
    }

    /// Takes one event; what is to be done is appended to `actions`, in order.
    pub fn step(&mut self, event: Event, actions: &mut Vec<Action>) {
        self.now_ms = self.now_ms.max(event.now_ms);
        match event.input {
            Input::Derived(transitions) => self.derived(transitions, actions),
            Input::Progress { clock_ms, offset } => {
                self.clock_ms = self.clock_ms.max(clock_ms);
                self.applied = self.applied.max(offset);
            }
            Input::CaughtUp => self.caught_up = self.caught_up.or(Some((self.now_ms, self.backlog.head().0))),
            Input::Tick => {}
            Input::Seen(marker) => self.seen(&marker, actions),
            Input::TailReached => self.tail_reached = true,
            Input::Lock(event) => self.lock_changed(event, actions),
            Input::PrimaryDead { worker } => self.primary_dead(&worker, actions),
            Input::Initialised => self.initialised(actions),
            Input::InitialiseFailed(failure) => self.initialise_failed(failure, actions),
            Input::ReadBack(marker) => self.read_back(marker.as_deref(), actions),
            Input::MarkerMissing => self.marker_missing(actions),
            Input::ReadBackFailed => self.read_back_failed(actions),
            Input::Committed { took_ms } => self.committed(took_ms, actions),
            Input::CommitFailed(failure) => self.commit_failed(failure, actions),
            Input::Stop => self.stop(actions),
        }
        self.pursue(actions);
    }

    // ---- the machine's side

    fn derived(&mut self, transitions: Vec<Derived>, actions: &mut Vec<Action>) {
        for derived in transitions {
            self.backlog.push(derived, self.now_ms);
            if self.backlog.is_full() {
                // Behind the marker (replaying): what it says is out never waits.
                self.settle(actions);
                self.forget_where_full();
            }
        }
        self.settle(actions);
    }

    /// Compares with a marker that was ahead of the machine, then forgets what is out.
    fn settle(&mut self, actions: &mut Vec<Action>) {
        if let Some(ahead) = self.ahead.take_if(|ahead| ahead.seq <= self.backlog.head().0) {
            self.compare(&ahead, actions);
        }
        self.backlog.forget(self.out.seq - i64::from(planted(Bug::OffByOne)));
        self.forgotten = self.forgotten.filter(|_| self.has_forgotten());
        if self.caught_up.is_some_and(|(_, head)| self.out.seq >= head) {
            self.keeps_all = false;
        }
    }

    // ---- the alerts partition's side

    /// A marker that is out. Whoever wrote it: what it covers is out.
    fn seen(&mut self, marker: &Marker, actions: &mut Vec<Action>) {
        self.look(marker, actions);
        self.claim.see(marker, self.now_ms);
        if self.lock_only.is_some_and(|(_, epoch)| marker.epoch > epoch) {
            self.lock_only = None;
        }
        self.adopt(marker, actions);
        let fenced =
            marker.epoch > self.epoch || (marker.epoch == self.epoch && marker.worker != self.options.worker);
        if (self.role == Role::Primary || self.verify_until_ms.is_some()) && fenced {
            self.fence(Reason::NewerEpoch, actions);
        }
    }

    /// Takes over how far the partition is out, and compares histories there.
    pub(super) fn adopt(&mut self, marker: &Marker, actions: &mut Vec<Action>) {
        if marker.seq < self.out.seq {
            return;
        }
        if marker.seq > self.out.seq {
            self.advanced = (self.now_ms, self.clock_ms);
        }
        self.out = Out::of(marker);
        self.ahead = Some(Ahead {
            seq: marker.seq,
            running_hash: marker.running_hash,
            epoch: marker.epoch,
            worker: marker.worker.clone(),
        });
        self.settle(actions);
    }

    fn compare(&mut self, theirs: &Ahead, actions: &mut Vec<Action>) {
        // Without our hash there (it is older than anything still known) there is nothing to compare.
        let Some(ours) = self.backlog.hash_at(theirs.seq) else { return };
        if ours == theirs.running_hash || self.diverged_epoch >= Some(theirs.epoch) {
            return;
        }
        self.diverged_epoch = Some(theirs.epoch);
        actions.push(Action::Diverged {
            seq: theirs.seq,
            ours,
            theirs: theirs.running_hash,
            worker: theirs.worker.clone(),
        });
    }

    // ---- what follows from where it stands

    fn pursue(&mut self, actions: &mut Vec<Action>) {
        match self.role {
            Role::Standby => {
                self.give_back_kept(actions);
                self.pursue_promotion(actions);
            }
            Role::Locking => self.pursue_promotion(actions),
            Role::Initialising => {
                if self.verify_until_ms.is_some_and(|until_ms| self.now_ms >= until_ms) {
                    self.verified(actions);
                }
            }
            Role::ReadingBack => {}
            Role::Primary => {
                // A primary by takeover takes the lock as soon as its last holder is gone.
                if self.lock == Lock::Free {
                    self.acquire(actions);
                }
                let due = self.backlog.len() > 0 || self.now_ms >= self.marker_due_ms;
                if self.committing.is_none() && due {
                    self.commit(actions);
                }
            }
            Role::Fenced => {
                self.give_back_kept(actions);
                if self.now_ms >= self.fenced_until_ms {
                    self.go(Role::Standby, Reason::BackoffPassed, actions);
                }
            }
            Role::Stopping => self.pursue_stop(actions),
        }
    }

    pub(super) fn go(&mut self, to: Role, reason: Reason, actions: &mut Vec<Action>) {
        let from = self.role;
        assert!(LEGAL.contains(&(from, to)), "no way from {from:?} to {to:?} ({reason:?})");
        self.role = to;
        self.reason = reason;
        actions.push(Action::RoleChanged { from, to, reason });
    }
}
