//! How a replica becomes primary, emits, and steps back: the half of [`Replica`] that talks to the producer.

use super::claim::LOCK_KEPT_MS;
use super::state::{Lock, Out, Replica};
use super::{
    Action, BACKOFF_MS, BACKOFF_MS_MAX, FIRST_MARKER_MS, Failure, GIVE_UP_MS, HEARTBEAT_MS, LOCK_ONLY_MS,
    Reason, Role, SLOW_COMMIT_MS, STOP_MS, VERIFY_MS,
};
use crate::sim::planted::{Bug, planted};
use crate::wire::Marker;
use crate::wire::record::LOCK_CLAIMED;

impl Replica {
    // ---- promotion, in the one order that is safe

    pub(super) fn promote(&mut self, reason: Reason, actions: &mut Vec<Action>) {
        self.promoting_ms = self.now_ms;
        self.go(Role::Initialising, reason, actions);
        actions.push(Action::Initialise);
    }

    pub(super) fn initialised(&mut self, actions: &mut Vec<Action>) {
        if self.role == Role::Initialising {
            self.count_promotion();
            self.go(Role::ReadingBack, Reason::Initialised, actions);
            actions.push(Action::ReadBack);
        }
    }

    pub(super) fn initialise_failed(&mut self, failure: Failure, actions: &mut Vec<Action>) {
        if self.role != Role::Initialising {
            return;
        }
        match failure {
            Failure::Fenced => self.fence(Reason::ProducerFenced, actions),
            Failure::Broken => self.step_back(Reason::NoProgress, BACKOFF_MS, actions),
            Failure::TimedOut if self.is_out_of_time() => {
                self.step_back(Reason::NoProgress, BACKOFF_MS, actions);
            }
            Failure::TimedOut => actions.push(Action::Initialise),
        }
    }

    pub(super) fn read_back(&mut self, marker: Option<&Marker>, actions: &mut Vec<Action>) {
        if self.role != Role::ReadingBack {
            return;
        }
        if marker.map_or(0, |marker| marker.seq) < self.out.seq {
            return self.refuse(Reason::MarkerWentBack, actions);
        }
        if let Some(marker) = marker {
            self.look(marker, actions);
            self.claim.see(marker, self.now_ms);
            self.adopt(marker, actions);
        }
        if let Some(reason) = self.unfit() {
            return self.refuse(reason, actions);
        }
        if self.is_claimed() && self.claim.is_new() {
            return self.step_back(Reason::Claimed, BACKOFF_MS, actions);
        }
        if self.has_forgotten() {
            self.ask_rederive(actions);
            return self.step_back(Reason::Forgotten, BACKOFF_MS, actions);
        }
        self.epoch = self.epoch_seen + 1;
        // What is derived in the next moment goes out with the first marker, not behind it.
        self.marker_due_ms = self.now_ms + if self.options.standalone { 0 } else { FIRST_MARKER_MS };
        self.refused = None;
        self.go(Role::Primary, Reason::MarkerRead, actions);
    }

    pub(super) fn marker_missing(&mut self, actions: &mut Vec<Action>) {
        if self.role == Role::ReadingBack {
            self.refuse(Reason::MarkerMissing, actions);
        }
    }

    pub(super) fn read_back_failed(&mut self, actions: &mut Vec<Action>) {
        if self.role != Role::ReadingBack {
            return;
        }
        if self.is_out_of_time() {
            self.step_back(Reason::NoProgress, BACKOFF_MS, actions);
        } else {
            actions.push(Action::ReadBack);
        }
    }

    fn is_out_of_time(&self) -> bool {
        self.now_ms - self.promoting_ms >= GIVE_UP_MS
    }

    // ---- emission

    pub(super) fn committed(&mut self, took_ms: i64, actions: &mut Vec<Action>) {
        let Some(out) = self.committing.take() else { return };
        if out.seq >= self.out.seq {
            self.out = out;
            self.advanced = (self.now_ms, self.clock_ms);
            self.backlog.forget(out.seq);
        }
        // It can emit: from now on only what it emits itself is needed whole.
        self.keeps_all = false;
        self.marker_due_ms = self.now_ms + HEARTBEAT_MS;
        if took_ms > SLOW_COMMIT_MS && self.role == Role::Primary {
            self.start_over(Reason::CommitSlow, actions);
        } else if took_ms > SLOW_COMMIT_MS {
            self.stop_until_ms = self.now_ms;
        }
    }

    pub(super) fn commit_failed(&mut self, failure: Failure, actions: &mut Vec<Action>) {
        self.committing = None;
        match (self.role, failure) {
            (Role::Primary, Failure::Fenced) => self.fence(Reason::ProducerFenced, actions),
            // Whoever took the lock since may be the one that made the commit fail.
            (Role::Primary, _) if self.lock == Lock::Theirs && !self.overrode_lock => {
                self.fence(Reason::CommitFailed, actions);
            }
            (Role::Primary, Failure::TimedOut | Failure::Broken) => {
                self.start_over(Reason::CommitFailed, actions);
            }
            // A stop that meets a failure leaves the rest to the successor.
            (Role::Stopping, _) => self.stop_until_ms = self.now_ms,
            (Role::Standby | Role::Locking | Role::Initialising | Role::ReadingBack | Role::Fenced, _) => {}
        }
    }

    /// A new handle, a new fence, a new read-back: whatever the old handle still has under way is harmless then. From the
    /// lock on: a commit may have been slow because this process was asleep, and a successor is not to be fenced back.
    fn start_over(&mut self, reason: Reason, actions: &mut Vec<Action>) {
        actions.push(Action::RenewProducer);
        if !matches!(self.lock, Lock::Mine(_)) {
            return self.promote(reason, actions);
        }
        self.promoting_ms = self.now_ms;
        self.go(Role::Initialising, reason, actions);
        self.verify_until_ms = Some(self.now_ms + VERIFY_MS);
        self.acquire(actions);
    }

    /// The lock is still ours; or nobody has said in time whose it is, and ZooKeeper stops no emission.
    pub(super) fn verified(&mut self, actions: &mut Vec<Action>) {
        if self.verify_until_ms.take().is_some() {
            actions.push(Action::Initialise);
        }
    }

    /// One transaction: everything that waits, up to a chunk, and a marker.
    pub(super) fn commit(&mut self, actions: &mut Vec<Action>) {
        // A gap would be final: readers wait at it for good.
        let (first, out) = match self.backlog.chunk() {
            Some((first, last, running_hash)) => {
                let out = Out {
                    seq: last.seq,
                    input_offset: last.input_offset,
                    ordinal: last.ordinal,
                    rule_set_version: last.rule_set_version,
                    running_hash,
                };
                (first.seq, out)
            }
            None => (self.out.seq + 1, self.out),
        };
        assert!(first == self.out.seq + 1, "about to emit seq {first} after {}", self.out.seq);
        self.committing = Some(out);
        let marker = Marker {
            seq: out.seq,
            input_offset: out.input_offset,
            ordinal: out.ordinal,
            running_hash: out.running_hash,
            epoch: self.epoch,
            lock_czxid: match self.options.standalone {
                true if self.disclaimed => 0,
                true => LOCK_CLAIMED,
                false => self.lock_czxid().unwrap_or(0),
            },
            rule_set_version: out.rule_set_version,
            engine_version: self.options.engine_version,
            topic_id: self.options.topic_id.clone(),
            partition_count: self.options.partition_count,
            worker: self.options.worker.clone(),
            zone: self.options.zone.clone(),
            wall_ms: self.now_ms,
        };
        actions.push(Action::Commit { first, marker: Box::new(marker) });
    }

    // ---- stepping back

    /// Another primary exists: comes back only with the lock, and later each time.
    pub(super) fn fence(&mut self, reason: Reason, actions: &mut Vec<Action>) {
        if planted(Bug::FencesBack) && self.role == Role::Primary {
            return self.start_over(reason, actions);
        }
        // An unbroken minute forgets earlier fences.
        self.fences = if self.now_ms - self.fenced_ms > 60_000 { 0 } else { self.fences };
        let backoff_ms = (BACKOFF_MS << self.fences.min(5)).min(BACKOFF_MS_MAX);
        self.fences += 1;
        self.fenced_ms = self.now_ms;
        // A successor that has not shown itself yet is left alone for a while.
        self.lock_only = (self.epoch_seen <= self.epoch).then_some((self.now_ms + LOCK_ONLY_MS, self.epoch));
        self.lock_kept_until_ms = self.now_ms + LOCK_KEPT_MS;
        self.wait(reason, backoff_ms, actions);
    }

    /// Gives the lock to whoever gets further, and waits.
    pub(super) fn step_back(&mut self, reason: Reason, backoff_ms: i64, actions: &mut Vec<Action>) {
        self.release(actions);
        self.wait(reason, backoff_ms, actions);
    }

    fn wait(&mut self, reason: Reason, backoff_ms: i64, actions: &mut Vec<Action>) {
        self.fenced_until_ms = self.now_ms + backoff_ms;
        self.committing = None;
        self.verify_until_ms = None;
        actions.push(Action::RenewProducer);
        self.go(Role::Fenced, reason, actions);
    }

    pub(super) fn stop(&mut self, actions: &mut Vec<Action>) {
        if self.role == Role::Stopping {
            return;
        }
        let waits = if self.role == Role::Primary { STOP_MS } else { 0 };
        self.stop_until_ms = self.now_ms + waits;
        self.go(Role::Stopping, Reason::StopRequested, actions);
    }

    pub(super) fn pursue_stop(&mut self, actions: &mut Vec<Action>) {
        if self.stopped || self.committing.is_some() {
            return;
        }
        let ends_claim = self.options.standalone && !self.disclaimed;
        if (self.backlog.len() > 0 || ends_claim) && self.now_ms < self.stop_until_ms {
            self.disclaimed = self.backlog.len() == 0;
            return self.commit(actions);
        }
        self.release(actions);
        self.stopped = true;
        actions.push(Action::Stopped);
    }
}
