//! Reads a YAML tree key by key and gathers every fault, each at its place.

use super::{RuleFault, place};
use crate::wire::RuleFile;
use crate::wire::yaml::{Node, Place, Value, suggestion};

/// The fields of one mapping, those that are known and set.
pub(in crate::machine) type Fields<'a> = Vec<(&'a str, &'a Node)>;

/// One file being read.
pub(in crate::machine) struct Reader<'a> {
    file: &'a RuleFile,
    /// The label that holds the service.
    pub(super) service_label: &'a str,
    /// Name of the rule that is being read.
    pub(in crate::machine) rule: Option<String>,
    pub(in crate::machine) faults: Vec<RuleFault>,
}

/// The value of a field.
pub(in crate::machine) fn field<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a Node> {
    fields.iter().find(|(key, _)| *key == name).map(|(_, node)| *node)
}

impl<'a> Reader<'a> {
    pub(in crate::machine) fn new(file: &'a RuleFile, service_label: &'a str) -> Self {
        Self { file, service_label, rule: None, faults: Vec::new() }
    }

    pub(in crate::machine) fn fault(&mut self, place: Place, message: impl Into<String>) {
        self.faults.push(RuleFault {
            file: self.file.name.clone(),
            place,
            rule: self.rule.clone(),
            message: message.into(),
        });
    }

    /// A fault at a character of a scalar's text.
    pub(in crate::machine) fn fault_within(
        &mut self,
        node: &Node,
        text: &str,
        offset: usize,
        message: impl Into<String>,
    ) {
        self.fault(place::within(&self.file.content, node.place, text, offset), message);
    }

    /// The fields of a mapping; keys other than `known` are refused. An empty value is the same as no key.
    pub(in crate::machine) fn fields(&mut self, node: &'a Node, what: &str, known: &[&str]) -> Fields<'a> {
        let Value::Mapping(pairs) = &node.value else {
            self.fault(node.place, format!("{what} is a mapping with the keys {}", known.join(", ")));
            return Fields::new();
        };
        let mut fields = Fields::new();
        for (key, value) in pairs {
            if !known.contains(&key.name.as_str()) {
                let hint = suggestion(&key.name, known.iter().copied());
                let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                let message =
                    format!("unknown key {:?} in {what}; known are {}{hint}", key.name, known.join(", "));
                self.fault(key.place, message);
            } else if value.value != Value::Null {
                fields.push((&key.name, value));
            }
        }
        fields
    }

    /// The items of a list; an absent one is empty.
    pub(in crate::machine) fn items(&mut self, node: Option<&'a Node>, key: &str) -> &'a [Node] {
        match node.map(|node| (node.place, &node.value)) {
            Some((_, Value::Sequence(items))) => items,
            Some((place, Value::Scalar(_) | Value::Mapping(_) | Value::Null)) => {
                self.fault(place, format!("{key} is a list"));
                &[]
            }
            None => &[],
        }
    }

    /// The text of a scalar; an absent one is empty.
    pub(in crate::machine) fn text(&mut self, node: Option<&'a Node>, key: &str) -> &'a str {
        match node.map(|node| (node.place, &node.value)) {
            Some((_, Value::Scalar(text))) => text,
            Some((place, Value::Sequence(_) | Value::Mapping(_) | Value::Null)) => {
                self.fault(place, format!("{key} is a text"));
                ""
            }
            None => "",
        }
    }

    /// A duration in milliseconds, if there is one.
    pub(in crate::machine) fn duration_ms(&mut self, node: Option<&'a Node>, key: &str) -> Option<i64> {
        let node = node?;
        let text = self.text(Some(node), key);
        let ms = super::duration::parse_ms(text);
        if ms.is_none() {
            self.fault(
                node.place,
                format!("{key} is {text:?}, which is no duration; write 500ms, 30s, 5m, 1h30m or 7d"),
            );
        }
        ms
    }

    /// A whole number from 0; an absent one is 0.
    pub(in crate::machine) fn count(&mut self, node: Option<&'a Node>, key: &str) -> usize {
        let text = self.text(node, key);
        match (node, text.parse()) {
            (None, _) => 0,
            (Some(_), Ok(count)) => count,
            (Some(node), Err(_)) => {
                self.fault(
                    node.place,
                    format!("{key} is {text:?}; it is a whole number from 0, 0 is no limit"),
                );
                0
            }
        }
    }

    /// Which of `known` a text is; the first where there is none, and where it is refused.
    pub(super) fn one_of(&mut self, node: Option<&'a Node>, key: &str, known: &[&str]) -> usize {
        let Some(node) = node else { return 0 };
        let text = self.text(Some(node), key);
        known.iter().position(|name| *name == text).unwrap_or_else(|| {
            let hint = suggestion(text, known.iter().copied());
            let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            self.fault(node.place, format!("{key} is {text:?}; known are {}{hint}", known.join(", ")));
            0
        })
    }

    /// A number, if there is one: its bounds, and the same in words.
    pub(super) fn decimal(
        &mut self,
        node: Option<&'a Node>,
        key: &str,
        (least, most, wanted): (f64, f64, &str),
    ) -> Option<f64> {
        let node = node?;
        let text = self.text(Some(node), key);
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.fault(node.place, format!("{key} is {text:?}; it is {wanted}"));
        }
        number
    }

    /// A whole number, if there is one.
    pub(super) fn whole(
        &mut self,
        node: Option<&'a Node>,
        key: &str,
        least: usize,
        most: usize,
    ) -> Option<usize> {
        let node = node?;
        let text = self.text(Some(node), key);
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.fault(node.place, format!("{key} is {text:?}; it is a whole number from {least} to {most}"));
        }
        number
    }

    /// The pairs of a mapping of texts, in order of their names, each value with its node.
    pub(in crate::machine) fn texts(
        &mut self,
        node: Option<&'a Node>,
        key: &str,
    ) -> Vec<(&'a str, &'a Node, &'a str)> {
        let Some(node) = node else { return Vec::new() };
        let Value::Mapping(pairs) = &node.value else {
            self.fault(node.place, format!("{key} is a mapping of names to texts"));
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (name, value) in pairs {
            if name.name.is_empty() || name.name == crate::wire::labels::METRIC_NAME {
                self.fault(name.place, format!("{:?} is no name that {key} may have", name.name));
            }
            let set = (value.value != Value::Null).then_some(value);
            texts.push((name.name.as_str(), value, self.text(set, &name.name)));
        }
        texts.sort_unstable_by_key(|(name, _, _)| *name);
        texts
    }
}
