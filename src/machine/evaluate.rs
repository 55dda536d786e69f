//! One rule at one grid point: its expression's value becomes series, or alerts that begin, go on and end.

use super::alert::{Alert, Change, Timers};
use super::intake::Counters;
use super::live::{ALERTS, ALERTS_FOR_STATE, RuleState, bound};
use super::notice::Notice;
use super::promql::{Element, Value};
use super::rules::{Alerting, Kind, Rule};
use super::series::{STALE_NAN_BITS, Store};
use super::shareable::Shareable;
use super::template::{Asked, Data};
use crate::sim::planted::{Bug, coin, planted};
use crate::wire::labels::METRIC_NAME;
use crate::wire::{AlertId, AlertState, Labels, Limits, Reason};
use std::collections::{BTreeMap, BTreeSet};

/// The label that holds an alert's name.
const ALERT_NAME: &str = "alertname";

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
        let changes = self.try_evaluate(rule, state);
        state.evaluated_ms = Some(self.at_ms);
        let changes = match changes {
            Ok(changes) => {
                state.fault = None;
                changes
            }
            Err(Failure { message, withdrawn }) => {
                self.counters.evaluation_failures += 1;
                state.fault = Some(message);
                withdrawn
            }
        };
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

    /// Leaves out what is over the cap on alerts. What was active stays; of the new ones the first by identity come in.
    fn admit(
        &mut self,
        rule: &Rule,
        alerting: &Alerting,
        alerts: &BTreeMap<AlertId, Alert>,
        present: &mut BTreeMap<AlertId, (Labels, Element)>,
    ) {
        let cap = bound(self.limits.alerts);
        if present.len() + alerts.len() <= cap {
            return;
        }
        let kept =
            |alert: &Alert| alerting.keep_firing_for_ms > 0 && alert.timers.state == AlertState::Firing;
        let stay = alerts.iter().filter(|(id, alert)| present.contains_key(id) || kept(alert)).count();
        let mut room = cap.saturating_sub(stay);
        let before = present.len();
        present.retain(|id, _| {
            let comes_in = alerts.contains_key(id) || room > 0;
            room -= usize::from(comes_in && !alerts.contains_key(id));
            comes_in
        });
        if present.len() < before {
            self.reached.push(Notice::Alerts(self.group.to_owned(), rule.name.clone()));
        }
    }

    fn try_evaluate(&mut self, rule: &Rule, state: &mut RuleState) -> Result<Vec<Change>, Failure> {
        let value =
            rule.plan.evaluate(self.store, self.at_ms).map_err(|fault| Failure::new(fault.to_string()))?;
        let elements = match value {
            Value::Scalar(value) => vec![Element { labels: Labels::default(), value }],
            Value::Vector(elements) => elements,
            Value::Ranges(_) | Value::Text(_) => {
                unreachable!("such an expression is refused when rules load")
            }
        };
        let (changes, series) = match &rule.kind {
            Kind::Recording => (Vec::new(), self.record(rule, elements, &state.written)?),
            Kind::Alerting(alerting) => {
                let mut present = present(rule, elements, Asked { store: &*self.store, at_ms: self.at_ms })?;
                self.admit(rule, alerting, &state.alerts, &mut present);
                let changes = self.judge(alerting, &mut state.alerts, present)?;
                (changes, self.alert_series(&state.alerts))
            }
        };
        self.write(state, series);
        Ok(changes)
    }

    /// The series that a recording rule makes.
    fn record(
        &mut self,
        rule: &Rule,
        elements: Vec<Element>,
        written: &BTreeSet<Labels>,
    ) -> Result<BTreeMap<Labels, f64>, Failure> {
        let mut series = BTreeMap::new();
        for Element { mut labels, value } in elements {
            labels.set(METRIC_NAME, &rule.name);
            set_labels(&mut labels, rule, &Data { labels: &Labels::default(), value, asked: None });
            if series.insert(labels, value).is_some() {
                return Err(Failure::new(
                    "vector contains metrics with the same labelset after applying rule labels".to_owned(),
                ));
            }
        }
        if self.limit > 0 && series.len() > self.limit {
            let (limit, count) = (self.limit, series.len());
            return Err(Failure::new(format!("exceeded limit of {limit} with {count} series")));
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

    /// Judges every alert that was active or is returned now.
    fn judge(
        &mut self,
        rule: &Alerting,
        alerts: &mut Shareable<BTreeMap<AlertId, Alert>>,
        mut present: BTreeMap<AlertId, (Labels, Element)>,
    ) -> Result<Vec<Change>, Failure> {
        let ids: BTreeSet<AlertId> = alerts.keys().chain(present.keys()).copied().collect();
        let mut ids: Vec<AlertId> = ids.into_iter().collect();
        if planted(Bug::UnorderedOutput) && coin() {
            ids.reverse();
        }
        let mut changes = Vec::new();
        let mut next = BTreeMap::new();
        let mut started: BTreeMap<String, usize> = BTreeMap::new();
        for id in ids {
            let before = alerts.get(&id);
            let holds = present.remove(&id);
            let timers = before.map_or(Timers::inactive(self.at_ms), |alert| alert.timers);
            let (judged, reason) = timers.judge(holds.is_some(), self.at_ms, rule);
            let mut alert = match (holds, before) {
                (Some((labels, element)), _) => {
                    Alert { labels, element: element.labels, value: element.value, timers: judged }
                }
                (None, Some(before)) => Alert { timers: judged, ..before.clone() },
                (None, None) => continue,
            };
            let starts = timers.state != AlertState::Firing && judged.state == AlertState::Firing;
            let waits = starts && !self.may_fire(&alert.labels, &mut started);
            if waits {
                alert.timers.state = AlertState::Pending;
            }
            let judged = alert.timers;
            // Who waits became pending, or is it still.
            let reason = reason.filter(|_| judged.state != timers.state);
            let reason = if waits { reason.and(Some(Reason::ConditionMet)) } else { reason };
            if let Some(reason) = reason {
                changes.push(Change::new(id, timers.state, judged.state, reason, alert.clone()));
            }
            if judged.state != AlertState::Inactive {
                next.insert(id, alert);
            }
        }
        if self.limit > 0 && next.len() > self.limit {
            let end = |(id, alert)| Change::withdrawn(id, alert, Reason::LimitExceeded);
            return Err(Failure {
                message: format!("exceeded limit of {} with {} alerts", self.limit, next.len()),
                withdrawn: std::mem::take(alerts).into_inner().into_iter().map(end).collect(),
            });
        }
        *alerts = next.into();
        Ok(changes)
    }

    /// Whether one more alert of its service may fire. One that ends makes room from the next evaluation of a rule on.
    fn may_fire(&mut self, labels: &Labels, started: &mut BTreeMap<String, usize>) -> bool {
        let service = labels.get(self.service_label);
        let firing = self.firing.get(service).copied().unwrap_or(0);
        let own = started.entry(service.to_owned()).or_default();
        let may = firing.saturating_add(*own) < bound(self.limits.firing_per_service);
        *own += usize::from(may);
        if !may {
            self.reached.push(Notice::Firing(service.to_owned()));
        }
        may
    }

    /// `ALERTS` and `ALERTS_FOR_STATE`, if somebody selects them.
    fn alert_series(&self, alerts: &BTreeMap<AlertId, Alert>) -> BTreeMap<Labels, f64> {
        let mut series = BTreeMap::new();
        for alert in alerts.values().filter(|_| self.alerts_selected) {
            let mut labels = alert.labels.clone();
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
        let mut written = BTreeSet::new();
        for (labels, value) in series {
            if self.append(&labels, value) {
                written.insert(labels);
            }
        }
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

/// Why a rule has no value, and what that ends.
struct Failure {
    message: String,
    withdrawn: Vec<Change>,
}

impl Failure {
    fn new(message: String) -> Self {
        Self { message, withdrawn: Vec::new() }
    }
}

/// The alerts that the elements stand for.
fn present(
    rule: &Rule,
    elements: Vec<Element>,
    asked: Asked<'_>,
) -> Result<BTreeMap<AlertId, (Labels, Element)>, Failure> {
    let mut present = BTreeMap::new();
    for element in elements {
        let mut labels = element.labels.clone();
        labels.set(METRIC_NAME, "");
        let data = Data { labels: &element.labels, value: element.value, asked: Some(asked) };
        set_labels(&mut labels, rule, &data);
        labels.set(ALERT_NAME, &rule.name);
        if present.insert(AlertId::of(&rule.name, &labels), (labels, element)).is_some() {
            return Err(Failure::new(
                "vector contains metrics with the same labelset after applying alert labels".to_owned(),
            ));
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
