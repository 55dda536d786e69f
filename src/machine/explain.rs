//! Why a rule does what it does: its expression part by part with the value of each at the last evaluation, the samples
//! behind it, and its alerts with their timers. Looks only; whoever asks has a machine of its own.

use super::promql::{Element, Value};
use super::rules::Kind;
use super::series::Point;
use super::{AlertStatus, Machine};
use crate::wire::Labels;

/// Elements and series of one part that are shown; a count tells of the rest.
pub const SHOWN_MAX: usize = 20;
/// Newest samples of one series that are shown.
pub const SAMPLES_MAX: usize = 5;

/// One rule.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// File that holds it.
    pub file: &'a str,
    /// Group that holds it.
    pub group: &'a str,
    /// Name of the alert, or of the series that it records.
    pub name: &'a str,
    /// Milliseconds between two evaluations.
    pub interval_ms: i64,
    /// Its last evaluation, milliseconds since the epoch; none before the first.
    pub evaluated_ms: Option<i64>,
    /// The next grid point.
    pub next_ms: i64,
    /// How long its condition holds before it fires, and how long it keeps firing after; none for a recording rule.
    pub timers: Option<(i64, i64)>,
    /// Why its last evaluation failed.
    pub fault: Option<&'a str>,
    /// The expression and its parts, the whole first, each before its own parts.
    pub parts: Vec<PartValue>,
    /// The selectors, in the order of the text.
    pub selectors: Vec<Selected>,
    /// Its alerts that are pending or firing.
    pub alerts: Vec<AlertStatus<'a>>,
}

/// A part of the expression at the last evaluation.
#[derive(Debug)]
pub struct PartValue {
    /// How deep it stands; the whole is 0.
    pub depth: usize,
    /// Its text.
    pub text: String,
    /// A number; or elements, the first [`SHOWN_MAX`] of them and how many there are; or why there is none.
    pub value: Result<Shown, String>,
    /// For a comparison with a number: what is nearest to it, and the number.
    pub nearest: Option<(Element, f64)>,
}

/// A value as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// A number without labels.
    Number(f64),
    /// Elements, and how many there are in all.
    Elements(Vec<Element>, usize),
    /// Series with samples in a range: how many series, and how many samples.
    Ranges(usize, usize),
}

/// What a selector looked at.
#[derive(Debug)]
pub struct Selected {
    /// Its text.
    pub text: String,
    /// How far it looked back, milliseconds.
    pub window_ms: i64,
    /// Its series with their newest samples in that window, oldest first: the first [`SHOWN_MAX`] series.
    pub series: Vec<(Labels, Vec<Point>)>,
    /// How many series there are in all.
    pub count: usize,
}

impl Machine {
    /// Explains the rules of this name, in order of evaluation; of what they select only what belongs to `service`, or to
    /// no service, if one is given.
    #[must_use]
    pub fn explain<'a>(&'a self, name: &str, service: Option<&str>) -> Vec<Explanation<'a>> {
        let mut explanations = Vec::new();
        for live in &self.live.groups {
            for (rule, state) in live.group.rules.iter().zip(&live.states) {
                if rule.name != name {
                    continue;
                }
                let mine = |labels: &Labels| {
                    let of = labels.get(&self.live.service_label);
                    service.is_none_or(|service| of.is_empty() || of == service)
                };
                let (parts, selectors) = match (state.evaluated_ms, rule.plan.parts(&rule.expression)) {
                    (Some(at_ms), Ok(parts)) => self.evaluated(parts, at_ms, &mine),
                    (None, _) | (_, Err(_)) => (Vec::new(), Vec::new()),
                };
                explanations.push(Explanation {
                    file: &live.group.file,
                    group: &live.group.name,
                    name: &rule.name,
                    interval_ms: live.group.interval_ms,
                    evaluated_ms: state.evaluated_ms,
                    next_ms: live.grid.next_ms(),
                    timers: match &rule.kind {
                        Kind::Recording => None,
                        Kind::Alerting(alerting) => Some((alerting.for_ms, alerting.keep_firing_for_ms)),
                    },
                    fault: state.fault.as_deref(),
                    parts,
                    selectors,
                    alerts: self
                        .alerts()
                        .filter(|alert| {
                            alert.rule == name && alert.group == live.group.name && mine(&alert.labels)
                        })
                        .collect(),
                });
            }
        }
        explanations
    }

    fn evaluated(
        &self,
        parts: Vec<super::promql::Part>,
        at_ms: i64,
        mine: &impl Fn(&Labels) -> bool,
    ) -> (Vec<PartValue>, Vec<Selected>) {
        let mut selectors = Vec::new();
        let mut values = Vec::new();
        for part in parts {
            let value = part.value(&self.store, at_ms).map_err(|fault| fault.to_string());
            if let Some((window_ms, samples)) = part.samples(&self.store, at_ms) {
                let mut series: Vec<(Labels, Vec<Point>)> =
                    samples.into_iter().filter(|(labels, _)| mine(labels)).collect();
                let count = series.len();
                series.truncate(SHOWN_MAX);
                for (_, points) in &mut series {
                    points.drain(..points.len().saturating_sub(SAMPLES_MAX));
                }
                selectors.push(Selected { text: part.text.clone(), window_ms, series, count });
            }
            let nearest =
                part.nearest(&self.store, at_ms, mine).map(|nearest| (nearest.element, nearest.bound));
            let value = value.map(|value| shown(value, mine));
            values.push(PartValue { depth: part.depth, text: part.text, value, nearest });
        }
        (values, selectors)
    }
}

fn shown(value: Value, mine: &impl Fn(&Labels) -> bool) -> Shown {
    match value {
        Value::Scalar(number) => Shown::Number(number),
        Value::Vector(mut elements) => {
            elements.retain(|element| mine(&element.labels));
            let count = elements.len();
            elements.truncate(SHOWN_MAX);
            Shown::Elements(elements, count)
        }
        Value::Ranges(mut ranges) => {
            ranges.retain(|(labels, _)| mine(labels));
            Shown::Ranges(ranges.len(), ranges.iter().map(|(_, points)| points.len()).sum())
        }
        Value::Text(_) => Shown::Elements(Vec::new(), 0),
    }
}

#[cfg(test)]
mod tests;
