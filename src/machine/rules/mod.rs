//! Rule files: Prometheus's format, with every fault in one pass and each at its line and column.
//!
//! ```yaml
//! groups:
//! - name: disk
//!   interval: 30s            # 1m
//!   query_offset: 5s         # 0s
//!   limit: 100               # 0: none
//!   labels: {team: storage}  # of every rule; a rule's own win
//!   rules:
//!   - record: host:disk_free:ratio
//!     expr: disk_free / disk_size
//!   - alert: DiskFull
//!     expr: host:disk_free:ratio < 0.05
//!     for: 10m
//!     keep_firing_for: 5m
//!     labels: {severity: page}
//!     annotations: {summary: "{{ $labels.host }} has {{ $value | humanizePercentage }} left"}
//! ```
//!
//! Beside `groups` a file may have `baselines`, see `baselines.rs`, and `inhibit_rules`, see `inhibit.rs`; beside Prometheus's keys an alerting rule may have
//! those that its users asked for, see `alerting.rs`.
//!
//! Beyond Prometheus's own checks these are refused, since they can only be mistakes: a rule of the same name and
//! labels twice in a group, `$value` in a label, a label `alertname`, a template that could fail when the page is due, a
//! recording rule that writes a baseline's output. What is no fault and mostly no help is in `lint.rs`.

pub mod alerting;
mod baselines;
pub mod compare;
pub mod duration;
mod file;
pub mod inhibit;
pub mod lint;
mod place;
pub(super) mod reader;
pub mod upshot;

pub use alerting::Alerting;
pub use inhibit::Inhibit;

use super::baseline::{self, Baseline};
use super::promql::Plan;
use super::template::{Data, Template};
use crate::wire::yaml::Place;
use crate::wire::{Labels, RuleFile, RuleSet};
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a rule file is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}:{place}: {}{message}", .rule.as_ref().map(|rule| format!("rule {rule:?}: ")).unwrap_or_default())]
pub struct RuleFault {
    /// File, as the operator named it.
    pub file: String,
    /// Line and column.
    pub place: Place,
    /// The rule, where the fault is inside one that has a name.
    pub rule: Option<String>,
    /// What is wrong, the bound, and the way out.
    pub message: String,
}

impl RuleFault {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "rule_file"
    }

    /// A file does not mend itself.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// A rule set that is fit to run.
#[derive(Debug)]
pub struct Compiled {
    /// Groups in order of the files, and inside a file in its order: the order of evaluation.
    pub groups: Vec<Group>,
    /// Baselines in order of the files, and inside a file in its order.
    pub baselines: Vec<Baseline>,
    /// Inhibit rules in order of the files, and inside a file in its order.
    pub inhibits: Vec<Inhibit>,
}

impl Compiled {
    /// Release of the time zones' rules that came with this program, where a baseline uses a zone: by another release the
    /// same rule set may mean something else.
    #[must_use]
    pub fn zones(&self) -> Option<&'static str> {
        baseline::zones(&self.baselines)
    }
}

/// A group: rules that are evaluated one after the other at the same times.
#[derive(Debug)]
pub struct Group {
    /// File that holds it.
    pub file: String,
    /// Its name, unique within the file.
    pub name: String,
    /// It is evaluated at multiples of this, milliseconds; above 0.
    pub interval_ms: i64,
    /// How far the log's clock must have passed a grid point before it is evaluated, milliseconds.
    pub query_offset_ms: i64,
    /// Most alerts, or recorded series, of each of its rules; 0 for no bound.
    pub limit: usize,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Name of the alert, or of the series that it records.
    pub name: String,
    /// What it does with its expression's value.
    pub kind: Kind,
    /// Labels that it sets, in order of their names, its group's among them.
    pub labels: Vec<(String, Template)>,
    /// The same as written: with the name, the identity of the rule across edits.
    pub labels_text: Vec<(String, String)>,
    /// Where it stands in its file.
    pub place: Place,
    /// Its expression as written.
    pub expression: String,
    /// Its expression, compiled.
    pub plan: Plan,
}

/// What a rule does with its expression's value.
#[derive(Debug)]
pub enum Kind {
    /// Appends it as series.
    Recording,
    /// Raises an alert for each element.
    Alerting(Box<Alerting>),
}

impl Rule {
    /// Every expression of it: its own, those of its further keys, and those that its templates ask.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        let (own, annotations): (_, &[(String, Template)]) = match &self.kind {
            Kind::Recording => (None, &[]),
            Kind::Alerting(alerting) => (Some(alerting.plans()), &alerting.annotations),
        };
        let asked = self.labels.iter().chain(annotations).flat_map(|(_, template)| template.plans());
        std::iter::once(&self.plan).chain(own.into_iter().flatten()).chain(asked)
    }

    /// The same, in the same order, to be bound.
    pub fn plans_mut(&mut self) -> impl Iterator<Item = &mut Plan> {
        let (own, annotations): (_, &mut [(String, Template)]) = match &mut self.kind {
            Kind::Recording => (None, &mut []),
            Kind::Alerting(alerting) => {
                let (own, annotations) = alerting.plans_mut();
                (Some(own), annotations)
            }
        };
        let asked = self.labels.iter_mut().chain(annotations).flat_map(|(_, template)| template.plans_mut());
        std::iter::once(&mut self.plan).chain(own.into_iter().flatten()).chain(asked)
    }

    /// Its annotations for one element; none for a recording rule.
    #[must_use]
    pub fn annotations(&self, data: &Data<'_>) -> Labels {
        match &self.kind {
            Kind::Recording => Labels::default(),
            Kind::Alerting(alerting) => Labels::new(
                alerting.annotations.iter().map(|(name, text)| (name.as_str(), text.render(data))),
            ),
        }
    }
}

/// Checks and compiles a rule set: all faults at once, in order of files and places.
pub fn load(set: &RuleSet) -> Result<Compiled, Vec<RuleFault>> {
    let mut faults = Vec::new();
    let (mut groups, mut baselines, mut inhibits) = (Vec::new(), Vec::new(), Vec::new());
    let mut names = BTreeSet::new();
    let mut outputs = BTreeSet::new();
    if set.service_label.is_empty() || set.service_label == crate::wire::labels::METRIC_NAME {
        faults.push(whole_file("", format!("{:?} is no label to hold the service", set.service_label)));
    }
    for file in &set.files {
        if !names.insert(&file.name) {
            faults.push(whole_file(&file.name, "the file stands twice in the rule set".to_owned()));
        }
        match read(file, &set.service_label) {
            Ok(read) => {
                groups.extend(read.groups);
                for (place, baseline) in read.baselines {
                    faults.extend(written_twice(file, place, &baseline, &mut outputs));
                    baselines.push(baseline);
                }
                for (place, inhibit) in read.inhibits {
                    faults.extend(inhibit.spans(file, place, &set.service_label, set.partitions));
                    inhibits.push(inhibit);
                }
            }
            Err(found) => faults.extend(found),
        }
    }
    faults.extend(lint::written_by_baselines(&set.files, &outputs));
    faults.extend(groups.iter_mut().flat_map(|group| settle_sigmas(group, &baselines)));
    if faults.is_empty() { Ok(Compiled { groups, baselines, inhibits }) } else { Err(faults) }
}

/// Settles which baselines the rules of a group name in `speed_sigma` and its kin.
fn settle_sigmas(group: &mut Group, baselines: &[Baseline]) -> Vec<RuleFault> {
    let mut faults = Vec::new();
    for rule in &mut group.rules {
        let found: BTreeSet<String> =
            rule.plans_mut().flat_map(|plan| plan.settle_sigmas(baselines)).collect();
        let fault = |message| RuleFault {
            file: group.file.clone(),
            place: rule.place,
            rule: Some(rule.name.clone()),
            message,
        };
        faults.extend(found.into_iter().map(fault));
    }
    faults
}

/// Refuses a baseline that has an output in common with one before it.
fn written_twice(
    file: &RuleFile,
    place: Place,
    baseline: &Baseline,
    outputs: &mut BTreeSet<String>,
) -> Option<RuleFault> {
    let twice: Vec<String> = baseline.outputs().filter(|output| !outputs.insert(output.clone())).collect();
    let message = format!("another baseline writes {} as well: give one another name", twice.first()?);
    Some(RuleFault { file: file.name.clone(), place, rule: None, message })
}

fn read(file: &RuleFile, service_label: &str) -> Result<file::Content, Vec<RuleFault>> {
    file::read(file, service_label).map_err(|mut faults| {
        faults.sort_by_key(|fault| fault.place);
        faults
    })
}

fn whole_file(file: &str, message: String) -> RuleFault {
    RuleFault { file: file.to_owned(), place: Place { line: 1, column: 1 }, rule: None, message }
}

#[cfg(test)]
mod tests;
