//! What a rule selects: label matchers, compiled once when rules load.

use crate::wire::{Labels, labels::METRIC_NAME};
use regex::Regex;

/// How a matcher compares.
#[derive(Debug, Clone)]
enum Test {
    Equal,
    NotEqual,
    Matches(Regex),
    MatchesNot(Regex),
}

/// One `name op "value"`. A label that a series does not carry has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: Box<str>,
    value: Box<str>,
    test: Test,
}

impl Matcher {
    /// `name="value"`.
    #[must_use]
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.into(), value: value.into(), test: Test::Equal }
    }

    /// `name!="value"`.
    #[must_use]
    pub fn not_equal(name: &str, value: &str) -> Self {
        Self { name: name.into(), value: value.into(), test: Test::NotEqual }
    }

    /// `name=~"value"`: the whole value must match, and `.` matches a line feed too, as in Prometheus 3.
    pub fn regex(name: &str, value: &str) -> Result<Self, regex::Error> {
        let test = Test::Matches(anchored(value)?);
        Ok(Self { name: name.into(), value: value.into(), test })
    }

    /// `name!~"value"`.
    pub fn not_regex(name: &str, value: &str) -> Result<Self, regex::Error> {
        let test = Test::MatchesNot(anchored(value)?);
        Ok(Self { name: name.into(), value: value.into(), test })
    }

    /// Name of the label.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value or the regular expression, as written.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether the operator is `=`.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        matches!(self.test, Test::Equal)
    }

    /// Whether a label's value passes.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match &self.test {
            Test::Equal => *self.value == *value,
            Test::NotEqual => *self.value != *value,
            Test::Matches(regex) => regex.is_match(value),
            Test::MatchesNot(regex) => !regex.is_match(value),
        }
    }

    fn operator(&self) -> &'static str {
        match self.test {
            Test::Equal => "=",
            Test::NotEqual => "!=",
            Test::Matches(_) => "=~",
            Test::MatchesNot(_) => "!~",
        }
    }
}

/// Two matchers are equal if they are written alike.
impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.operator(), &self.value) == (&other.name, other.operator(), &other.value)
    }
}

/// Matchers that must all hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    matchers: Vec<Matcher>,
}

impl Selector {
    /// All of these; the metric's name is a matcher on `__name__`.
    #[must_use]
    pub fn new(matchers: Vec<Matcher>) -> Self {
        Self { matchers }
    }

    /// The matchers, as written.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// The one metric name that it can match, if it pins one.
    #[must_use]
    pub fn metric_name(&self) -> Option<&str> {
        self.matchers.iter().find(|m| m.is_equal() && *m.name == *METRIC_NAME).map(|m| &*m.value)
    }

    /// Whether it can match a series of this name, whatever its other labels.
    #[must_use]
    pub fn may_be_named(&self, name: &str) -> bool {
        self.matchers.iter().filter(|m| *m.name == *METRIC_NAME).all(|matcher| matcher.matches(name))
    }

    /// Whether a series with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)))
    }
}

/// `{name="value", …}`.
impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{")?;
        let mut separator = "";
        for matcher in &self.matchers {
            write!(f, "{separator}{}{}{:?}", matcher.name, matcher.operator(), matcher.value)?;
            separator = ", ";
        }
        f.write_str("}")
    }
}

/// A regular expression of Go's dialect that must match a whole value; `.` matches a line feed, too.
pub fn anchored(value: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?s:{})$", super::go_regex::translate(value)))
}
