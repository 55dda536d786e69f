//! What two rule sets have in common, and what not: for `rules diff`.
//!
//! A rule is known by its group's name, its kind, its name and its labels, as everywhere ([`super::Rule::labels_text`]).
//! Everything else that is written of it is compared key by key, as it is written: white space at the ends does not
//! count, and no default is filled in. The same holds for groups and baselines, known by their names.

use crate::wire::RuleSet;
use crate::wire::yaml::{Node, Place, Value, parse};
use std::collections::BTreeMap;

/// How two sets differ at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is of.
    pub subject: Subject,
    /// Where it stands in the new set; in the old one, if it is removed.
    pub file: String,
    /// The same: line and column.
    pub place: Place,
    /// What became of it.
    pub change: Change,
}

/// What can differ. In order: baselines, then each group and behind it its rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A baseline, by its name.
    Baseline(String),
    /// A group itself, by its name.
    Group(String),
    /// A rule.
    Rule {
        /// Name of its group.
        group: String,
        /// Name of the alert, or of the series that it records.
        name: String,
        /// Whether it alerts; else it records.
        alerts: bool,
        /// Labels that it sets, its group's among them, as written.
        labels: Vec<(String, String)>,
        /// Which one of several that are alike in all this, from 0: in several files there may be some.
        number: usize,
    },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// These keys are written otherwise: key, old text and new text, empty where the key is not there.
    Changed(Vec<(String, String, String)>),
}

/// Where something stands, and what is written of it.
struct Written {
    file: String,
    place: Place,
    keys: BTreeMap<String, String>,
}

/// Differences in order of subjects. Both sets have no faults.
#[must_use]
pub fn compare(old: &RuleSet, new: &RuleSet) -> Vec<Difference> {
    let (mut old, new) = (subjects(old), subjects(new));
    let mut out = Vec::new();
    for (subject, Written { file, place, keys }) in new {
        let change = match old.remove(&subject) {
            None => Change::Added,
            Some(before) => match changed(&before.keys, &keys) {
                changed if changed.is_empty() => continue,
                changed => Change::Changed(changed),
            },
        };
        out.push(Difference { subject, file, place, change });
    }
    let removed = old.into_iter().map(|(subject, Written { file, place, .. })| Difference {
        subject,
        file,
        place,
        change: Change::Removed,
    });
    out.extend(removed);
    out.sort_by(|a, b| a.subject.sorted().cmp(&b.subject.sorted()));
    out
}

impl Subject {
    /// Whether it is a rule, and no group and no baseline.
    #[must_use]
    pub fn is_rule(&self) -> bool {
        matches!(self, Self::Rule { .. })
    }

    /// A group stands before its rules.
    fn sorted(&self) -> (bool, &str, Option<&Self>) {
        match self {
            Self::Baseline(name) => (false, name, None),
            Self::Group(name) => (true, name, None),
            Self::Rule { group, .. } => (true, group, Some(self)),
        }
    }
}

fn changed(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<(String, String, String)> {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let text = |keys: &BTreeMap<String, String>, key: &String| keys.get(key).cloned().unwrap_or_default();
    let both = keys.into_iter().map(|key| (key.clone(), text(old, key), text(new, key)));
    both.filter(|(_, old, new)| old != new).collect()
}

fn subjects(set: &RuleSet) -> BTreeMap<Subject, Written> {
    let mut out = BTreeMap::new();
    for file in &set.files {
        let Ok(tree) = parse(&file.content) else { continue };
        let written = |node: &Node, apart: &[&str]| Written {
            file: file.name.clone(),
            place: node.place,
            keys: keys(node)
                .filter(|(key, _)| !apart.contains(key))
                .map(|(key, node)| (key.to_owned(), text(node)))
                .collect(),
        };
        for node in items(&tree, "baselines") {
            out.insert(Subject::Baseline(scalar(node, "name")), written(node, &["name"]));
        }
        for group in items(&tree, "groups") {
            let name = scalar(group, "name");
            out.insert(Subject::Group(name.clone()), written(group, &["name", "rules", "labels"]));
            for node in items(group, "rules") {
                let (alert, record) = (scalar(node, "alert"), scalar(node, "record"));
                let labels: BTreeMap<String, String> =
                    [group, node].iter().flat_map(|node| labels(node)).collect();
                let subject = |number| Subject::Rule {
                    group: name.clone(),
                    name: if alert.is_empty() { record.clone() } else { alert.clone() },
                    alerts: !alert.is_empty(),
                    labels: labels.clone().into_iter().collect(),
                    number,
                };
                let mut number = 0;
                while out.contains_key(&subject(number)) {
                    number += 1;
                }
                out.insert(subject(number), written(node, &["alert", "record", "labels"]));
            }
        }
    }
    out
}

/// Keys that are set, with their values.
fn keys(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let pairs = if let Value::Mapping(pairs) = &node.value { pairs.as_slice() } else { &[] };
    pairs.iter().map(|(key, node)| (key.name.as_str(), node)).filter(|(_, node)| node.value != Value::Null)
}

fn items<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    match keys(node).find(|(name, _)| *name == key).map(|(_, node)| &node.value) {
        Some(Value::Sequence(items)) => items,
        Some(Value::Null | Value::Scalar(_) | Value::Mapping(_)) | None => &[],
    }
}

fn scalar(node: &Node, key: &str) -> String {
    keys(node).find(|(name, _)| *name == key).map(|(_, node)| text(node)).unwrap_or_default()
}

fn labels(node: &Node) -> Vec<(String, String)> {
    let found = keys(node).find(|(name, _)| *name == "labels");
    found
        .into_iter()
        .flat_map(|(_, node)| keys(node))
        .map(|(name, node)| (name.to_owned(), text(node)))
        .collect()
}

/// A value as one text: mappings in order of their keys.
fn text(node: &Node) -> String {
    match &node.value {
        Value::Null => String::new(),
        Value::Scalar(text) => text.trim().to_owned(),
        Value::Sequence(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::Mapping(_) => {
            let mut pairs: Vec<String> =
                keys(node).map(|(key, node)| format!("{key}: {}", text(node))).collect();
            pairs.sort();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// `alert A{team="x"} of g`.
impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Baseline(name) => write!(f, "baseline {name}"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::Rule { group, name, alerts, labels, .. } => {
                let labels: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
                let kind = if *alerts { "alert" } else { "record" };
                write!(f, "{kind} {name}{{{}}} of {group}", labels.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Limits, RuleFile};

    fn told(old: &str, new: &str) -> Vec<String> {
        let set = |name: &str, content: &str| RuleSet {
            version: 1,
            applied_ms: 0,
            author: String::new(),
            service_label: "service".to_owned(),
            files: vec![RuleFile { name: name.to_owned(), content: content.to_owned() }],
            limits: Limits::default(),
            partitions: 0,
        };
        let found = compare(&set("old.yaml", old), &set("new.yaml", new));
        found.iter().map(|d| format!("{}:{} {}: {:?}", d.file, d.place, d.subject, d.change)).collect()
    }

    const OLD: &str = "\
baselines: [{name: b, series: x}]
groups:
- name: g
  interval: 1m
  labels: {team: x}
  rules:
  - {alert: A, expr: up == 0, for: 5m, annotations: {a: 1, b: 2}}
  - {alert: A, expr: up == 0, labels: {team: y}}
  - {record: r, expr: up}
- name: h
  rules:
  - {alert: Gone, expr: up}
";

    #[test]
    fn what_is_written_otherwise_is_told_key_by_key() {
        let new = "\
groups:
- name: h
- name: g
  interval: 30s
  rules:
  - alert: A
    expr: |
      up == 0
    for: 10m
    labels: {team: x}
    annotations: {b: 2, a: 1}
  - {alert: A, expr: up == 0, labels: {team: y}, keep_firing_for: 5m}
  - {record: r, expr: up, labels: {team: x}}
  - {alert: r, expr: up}
";
        let expected = [
            "old.yaml:1:13 baseline b: Removed",
            "new.yaml:3:3 group g: Changed([(\"interval\", \"1m\", \"30s\")])",
            "new.yaml:6:5 alert A{team=\"x\"} of g: Changed([(\"for\", \"5m\", \"10m\")])",
            "new.yaml:12:5 alert A{team=\"y\"} of g: Changed([(\"keep_firing_for\", \"\", \"5m\")])",
            "new.yaml:14:5 alert r{} of g: Added",
            "old.yaml:12:5 alert Gone{} of h: Removed",
        ];
        assert_eq!(told(OLD, new), expected);
    }

    #[test]
    fn sets_that_say_the_same_do_not_differ() {
        assert_eq!(told(OLD, OLD), Vec::<String>::new());
        assert_eq!(told("", ""), Vec::<String>::new());
        assert_eq!(told("", OLD).len(), 7);
    }
}
