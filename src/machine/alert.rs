//! The life of one alert, as Prometheus's `AlertingRule.Eval` has it.
//!
//! ```text
//!                condition_met, for > 0            held_for
//!   inactive ───────────────────────▶ pending ───────────────▶ firing ──┐ condition gone, for less than
//!      ▲  ▲        condition_met, for = 0 └──────────────────────▲      │ keep_firing_for: stays
//!      │  └── condition_cleared ──────────┘                      └──────┘
//!      └───── condition_cleared, keep_firing_elapsed ───────────────┘
//! ```
//!
//! Where a rule's evaluation fails, its alerts stay as they are, timers running: as in Prometheus. The failure is
//! counted and shown with the rule. Where a rule has more alerts than its group's `limit`, all of them go, and those
//! that were out are withdrawn with `limit_exceeded`: as in Prometheus, too.

use super::rules::Alerting;
use crate::wire::AlertState::{Firing, Inactive, Pending};
use crate::wire::{AlertId, AlertState, Labels, Reason};

/// Every transition there is. Anything else is a bug of the machine.
const LEGAL: [(AlertState, AlertState, Reason); 14] = [
    (Inactive, Pending, Reason::ConditionMet),
    (Inactive, Firing, Reason::ConditionMet),
    (Pending, Firing, Reason::HeldFor),
    (Pending, Inactive, Reason::ConditionCleared),
    (Pending, Inactive, Reason::LimitExceeded),
    (Pending, Inactive, Reason::RuleRemoved),
    (Firing, Inactive, Reason::ConditionCleared),
    (Firing, Inactive, Reason::KeepFiringElapsed),
    (Firing, Inactive, Reason::LimitExceeded),
    (Firing, Inactive, Reason::RuleRemoved),
    // Of the machine's own alerts, see `notice`.
    (Inactive, Firing, Reason::LimitReached),
    (Firing, Inactive, Reason::LimitCleared),
    (Inactive, Firing, Reason::RecordQuarantined),
    (Firing, Inactive, Reason::QuarantineElapsed),
];

/// An alert that is pending or firing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alert {
    /// Its labels, `alertname` among them.
    pub(super) labels: Labels,
    /// Labels of the element that the expression returned last: what templates see.
    pub(super) element: Labels,
    /// The last value that the expression returned.
    pub(super) value: f64,
    pub(super) timers: Timers,
}

/// State and timers of an alert, event time in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timers {
    pub(super) state: AlertState,
    /// When the condition began to hold.
    pub(super) active_since_ms: i64,
    /// While it is kept firing without its condition: since when.
    pub(super) kept_since_ms: Option<i64>,
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

impl Timers {
    /// Those of an alert that is first heard of at `at_ms`.
    pub(super) fn inactive(at_ms: i64) -> Self {
        Self { state: Inactive, active_since_ms: at_ms, kept_since_ms: None }
    }

    /// What an evaluation at `at_ms` makes of it, and why where the state changes. `holds`: whether the expression
    /// returned it.
    pub(super) fn judge(self, holds: bool, at_ms: i64, rule: &Alerting) -> (Self, Option<Reason>) {
        let held_ms = at_ms.saturating_sub(self.active_since_ms);
        let to = |state, reason| (Self { state, kept_since_ms: None, ..self }, Some(reason));
        match (self.state, holds) {
            (Inactive, true) if held_ms >= rule.for_ms => to(Firing, Reason::ConditionMet),
            (Inactive, true) => to(Pending, Reason::ConditionMet),
            (Inactive, false) => (self, None),
            (Pending, true) if held_ms >= rule.for_ms => to(Firing, Reason::HeldFor),
            (Pending, true) => (self, None),
            (Pending, false) => to(Inactive, Reason::ConditionCleared),
            (Firing, true) => (Self { kept_since_ms: None, ..self }, None),
            (Firing, false) => {
                let since_ms = self.kept_since_ms.unwrap_or(at_ms);
                if at_ms.saturating_sub(since_ms) < rule.keep_firing_for_ms {
                    (Self { kept_since_ms: Some(since_ms), ..self }, None)
                } else if self.kept_since_ms.is_some() {
                    to(Inactive, Reason::KeepFiringElapsed)
                } else {
                    to(Inactive, Reason::ConditionCleared)
                }
            }
        }
    }
}

impl Change {
    /// Asserts that the change is one of those there are.
    pub(super) fn new(id: AlertId, from: AlertState, to: AlertState, reason: Reason, alert: Alert) -> Self {
        assert!(LEGAL.contains(&(from, to, reason)), "no transition {from:?} -> {to:?} for {reason:?}");
        Self { id, from, to, reason, alert }
    }

    /// The end of an alert for a reason that lies outside of its own life.
    pub(super) fn withdrawn(id: AlertId, alert: Alert, reason: Reason) -> Self {
        Self::new(id, alert.timers.state, Inactive, reason, alert)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    /// Evaluates each minute from 0; `story` says at each whether the condition holds, and gives the states.
    fn live(for_min: i64, keep_min: i64, story: &str) -> String {
        let rule = Alerting {
            for_ms: for_min * MINUTE,
            keep_firing_for_ms: keep_min * MINUTE,
            annotations: Vec::new(),
        };
        let mut timers = Timers::inactive(0);
        let letter = |state| match state {
            Inactive => '.',
            Pending => 'p',
            Firing => 'F',
        };
        (0..)
            .zip(story.chars())
            .map(|(minute, c)| {
                let at_ms = minute * MINUTE;
                if timers.state == Inactive {
                    timers = Timers::inactive(at_ms);
                }
                let from = timers.state;
                let (next, reason) = timers.judge(c == 'x', at_ms, &rule);
                timers = next;
                assert_eq!(reason.is_some(), from != timers.state);
                if let Some(reason) = reason {
                    assert!(
                        LEGAL.contains(&(from, timers.state, reason)),
                        "{from:?} {:?} {reason:?}",
                        timers.state
                    );
                }
                letter(timers.state)
            })
            .collect()
    }

    #[test]
    fn lives_of_alerts() {
        let table = [
            (0, 0, "-x-xx-", ".F.FF."),
            (2, 0, "-xxxx-x-", ".ppFF.p."),
            (2, 0, "xx-xxx", "pp.ppF"),
            (0, 2, "x----x", "FFF..F"),
            (0, 2, "x--x---", "FFFFFF."),
            (1, 1, "xx--xx", "pFF.pF"),
        ];
        for (for_min, keep_min, story, states) in table {
            assert_eq!(live(for_min, keep_min, story), states, "for {for_min} keep {keep_min} {story}");
        }
    }
}
