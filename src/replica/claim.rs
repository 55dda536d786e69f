//! An operator's claim to a partition: `worker --standalone` emits by the fence alone, beside a cluster that may be sick
//! or may not be. Its markers say so ([`LOCK_CLAIMED`] in place of a lock's czxid), and the cluster's workers stand back until
//! the claim ends. Otherwise the two would fence each other without end: nothing lost and nothing doubled, but late.
//!
//! A claim ends when its holder says so (the last marker of a planned stop names no claim), when a marker of a newer epoch
//! shows another primary, when a transition stays unseen for longer than the takeover bound (the standalone worker is
//! dead or stuck), or when not even its heartbeat has been seen for [`CLAIM_MS`].
//!
//! A primary may learn of a claim only when it starts over after a slow or failed commit, by reading back: it has fenced the
//! claim's holder then, who comes back after its back-off, and stands back all the same.
//!
//! A primary that is fenced keeps its lock until it sees who came after it: given back at once, the lock would call the
//! next standby into a duel with a successor whose first marker is not out yet. While a claim is held it keeps the lock
//! for the same reason.

use super::state::{Lock, Replica};
use super::{Action, HEARTBEAT_MS};
use crate::wire::Marker;
use crate::wire::record::LOCK_CLAIMED;

/// How long a claim outlives the last marker that was seen of it, milliseconds: a heartbeat and a half.
pub const CLAIM_MS: i64 = HEARTBEAT_MS + HEARTBEAT_MS / 2;

/// How long a fenced primary keeps its lock for a successor that has not shown itself, milliseconds.
pub(super) const LOCK_KEPT_MS: i64 = 2_000;

/// What the newest marker says of a claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// Epoch of the newest marker, and when it was last seen, if that is a claim.
    held: Option<(i64, i64)>,
    /// Epoch of the newest claim that this replica has risen over.
    overruled: i64,
}

impl Claim {
    /// A marker of another worker, or of this one.
    pub(super) fn see(&mut self, marker: &Marker, now_ms: i64) {
        if self.held.is_some_and(|(epoch, _)| marker.epoch < epoch) {
            return;
        }
        self.held = (marker.lock_czxid == LOCK_CLAIMED).then_some((marker.epoch, now_ms));
    }

    /// This replica rises: what it knows of a claim does not keep it back any more.
    pub(super) fn overrule(&mut self) {
        self.overruled = self.held.map_or(self.overruled, |(epoch, _)| epoch);
    }

    /// Whether it was made after this replica rose.
    pub(super) fn is_new(&self) -> bool {
        self.held.is_some_and(|(epoch, _)| epoch > self.overruled)
    }

    /// Whether another worker holds the partition by an operator's word.
    pub(super) fn is_held(&self, now_ms: i64) -> bool {
        self.held.is_some_and(|(_, seen_ms)| now_ms - seen_ms < CLAIM_MS)
    }
}

impl Replica {
    /// A lock that a fenced primary has kept is given back once its successor is known, and no claim is held.
    pub(super) fn give_back_kept(&mut self, actions: &mut Vec<Action>) {
        let known = self.epoch_seen > self.epoch || self.now_ms >= self.lock_kept_until_ms;
        if matches!(self.lock, Lock::Mine(_)) && known && !self.is_claimed() {
            self.release(actions);
        }
    }
}
