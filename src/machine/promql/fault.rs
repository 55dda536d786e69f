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
        /// Where, characters from the start of the expression.
        offset: usize,
    },
    /// It calls a function that PromQL does not have.
    #[error("unknown function {name}(){}", .near.as_ref().map(|near| format!("; did you mean {near}()?")).unwrap_or_default())]
    UnknownFunction {
        /// Name as written.
        name: String,
        /// Where the name stands, characters from the start of the expression.
        offset: usize,
        /// A function of almost that name.
        near: Option<String>,
    },
    /// It uses a function or an operator that PromQL has and Bellwether has not.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// `function info()`, `operator </`.
        what: String,
        /// Why, or the way around it.
        why: &'static str,
        /// Where it stands, characters from the start of the expression.
        offset: usize,
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
        /// Where it stands, characters from the start of the expression.
        offset: usize,
    },
    /// A label's name is no UTF-8.
    #[error("{detail}")]
    LabelName {
        /// What it is for, and how it is written.
        detail: String,
        /// Where it stands, characters from the start of the expression.
        offset: usize,
    },
    /// It is a string, or a range of samples: no rule can use that.
    #[error("the expression is {got}: a rule needs a scalar or an instant vector")]
    NotAValue {
        /// What it is.
        got: &'static str,
    },
    /// A range or an offset is longer than any log.
    #[error("a range or an offset of more than {max} ms")]
    TooFar {
        /// The bound, milliseconds.
        max: i64,
        /// Where it stands, characters from the start of the expression.
        offset: usize,
    },
    /// A subquery asks for more evaluations than any rule may take.
    #[error(
        "a subquery that evaluates its expression {steps} times each time, allowed are {max}: use a longer step"
    )]
    TooManySteps {
        /// Evaluations, those of the subqueries around it counted.
        steps: i64,
        /// The bound.
        max: i64,
        /// Where it stands, characters from the start of the expression.
        offset: usize,
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
            Self::LabelName { .. } => "promql_label_name",
            Self::TooFar { .. } => "promql_too_far",
            Self::TooManySteps { .. } => "promql_too_many_steps",
            Self::TooLong { .. } => "promql_too_long",
            Self::TooDeep { .. } => "promql_too_deep",
        }
    }

    /// The same text fails again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }

    /// Where the fault lies, characters from the start of the expression; `None` where it is the whole.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::Syntax { offset, .. }
            | Self::UnknownFunction { offset, .. }
            | Self::Unsupported { offset, .. }
            | Self::Regex { offset, .. }
            | Self::LabelName { offset, .. }
            | Self::TooFar { offset, .. }
            | Self::TooManySteps { offset, .. } => Some(*offset),
            Self::NotAValue { .. } | Self::TooLong { .. } | Self::TooDeep { .. } => None,
        }
    }

    /// A fault of syntax at a byte of the text.
    pub(super) fn syntax(text: &str, at: usize, detail: impl Into<String>) -> Self {
        Self::Syntax { detail: detail.into(), offset: text[..at].chars().count() }
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
    /// A parameter of an aggregation or a function is no number that it can use.
    #[error("{message}")]
    Parameter {
        /// What, and the value seen.
        message: String,
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
            Self::Parameter { .. } => "promql_parameter",
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
