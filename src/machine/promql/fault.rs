//! Why an expression was refused when rules loaded, and why it had no value at some time.

use crate::wire::Labels;
use thiserror::Error;

/// Why an expression was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanFault {
    /// It is not PromQL, or its types do not fit.
    #[error("{detail}")]
    Syntax {
        /// The parser's reason.
        detail: String,
    },
    /// It calls a function that PromQL does not have.
    #[error("unknown function {name}()")]
    UnknownFunction {
        /// Name as written.
        name: String,
        /// Where the name stands, characters from the start of the expression.
        offset: Option<usize>,
    },
    /// It uses a part of PromQL that is not supported yet.
    #[error("{what} is not supported")]
    Unsupported {
        /// The name of the part: `topk()`, `the @ modifier`, `a subquery`.
        what: String,
        /// Where it stands, characters from the start of the expression.
        offset: Option<usize>,
    },
    /// A regular expression of a matcher does not compile.
    #[error("label {label}: {pattern:?} is no regular expression: {detail}")]
    Regex {
        /// Label of the matcher.
        label: String,
        /// The pattern as written.
        pattern: String,
        /// The compiler's reason.
        detail: String,
    },
    /// It is a string, or a range of samples: no rule can use that.
    #[error("the expression is {got}: a rule needs a scalar or an instant vector")]
    NotAValue {
        /// What it is.
        got: &'static str,
    },
    /// A range or an offset is longer than any log.
    #[error("a duration of {millis} ms, allowed are {max} ms")]
    TooFar {
        /// Duration seen, milliseconds.
        millis: u128,
        /// The bound, milliseconds.
        max: i64,
    },
    /// It is longer than any rule needs.
    #[error("the expression has {bytes} bytes, allowed are {max}")]
    TooLong {
        /// Length seen, bytes.
        bytes: usize,
        /// The bound, bytes.
        max: usize,
    },
    /// It is nested deeper than any rule needs.
    #[error("the expression is nested {depth} deep, allowed are {max} levels")]
    TooDeep {
        /// Depth seen.
        depth: usize,
        /// The bound.
        max: usize,
    },
}

impl PlanFault {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "promql_syntax",
            Self::UnknownFunction { .. } => "promql_unknown_function",
            Self::Unsupported { .. } => "promql_unsupported",
            Self::Regex { .. } => "promql_regex",
            Self::NotAValue { .. } => "promql_not_a_value",
            Self::TooFar { .. } => "promql_too_far",
            Self::TooLong { .. } => "promql_too_long",
            Self::TooDeep { .. } => "promql_too_deep",
        }
    }

    /// The same text fails again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }

    /// Where the fault lies, characters from the start of the expression; `None` where the parser does not tell.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::UnknownFunction { offset, .. } | Self::Unsupported { offset, .. } => *offset,
            Self::Syntax { .. }
            | Self::Regex { .. }
            | Self::NotAValue { .. }
            | Self::TooFar { .. }
            | Self::TooLong { .. }
            | Self::TooDeep { .. } => None,
        }
    }
}

/// Why an expression had no value at some time. The texts are Prometheus's, which operators know.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvalFault {
    /// The side that must have one series per match group has two.
    #[error(
        "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
        braced(group),
        braced(first),
        braced(second)
    )]
    ManyToMany {
        /// `left` or `right`.
        side: &'static str,
        /// Labels that both share.
        group: Labels,
        /// The one that sorts first.
        first: Labels,
        /// The other.
        second: Labels,
    },
    /// Several series of the left side match one of the right, and nothing allows that.
    #[error("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")]
    ManyToOne,
    /// Two results of a grouped match have the same labels.
    #[error("multiple matches for labels: grouping labels must ensure unique matches")]
    AmbiguousGroup,
    /// Two elements came out with the same labels, mostly because the metric's name was dropped.
    #[error("vector cannot contain metrics with the same labelset: {}", braced(labels))]
    SameLabels {
        /// The labels that stand twice.
        labels: Labels,
    },
}

impl EvalFault {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ManyToMany { .. } => "promql_many_to_many",
            Self::ManyToOne => "promql_many_to_one",
            Self::AmbiguousGroup => "promql_ambiguous_group",
            Self::SameLabels { .. } => "promql_same_labels",
        }
    }

    /// Other samples may have a value: the rule is evaluated again at the next grid point anyhow.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// `{__name__="value", …}`, as these messages have always shown a series.
fn braced(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
