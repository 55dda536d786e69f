//! The vocabulary: every function, operator and aggregation that an expression may use, and the few of Prometheus's
//! that are refused by name.

use super::element;
use super::number;
use super::range::{self, Range};
use super::regression;
use super::syntax::Type;
use crate::machine::regression as movement;

/// A function: how it is called, what it takes and gives, what it does.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    /// Types of its arguments; the last stands for those that follow it, where more are allowed.
    pub takes: &'static [Type],
    /// How many of them may be left out, and how many more may follow.
    pub room: Room,
    pub gives: Type,
    pub body: Body,
}

/// How far the number of arguments may differ from the list of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Not at all.
    Exact,
    /// The last may be left out.
    LastOptional,
    /// The last may be left out, or stand so many times.
    LastRepeats(usize),
}

impl Function {
    /// Fewest and most arguments.
    pub fn arity(&self) -> (usize, usize) {
        let count = self.takes.len();
        match self.room {
            Room::Exact => (count, count),
            Room::LastOptional => (count - 1, count),
            Room::LastRepeats(times) => (count - 1, count - 1 + times),
        }
    }

    /// Type of an argument.
    pub fn argument(&self, at: usize) -> Type {
        let last = self.takes.len().saturating_sub(1);
        self.takes.get(at.min(last)).copied().unwrap_or(Type::Scalar)
    }
}

/// A function of the samples of one series in a range, and of scalars.
pub type OverTime = fn(&Range<'_>, &[f64]) -> Option<f64>;
/// A function of the value of an element, and of scalars.
pub type PerElement = fn(f64, &[f64]) -> Option<f64>;

/// What a function makes of its arguments.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// Of a range vector, series by series; `None` leaves the series out. The metric's name is dropped.
    OverTime(OverTime),
    /// The same, and the metric's name stays.
    OverTimeNamed(OverTime),
    /// The same as `OverTime`, of a counter: says so where the name does not look like one.
    OverCounter(OverTime),
    /// The same as `OverTime`, with a quantile as the first scalar.
    OverTimeQuantile(OverTime),
    /// The same as `OverTime`, with two factors between 0 and 1.
    OverTimeSmoothing(OverTime),
    /// Of the samples in a range, over the deviation of a baseline.
    AgainstBaseline(OverTime),
    /// Of an instant vector, element by element, with the scalars that follow it; `None` leaves the element out. The
    /// metric's name is dropped.
    PerElement(PerElement),
    /// Of a time, which each element's value is; without argument, of the time of the evaluation.
    Calendar(fn(f64) -> f64),
    /// Of an instant vector as a whole.
    Whole(Whole),
    /// `time`: of nothing.
    Time,
    /// A number.
    Constant(f64),
    /// Not supported, and why.
    Refused(&'static str),
}

/// Functions of a vector as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    Absent,
    AbsentOverTime,
    HistogramFraction,
    HistogramQuantile,
    HistogramQuantiles,
    LabelJoin,
    LabelReplace,
    Scalar,
    Sort { descending: bool },
    SortByLabel { descending: bool },
    Timestamp,
    Vector,
}

/// Why what is for native histograms is refused.
pub const NATIVE: &str = "it is for native histograms, and a series here holds numbers only";
const INFO: &str = "join with the info metric by `* on (…) group_left (…)` instead";

const S: Type = Type::Scalar;
const V: Type = Type::Vector;
const R: Type = Type::Range;
const T: Type = Type::Text;

const fn f(name: &'static str, takes: &'static [Type], gives: Type, body: Body) -> Function {
    Function { name, takes, room: Room::Exact, gives, body }
}

const fn element(name: &'static str, function: PerElement) -> Function {
    f(name, &[V], V, Body::PerElement(function))
}

const fn over_time(name: &'static str, function: OverTime) -> Function {
    f(name, &[R], V, Body::OverTime(function))
}

const fn calendar(name: &'static str, function: fn(f64) -> f64) -> Function {
    Function { name, takes: &[V], room: Room::LastOptional, gives: V, body: Body::Calendar(function) }
}

const fn against_baseline(name: &'static str, function: OverTime) -> Function {
    Function {
        name,
        takes: &[R, T],
        room: Room::LastOptional,
        gives: V,
        body: Body::AgainstBaseline(function),
    }
}

const fn refused(name: &'static str, takes: &'static [Type], why: &'static str) -> Function {
    f(name, takes, V, Body::Refused(why))
}

/// Every function, in order of names.
pub static FUNCTIONS: [Function; 88] = [
    element("abs", |value, _| Some(value.abs())),
    f("absent", &[V], V, Body::Whole(Whole::Absent)),
    f("absent_over_time", &[R], V, Body::Whole(Whole::AbsentOverTime)),
    over_time("acceleration", |range, _| movement::acceleration(range.points)),
    against_baseline("acceleration_sigma", |range, _| movement::acceleration(range.points)),
    element("acos", |value, _| Some(libm::acos(value))),
    element("acosh", |value, _| Some(libm::acosh(value))),
    element("asin", |value, _| Some(libm::asin(value))),
    element("asinh", |value, _| Some(libm::asinh(value))),
    element("atan", |value, _| Some(libm::atan(value))),
    element("atanh", |value, _| Some(libm::atanh(value))),
    over_time("avg_over_time", range::avg_over_time),
    element("ceil", |value, _| Some(value.ceil())),
    over_time("changes", range::changes),
    f("clamp", &[V, S, S], V, Body::PerElement(element::clamp)),
    f("clamp_max", &[V, S], V, Body::PerElement(|value, bounds| Some(number::min(bounds[0], value)))),
    f("clamp_min", &[V, S], V, Body::PerElement(|value, bounds| Some(number::max(bounds[0], value)))),
    element("cos", |value, _| Some(libm::cos(value))),
    element("cosh", |value, _| Some(libm::cosh(value))),
    over_time("count_over_time", range::count_over_time),
    calendar("day_of_month", element::day_of_month),
    calendar("day_of_week", element::day_of_week),
    calendar("day_of_year", element::day_of_year),
    calendar("days_in_month", element::days_in_month),
    element("deg", |value, _| Some(value * 180.0 / std::f64::consts::PI)),
    over_time("delta", range::delta),
    over_time("deriv", regression::deriv),
    f("double_exponential_smoothing", &[R, S, S], V, Body::OverTimeSmoothing(regression::smoothing)),
    element("exp", |value, _| Some(libm::exp(value))),
    f("first_over_time", &[R], V, Body::OverTimeNamed(range::first_over_time)),
    element("floor", |value, _| Some(value.floor())),
    refused("histogram_avg", &[V], NATIVE),
    refused("histogram_count", &[V], NATIVE),
    f("histogram_fraction", &[S, S, V], V, Body::Whole(Whole::HistogramFraction)),
    f("histogram_quantile", &[S, V], V, Body::Whole(Whole::HistogramQuantile)),
    Function {
        name: "histogram_quantiles",
        takes: &[V, T, S, S],
        room: Room::LastRepeats(9),
        gives: V,
        body: Body::Whole(Whole::HistogramQuantiles),
    },
    refused("histogram_stddev", &[V], NATIVE),
    refused("histogram_stdvar", &[V], NATIVE),
    refused("histogram_sum", &[V], NATIVE),
    // Prometheus 2's name of double_exponential_smoothing.
    f("holt_winters", &[R, S, S], V, Body::OverTimeSmoothing(regression::smoothing)),
    calendar("hour", element::hour),
    over_time("idelta", range::idelta),
    f("increase", &[R], V, Body::OverCounter(range::increase)),
    Function { name: "info", takes: &[V, V], room: Room::LastOptional, gives: V, body: Body::Refused(INFO) },
    over_time("irate", range::irate),
    Function {
        name: "label_join",
        takes: &[V, T, T, T],
        room: Room::LastRepeats(usize::MAX / 2),
        gives: V,
        body: Body::Whole(Whole::LabelJoin),
    },
    f("label_replace", &[V, T, T, T, T], V, Body::Whole(Whole::LabelReplace)),
    f("last_over_time", &[R], V, Body::OverTimeNamed(range::last_over_time)),
    element("ln", |value, _| Some(libm::log(value))),
    element("log10", |value, _| Some(libm::log10(value))),
    element("log2", |value, _| Some(libm::log2(value))),
    over_time("mad_over_time", range::mad_over_time),
    over_time("max_over_time", range::max_over_time),
    over_time("min_over_time", range::min_over_time),
    calendar("minute", element::minute),
    calendar("month", element::month),
    f("pi", &[], S, Body::Constant(std::f64::consts::PI)),
    f("predict_linear", &[R, S], V, Body::OverTime(regression::predict_linear)),
    over_time("present_over_time", |_, _| Some(1.0)),
    f("quantile_over_time", &[S, R], V, Body::OverTimeQuantile(range::quantile_over_time)),
    element("rad", |value, _| Some(value * std::f64::consts::PI / 180.0)),
    f("rate", &[R], V, Body::OverCounter(range::rate)),
    over_time("resets", range::resets),
    Function {
        name: "round",
        takes: &[V, S],
        room: Room::LastOptional,
        gives: V,
        body: Body::PerElement(element::round),
    },
    f("scalar", &[V], S, Body::Whole(Whole::Scalar)),
    element("sgn", element::sgn),
    element("sin", |value, _| Some(libm::sin(value))),
    element("sinh", |value, _| Some(libm::sinh(value))),
    f("sort", &[V], V, Body::Whole(Whole::Sort { descending: false })),
    Function {
        name: "sort_by_label",
        takes: &[V, T],
        room: Room::LastRepeats(usize::MAX / 2),
        gives: V,
        body: Body::Whole(Whole::SortByLabel { descending: false }),
    },
    Function {
        name: "sort_by_label_desc",
        takes: &[V, T],
        room: Room::LastRepeats(usize::MAX / 2),
        gives: V,
        body: Body::Whole(Whole::SortByLabel { descending: true }),
    },
    f("sort_desc", &[V], V, Body::Whole(Whole::Sort { descending: true })),
    over_time("speed", |range, _| movement::speed(range.points)),
    against_baseline("speed_sigma", |range, _| movement::speed(range.points)),
    element("sqrt", |value, _| Some(value.sqrt())),
    over_time("stddev_over_time", range::stddev_over_time),
    over_time("stdvar_over_time", range::stdvar_over_time),
    over_time("sum_over_time", range::sum_over_time),
    element("tan", |value, _| Some(libm::tan(value))),
    element("tanh", |value, _| Some(libm::tanh(value))),
    f("time", &[], S, Body::Time),
    f("timestamp", &[V], V, Body::Whole(Whole::Timestamp)),
    over_time("ts_of_first_over_time", range::ts_of_first_over_time),
    over_time("ts_of_last_over_time", range::ts_of_last_over_time),
    over_time("ts_of_max_over_time", range::ts_of_max_over_time),
    over_time("ts_of_min_over_time", range::ts_of_min_over_time),
    f("vector", &[S], V, Body::Whole(Whole::Vector)),
    calendar("year", element::year),
];

/// What an operator makes of two sides.
#[derive(Debug, Clone, Copy)]
pub enum Operator {
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

/// Operators by their symbol, with how tight they bind.
pub const OPERATORS: [(&str, Operator, u8); 16] = [
    ("+", Operator::Arithmetic(|a, b| a + b), 4),
    ("-", Operator::Arithmetic(|a, b| a - b), 4),
    ("*", Operator::Arithmetic(|a, b| a * b), 5),
    ("/", Operator::Arithmetic(|a, b| a / b), 5),
    ("%", Operator::Arithmetic(libm::fmod), 5),
    ("^", Operator::Arithmetic(libm::pow), 6),
    ("atan2", Operator::Arithmetic(libm::atan2), 5),
    ("==", Operator::Comparison(f64::eq), 3),
    ("!=", Operator::Comparison(f64::ne), 3),
    (">", Operator::Comparison(f64::gt), 3),
    ("<", Operator::Comparison(f64::lt), 3),
    (">=", Operator::Comparison(f64::ge), 3),
    ("<=", Operator::Comparison(f64::le), 3),
    ("and", Operator::And, 2),
    ("or", Operator::Or, 1),
    ("unless", Operator::Unless, 2),
];

/// How the elements of a group become one, or fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    Avg,
    BottomK,
    Count,
    CountValues,
    Group,
    LimitK,
    LimitRatio,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    TopK,
}

impl Aggregation {
    /// Whether it gives some of the elements as they are.
    pub fn chooses(self) -> bool {
        matches!(self, Self::BottomK | Self::LimitK | Self::LimitRatio | Self::TopK)
    }

    /// Whether something stands before the vector.
    pub fn takes_parameter(self) -> bool {
        match self {
            Self::BottomK
            | Self::CountValues
            | Self::LimitK
            | Self::LimitRatio
            | Self::Quantile
            | Self::TopK => true,
            Self::Avg
            | Self::Count
            | Self::Group
            | Self::Max
            | Self::Min
            | Self::Stddev
            | Self::Stdvar
            | Self::Sum => false,
        }
    }
}

/// Aggregations by name.
pub const AGGREGATIONS: [(&str, Aggregation); 14] = [
    ("avg", Aggregation::Avg),
    ("bottomk", Aggregation::BottomK),
    ("count", Aggregation::Count),
    ("count_values", Aggregation::CountValues),
    ("group", Aggregation::Group),
    ("limit_ratio", Aggregation::LimitRatio),
    ("limitk", Aggregation::LimitK),
    ("max", Aggregation::Max),
    ("min", Aggregation::Min),
    ("quantile", Aggregation::Quantile),
    ("stddev", Aggregation::Stddev),
    ("stdvar", Aggregation::Stdvar),
    ("sum", Aggregation::Sum),
    ("topk", Aggregation::TopK),
];

/// Looks a name up in one of the tables.
pub fn named<'a, T>(table: &'a [T], name: &str, name_of: impl Fn(&'a T) -> &'static str) -> Option<&'a T> {
    table.iter().find(|entry| name_of(entry) == name)
}
