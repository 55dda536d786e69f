//! What the expressions of an alerting rule say at one grid point.

use crate::machine::alert::Alert;
use crate::machine::among::{Among, Newest};
use crate::machine::evaluate::{Failure, Turn, elements, present};
use crate::machine::promql::{Element, Plan};
use crate::machine::rules::alerting::SEVERITY;
use crate::machine::rules::{Alerting, Rule};
use crate::machine::template::Asked;
use crate::wire::labels::METRIC_NAME;
use crate::wire::{AlertId, Labels};
use std::collections::{BTreeMap, BTreeSet};

/// What is seen of an alert.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Its labels, but that of its ladder.
    pub(super) labels: Labels,
    /// The element that it stands for.
    pub(super) element: Element,
    /// The step of its ladder; empty where there is none.
    pub(super) severity: String,
}

impl Seen {
    /// What was seen of it last.
    pub(super) fn before(alert: &Alert) -> Self {
        Self {
            labels: alert.labels.clone(),
            element: Element { labels: alert.element.clone(), value: alert.value },
            severity: alert.severity.clone(),
        }
    }
}

/// A label set that must report.
pub(super) struct Expected {
    pub(super) seen: Seen,
    /// Whether something reports, or has reported and is not forgotten, that has all of its labels.
    pub(super) covered: bool,
}

/// What there is to know of the alerts of a rule.
pub(super) struct Findings {
    /// Those whose condition holds.
    pub(super) present: BTreeMap<AlertId, Seen>,
    /// Those that report; none where nobody asked, or where that cannot be told.
    pub(super) reporting: Option<BTreeMap<AlertId, Seen>>,
    /// What `resolve_expr` returned.
    pub(super) resolved: Option<Among>,
    pub(super) expected: BTreeMap<AlertId, Expected>,
    /// Whether what never reported is not missed yet.
    pub(super) too_early: bool,
    /// When the expression was evaluated first.
    pub(super) since_ms: i64,
    /// Which labels those have that report, where some alert has not reported since the expression was edited.
    kinds: BTreeSet<Vec<Box<str>>>,
    /// Newest samples behind those whose condition holds, where the rule counts samples.
    pub(super) newest: Option<Newest>,
    /// Why it cannot be told who reports.
    pub(super) fault: Option<String>,
}

impl Turn<'_> {
    /// Evaluates what the rule asks.
    pub(super) fn find(
        &self,
        rule: &Rule,
        alerting: &Alerting,
        alerts: &BTreeMap<AlertId, Alert>,
    ) -> Result<Findings, Failure> {
        let held = self.value(&rule.plan, "")?;
        let present = self.climbed(alerting, self.seen(rule, alerting, held)?)?;
        let resolved = match &alerting.resolve {
            Some(plan) => Some(Among::of(labels(self.value(plan, "resolve_expr: ")?))),
            None => None,
        };
        let (reporting, fault) = match alerting.asks_who_reports().then(|| self.reporting(rule, alerting)) {
            None => (None, None),
            Some(Ok(reporting)) => (Some(reporting), None),
            Some(Err(failure)) => (None, Some(format!("who reports cannot be told: {}", failure.message))),
        };
        let newest = (alerting.for_samples > 0 && !present.is_empty()).then(|| {
            let elements = present.values().map(|seen| &seen.element.labels);
            Newest::of(elements, rule.plan.newest(self.store, self.at_ms))
        });
        let expected = match &reporting {
            Some(reporting) if !alerting.expected.is_empty() => {
                self.expected(rule, alerting, reporting, alerts)?
            }
            Some(_) | None => BTreeMap::new(),
        };
        let silent = alerts.values().any(|alert| alert.is_active() && !alert.timers.reported);
        let kinds = reporting.iter().flatten().filter(|_| silent);
        let kinds = kinds.map(|(_, seen)| names(&seen.element.labels)).collect();
        let (too_early, since_ms) = (false, 0);
        Ok(Findings { present, reporting, resolved, expected, too_early, since_ms, kinds, newest, fault })
    }

    fn value(&self, plan: &Plan, what: &str) -> Result<Vec<Element>, Failure> {
        let value = plan.evaluate(self.store, self.at_ms);
        value.map(elements).map_err(|fault| Failure { message: format!("{what}{fault}") })
    }

    fn reporting(&self, rule: &Rule, alerting: &Alerting) -> Result<BTreeMap<AlertId, Seen>, Failure> {
        let value = rule.plan.reporting(self.store, self.at_ms);
        self.seen(
            rule,
            alerting,
            value.map(elements).map_err(|fault| Failure { message: fault.to_string() })?,
        )
    }

    /// The alerts that the elements stand for.
    fn seen(
        &self,
        rule: &Rule,
        alerting: &Alerting,
        elements: Vec<Element>,
    ) -> Result<BTreeMap<AlertId, Seen>, Failure> {
        let asked = Asked { store: &*self.store, at_ms: self.at_ms };
        let hidden = if alerting.ladder.is_empty() { "" } else { SEVERITY };
        let present = present(rule, elements, hidden, asked)?;
        let severity = alerting.ladder.last().map_or("", |rung| &rung.severity);
        let seen = |(id, (labels, element))| (id, Seen { labels, element, severity: severity.to_owned() });
        Ok(present.into_iter().map(seen).collect())
    }

    /// Those for whom a step of the ladder is true, each on the first that is.
    fn climbed(
        &self,
        alerting: &Alerting,
        mut present: BTreeMap<AlertId, Seen>,
    ) -> Result<BTreeMap<AlertId, Seen>, Failure> {
        if alerting.ladder.is_empty() || present.is_empty() {
            return Ok(present);
        }
        let mut steps = Vec::new();
        for rung in &alerting.ladder {
            let what = format!("severity {}: ", rung.severity);
            let found = rung.plan.as_ref().map(|plan| self.value(plan, &what)).transpose()?;
            steps.push((&rung.severity, found.map(|elements| Among::of(labels(elements)))));
        }
        present.retain(|_, seen| {
            let is_true =
                |found: &Option<Among>| found.as_ref().is_none_or(|found| found.covers(&seen.element.labels));
            let step = steps.iter().find(|(_, found)| is_true(found));
            if let Some((severity, _)) = step {
                seen.severity.clone_from(severity);
            }
            step.is_some()
        });
        Ok(present)
    }

    fn expected(
        &self,
        rule: &Rule,
        alerting: &Alerting,
        reporting: &BTreeMap<AlertId, Seen>,
        alerts: &BTreeMap<AlertId, Alert>,
    ) -> Result<BTreeMap<AlertId, Expected>, Failure> {
        let element = |labels: &Labels| Element { labels: labels.clone(), value: f64::NAN };
        let own = self.seen(rule, alerting, alerting.expected.iter().map(element).collect())?;
        let remembered = alerts.iter().filter(|(id, alert)| alert.timers.reported && !own.contains_key(*id));
        let known = reporting.values().map(|seen| &seen.element.labels);
        let known: Vec<&Labels> = known.chain(remembered.map(|(_, alert)| &alert.element)).collect();
        let all_in = |seen: &Seen, labels: &Labels| {
            seen.element.labels.iter().all(|(name, value)| labels.get(name) == value)
        };
        let expected = own.into_iter().map(|(id, seen)| {
            let covered = known.iter().any(|labels| all_in(&seen, labels));
            (id, Expected { seen, covered })
        });
        Ok(expected.collect())
    }
}

impl Findings {
    /// Whether an alert without data that is older than its expression may yet report: while nobody does, and where those
    /// who do have the same labels.
    pub(super) fn may_report_again(&self, alert: &Alert) -> bool {
        let older = alert.timers.active_since_ms < self.since_ms;
        older && (self.kinds.is_empty() || self.kinds.contains(&names(&alert.element)))
    }
}

/// The names of labels, in order, but the metric's.
fn names(labels: &Labels) -> Vec<Box<str>> {
    labels.iter().map(|(name, _)| name).filter(|name| *name != METRIC_NAME).map(Into::into).collect()
}

fn labels(elements: Vec<Element>) -> impl Iterator<Item = Labels> {
    elements.into_iter().map(|element| element.labels)
}
