//! The steps of an evaluation. Selectors are numbers into the plan's leaves; types were checked when the text was read.

use super::binary::Matching;
use super::functions::{Aggregation, OverTime, PerElement};
use super::note::Mark;
use super::relabel::{Join, Replace};
use super::syntax::At;
use super::vector::Projection;
use crate::wire::Labels;

/// One step, over those whose values it takes.
#[derive(Debug)]
pub(super) enum Node {
    /// A part by its number, which may be known already.
    Part(usize, Box<Node>),
    Number(f64),
    Text(Vec<u8>),
    /// `time()`.
    Time,
    /// An instant selector.
    Instant(usize),
    /// A range selector or a subquery by itself.
    Ranges(Ranged),
    /// A function of the samples in a range.
    OverTime(Box<OverTimeNode>),
    /// A function of each element and of scalars.
    PerElement {
        function: PerElement,
        vector: Box<Node>,
        scalars: Vec<Node>,
    },
    /// A function of the time that each element's value is.
    Calendar {
        function: fn(f64) -> f64,
        vector: Box<Node>,
    },
    /// A function of the time, as an element without labels.
    Now(fn(f64) -> f64),
    /// `absent`, with the labels that its selector pins.
    Absent {
        vector: Box<Node>,
        labels: Labels,
    },
    /// `absent_over_time`, likewise.
    AbsentOverTime {
        range: Ranged,
        labels: Labels,
    },
    /// `timestamp` of a selector: the time of its samples.
    SampleTimes(usize),
    /// `timestamp` of anything else: the time of the evaluation.
    Times(Box<Node>),
    /// `scalar`.
    ToScalar(Box<Node>),
    /// `vector`.
    ToVector(Box<Node>),
    Replace {
        vector: Box<Node>,
        replace: Box<Replace>,
    },
    Join {
        vector: Box<Node>,
        join: Box<Join>,
    },
    Sort(Box<SortNode>),
    Histogram(Box<HistogramNode>),
    /// Unary minus.
    Negate(Box<Node>),
    Aggregate(Box<AggregateNode>),
    Binary(Box<BinaryNode>),
}

impl Node {
    /// The step itself, whether it is a numbered part or not.
    pub(super) fn bare(&self) -> &Self {
        if let Self::Part(_, inner) = self { inner } else { self }
    }
}

/// What gives samples in a range.
#[derive(Debug)]
pub(super) enum Ranged {
    Leaf(usize),
    Subquery(Box<SubqueryNode>),
}

/// An expression evaluated at each step of a range.
#[derive(Debug)]
pub(super) struct SubqueryNode {
    pub(super) inner: Node,
    pub(super) range_ms: i64,
    /// Above 0; without it, the plan's. The steps are its multiples, whatever the time of the evaluation.
    pub(super) step_ms: Option<i64>,
    /// Positive looks into the past.
    pub(super) offset_ms: i64,
    pub(super) at: Option<At>,
}

/// A function of the samples in a range.
#[derive(Debug)]
pub(super) struct OverTimeNode {
    /// As it is called.
    pub(super) name: &'static str,
    pub(super) function: OverTime,
    pub(super) keeps_name: bool,
    pub(super) check: Check,
    pub(super) range: Ranged,
    pub(super) scalars: Vec<Node>,
    /// Where the argument stands that `check` is about.
    pub(super) mark: Mark,
}

/// What there is to say or to refuse about the arguments of a function over a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    Nothing,
    /// The metric's name should be that of a counter.
    Counter,
    /// The scalar should be between 0 and 1.
    Quantile,
    /// The scalars must be between 0 and 1.
    Factors,
}

/// `sort` and its kin.
#[derive(Debug)]
pub(super) struct SortNode {
    pub(super) vector: Node,
    /// By these labels; `None` for the values.
    pub(super) by: Option<Vec<String>>,
    pub(super) descending: bool,
    /// Where it stands.
    pub(super) mark: Mark,
}

/// A function of classic histograms.
#[derive(Debug)]
pub(super) struct HistogramNode {
    pub(super) question: Question,
    pub(super) vector: Node,
    /// Where the vector stands.
    pub(super) mark: Mark,
}

/// What is asked about a histogram.
#[derive(Debug)]
pub(super) enum Question {
    Quantile(Node, Mark),
    /// Several quantiles, each an element with this label.
    Quantiles(String, Vec<(Node, Mark)>),
    /// Which part lies between two values.
    Fraction(Node, Node),
}

/// An aggregation.
#[derive(Debug)]
pub(super) struct AggregateNode {
    pub(super) aggregation: Aggregation,
    pub(super) grouping: Projection,
    pub(super) parameter: ParameterNode,
    pub(super) vector: Node,
    /// Where the parameter stands.
    pub(super) mark: Mark,
}

/// What stands before the vector of an aggregation.
#[derive(Debug)]
pub(super) enum ParameterNode {
    Nothing,
    Number(Node),
    Label(String),
}

/// A binary operator and its sides.
#[derive(Debug)]
pub(super) struct BinaryNode {
    pub(super) matching: Matching,
    pub(super) left: Node,
    pub(super) right: Node,
}
