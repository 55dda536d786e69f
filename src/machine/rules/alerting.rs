//! What an alerting rule has: Prometheus's keys, and those that its users asked for. Each of these is optional.
//!
//! ```yaml
//! - alert: DiskFull
//!   expr: disk_free < 0.2
//!   for: 5m                              # how long the condition holds before it fires, and …
//!   for_samples: 3                       # … on how many new samples in a row
//!   resolve_expr: disk_free > 0.3        # once it fires, it ends when this returns it, and not before
//!   keep_firing_for: 10m
//!   no_data_state: KeepLast              # OK | Alerting | NoData | KeepLast: what it is without data
//!   missing_series_evals_to_resolve: 5   # so many evaluations without data end it and forget it
//!   expected: [{service: db, disk: c}]   # must report, even if never seen
//!   flap_detection: {low: 0.25, high: 0.5, history: 21}   # Nagios's: while it flaps it does not end
//!   severity:                            # the first that is true is its label `severity`; none: it does not hold
//!     critical: disk_free < 0.05
//!     warning: true
//!   priority: 100                        # of the rules true for one service only the highest page
//! ```
//!
//! `resolve_expr` and the steps of `severity` speak of an alert where all labels of one of their elements are among those
//! of the alert's: `vector(1)` of every alert, an aggregation `by (service)` of every alert of that service.

use super::file::{Text, expression, templates};
use super::reader::{Fields, Reader, field};
use crate::machine::promql::Plan;
use crate::machine::template::Template;
use crate::wire::Labels;
use crate::wire::yaml::{Node, Value};
use std::collections::BTreeSet;

/// Keys of an alerting rule that a recording rule has not.
pub(super) const KEYS: [&str; 11] = [
    "for",
    "keep_firing_for",
    "annotations",
    "for_samples",
    "resolve_expr",
    "no_data_state",
    "missing_series_evals_to_resolve",
    "expected",
    "flap_detection",
    "severity",
    "priority",
];
/// The label that a ladder sets.
pub const SEVERITY: &str = "severity";
/// The name of the alerts that `no_data_state: NoData` raises.
pub const NO_DATA: &str = "NoData";
/// Most samples and evaluations that a key counts.
const COUNT_MAX: usize = 10_000;
/// Most label sets that one rule expects.
const EXPECTED_MAX: usize = 1_000;
/// The highest priority.
const PRIORITY_MAX: usize = 1_000_000;
/// Most steps of a ladder.
const RUNGS_MAX: usize = 16;
/// Most evaluations that flap detection looks back.
pub const HISTORY_MAX: usize = 128;
/// Nagios's defaults: thresholds of services, and length of the history.
const FLAPPING: Flapping = Flapping { low: 0.2, high: 0.3, history: 21 };

/// What an alerting rule has and a recording rule has not.
#[derive(Debug)]
pub struct Alerting {
    /// How long the condition holds before the alert fires, milliseconds.
    pub for_ms: i64,
    /// On how many new samples in a row it is seen to hold before the alert fires; 0: they are not counted.
    pub for_samples: u32,
    /// How long the alert keeps firing after the condition, milliseconds.
    pub keep_firing_for_ms: i64,
    /// Annotations, in order of their names.
    pub annotations: Vec<(String, Template)>,
    /// What ends an alert that fires; else that its expression no longer returns it.
    pub resolve: Option<Plan>,
    /// What an alert is without data; none: as in Prometheus, where nobody tells this from a condition that is gone.
    pub no_data: Option<NoData>,
    /// How many evaluations without data end an alert and have its label set forgotten; 0: none.
    pub missing_evals: u32,
    /// Label sets that must report. Empty in a partition whose services they do not name.
    pub expected: Vec<Labels>,
    /// When an alert flaps.
    pub flapping: Option<Flapping>,
    /// The steps of its severity, the first that is true wins; empty: it has none.
    pub ladder: Vec<Rung>,
    /// Its place among the rules that are true for one service; none: it holds back nobody, and nobody holds it back.
    pub priority: Option<i64>,
}

/// What an alert is without data. The names are Grafana's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoData {
    /// Its condition does not hold.
    Ok,
    /// Its condition holds.
    Alerting,
    /// What it was, and another alert, named [`NO_DATA`], says so.
    NoData,
    /// What it was.
    KeepLast,
}

/// When an alert flaps: by Nagios's weighted share of changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flapping {
    /// At or below this share it flaps no more.
    pub low: f64,
    /// At or above this share it begins to.
    pub high: f64,
    /// How many evaluations are looked at: 3 to [`HISTORY_MAX`].
    pub history: usize,
}

/// One step of a ladder.
#[derive(Debug)]
pub struct Rung {
    /// Value of the label [`SEVERITY`].
    pub severity: String,
    /// When it is true; none: always.
    pub plan: Option<Plan>,
}

impl Alerting {
    /// Whether it wants to know who reports, and not only for whom the condition holds.
    #[must_use]
    pub fn asks_who_reports(&self) -> bool {
        self.resolve.is_some() || self.no_data.is_some()
    }

    /// Whether it remembers every label set that has reported.
    #[must_use]
    pub fn remembers_who_reported(&self) -> bool {
        self.no_data.is_some_and(|state| state != NoData::Ok)
    }

    /// Every expression in it.
    pub(super) fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.resolve.iter().chain(self.ladder.iter().filter_map(|rung| rung.plan.as_ref()))
    }

    /// The same, in the same order, to be bound, and every annotation's.
    pub(super) fn plans_mut(&mut self) -> (impl Iterator<Item = &mut Plan>, &mut [(String, Template)]) {
        let rungs = self.ladder.iter_mut().filter_map(|rung| rung.plan.as_mut());
        (self.resolve.iter_mut().chain(rungs), &mut self.annotations)
    }
}

/// What the keys of an alerting rule say. `name` is its own, `labels` those that it sets.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    node: &'a Node,
    fields: &Fields<'a>,
    name: &str,
    labels: &[(String, String)],
) -> Alerting {
    let annotations = reader.texts(field(fields, "annotations"), "annotations");
    let annotations: Vec<Text<'a>> =
        annotations.into_iter().map(|(name, node, text)| Text { name, node, text }).collect();
    let no_data = no_data(reader, fields, name);
    Alerting {
        for_ms: reader.duration_ms(field(fields, "for"), "for").unwrap_or(0),
        for_samples: count(reader, fields, "for_samples"),
        keep_firing_for_ms: reader
            .duration_ms(field(fields, "keep_firing_for"), "keep_firing_for")
            .unwrap_or(0),
        annotations: templates(reader, &annotations, false, true),
        resolve: field(fields, "resolve_expr")
            .and_then(|text| expression(reader, node.place, Some(text), "resolve_expr")),
        no_data,
        missing_evals: count(reader, fields, "missing_series_evals_to_resolve"),
        expected: expected(reader, field(fields, "expected"), no_data),
        flapping: flapping(reader, field(fields, "flap_detection")),
        ladder: ladder(reader, field(fields, "severity"), labels),
        priority: reader
            .whole(field(fields, "priority"), "priority", 0, PRIORITY_MAX)
            .and_then(|priority| i64::try_from(priority).ok()),
    }
}

/// A whole number from 1; 0 where there is none.
fn count<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>, key: &str) -> u32 {
    let count = reader.whole(field(fields, key), key, 1, COUNT_MAX);
    count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

fn no_data<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>, name: &str) -> Option<NoData> {
    const STATES: [(&str, NoData); 4] = [
        ("OK", NoData::Ok),
        ("Alerting", NoData::Alerting),
        ("NoData", NoData::NoData),
        ("KeepLast", NoData::KeepLast),
    ];
    let missing = field(fields, "missing_series_evals_to_resolve");
    let Some(node) = field(fields, "no_data_state") else {
        return missing.map(|_| NoData::KeepLast);
    };
    let before = reader.faults.len();
    let (_, state) = STATES[reader.one_of(Some(node), "no_data_state", &STATES.map(|(name, _)| name))];
    if reader.faults.len() > before {
        return None;
    }
    if let (NoData::Ok, Some(missing)) = (state, missing) {
        reader.fault(
            missing.place,
            "no_data_state is OK: an alert without data ends at once, there is nothing to count; use KeepLast, Alerting \
             or NoData",
        );
    }
    if state == NoData::NoData && name == NO_DATA {
        reader.fault(
            node.place,
            format!("the alert is named {NO_DATA} as those that no_data_state raises: rename it"),
        );
    }
    Some(state)
}

fn expected<'a>(reader: &mut Reader<'a>, node: Option<&'a Node>, no_data: Option<NoData>) -> Vec<Labels> {
    let Some(list) = node else { return Vec::new() };
    if !matches!(no_data, Some(NoData::Alerting | NoData::NoData)) {
        reader.fault(
            list.place,
            "expected needs no_data_state: Alerting or NoData, which say what a label set is that does not report",
        );
    }
    let items = reader.items(node, "expected");
    if items.len() > EXPECTED_MAX {
        reader.fault(
            list.place,
            format!("{} label sets are expected, at most {EXPECTED_MAX} in one rule", items.len()),
        );
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    for item in items {
        let labels = Labels::new(
            reader.texts(Some(item), "expected").into_iter().map(|(name, _, value)| (name, value)),
        );
        let service_label = reader.service_label.to_owned();
        if labels.get(&service_label).is_empty() {
            reader.fault(
                item.place,
                format!("an expected label set names its {service_label}: it says which partition misses it"),
            );
        }
        if !labels.get("alertname").is_empty() {
            reader.fault(item.place, "no series has the label alertname: leave it out");
        }
        if !seen.insert(labels) {
            reader.fault(item.place, "this label set is expected twice");
        }
    }
    seen.into_iter().collect()
}

fn flapping<'a>(reader: &mut Reader<'a>, node: Option<&'a Node>) -> Option<Flapping> {
    let node = node?;
    let fields = reader.fields(node, "flap_detection", &["low", "high", "history"]);
    let wanted = (0.0, 1.0, "a share from 0 to 1, of changes among evaluations");
    let low = reader.decimal(field(&fields, "low"), "low", wanted).unwrap_or(FLAPPING.low);
    let high = reader.decimal(field(&fields, "high"), "high", wanted).unwrap_or(FLAPPING.high);
    let history = reader.whole(field(&fields, "history"), "history", 3, HISTORY_MAX);
    if low >= high {
        reader.fault(
            node.place,
            format!("low is {low} and high is {high}: it stops to flap below where it begins, low < high"),
        );
    }
    Some(Flapping { low, high, history: history.unwrap_or(FLAPPING.history) })
}

fn ladder<'a>(reader: &mut Reader<'a>, node: Option<&'a Node>, labels: &[(String, String)]) -> Vec<Rung> {
    let Some(node) = node else { return Vec::new() };
    let Value::Mapping(pairs) = &node.value else {
        reader.fault(
            node.place,
            "severity is a mapping of severities to expressions, the first that is true wins: {critical: x > 9, \
             warning: true}; one severity for all goes under labels",
        );
        return Vec::new();
    };
    if labels.iter().any(|(name, _)| name == SEVERITY) {
        reader.fault(node.place, "the rule sets the label severity and has a ladder that sets it: keep one");
    }
    if pairs.len() > RUNGS_MAX {
        reader.fault(node.place, format!("{} severities, at most {RUNGS_MAX} in one rule", pairs.len()));
        return Vec::new();
    }
    let mut ladder: Vec<Rung> = Vec::new();
    for (key, value) in pairs {
        if ladder.last().is_some_and(|rung| rung.plan.is_none()) {
            reader.fault(
                key.place,
                format!("the severity before {:?} is always true: this one is never reached", key.name),
            );
        }
        if key.name.is_empty() {
            reader.fault(key.place, "a severity has a name");
        }
        let always = value.value == Value::Scalar("true".to_owned());
        let what = format!("severity {}", key.name);
        let plan = if always { None } else { expression(reader, key.place, Some(value), &what) };
        if always || plan.is_some() {
            ladder.push(Rung { severity: key.name.clone(), plan });
        }
    }
    if pairs.is_empty() {
        reader.fault(node.place, "severity has no steps: leave it out, or name one");
    }
    ladder
}
