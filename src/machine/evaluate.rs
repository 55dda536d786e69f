//! One rule at one grid point: its expression's value becomes series, or alerts that begin, go on and end.

use super::alert::{Alert, Change};
use super::intake::Counters;
use super::judge::ALERT_NAME;
use super::live::{ALERTS, ALERTS_FOR_STATE, RuleState, bound};
use super::notice::Notice;
use super::promql::{Element, Value};
use super::rules::{Kind, Rule};
use super::series::{STALE_NAN_BITS, Store};
use super::template::{Asked, Data};
use crate::wire::labels::METRIC_NAME;
use crate::wire::{AlertId, AlertState, Labels, Limits};
use std::collections::{BTreeMap, BTreeSet};

/// Where and when a rule is evaluated.
pub(super) struct Turn<'a> {
    pub(super) store: &'a mut Store,
    pub(super) counters: &'a mut Counters,
    /// The grid point, milliseconds since the epoch.
    pub(super) at_ms: i64,
    /// What the log's clock had to pass: the time at which series are written. Not the clock, which may have leapt:
    /// what is written here is still to be read by the grid points between.
    pub(super) due_ms: i64,
    /// Most alerts or series; 0 for no bound.
    pub(super) limit: usize,
    /// Whether somebody selects the alerts' own series.
    pub(super) alerts_selected: bool,
    /// Name of the group.
    pub(super) group: &'a str,
    pub(super) service_label: &'a str,
    pub(super) limits: Limits,
    /// How many alerts fire, by service, before the rule that is being evaluated.
    pub(super) firing: &'a mut BTreeMap<String, usize>,
    /// Caps that were reached.
    pub(super) reached: &'a mut Vec<Notice>,
}

impl Turn<'_> {
    /// Evaluates a rule; how its alerts change, in order of their identities.
    pub(super) fn evaluate(&mut self, rule: &Rule, state: &mut RuleState) -> Vec<Change> {
        let tried = self.try_evaluate(rule, state);
        state.evaluated_ms = Some(self.at_ms);
        let (changes, fault) = match tried {
            Ok((changes, fault)) => (changes, fault),
            Err(Failure { message }) => (Vec::new(), Some(message)),
        };
        self.counters.evaluation_failures += u64::from(fault.is_some());
        state.fault = fault;
        for change in &changes {
            self.count_firing(change);
        }
        changes
    }

    fn count_firing(&mut self, change: &Change) {
        let (before, after) = (change.from == AlertState::Firing, change.to == AlertState::Firing);
        if before == after {
            return;
        }
        let service = change.alert.labels.get(self.service_label);
        let count = self.firing.entry(service.to_owned()).or_default();
        *count = if after { count.saturating_add(1) } else { count.saturating_sub(1) };
        if *count == 0 {
            self.firing.remove(service);
        }
    }

    fn try_evaluate(
        &mut self,
        rule: &Rule,
        state: &mut RuleState,
    ) -> Result<(Vec<Change>, Option<String>), Failure> {
        let (judged, series) = match &rule.kind {
            Kind::Recording => {
                let value = rule.plan.evaluate(self.store, self.at_ms);
                let value = value.map_err(|fault| Failure { message: fault.to_string() })?;
                ((Vec::new(), None), self.record(rule, elements(value), &state.written)?)
            }
            Kind::Alerting(alerting) => {
                let since_ms = *state.since_ms.get_or_insert(self.at_ms);
                let judged = self.judge(rule, alerting, &mut state.alerts, since_ms)?;
                (judged, self.alert_series(&state.alerts))
            }
        };
        self.write(state, series);
        Ok(judged)
    }

    /// The series that a recording rule makes.
    fn record(
        &mut self,
        rule: &Rule,
        elements: Vec<Element>,
        written: &BTreeSet<Labels>,
    ) -> Result<BTreeMap<Labels, f64>, Failure> {
        let count = elements.len();
        let renamed = elements.into_iter().map(|Element { mut labels, value }| {
            labels.set(METRIC_NAME, &rule.name);
            set_labels(&mut labels, rule, &Data { labels: &Labels::default(), value, asked: None });
            (labels, value)
        });
        // At once: they come in order, and a map of what is in order is made without a search.
        let mut series: BTreeMap<Labels, f64> = renamed.collect();
        if series.len() < count {
            return Err(Failure {
                message: "vector contains metrics with the same labelset after applying rule labels"
                    .to_owned(),
            });
        }
        if self.limit > 0 && series.len() > self.limit {
            let (limit, count) = (self.limit, series.len());
            return Err(Failure { message: format!("exceeded limit of {limit} with {count} series") });
        }
        let cap = bound(self.limits.alerts);
        if series.len() > cap {
            let mut room =
                cap.saturating_sub(series.keys().filter(|labels| written.contains(*labels)).count());
            series.retain(|labels, _| {
                let known = written.contains(labels);
                let comes_in = known || room > 0;
                room -= usize::from(comes_in && !known);
                comes_in
            });
            self.reached.push(Notice::Alerts(self.group.to_owned(), rule.name.clone()));
        }
        Ok(series)
    }

    /// `ALERTS` and `ALERTS_FOR_STATE`, if somebody selects them.
    fn alert_series(&self, alerts: &BTreeMap<AlertId, Alert>) -> BTreeMap<Labels, f64> {
        let mut series = BTreeMap::new();
        for alert in alerts.values().filter(|alert| self.alerts_selected && alert.is_active()) {
            let mut labels = alert.shown();
            labels.set(METRIC_NAME, ALERTS_FOR_STATE);
            // Whole seconds, as Prometheus has it; exact in a double for the next hundred million years.
            #[allow(clippy::cast_precision_loss, reason = "seconds since the epoch are below 2^53")]
            let since_s = alert.timers.active_since_ms.div_euclid(1000) as f64;
            series.insert(labels.clone(), since_s);
            labels.set(METRIC_NAME, ALERTS);
            let firing = alert.timers.state == AlertState::Firing;
            labels.set("alertstate", if firing { "firing" } else { "pending" });
            series.insert(labels, 1.0);
        }
        series
    }

    /// Appends what the rule made, and a stale marker to each series that it made last time and not now.
    fn write(&mut self, state: &mut RuleState, series: BTreeMap<Labels, f64>) {
        let mut written: Vec<Labels> = Vec::with_capacity(series.len());
        for (labels, value) in series {
            if self.append(&labels, value) {
                written.push(labels);
            }
        }
        let written: BTreeSet<Labels> = written.into_iter().collect();
        for labels in state.written.difference(&written) {
            self.append(labels, f64::from_bits(STALE_NAN_BITS));
        }
        state.written = written.into();
    }

    /// Whether some rule selects the series.
    fn append(&mut self, labels: &Labels, value: f64) -> bool {
        let Some(id) = self.store.lookup_labels(labels) else { return false };
        let taken = self.store.take(id, self.at_ms, value, self.due_ms);
        self.counters.note(taken);
        let refused = self.store.judge(self.due_ms);
        self.counters.note_collisions(refused);
        true
    }
}

/// Why a rule has no value.
pub(super) struct Failure {
    pub(super) message: String,
}

/// A rule's value as elements; a scalar is one without labels.
pub(super) fn elements(value: Value) -> Vec<Element> {
    match value {
        Value::Scalar(value) => vec![Element { labels: Labels::default(), value }],
        Value::Vector(elements) => elements,
        Value::Ranges(_) | Value::Text(_) => unreachable!("such an expression is refused when rules load"),
    }
}

/// The alerts that the elements stand for. The label `hidden` is none of theirs.
pub(super) fn present(
    rule: &Rule,
    elements: Vec<Element>,
    hidden: &str,
    asked: Asked<'_>,
) -> Result<BTreeMap<AlertId, (Labels, Element)>, Failure> {
    let mut present = BTreeMap::new();
    for element in elements {
        let mut labels = element.labels.clone();
        labels.set(METRIC_NAME, "");
        labels.set(hidden, "");
        let data = Data { labels: &element.labels, value: element.value, asked: Some(asked) };
        set_labels(&mut labels, rule, &data);
        labels.set(ALERT_NAME, &rule.name);
        if present.insert(AlertId::of(&rule.name, &labels), (labels, element)).is_some() {
            return Err(Failure {
                message: "vector contains metrics with the same labelset after applying alert labels"
                    .to_owned(),
            });
        }
    }
    Ok(present)
}

/// Sets the rule's labels, rendered; one that renders empty removes the element's.
fn set_labels(labels: &mut Labels, rule: &Rule, data: &Data<'_>) {
    for (name, template) in &rule.labels {
        labels.set(name, &template.render(data));
    }
}
