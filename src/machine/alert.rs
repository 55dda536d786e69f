//! The life of one alert: one state machine for whatever a rule asks for.
//!
//! An evaluation says of an alert's condition that it *holds*, that it is *gone*, or, of one that fires, that it is
//! *undecided*: its expression no longer returns it, and its `resolve_expr` does not either. `judge.rs` works that out,
//! from data that may be missing.
//!
//! | state | condition | and | becomes | reason |
//! |---|---|---|---|---|
//! | inactive | holds | neither `for` nor `for_samples` to wait for | firing | `condition_met`, `no_data` |
//! | inactive | holds | | pending | `condition_met`, `no_data` |
//! | pending | holds | for as long as `for`, on as many samples as `for_samples` | firing | `held_for`, `held_for_samples` |
//! | pending | gone | | inactive | why it is gone |
//! | firing | holds, undecided | | | |
//! | firing | gone | for less than `keep_firing_for` | | |
//! | firing | gone | it flaps | | |
//! | firing | gone | | inactive | why it is gone, `keep_firing_elapsed`, `flapping_stopped` |
//! | firing | holds | at another step of its ladder | firing | `severity_changed` |
//! | firing | any | it begins to flap, or stops | firing | `flapping_started`, `flapping_stopped` |
//! | firing | any | another alert holds it back, or no more | firing | `suppressed`, `inhibited`, `suppression_ended` |
//!
//! Why a condition is gone: `condition_cleared`, `resolve_condition_met`, `no_data`, `missing_series`, `data_returned`.
//! An alert of a rule that is gone ends with `rule_removed`.
//!
//! Where a rule's evaluation fails, its alerts stay as they are, timers running: as in Prometheus. The failure is
//! counted and shown with the rule. Where a rule has more alerts than its group's `limit`, those that are there stay and
//! no other begins; [`super::notice`] says so. Prometheus ends them all.

use super::flaps::Flaps;
use super::rules::Alerting;
use super::rules::alerting::SEVERITY;
use crate::wire::AlertState::{Firing, Inactive, Pending};
use crate::wire::{AlertId, AlertState, Labels, Reason, Suppression};

/// Why a condition holds.
const HOLDS: [Reason; 2] = [Reason::ConditionMet, Reason::NoData];
/// Why a condition is gone, or its rule.
const GONE: [Reason; 6] = [
    Reason::ConditionCleared,
    Reason::ResolveConditionMet,
    Reason::NoData,
    Reason::MissingSeries,
    Reason::DataReturned,
    Reason::RuleRemoved,
];
/// What ends an alert whose condition is gone already.
const KEPT: [Reason; 2] = [Reason::KeepFiringElapsed, Reason::FlappingStopped];
/// What changes an alert that fires and goes on firing.
const CHANGES: [Reason; 6] = [
    Reason::SeverityChanged,
    Reason::FlappingStarted,
    Reason::FlappingStopped,
    // By other alerts, see `suppress`.
    Reason::Suppressed,
    Reason::Inhibited,
    Reason::SuppressionEnded,
];
/// Every transition there is: from, to, and the reasons for it. Anything else is a bug of the machine.
const LEGAL: [(AlertState, AlertState, &[Reason]); 10] = [
    (Inactive, Pending, &HOLDS),
    (Inactive, Firing, &HOLDS),
    (Pending, Firing, &[Reason::HeldFor, Reason::HeldForSamples]),
    (Pending, Inactive, &GONE),
    (Firing, Inactive, &GONE),
    (Firing, Inactive, &KEPT),
    (Firing, Firing, &CHANGES),
    // Of the machine's own alerts, see `notice`.
    (Inactive, Firing, &[Reason::LimitReached, Reason::RecordQuarantined]),
    (Firing, Inactive, &[Reason::LimitCleared]),
    (Firing, Inactive, &[Reason::QuarantineElapsed]),
];

/// An alert that is pending or firing; one that is inactive, where its rule wants something of it remembered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alert {
    /// Its labels, `alertname` among them: its identity. The label that a ladder sets is not among them.
    pub(super) labels: Labels,
    /// Labels of the element that the expression returned last: what templates see.
    pub(super) element: Labels,
    /// The last value that the expression returned.
    pub(super) value: f64,
    /// The step of its ladder; empty where its rule has none.
    pub(super) severity: String,
    pub(super) timers: Timers,
    pub(super) flaps: Flaps,
    /// Who holds it back while it fires, see `suppress.rs`.
    pub(super) suppressed: Option<Suppression>,
}

/// State and timers of an alert, event time in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timers {
    pub(super) state: AlertState,
    /// When the condition began to hold.
    pub(super) active_since_ms: i64,
    /// While it is kept firing without its condition: since when.
    pub(super) kept_since_ms: Option<i64>,
    /// On how many samples in a row the condition was seen to hold, counted up to the rule's `for_samples`.
    pub(super) samples: u32,
    /// When the last of these was taken; none where there was none.
    pub(super) sampled_ms: Option<i64>,
    /// Evaluations in a row that found no data of it, where the rule wants to know.
    pub(super) missing: u32,
    /// Whether there ever was data of it, where the rule wants to know.
    pub(super) reported: bool,
}

/// What an evaluation says of an alert's condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Holds,
    Undecided,
    Gone,
}

/// What an evaluation says of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) condition: Condition,
    /// Why, should that change its state.
    pub(super) why: Reason,
    /// Newest sample behind it; none where there is none, and then the evaluation itself counts as one.
    pub(super) sampled_ms: Option<i64>,
}

/// A change of one alert, to be made a transition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) id: AlertId,
    pub(super) from: AlertState,
    pub(super) to: AlertState,
    pub(super) reason: Reason,
    /// The alert after the change; before it, where the change ends it.
    pub(super) alert: Alert,
}

impl Alert {
    /// Its labels as others see them: with the step of its ladder.
    pub(super) fn shown(&self) -> Labels {
        let mut labels = self.labels.clone();
        if !self.severity.is_empty() {
            labels.set(SEVERITY, &self.severity);
        }
        labels
    }

    pub(super) fn is_active(&self) -> bool {
        self.timers.state != Inactive
    }
}

impl Timers {
    /// Those of an alert that is first heard of at `at_ms`.
    pub(super) fn inactive(at_ms: i64) -> Self {
        Self {
            state: Inactive,
            active_since_ms: at_ms,
            kept_since_ms: None,
            samples: 0,
            sampled_ms: None,
            missing: 0,
            reported: false,
        }
    }

    /// What an evaluation at `at_ms` makes of it, and why where the state changes. `flaps` are its flaps before the
    /// evaluation and with it.
    pub(super) fn judge(
        self,
        sight: Sight,
        flaps: (Flaps, Flaps),
        at_ms: i64,
        rule: &Alerting,
    ) -> (Self, Option<Reason>) {
        match (self.state, sight.condition) {
            (Inactive | Pending, Condition::Holds) => self.wait(sight, at_ms, rule),
            (Inactive, Condition::Gone | Condition::Undecided) => (self.over(), None),
            (Pending, Condition::Gone | Condition::Undecided) => (self.over(), Some(sight.why)),
            (Firing, Condition::Holds | Condition::Undecided) => (Self { kept_since_ms: None, ..self }, None),
            (Firing, Condition::Gone) => {
                let since_ms = self.kept_since_ms.unwrap_or(at_ms);
                let stays = at_ms.saturating_sub(since_ms) < rule.keep_firing_for_ms || flaps.1.flapping;
                let reason = match (stays, flaps.0.flapping, self.kept_since_ms) {
                    (true, _, _) => return (Self { kept_since_ms: Some(since_ms), ..self }, None),
                    (false, true, _) => Reason::FlappingStopped,
                    (false, false, Some(_)) => Reason::KeepFiringElapsed,
                    (false, false, None) => sight.why,
                };
                (self.over(), Some(reason))
            }
        }
    }

    /// The condition holds, and the alert does not fire yet.
    fn wait(mut self, sight: Sight, at_ms: i64, rule: &Alerting) -> (Self, Option<Reason>) {
        let is_new = match (self.sampled_ms, sight.sampled_ms) {
            (Some(before_ms), Some(now_ms)) => now_ms > before_ms,
            (None, _) | (_, None) => true,
        };
        let counts = is_new && self.samples < rule.for_samples;
        if counts {
            self.samples += 1;
            self.sampled_ms = sight.sampled_ms.or(self.sampled_ms);
        }
        let held_ms = at_ms.saturating_sub(self.active_since_ms);
        let ready = held_ms >= rule.for_ms && self.samples >= rule.for_samples;
        let by_samples = rule.for_samples > 0 && (counts || rule.for_ms == 0);
        let reason = match (self.state, ready) {
            (Inactive, _) => Some(sight.why),
            (Pending | Firing, false) => None,
            (Pending | Firing, true) if by_samples => Some(Reason::HeldForSamples),
            (Pending | Firing, true) => Some(Reason::HeldFor),
        };
        (Self { state: if ready { Firing } else { Pending }, ..self }, reason)
    }

    /// It is not active any more.
    fn over(self) -> Self {
        Self { state: Inactive, kept_since_ms: None, samples: 0, sampled_ms: None, ..self }
    }
}

impl Change {
    /// Asserts that the change is one of those there are.
    pub(super) fn new(id: AlertId, from: AlertState, to: AlertState, reason: Reason, alert: Alert) -> Self {
        let legal = LEGAL.iter().any(|(f, t, reasons)| (*f, *t) == (from, to) && reasons.contains(&reason));
        assert!(legal, "no transition {from:?} -> {to:?} for {reason:?}");
        Self { id, from, to, reason, alert }
    }

    /// The end of an alert for a reason that lies outside of its own life; none where it is not active.
    pub(super) fn withdrawn(id: AlertId, alert: Alert, reason: Reason) -> Option<Self> {
        let alert = Alert { suppressed: None, ..alert };
        alert.is_active().then(|| Self::new(id, alert.timers.state, Inactive, reason, alert))
    }
}

#[cfg(test)]
mod tests;
