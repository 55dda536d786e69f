//! What one receiver knows of one group, and what it is told next.
//!
//! | it knows | the group | it is told |
//! |---|---|---|
//! | nothing that fires | something fires | `new_group` |
//! | some that fire | another one fires | `group_changed` |
//! | one as firing | that one fires with another severity | `group_changed` |
//! | one as firing, or perhaps | that one is resolved | `resolved` |
//! | all that fires | unchanged for `repeat_interval` | `repeat` |
//! | nothing that fires | all is resolved | nothing: `resolved_before_notified`, or `unchanged` |

use super::group::Members;
use super::{Action, GIVE_UP_MS, HoldReason, Notification, Settings, Ticket};
use crate::wire::{AlertId, Delivery, NotifyEntry, NotifyReason};
use std::sync::Arc;

/// One receiver's side of one group.
#[derive(Debug)]
pub(super) struct Lane {
    /// What is recorded of it. Lists of ids are sorted.
    state: Delivery,
    /// Whether an entry of it stands in the notifications topic.
    recorded: bool,
    pending: Option<Pending>,
    /// The group was looked at while a notification was under way.
    reconsider: bool,
    /// Attempts that failed since the last acknowledgement.
    failures: u32,
    /// Alerts that it knows as firing, and that have changed since.
    renewed: Vec<AlertId>,
}

/// A notification that is not acknowledged.
#[derive(Debug)]
struct Pending {
    notification: Notification,
    phase: Phase,
    decided_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits until fewer notifications of this receiver are under way.
    Queued,
    /// The shell has it.
    InFlight,
    /// Waits after a failure until this time, milliseconds since the epoch.
    Backoff(i64),
}

enum Verdict {
    Send(NotifyReason),
    Hold(HoldReason),
}

impl Lane {
    /// A receiver that knows nothing of a group.
    pub(super) fn new(receiver: &str, group: &str) -> Self {
        Self::with(
            Delivery {
                receiver: receiver.to_owned(),
                group: group.to_owned(),
                firing: Vec::new(),
                attempted: Vec::new(),
                seq: 0,
                acknowledged_ms: None,
                repeats: 0,
                idempotency_key: String::new(),
                reason: NotifyReason::NewGroup,
                failure: String::new(),
            },
            false,
        )
    }

    /// A receiver as it was recorded.
    pub(super) fn restored(mut state: Delivery) -> Self {
        state.firing.sort_unstable();
        state.attempted.sort_unstable();
        Self::with(state, true)
    }

    fn with(state: Delivery, recorded: bool) -> Self {
        Self { state, recorded, pending: None, reconsider: false, failures: 0, renewed: Vec::new() }
    }

    /// When it last acknowledged a notification of this group.
    pub(super) fn acknowledged_ms(&self) -> Option<i64> {
        self.state.acknowledged_ms
    }

    /// Whether an attempt was made whose answer is not known.
    pub(super) fn is_unanswered(&self) -> bool {
        !self.state.attempted.is_empty()
    }

    /// Whether nothing waits or is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_none()
    }

    /// Whether an entry of it has to be forgotten with its group.
    pub(super) fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// When the notification that waits or is under way was decided.
    pub(super) fn owed_since_ms(&self) -> Option<i64> {
        self.pending.as_ref().map(|pending| pending.decided_ms)
    }

    /// Whether a resolved alert has still to be told, or is being told.
    pub(super) fn needs(&self, alert: AlertId) -> bool {
        self.may_know(alert)
            || self.pending.as_ref().is_some_and(|p| p.notification.alerts.iter().any(|a| a.alert == alert))
    }

    fn may_know(&self, alert: AlertId) -> bool {
        self.state.firing.binary_search(&alert).is_ok() || self.state.attempted.binary_search(&alert).is_ok()
    }

    /// An alert fires with another severity: if the receiver knows it as firing, it is to hear of it again. What is to be
    /// recorded.
    pub(super) fn renew(&mut self, alert: AlertId) -> Option<Action> {
        if !self.may_know(alert) {
            return None;
        }
        self.renewed.push(alert);
        self.state.firing.retain(|known| *known != alert);
        if let Err(place) = self.state.attempted.binary_search(&alert) {
            self.state.attempted.insert(place, alert);
        }
        Some(self.record())
    }

    fn verdict(&self, members: &Members, settings: &Settings, now_ms: i64) -> Verdict {
        let mut firing = members.alerts.values().filter(|alert| alert.is_firing()).peekable();
        let something_fires = firing.peek().is_some();
        if firing.any(|alert| self.state.firing.binary_search(&alert.alert).is_err()) {
            let knows_some = !self.state.firing.is_empty() || !self.renewed.is_empty();
            return Verdict::Send(if knows_some {
                NotifyReason::GroupChanged
            } else {
                NotifyReason::NewGroup
            });
        }
        let to_resolve = members.alerts.values().filter(|a| !a.is_firing() && self.may_know(a.alert));
        if let Some(newest_ms) = to_resolve.map(|alert| alert.append_ms).max() {
            let refuses = self.failures > 0 && newest_ms.saturating_add(GIVE_UP_MS) <= now_ms;
            return if refuses && !something_fires {
                Verdict::Hold(HoldReason::GaveUp)
            } else {
                Verdict::Send(NotifyReason::Resolved)
            };
        }
        match self.state.acknowledged_ms {
            None => Verdict::Hold(HoldReason::ResolvedBeforeNotified),
            Some(at_ms) if something_fires && at_ms.saturating_add(settings.repeat_interval_ms) <= now_ms => {
                Verdict::Send(NotifyReason::Repeat)
            }
            Some(_) => Verdict::Hold(HoldReason::Unchanged),
        }
    }

    /// Looks at the group. Returns whether a notification has to be queued that was not before.
    pub(super) fn consider(
        &mut self,
        members: &Members,
        receiver: usize,
        settings: &Settings,
        now_ms: i64,
        out: &mut Vec<Action>,
    ) -> bool {
        let name = &settings.receivers[receiver].0;
        let mut hold = |reason| {
            out.push(Action::Held { receiver: Arc::clone(name), group: Arc::clone(&members.key), reason });
        };
        if self.pending.as_ref().is_some_and(|pending| pending.phase == Phase::InFlight) {
            self.reconsider = true;
            hold(HoldReason::AwaitingReply);
            return false;
        }
        self.reconsider = false;
        let reason = match self.verdict(members, settings, now_ms) {
            Verdict::Send(reason) => reason,
            Verdict::Hold(reason) => {
                self.pending = None;
                hold(reason);
                if reason == HoldReason::GaveUp {
                    self.state.firing.clear();
                    self.state.attempted.clear();
                    out.push(self.record());
                }
                return false;
            }
        };
        let fresh = self.notification(members, receiver, settings, reason);
        match &mut self.pending {
            None => {
                self.pending =
                    Some(Pending { notification: fresh, phase: Phase::Queued, decided_ms: now_ms });
                true
            }
            Some(pending) => {
                if pending.notification.idempotency_key != fresh.idempotency_key {
                    hold(HoldReason::Superseded);
                    pending.notification = Notification { attempt: pending.notification.attempt, ..fresh };
                }
                false
            }
        }
    }

    fn notification(
        &self,
        members: &Members,
        receiver: usize,
        settings: &Settings,
        reason: NotifyReason,
    ) -> Notification {
        let (firing, resolved): (Vec<_>, Vec<_>) = members
            .alerts
            .values()
            .filter(|alert| alert.is_firing() || self.may_know(alert.alert))
            .map(Arc::clone)
            .partition(|alert| alert.is_firing());
        // An alert that is done with is gone from the group: what was said last may have covered a higher seq.
        let seq = members.seq().max(self.state.seq);
        let group = super::fingerprint(&members.labels);
        let mut key = format!("{}/{}/{group:016x}/{seq}", settings.cluster, settings.partition);
        if reason == NotifyReason::Repeat {
            key.push_str(&format!("-r{}", self.state.repeats + 1));
        }
        Notification {
            ticket: Ticket { receiver, group: Arc::clone(&members.key) },
            receiver: Arc::clone(&settings.receivers[receiver].0),
            group_labels: members.labels.clone(),
            alerts: [firing, resolved].concat(),
            seq,
            reason,
            idempotency_key: key,
            attempt: 0,
        }
    }

    /// Hands over what is queued, if it still is. An attempt that brings news, or covers a higher seq, is recorded before
    /// it is made: a restart goes on from there.
    pub(super) fn start(&mut self, out: &mut Vec<Action>) -> bool {
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.phase == Phase::Queued) else {
            return false;
        };
        pending.phase = Phase::InFlight;
        self.renewed.clear();
        pending.notification.attempt = pending.notification.attempt.saturating_add(1);
        let notification = pending.notification.clone();
        // Until the answer is in, what the receiver knows of these is open: it may have heard the news or not.
        let news: Vec<AlertId> = notification
            .alerts
            .iter()
            .filter(|alert| alert.is_firing() != self.state.firing.binary_search(&alert.alert).is_ok())
            .map(|alert| alert.alert)
            .filter(|alert| self.state.attempted.binary_search(alert).is_err())
            .collect();
        let covers_more = notification.seq > self.state.seq;
        self.state.seq = notification.seq;
        if !news.is_empty() {
            self.state.firing.retain(|alert| !news.contains(alert));
            self.state.attempted.extend(news);
            self.state.attempted.sort_unstable();
            self.state.idempotency_key.clone_from(&notification.idempotency_key);
            self.state.reason = notification.reason;
            out.push(self.record());
        } else if covers_more {
            // Nothing new to the receiver, so what it acknowledged last stands.
            out.push(self.record());
        }
        out.push(Action::Send(Box::new(notification)));
        true
    }

    /// The receiver has what was under way. Returns whether the group has to be looked at again.
    pub(super) fn delivered(&mut self, now_ms: i64, out: &mut Vec<Action>) -> bool {
        let Some(Pending { notification, .. }) = self.pending.take() else { return false };
        // What has changed while it was under way is still to be told.
        let renewed = &self.renewed;
        let firing = notification.alerts.iter().filter(|alert| alert.is_firing());
        let (old, told): (Vec<AlertId>, Vec<AlertId>) =
            firing.map(|alert| alert.alert).partition(|alert| renewed.contains(alert));
        (self.state.firing, self.state.attempted) = (told, old);
        self.state.seq = notification.seq;
        self.state.acknowledged_ms = Some(now_ms);
        self.state.repeats += i32::from(notification.reason == NotifyReason::Repeat);
        self.state.idempotency_key = notification.idempotency_key;
        self.state.reason = notification.reason;
        self.state.failure.clear();
        self.failures = 0;
        out.push(self.record());
        self.reconsider
    }

    /// The receiver does not have it, or nobody knows. `retry_ms` is when to try again; none where that is pointless
    /// before the next flush. Returns whether the group has to be looked at again.
    pub(super) fn failed(&mut self, reason: &str, retry_ms: Option<i64>, out: &mut Vec<Action>) -> bool {
        self.failures = self.failures.saturating_add(1);
        match (retry_ms, self.pending.as_mut()) {
            (Some(at_ms), Some(pending)) => pending.phase = Phase::Backoff(at_ms),
            (None, Some(pending)) => {
                self.state.idempotency_key.clone_from(&pending.notification.idempotency_key);
                self.state.reason = pending.notification.reason;
                reason.clone_into(&mut self.state.failure);
                self.pending = None;
                out.push(self.record());
            }
            (_, None) => {}
        }
        self.reconsider
    }

    /// What is under way: attempt and idempotency key. None if nothing is.
    pub(super) fn in_flight(&self) -> Option<(u32, &str)> {
        let pending = self.pending.as_ref().filter(|pending| pending.phase == Phase::InFlight)?;
        Some((pending.notification.attempt, &pending.notification.idempotency_key))
    }

    /// Queues what waited until `due_ms`. Returns whether it did: a timer of the past finds nothing.
    pub(super) fn retry(&mut self, due_ms: i64) -> bool {
        let waiting = self.pending.as_mut().filter(|pending| pending.phase == Phase::Backoff(due_ms));
        waiting.is_some_and(|pending| {
            pending.phase = Phase::Queued;
            true
        })
    }

    fn record(&mut self) -> Action {
        self.recorded = true;
        Action::Record(NotifyEntry::Delivery(self.state.clone()))
    }
}
