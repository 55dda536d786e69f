//! One rule file: the checks that Prometheus's `rulefmt` makes, and those that it should have.

use super::inhibit::{self, Inhibit};
use super::reader::{Fields, Reader, field};
use super::{Group, Kind, Rule, RuleFault, alerting, baselines};
use crate::machine::baseline::Baseline;
use crate::machine::promql::Plan;
use crate::machine::template::Template;
use crate::wire::RuleFile;
use crate::wire::yaml::{Node, Place, Value, parse};
use std::collections::BTreeSet;

/// Interval of a group that names none, milliseconds: Prometheus's default.
pub(super) const INTERVAL_MS: i64 = 60_000;
const GROUP_KEYS: [&str; 6] = ["name", "interval", "query_offset", "limit", "labels", "rules"];
/// Prometheus's, and then ours.
const RULE_KEYS: [&str; 15] = [
    "record",
    "alert",
    "expr",
    "for",
    "keep_firing_for",
    "labels",
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

/// The text of a template, where it stands, and whether it may change with the value.
pub(super) struct Text<'a> {
    pub(super) name: &'a str,
    pub(super) node: &'a Node,
    pub(super) text: &'a str,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) groups: Vec<Group>,
    /// Each with its place.
    pub(super) baselines: Vec<(Place, Baseline)>,
    /// Each with its place.
    pub(super) inhibits: Vec<(Place, Inhibit)>,
}

/// Everything in a file, or all that is wrong with it.
pub(super) fn read(file: &RuleFile, service_label: &str) -> Result<Content, Vec<RuleFault>> {
    let mut reader = Reader::new(file, service_label);
    let tree = match parse(&file.content) {
        Ok(tree) => tree,
        Err(fault) => {
            reader.fault(fault.place, format!("it is not YAML: {}", fault.message));
            return Err(reader.faults);
        }
    };
    let mut content = Content::default();
    if tree.value != Value::Null {
        let fields = reader.fields(&tree, "a rule file", &["baselines", "groups", "inhibit_rules"]);
        content.baselines = baselines::read(&mut reader, field(&fields, "baselines"));
        content.inhibits = inhibit::read(&mut reader, field(&fields, "inhibit_rules"));
        let mut names = BTreeSet::new();
        for node in reader.items(field(&fields, "groups"), "groups") {
            content.groups.extend(group(&mut reader, file, node, &mut names));
        }
    }
    if reader.faults.is_empty() { Ok(content) } else { Err(reader.faults) }
}

fn group<'a>(
    reader: &mut Reader<'a>,
    file: &RuleFile,
    node: &'a Node,
    names: &mut BTreeSet<&'a str>,
) -> Option<Group> {
    reader.rule = None;
    let fields = reader.fields(node, "a group", &GROUP_KEYS);
    let name = reader.text(field(&fields, "name"), "name");
    if name.is_empty() {
        reader.fault(node.place, "a group has no name");
    } else if !names.insert(name) {
        reader.fault(node.place, format!("the group {name:?} stands twice in this file"));
    }
    let interval_ms = reader.duration_ms(field(&fields, "interval"), "interval").unwrap_or(0);
    let query_offset_ms = reader.duration_ms(field(&fields, "query_offset"), "query_offset").unwrap_or(0);
    let limit = reader.count(field(&fields, "limit"), "limit");
    let labels = reader.texts(field(&fields, "labels"), "labels");
    let mut seen = BTreeSet::new();
    let mut rules = Vec::new();
    for node in reader.items(field(&fields, "rules"), "rules") {
        reader.rule = rule_name(node);
        let fields = reader.fields(node, "a rule", &RULE_KEYS);
        let Some(rule) = rule(reader, node, &fields, &labels) else { continue };
        if !seen.insert((rule.name.clone(), rule.labels_text.clone())) {
            reader.fault(
                node.place,
                "a rule of this name and these labels stands before it in the group: their alerts could not be told \
                 apart; add a label that tells them apart, or join the expressions with `or`",
            );
        }
        rules.push(rule);
    }
    Some(Group {
        file: file.name.clone(),
        name: name.to_owned(),
        interval_ms: if interval_ms == 0 { INTERVAL_MS } else { interval_ms },
        query_offset_ms,
        limit,
        rules,
    })
}

/// The name that faults of a rule carry, before anything is checked.
fn rule_name(node: &Node) -> Option<String> {
    let Value::Mapping(pairs) = &node.value else { return None };
    let named = |wanted: &str| pairs.iter().find(|(key, _)| key.name == wanted);
    match &named("alert").or_else(|| named("record"))?.1.value {
        Value::Scalar(name) => Some(name.clone()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

type Pairs<'a> = [(&'a str, &'a Node, &'a str)];

fn rule<'a>(
    reader: &mut Reader<'a>,
    node: &'a Node,
    fields: &Fields<'a>,
    group_labels: &Pairs<'a>,
) -> Option<Rule> {
    let alert = reader.text(field(fields, "alert"), "alert");
    let record = reader.text(field(fields, "record"), "record");
    let name = if alert.is_empty() { record } else { alert };
    match (alert.is_empty(), record.is_empty()) {
        (true, true) => reader.fault(node.place, "a rule has either `alert` or `record`; it has none"),
        (false, false) => reader.fault(node.place, "a rule has either `alert` or `record`; it has both"),
        (true, false) if record.contains(['{', '}']) => {
            reader.fault(node.place, "the name that it records holds braces: labels go under `labels`");
        }
        (true, false) | (false, true) => {}
    }
    let records = alert.is_empty();
    if records {
        for key in alerting::KEYS {
            if let Some(node) = field(fields, key) {
                reader.fault(node.place, format!("a recording rule has no {key}"));
            }
        }
    }
    let labels = labels(reader, field(fields, "labels"), group_labels, records);
    let labels_text: Vec<(String, String)> =
        labels.iter().map(|label| (label.name.to_owned(), label.text.to_owned())).collect();
    let labels = templates(reader, &labels, records, false);
    let kind = if records {
        Kind::Recording
    } else {
        Kind::Alerting(Box::new(alerting::read(reader, node, fields, name, &labels_text)))
    };
    let plan = expression(reader, node.place, field(fields, "expr"), "expr")?;
    Some(Rule {
        name: name.to_owned(),
        kind,
        labels,
        labels_text,
        place: node.place,
        expression: field(fields, "expr").map(|node| reader.text(Some(node), "expr").trim().to_owned())?,
        plan,
    })
}

/// A rule's labels over its group's.
fn labels<'a>(
    reader: &mut Reader<'a>,
    node: Option<&'a Node>,
    group: &Pairs<'a>,
    records: bool,
) -> Vec<Text<'a>> {
    let mut labels = reader.texts(node, "labels");
    labels.extend(group.iter().filter(|(name, _, _)| labels_lack(node, name)));
    labels.sort_unstable_by_key(|(name, _, _)| *name);
    if !records {
        // Prometheus sets it itself, over whatever stands here.
        for (_, node, _) in labels.iter().filter(|(name, _, _)| *name == "alertname") {
            reader.fault(node.place, "the label alertname is the name of the alert: it would be overwritten");
        }
    }
    labels.into_iter().map(|(name, node, text)| Text { name, node, text }).collect()
}

fn labels_lack(node: Option<&Node>, name: &str) -> bool {
    match node.map(|node| &node.value) {
        Some(Value::Mapping(pairs)) => pairs.iter().all(|(key, _)| key.name != name),
        Some(Value::Null | Value::Scalar(_) | Value::Sequence(_)) | None => true,
    }
}

/// Parses each text; those of a recording rule are taken as they are.
pub(super) fn templates(
    reader: &mut Reader<'_>,
    texts: &[Text<'_>],
    literal: bool,
    value_allowed: bool,
) -> Vec<(String, Template)> {
    let mut out = Vec::new();
    for Text { name, node, text } in texts {
        let template = if literal { Ok(Template::literal(text)) } else { Template::parse(text) };
        match template {
            Ok(template) => {
                if template.uses_value() && !value_allowed {
                    reader.fault(
                        node.place,
                        format!(
                            "the label {name} uses $value: an alert is its labels, so each new value would be a new \
                             alert that never fires; use an annotation"
                        ),
                    );
                }
                out.push(((*name).to_owned(), template));
            }
            Err(fault) => {
                let offset = text[..fault.offset.min(text.len())].chars().count();
                reader.fault_within(node, text, offset, format!("{name}: {}", fault.message));
            }
        }
    }
    out
}

/// The expression under the key `what`.
pub(super) fn expression<'a>(
    reader: &mut Reader<'a>,
    place: Place,
    node: Option<&'a Node>,
    what: &str,
) -> Option<Plan> {
    let Some(node) = node.filter(|node| !is_empty(&node.value)) else {
        let message = match what {
            "expr" => "a rule has an expression, `expr`; this one has none".to_owned(),
            _ => format!("{what} has no expression"),
        };
        reader.fault(place, message);
        return None;
    };
    let text = reader.text(Some(node), what);
    match Plan::compile(text) {
        Ok(plan) => Some(plan),
        Err(fault) => {
            reader.fault_within(node, text, fault.offset().unwrap_or(0), format!("{what}: {fault}"));
            None
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Scalar(text) => text.is_empty(),
        Value::Sequence(_) | Value::Mapping(_) => false,
    }
}
