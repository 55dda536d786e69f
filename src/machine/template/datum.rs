//! The values of a template: what Go's `any` holds there.

use super::format;
use super::number::general;
use crate::wire::Labels;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum {
    Nothing,
    Bool(bool),
    Int(i64),
    Number(f64),
    Text(String),
    /// Labels: a label that is not there is the empty text.
    Labels(Labels),
    /// A result of `query`.
    List(Vec<Datum>),
    /// An element of one: its labels and its value.
    Sample(Labels, f64),
    /// What `args` makes.
    Map(BTreeMap<String, Datum>),
    /// A time, seconds since the epoch.
    Time(f64),
    /// A length of time, seconds.
    Duration(f64),
    /// What the dot is at the beginning: `.Labels`, `.Value`, …
    Root,
}

impl Datum {
    /// Go's kind, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Number(_) => "float64",
            Self::Text(_) => "string",
            Self::Labels(_) => "map[string]string",
            Self::Map(_) => "map[string]interface {}",
            Self::List(_) => "queryResult",
            Self::Sample(..) => "*template.sample",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Root => "struct",
        }
    }

    /// What is true for `if`: all but what is empty or zero.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Number(value) | Self::Duration(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Labels(labels) => !labels.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Time(_) | Self::Root | Self::Sample(..) => true,
        }
    }

    /// Go's `len`.
    pub(super) fn len(&self) -> Result<usize, String> {
        match self {
            Self::Text(text) => Ok(text.len()),
            Self::Labels(labels) => Ok(labels.len()),
            Self::Map(map) => Ok(map.len()),
            Self::List(list) => Ok(list.len()),
            Self::Nothing
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Number(_)
            | Self::Time(_)
            | Self::Duration(_)
            | Self::Sample(..)
            | Self::Root => Err(format!("len of type {}", self.kind())),
        }
    }

    /// An element of a map or a byte of a text.
    pub(super) fn index(&self, key: &Self) -> Result<Self, String> {
        match (self, key) {
            (Self::Labels(labels), Self::Text(name)) => Ok(Self::Text(labels.get(name).to_owned())),
            (Self::Map(map), Self::Text(name)) => Ok(map.get(name).cloned().unwrap_or(Self::Nothing)),
            (Self::List(list), Self::Int(at)) => {
                let element = usize::try_from(*at).ok().and_then(|at| list.get(at));
                element.cloned().ok_or_else(|| format!("index out of range: {at}"))
            }
            (Self::Text(text), Self::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                byte.map(|byte| Self::Int((*byte).into())).ok_or_else(|| format!("index out of range: {at}"))
            }
            _ => Err(format!("can't index {} with {}", self.kind(), key.kind())),
        }
    }

    /// Go's `eq`. What is of different kinds cannot be compared.
    pub(super) fn equals(&self, other: &Self) -> Result<bool, String> {
        match (self, other) {
            (Self::Nothing, Self::Nothing) => Ok(true),
            (Self::Nothing, _) | (_, Self::Nothing) => Ok(false),
            (Self::Bool(a), Self::Bool(b)) => Ok(a == b),
            _ => self.compare(other).map(|order| order == Some(Ordering::Equal)),
        }
    }

    /// Go's `lt` and its kin. `None` where a NaN is compared.
    pub(super) fn compare(&self, other: &Self) -> Result<Option<Ordering>, String> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Ok(Some(a.cmp(b))),
            (Self::Number(a), Self::Number(b)) | (Self::Duration(a), Self::Duration(b)) => {
                Ok(a.partial_cmp(b))
            }
            (Self::Text(a), Self::Text(b)) => Ok(Some(a.cmp(b))),
            (Self::Int(_), Self::Number(_)) | (Self::Number(_), Self::Int(_)) => {
                Err("incompatible types for comparison: compare $value with 1.0 and not with 1".to_owned())
            }
            _ if self.kind() == other.kind() => Err("invalid type for comparison".to_owned()),
            _ => Err("incompatible types for comparison".to_owned()),
        }
    }

    /// A number, also where a text holds one.
    pub(super) fn number(&self) -> Result<f64, String> {
        match self {
            Self::Number(value) | Self::Duration(value) => Ok(*value),
            Self::Int(value) => Ok(*value as f64),
            Self::Text(text) => text.parse().map_err(|_| format!("{text:?} is not a number")),
            Self::Nothing
            | Self::Bool(_)
            | Self::Labels(_)
            | Self::List(_)
            | Self::Sample(..)
            | Self::Map(_)
            | Self::Time(_)
            | Self::Root => Err(format!("can't convert {} to float64", self.kind())),
        }
    }

    /// A text, where one must stand.
    pub(super) fn text(&self) -> Result<&str, String> {
        if let Self::Text(text) = self {
            Ok(text)
        } else {
            Err(format!("wrong type: string expected, got {}", self.kind()))
        }
    }
}

/// As Go's `%v`.
impl std::fmt::Display for Datum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("<nil>"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Number(value) => f.write_str(&general(*value, None)),
            Self::Text(text) => f.write_str(text),
            Self::Labels(labels) => {
                let pairs: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                write!(f, "map[{}]", pairs.join(" "))
            }
            Self::List(list) => {
                let elements: Vec<String> = list.iter().map(Self::to_string).collect();
                write!(f, "[{}]", elements.join(" "))
            }
            Self::Sample(labels, value) => write!(f, "{labels} => {}", general(*value, None)),
            Self::Map(map) => {
                let pairs: Vec<String> = map.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                write!(f, "map[{}]", pairs.join(" "))
            }
            Self::Time(seconds) => f.write_str(&format::time(*seconds).unwrap_or_else(|fault| fault)),
            Self::Duration(seconds) => f.write_str(&format::duration(*seconds)),
            Self::Root => f.write_str("{}"),
        }
    }
}
