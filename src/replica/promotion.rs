//! Whether and why a standby rises, what keeps it from it, and what it may forget: the half of [`Replica`] before
//! `init_transactions`.
//!
//! **Three ways to learn that it is time**, the fastest wins, each safe by the fence: the primary's process is proved
//! dead; the lock is free; something of its own stays unseen for longer than the bound. The last counts from the last
//! progress of the partition: whoever emits, however slowly, is not helped by a duel.
//!
//! **Epochs do not churn.** Where locks come and go, or deaths are told, while somebody emits all the same, a replica is
//! promoted at most twice in a minute: its second promotion by a free lock needs something of its own unseen for half a
//! second, each further one twice that, and proof of death counts twice. What stays unseen still promotes, ever later, at
//! most every [`PATIENCE_MS_MAX`]. A free lock is left for a moment to a primary that went over its last holder's head.
//!
//! **What may be forgotten.** A standby whose backlog is full forgets it and goes on: the other replica has it all, and
//! markers will pass the place. If they do not, and this replica is to rise with something forgotten that is not out, it
//! must not: it would emit a gap. It asks for the partition to be derived again ([`Action::Rederive`]): a new replica
//! begins at a snapshot whose `seq` is at most the marker's. That one must not forget the same again, or it would go
//! round for good. So a new replica keeps all, by back-pressure, until it either commits or has seen everything out that
//! it had derived when it caught up; and where its full backlog has stopped the machine, it may rise before it has
//! caught up (else each would wait for the other: the machine for room, the replica for the machine). Emitting from
//! behind is as right as ever: `seq` by `seq` from the marker. A primary never forgets; its machine waits.
//!
//! **What may not be built upon** ([`Reason::remedy`] tells an operator): a marker over another topic, of a newer engine,
//! or of a history that is longer than this replica's at the same offset. It never rises then, and says so.

use super::state::{Facts, Lock, Replica};
use super::{Action, BACKOFF_MS_MAX, Reason, Role};
use crate::wire::Marker;

/// The minute in which promotions are counted, milliseconds.
const MINUTE_MS: i64 = 60_000;
/// Proofs of death that are acted upon in a minute, promotions by other reasons among them.
const DEATHS_MAX: usize = 2;
/// How long something must be unseen for a second promotion by a free lock within a minute, halved; milliseconds.
const PATIENCE_MS: i64 = 250;
/// Longest patience of that kind, milliseconds.
pub(super) const PATIENCE_MS_MAX: i64 = 30_000;
/// How long a free lock is left to a primary that went over its last holder's head, milliseconds.
pub(super) const YIELD_MS: i64 = 500;

impl Replica {
    // ---- the ways to learn that it is time

    pub(super) fn pursue_promotion(&mut self, actions: &mut Vec<Action>) {
        if !self.is_ready() {
            return;
        }
        if self.is_takeover_due() {
            self.rise(Reason::TransitionUnseen, actions);
        } else if self.role == Role::Standby
            && self.lock == Lock::Free
            && !self.is_claimed()
            && self.may_take_lock()
        {
            match self.unfit() {
                Some(reason) => self.refuse(reason, actions),
                None if self.has_forgotten() => self.ask_rederive(actions),
                None => {
                    self.go(Role::Locking, Reason::LockFree, actions);
                    self.acquire(actions);
                }
            }
        }
    }

    /// Proof of death promotes at once, or never: a replica that could not use it has the lock and the takeover bound.
    pub(super) fn primary_dead(&mut self, worker: &str, actions: &mut Vec<Action>) {
        let may = matches!(self.role, Role::Standby | Role::Locking)
            && self.is_ready()
            && !self.is_lock_only()
            && !self.is_claimed()
            && self.promotions_of_late() < DEATHS_MAX;
        if may && self.is_primary(worker) {
            self.rise(Reason::ProcessGone, actions);
        }
    }

    /// Whether that worker is, as far as this replica knows, the one that emits or is about to.
    pub(super) fn is_primary(&self, worker: &str) -> bool {
        match &self.holder {
            // It took the lock after the newest marker was written, by whomever.
            Some(holder) if holder.epoch == self.epoch_seen => holder.worker == worker,
            // The newest marker is the holder's own, or of a primary that went over its head.
            Some(_) | None => self.emitter.as_deref() == Some(worker),
        }
    }

    /// What is out is known, and the machine has reached the end once. A full backlog has stopped the machine: it waits
    /// for this replica to emit.
    fn is_ready(&self) -> bool {
        let caught_up = self.caught_up.is_some() || self.is_full();
        caught_up && self.tail_reached && !self.rederive_asked
    }

    fn is_lock_only(&self) -> bool {
        self.lock_only.is_some_and(|(until_ms, _)| self.now_ms < until_ms)
    }

    /// Whether to stand back for another worker's claim.
    pub(super) fn is_claimed(&self) -> bool {
        !self.options.standalone && self.claim.is_held(self.now_ms)
    }

    /// A transition of its own is older than the bound, by the log's clock and by the wall's, and nothing has come out
    /// since. A full backlog stands in for the log's clock: it has stopped the machine, and the clock with it.
    fn is_takeover_due(&self) -> bool {
        let flapping = self.promotions_of_late().saturating_sub(1).min(16);
        let bound_ms = self.options.takeover_after_ms;
        let patience_ms = (bound_ms << flapping).min(bound_ms.max(PATIENCE_MS_MAX));
        let late =
            |append_ms: i64| self.clock_ms - append_ms.max(self.advanced.1) > bound_ms || self.is_full();
        !self.is_lock_only()
            && self.unseen_ms().is_some_and(|unseen_ms| unseen_ms > patience_ms)
            && self.oldest().is_some_and(|(_, append_ms)| late(append_ms))
    }

    fn may_take_lock(&self) -> bool {
        let (free_ms, overridden) = self.free;
        let flapping = self.promotions_of_late().min(16);
        let patience_ms = (PATIENCE_MS << flapping).min(PATIENCE_MS_MAX);
        let calm = flapping == 0
            || self.options.standalone
            || self.unseen_ms().is_some_and(|unseen_ms| unseen_ms >= patience_ms);
        calm && !(overridden && self.now_ms - free_ms < YIELD_MS)
    }

    /// For how long nothing has come out although something waits, and the machine had caught up.
    pub(super) fn unseen_ms(&self) -> Option<i64> {
        let (since_ms, _) = self.oldest()?;
        let caught_up_ms = self.caught_up.map_or(since_ms, |(at_ms, _)| at_ms);
        Some(self.now_ms - since_ms.max(caught_up_ms).max(self.advanced.0))
    }

    /// Since when the oldest that is not out has waited, and its append time.
    fn oldest(&self) -> Option<(i64, i64)> {
        self.forgotten.or_else(|| self.backlog.oldest())
    }

    // ---- rising

    /// Out of standby, with the lock or, although another may hold it, without.
    pub(super) fn rise(&mut self, reason: Reason, actions: &mut Vec<Action>) {
        if let Some(refusal) = self.unfit() {
            return self.refuse(refusal, actions);
        }
        if self.has_forgotten() {
            self.ask_rederive(actions);
            if self.role == Role::Locking {
                self.release(actions);
                self.go(Role::Standby, Reason::Forgotten, actions);
            }
            return;
        }
        self.overrode_lock = self.lock == Lock::Theirs;
        self.claim.overrule();
        self.rising = true;
        self.promote(reason, actions);
    }

    /// A promotion counts when it has fenced whoever was primary.
    pub(super) fn count_promotion(&mut self) {
        if std::mem::take(&mut self.rising) {
            self.promotions.retain(|at_ms| self.now_ms - at_ms < MINUTE_MS);
            self.promotions.push_back(self.now_ms);
        }
    }

    fn promotions_of_late(&self) -> usize {
        self.promotions.iter().filter(|at_ms| self.now_ms - **at_ms < MINUTE_MS).count()
    }

    // ---- what may not be built upon

    /// What a marker says besides how far the partition is out.
    pub(super) fn look(&mut self, marker: &Marker, actions: &mut Vec<Action>) {
        if marker.epoch < self.epoch_seen || marker.worker.is_empty() {
            return;
        }
        self.epoch_seen = marker.epoch;
        self.emitter = Some(marker.worker.clone());
        let (topic_id, engine_version) = (marker.topic_id.clone(), marker.engine_version);
        self.facts = Some(Facts { topic_id, engine_version });
        let (theirs, ours) = (marker.partition_count, self.options.partition_count);
        let changed = (theirs != ours).then_some(theirs);
        if changed != self.partitions_told {
            self.partitions_told = changed;
            if changed.is_some() {
                actions.push(Action::PartitionsChanged { theirs, ours });
            }
        }
    }

    /// Why this replica must not emit after the newest marker.
    pub(super) fn unfit(&self) -> Option<Reason> {
        let facts = self.facts.as_ref()?;
        let ours = &self.options.topic_id;
        if !facts.topic_id.is_empty() && !ours.is_empty() && facts.topic_id != *ours {
            return Some(Reason::ForeignMarker);
        }
        if facts.engine_version > self.options.engine_version {
            return Some(Reason::NewerEngine);
        }
        let behind = self.out.seq > self.backlog.head().0;
        (behind && self.applied > self.out.input_offset).then_some(Reason::ShorterHistory)
    }

    pub(super) fn refuse(&mut self, reason: Reason, actions: &mut Vec<Action>) {
        self.refused = Some(reason);
        self.step_back(reason, BACKOFF_MS_MAX, actions);
    }

    // ---- what may be forgotten

    pub(super) fn may_forget(&self) -> bool {
        !self.keeps_all && matches!(self.role, Role::Standby | Role::Locking | Role::Fenced)
    }

    pub(super) fn forget_where_full(&mut self) {
        if self.backlog.is_full() && self.may_forget() {
            self.forgotten = self.oldest();
            self.backlog.forget_all();
        }
    }

    pub(super) fn ask_rederive(&mut self, actions: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.rederive_asked, true) {
            actions.push(Action::Rederive { seq: self.out.seq });
        }
    }
}
