//! The vocabulary: every function, operator and aggregation that an expression may use. What is not in these tables is
//! refused by name when rules load.

use super::number;
use super::range::{self, Range};
use crate::machine::regression;

/// What a function makes of its arguments.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    /// Of a range vector, series by series; `None` leaves the series out. The metric's name is dropped.
    OverTime(fn(&Range<'_>) -> Option<f64>),
    /// The same, and the metric's name stays.
    OverTimeNamed(fn(&Range<'_>) -> Option<f64>),
    /// Of an instant vector, element by element, with the scalars that follow it; `None` leaves the element out. The
    /// metric's name is dropped.
    PerElement(fn(f64, &[f64]) -> Option<f64>),
    /// `absent`: of an instant vector as a whole, and of how its selector is written.
    Absent,
    /// `scalar`: of an instant vector as a whole.
    ToScalar,
    /// `vector`: of a scalar.
    ToVector,
    /// `time`: of nothing.
    Time,
}

/// Name, number of arguments, meaning. The types of the arguments follow from the meaning; promql-parser has checked
/// them by then.
pub(super) const FUNCTIONS: [(&str, usize, Body); 24] = [
    ("abs", 1, Body::PerElement(|value, _| Some(value.abs()))),
    ("absent", 1, Body::Absent),
    ("acceleration", 1, Body::OverTime(|range| regression::acceleration(range.points))),
    ("avg_over_time", 1, Body::OverTime(range::avg_over_time)),
    ("changes", 1, Body::OverTime(range::changes)),
    ("clamp", 3, Body::PerElement(clamp)),
    ("clamp_max", 2, Body::PerElement(|value, bounds| Some(number::min(bounds[0], value)))),
    ("clamp_min", 2, Body::PerElement(|value, bounds| Some(number::max(bounds[0], value)))),
    ("count_over_time", 1, Body::OverTime(range::count_over_time)),
    ("delta", 1, Body::OverTime(range::delta)),
    ("idelta", 1, Body::OverTime(range::idelta)),
    ("increase", 1, Body::OverTime(range::increase)),
    ("irate", 1, Body::OverTime(range::irate)),
    ("last_over_time", 1, Body::OverTimeNamed(range::last_over_time)),
    ("max_over_time", 1, Body::OverTime(range::max_over_time)),
    ("min_over_time", 1, Body::OverTime(range::min_over_time)),
    ("rate", 1, Body::OverTime(range::rate)),
    ("resets", 1, Body::OverTime(range::resets)),
    ("scalar", 1, Body::ToScalar),
    ("speed", 1, Body::OverTime(|range| regression::speed(range.points))),
    ("stddev_over_time", 1, Body::OverTime(range::stddev_over_time)),
    ("sum_over_time", 1, Body::OverTime(range::sum_over_time)),
    ("time", 0, Body::Time),
    ("vector", 1, Body::ToVector),
];

/// Nothing if the bounds are crossed.
fn clamp(value: f64, bounds: &[f64]) -> Option<f64> {
    let (low, high) = (bounds[0], bounds[1]);
    let crossed = high < low;
    (!crossed).then(|| number::max(low, number::min(high, value)))
}

/// Functions of the table that PromQL does not have: of a range vector each.
pub(super) const OWN_FUNCTIONS: [&str; 2] = ["acceleration", "speed"];

/// What an operator makes of two sides.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operator {
    /// A number of two numbers. The metric's name is dropped.
    Arithmetic(fn(f64, f64) -> f64),
    /// Keeps the left value where it holds; with `bool`, 1 or 0.
    Comparison(fn(&f64, &f64) -> bool),
    /// Elements of the left side that match one of the right.
    And,
    /// Elements of the left side, and those of the right that match none of it.
    Or,
    /// Elements of the left side that match none of the right.
    Unless,
}

/// Operators by their symbol.
pub(super) const OPERATORS: [(&str, Operator); 16] = [
    ("+", Operator::Arithmetic(|a, b| a + b)),
    ("-", Operator::Arithmetic(|a, b| a - b)),
    ("*", Operator::Arithmetic(|a, b| a * b)),
    ("/", Operator::Arithmetic(|a, b| a / b)),
    ("%", Operator::Arithmetic(libm::fmod)),
    ("^", Operator::Arithmetic(libm::pow)),
    ("atan2", Operator::Arithmetic(libm::atan2)),
    ("==", Operator::Comparison(f64::eq)),
    ("!=", Operator::Comparison(f64::ne)),
    (">", Operator::Comparison(f64::gt)),
    ("<", Operator::Comparison(f64::lt)),
    (">=", Operator::Comparison(f64::ge)),
    ("<=", Operator::Comparison(f64::le)),
    ("and", Operator::And),
    ("or", Operator::Or),
    ("unless", Operator::Unless),
];

/// How the elements of a group become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregation {
    Avg,
    Count,
    Max,
    Min,
    Sum,
}

/// Aggregations by name.
pub(super) const AGGREGATIONS: [(&str, Aggregation); 5] = [
    ("avg", Aggregation::Avg),
    ("count", Aggregation::Count),
    ("max", Aggregation::Max),
    ("min", Aggregation::Min),
    ("sum", Aggregation::Sum),
];

/// Looks a name up in one of the tables.
pub(super) fn named<'a, T>(
    table: &'a [T],
    name: &str,
    name_of: impl Fn(&'a T) -> &'static str,
) -> Option<&'a T> {
    table.iter().find(|entry| name_of(entry) == name)
}
