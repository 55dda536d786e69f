//! `inhibit_rules:` of a rule file: which alerts hold back which, in Alertmanager's terms, inside a partition.
//!
//! ```yaml
//! inhibit_rules:
//! - source_matchers: ['alertname="HostDown"']              # while one of these fires …
//!   target_matchers: ['severity=~"warning|info"']          # … these do not page …
//!   equal: [service, host]                                 # … that have the same values of these labels
//! ```

use super::RuleFault;
use super::reader::{Reader, field};
use crate::machine::series::{Matcher, Selector};
use crate::wire::yaml::{Node, Place};
use crate::wire::{Labels, RuleFile};

const KEYS: [&str; 3] = ["source_matchers", "target_matchers", "equal"];

/// Which alerts hold back which.
#[derive(Debug)]
pub struct Inhibit {
    /// Those that hold back.
    pub source: Selector,
    /// Those that are held back.
    pub target: Selector,
    /// Names of the labels that have the same values in both, in order.
    pub equal: Vec<String>,
}

impl Inhibit {
    /// The labels of an alert that source and target have in common.
    #[must_use]
    pub fn equal_of(&self, labels: &Labels) -> Labels {
        let mut equal = labels.clone();
        equal.retain(|name| self.equal.iter().any(|own| own == name));
        equal
    }

    /// Why it cannot be told inside one of several partitions.
    pub(super) fn spans(
        &self,
        file: &RuleFile,
        place: Place,
        service_label: &str,
        partitions: i64,
    ) -> Option<RuleFault> {
        if partitions <= 1 || self.equal.iter().any(|name| name == service_label) {
            return None;
        }
        let message = format!(
            "the services of an inhibit rule may be at home in different ones of the {partitions} partitions, and no \
             partition sees the alerts of another: put {service_label} under equal"
        );
        Some(RuleFault { file: file.name.clone(), place, rule: None, message })
    }
}

/// Every inhibit rule of the list, with its place.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: Option<&'a Node>) -> Vec<(Place, Inhibit)> {
    reader.rule = None;
    let items = reader.items(node, "inhibit_rules");
    items.iter().filter_map(|node| Some((node.place, inhibit(reader, node)?))).collect()
}

fn inhibit<'a>(reader: &mut Reader<'a>, node: &'a Node) -> Option<Inhibit> {
    let before = reader.faults.len();
    let fields = reader.fields(node, "an inhibit rule", &KEYS);
    let mut matchers = |key: &str| {
        let list = field(&fields, key);
        let mut matchers = Vec::new();
        for item in reader.items(list, key) {
            let text = reader.text(Some(item), key);
            match matcher(text) {
                Some(matcher) => matchers.push(matcher),
                None => reader.fault(
                    item.place,
                    format!(
                        "{text:?} is no matcher: write name=\"value\", name!=\"value\", name=~\"regex\" or \
                         name!~\"regex\""
                    ),
                ),
            }
        }
        if matchers.is_empty() && reader.faults.len() == before {
            let place = list.map_or(node.place, |list| list.place);
            reader.fault(place, format!("an inhibit rule has {key}, at least one; this one has none"));
        }
        Selector::new(matchers)
    };
    let (source, target) = (matchers(KEYS[0]), matchers(KEYS[1]));
    let mut equal = Vec::new();
    for item in reader.items(field(&fields, "equal"), "equal") {
        let name = reader.text(Some(item), "equal");
        if name.is_empty() {
            reader.fault(item.place, "equal is a list of names of labels");
        }
        equal.push(name.to_owned());
    }
    equal.sort_unstable();
    (reader.faults.len() == before).then_some(Inhibit { source, target, equal })
}

/// A matcher in Alertmanager's notation, the value in quotes or not.
fn matcher(text: &str) -> Option<Matcher> {
    let at = text.find(['=', '!'])?;
    let (name, rest) = (text[..at].trim(), &text[at..]);
    let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| rest.starts_with(operator))?;
    let value = rest[operator.len()..].trim();
    let value = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted.strip_suffix('"')?)?,
        None if value.contains('"') => return None,
        None => value.to_owned(),
    };
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.' || c == ':';
    if name.is_empty() || !name.chars().all(word) {
        return None;
    }
    match operator {
        "=" => Some(Matcher::equal(name, &value)),
        "!=" => Some(Matcher::not_equal(name, &value)),
        "=~" => Matcher::regex(name, &value).ok(),
        _ => Matcher::not_regex(name, &value).ok(),
    }
}

/// A value without its backslashes; none where a quote stands by itself, or a backslash before another character.
fn unquoted(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        value.push(match c {
            '"' => return None,
            '\\' => match rest.next()? {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                _ => return None,
            },
            c => c,
        });
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::matcher;

    #[test]
    fn matchers_are_alertmanagers() {
        let table = [
            (r#"alertname="HostDown""#, Some(("alertname", "HostDown", "HostDown", true))),
            ("severity = warning", Some(("severity", "warning", "warning", true))),
            (r#"team!="a\"b\\n""#, Some(("team", "a\"b\\n", "other", true))),
            (r#"x=~"a|b""#, Some(("x", "a|b", "ab", false))),
            (r#"x!~"a|b""#, Some(("x", "a|b", "ab", true))),
            (r#"x="""#, Some(("x", "", "", true))),
            ("x", None),
            ("=y", None),
            (r#"x="y"#, None),
            (r#"x=y""#, None),
            (r#"x="a"b""#, None),
            (r#"x="\t""#, None),
            (r#"x=~"(""#, None),
            (r#"x y="z""#, None),
        ];
        for (text, expected) in table {
            let found = matcher(text);
            assert_eq!(found.is_some(), expected.is_some(), "{text}");
            if let (Some(found), Some((name, value, tried, matches))) = (found, expected) {
                assert_eq!(
                    (found.name(), found.value(), found.matches(tried)),
                    (name, value, matches),
                    "{text}"
                );
            }
        }
    }
}
