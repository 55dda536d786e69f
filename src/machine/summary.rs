//! What a machine tells about itself: for metrics, `status` and the console. Nothing here feeds back into it.

use super::Machine;
use super::journal::annotations;
use super::live::RuleState;
use super::rules::Kind;
use super::series::Selector;
use super::template::Asked;
use crate::wire::{AlertId, AlertState, Labels, Suppression};
use std::collections::BTreeMap;

/// Numbers of one partition's machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The partition's clock, milliseconds since the epoch; 0 before the first record.
    pub clock_ms: i64,
    /// Offset after the last record seen; 0 before the first.
    pub next_offset: i64,
    /// `seq` of the last transition; 0 if there was none.
    pub seq: i64,
    /// Chain over all transitions up to `seq`.
    pub running_hash: [u8; 32],
    /// Version of the rule set in force; 0 before the first.
    pub rule_set_version: i64,
    /// Series held.
    pub series: usize,
    /// Bytes that series and samples take, about.
    pub bytes: usize,
    /// Alerts pending.
    pub pending: usize,
    /// Alerts firing.
    pub firing: usize,
    /// Samples that some rule selects and that were taken in.
    pub samples_accepted: u64,
    /// Samples refused, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Control records whose seal did not hold, by reason.
    pub unauthentic: BTreeMap<&'static str, u64>,
    /// Evaluations of groups.
    pub evaluations: u64,
    /// Grid points that a long silence made too many to evaluate.
    pub evaluations_missed: u64,
    /// Evaluations of rules that failed.
    pub evaluation_failures: u64,
}

/// One rule in force and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleStatus<'a> {
    /// File that holds it.
    pub file: &'a str,
    /// Group that holds it.
    pub group: &'a str,
    /// Name of the alert, or of the series that it records.
    pub name: &'a str,
    /// Whether it alerts; else it records.
    pub alerts: bool,
    /// Its expression as written.
    pub expression: &'a str,
    /// Alerts pending.
    pub pending: usize,
    /// Alerts firing.
    pub firing: usize,
    /// Last grid point at which it was evaluated, milliseconds since the epoch; none if never.
    pub evaluated_ms: Option<i64>,
    /// Why its last evaluation failed; none if it did not.
    pub fault: Option<&'a str>,
}

/// One alert that is pending or firing.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertStatus<'a> {
    /// Who.
    pub alert: AlertId,
    /// Group that holds its rule.
    pub group: &'a str,
    /// Its rule.
    pub rule: &'a str,
    /// Its labels, `alertname` among them.
    pub labels: Labels,
    /// Pending or firing.
    pub state: AlertState,
    /// The last value that the expression returned.
    pub value: f64,
    /// When the condition began to hold, event time, milliseconds since the epoch.
    pub active_since_ms: i64,
    /// Annotations, rendered for the last value.
    pub annotations: Labels,
    /// The alert that holds it back while it fires.
    pub suppressed_by: Option<&'a Suppression>,
}

fn count(state: &RuleState, wanted: AlertState) -> usize {
    state.alerts.values().filter(|alert| alert.timers.state == wanted).count()
}

impl Machine {
    /// The partition's clock, milliseconds since the epoch; 0 before the first stamp.
    #[must_use]
    pub fn clock_ms(&self) -> i64 {
        self.clock.now_ms().unwrap_or(0)
    }

    /// Label that holds the service of a batch on its series; empty before the first rule set.
    #[must_use]
    pub fn service_label(&self) -> &str {
        &self.live.service_label
    }

    /// `seq` of the last transition; 0 before the first.
    #[must_use]
    pub fn seq(&self) -> i64 {
        self.journal.seq
    }

    /// Numbers for metrics and `status`. Walks over all alerts and pages: not for each record.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let states = || self.live.groups.iter().flat_map(|group| &group.states);
        Summary {
            clock_ms: self.clock.now_ms().unwrap_or(0),
            next_offset: self.next_offset,
            seq: self.journal.seq,
            running_hash: self.journal.running_hash,
            rule_set_version: self.live.version,
            series: self.store.len(),
            bytes: self.store.bytes(),
            pending: states().map(|state| count(state, AlertState::Pending)).sum(),
            firing: states().map(|state| count(state, AlertState::Firing)).sum(),
            samples_accepted: self.counters.accepted,
            rejected: self.counters.rejected.clone(),
            unauthentic: self.counters.unauthentic.clone(),
            evaluations: self.counters.evaluations,
            evaluations_missed: self.counters.evaluations_missed,
            evaluation_failures: self.counters.evaluation_failures,
        }
    }

    /// The rules in force, in order of evaluation: for `status` and the console.
    pub fn rules(&self) -> impl Iterator<Item = RuleStatus<'_>> {
        self.live.groups.iter().flat_map(|group| {
            group.group.rules.iter().zip(&group.states).map(|(rule, state)| RuleStatus {
                file: &group.group.file,
                group: &group.group.name,
                name: &rule.name,
                alerts: matches!(rule.kind, Kind::Alerting(_)),
                expression: &rule.expression,
                pending: count(state, AlertState::Pending),
                firing: count(state, AlertState::Firing),
                evaluated_ms: state.evaluated_ms,
                fault: state.fault.as_deref(),
            })
        })
    }

    /// Whether a selector of the rules in force selects some series; none where no rule in force has that selector, so
    /// that its series are not kept.
    #[must_use]
    pub fn selects(&self, selector: &Selector) -> Option<bool> {
        self.store.selects(selector)
    }

    /// The alerts that are pending or firing, in order of evaluation and of their identities.
    pub fn alerts(&self) -> impl Iterator<Item = AlertStatus<'_>> {
        self.live.groups.iter().flat_map(|group| {
            group.group.rules.iter().zip(&group.states).flat_map(|(rule, state)| {
                state.alerts.iter().filter(|(_, alert)| alert.is_active()).map(|(id, alert)| {
                    let asked = state.evaluated_ms.map(|at_ms| Asked { store: &self.store, at_ms });
                    AlertStatus {
                        alert: *id,
                        group: &group.group.name,
                        rule: &rule.name,
                        labels: alert.shown(),
                        state: alert.timers.state,
                        value: alert.value,
                        active_since_ms: alert.timers.active_since_ms,
                        annotations: annotations(rule, alert, asked),
                        suppressed_by: alert.suppressed.as_ref(),
                    }
                })
            })
        })
    }
}
