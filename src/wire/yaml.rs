//! YAML text to a tree that knows where each value stands, so that a fault in a rule file or in the configuration can
//! name its line and column, and so that all faults are found in one pass. Scalars keep the text that was written:
//! `1.10` stays `1.10`.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::NonFiniteFloatPolicy;
use thiserror::Error;

/// Line and column in a file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

/// `line:column`, as compilers print it.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a YAML value can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// Text as written (without quotes); whoever reads it gives it a type.
    Scalar(String),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys in the order of the file, each with its place.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it begins.
    pub place: Place,
    /// Its text.
    pub name: String,
}

/// Text that is not YAML, or YAML that repeats a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {message}")]
pub struct YamlFault {
    /// Where.
    pub place: Place,
    /// What the parser says.
    pub message: String,
}

/// Reads one document. An empty one is [`Value::Null`].
pub fn parse(text: &str) -> Result<Node, YamlFault> {
    // `.inf` and `.nan` are texts like any other.
    let options = serde_saphyr::options! { non_finite_float_policy: NonFiniteFloatPolicy::PassThrough };
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(|fault| {
        let fault = fault.without_snippet();
        let place = fault.location().map(place_of).unwrap_or_default();
        YamlFault { place, message: fault.to_string().lines().next().unwrap_or_default().to_owned() }
    })?;
    Ok(node(raw, text))
}

/// The candidate nearest to `name` by edits, if one is near enough to be what was meant.
#[must_use]
pub fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &&str| edits(name, candidate) <= 1 + candidate.len() / 4;
    candidates.into_iter().filter(near).min_by_key(|candidate| edits(name, candidate))
}

/// Levenshtein's distance by characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let changed = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What serde sees before places are worked out.
enum Raw {
    Null,
    /// A string, whose text the parser has unquoted.
    Text(String),
    /// A number or boolean: its text is cut from the source.
    Plain(String),
    Sequence(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn place_of(location: serde_saphyr::Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let place = place_of(raw.referenced);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar(text),
        Raw::Plain(canonical) => {
            let span = raw.defined.span();
            let written = span.byte_offset().zip(span.byte_len()).and_then(|(from, len)| {
                let from = usize::try_from(from).ok()?;
                text.get(from..from.checked_add(usize::try_from(len).ok()?)?)
            });
            Value::Scalar(written.map_or(canonical, |written| written.trim().to_owned()))
        }
        Raw::Sequence(items) => Value::Sequence(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Mapping(pairs) => Value::Mapping(
            pairs
                .into_iter()
                .map(|(key, value)| {
                    (Key { place: place_of(key.referenced), name: key.value }, node(value, text))
                })
                .collect(),
        ),
    };
    Node { place, value }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element()? {
            out.push(item);
        }
        Ok(Raw::Sequence(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Raw, A::Error> {
        let mut out: Vec<(Spanned<String>, Spanned<Raw>)> = Vec::new();
        while let Some((key, value)) = pairs.next_entry::<Spanned<String>, Spanned<Raw>>()? {
            if out.iter().any(|(earlier, _)| earlier.value == key.value) {
                return Err(A::Error::custom(format!("the key {:?} stands twice", key.value)));
            }
            out.push((key, value));
        }
        Ok(Raw::Mapping(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar<'a>(node: &'a Node, key: &str) -> (&'a str, Place) {
        let Value::Mapping(pairs) = &node.value else { panic!("no mapping: {node:?}") };
        let (_, node) = pairs.iter().find(|(k, _)| k.name == key).expect("the key is there");
        let Value::Scalar(text) = &node.value else { panic!("no scalar: {node:?}") };
        (text, node.place)
    }

    #[test]
    fn scalars_keep_their_text_and_their_place() {
        let tree =
            parse("a: 1.10\nb: \"0x10\"\nc:   0x10 # note\nd: true\nf: [-.inf, .NaN]\ne: |\n  x\n  y\n")
                .expect("it is YAML");
        assert_eq!(scalar(&tree, "a"), ("1.10", Place { line: 1, column: 4 }));
        assert_eq!(scalar(&tree, "b").0, "0x10");
        assert_eq!(scalar(&tree, "c"), ("0x10", Place { line: 3, column: 6 }));
        assert_eq!(scalar(&tree, "d").0, "true");
        assert_eq!(scalar(&tree, "e").0, "x\ny\n");
        let Value::Mapping(pairs) = &tree.value else { panic!("no mapping") };
        let Value::Sequence(items) = &pairs[4].1.value else { panic!("no list") };
        let texts: Vec<&Value> = items.iter().map(|item| &item.value).collect();
        assert_eq!(texts, [&Value::Scalar("-.inf".to_owned()), &Value::Scalar(".NaN".to_owned())]);
    }

    #[test]
    fn faults_have_a_place() {
        assert_eq!(parse("a: 1\nb: [1\n").expect_err("unclosed").place.line, 2);
        assert_eq!(parse("a: 1\na: 2\n").expect_err("twice").place.line, 2);
        assert_eq!(parse("").expect("empty").value, Value::Null);
    }

    #[test]
    fn a_misspelt_key_is_recognised() {
        let keys = ["interval", "query_offset", "limit"];
        assert_eq!(suggestion("intervall", keys), Some("interval"));
        assert_eq!(suggestion("evaluate", keys), None);
    }
}
