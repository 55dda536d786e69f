//! A receiver that groups by itself: an Alertmanager. It is told every change at once, and all that fires each minute,
//! because it ends what it is not told again. Nothing of this is recorded: to say it again is the protocol.

use super::{Notification, RESEND_MS, RESOLVED_KEEP_MS, Settings, Ticket};
use crate::wire::{AlertId, HeldAlert, Labels, NotifyReason};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One Alertmanager's side of the whole partition.
#[derive(Debug)]
pub(super) struct Feed {
    /// Everything up to this `seq` has been said.
    sent_seq: i64,
    /// When everything is said again, milliseconds since the epoch.
    resend_ms: i64,
    in_flight: Option<InFlight>,
    /// Failures since the last answer that was good.
    failures: u32,
    /// No attempt before this, milliseconds since the epoch.
    not_before_ms: i64,
    /// When the oldest change that is not said was noticed.
    pub(super) owed_since_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    seq: i64,
    full: bool,
}

impl Feed {
    /// An Alertmanager that has been told nothing: everything is due.
    pub(super) fn new() -> Self {
        let never = i64::MIN;
        Self {
            sent_seq: 0,
            resend_ms: never,
            in_flight: None,
            failures: 0,
            not_before_ms: never,
            owed_since_ms: None,
        }
    }

    /// Whether a notification is under way.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// What is to be said now, if anything.
    pub(super) fn start(
        &mut self,
        alerts: &BTreeMap<AlertId, Arc<HeldAlert>>,
        receiver: usize,
        settings: &Settings,
        now_ms: i64,
    ) -> Option<Notification> {
        if self.in_flight.is_some() || now_ms < self.not_before_ms {
            return None;
        }
        let full = now_ms >= self.resend_ms;
        let alerts: Vec<Arc<HeldAlert>> = alerts
            .values()
            .filter(|alert| is_wanted(alert, now_ms) && (full || alert.seq > self.sent_seq))
            .map(Arc::clone)
            .collect();
        let seq = alerts.iter().map(|alert| alert.seq).max()?.max(self.sent_seq);
        let reason = if seq > self.sent_seq { NotifyReason::Forward } else { NotifyReason::Resend };
        if full {
            self.resend_ms = now_ms.saturating_add(RESEND_MS);
        }
        self.in_flight = Some(InFlight { seq, full });
        self.owed_since_ms.get_or_insert(now_ms);
        let (firing, resolved): (Vec<_>, Vec<_>) = alerts.into_iter().partition(|alert| alert.is_firing());
        Some(Notification {
            ticket: Ticket { receiver, group: "".into() },
            receiver: Arc::clone(&settings.receivers[receiver].0),
            group_labels: Labels::default(),
            alerts: [firing, resolved].concat(),
            seq,
            reason,
            idempotency_key: format!("{}/{}/feed/{seq}", settings.cluster, settings.partition),
            attempt: self.failures.saturating_add(1),
        })
    }

    /// The Alertmanager has it. Returns when to look again.
    pub(super) fn delivered(&mut self) -> i64 {
        if let Some(sent) = self.in_flight.take() {
            self.sent_seq = self.sent_seq.max(sent.seq);
        }
        self.failures = 0;
        self.owed_since_ms = None;
        self.resend_ms
    }

    /// It does not have it. Everything is said again from `retry_ms` on; where a retry is pointless, with the next
    /// resend. Returns when to look again.
    pub(super) fn failed(&mut self, retry_ms: Option<i64>) -> i64 {
        let sent = self.in_flight.take();
        self.failures = self.failures.saturating_add(1);
        self.not_before_ms = retry_ms.unwrap_or(self.resend_ms);
        // A change that was not taken is due until sent_seq has passed it; a round that was not taken is due again.
        if sent.is_some_and(|sent| sent.full) {
            self.resend_ms = self.resend_ms.min(self.not_before_ms);
        }
        self.not_before_ms
    }

    /// Which attempt is under way, from 1.
    pub(super) fn attempt(&self) -> u32 {
        self.failures.saturating_add(1)
    }
}

/// Whether an Alertmanager is still told about an alert: while it fires, and for a while after.
pub(super) fn is_wanted(alert: &HeldAlert, now_ms: i64) -> bool {
    alert.is_firing() || now_ms < alert.append_ms.saturating_add(RESOLVED_KEEP_MS)
}
