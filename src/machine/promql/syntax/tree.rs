//! The tree of an expression.

use super::super::functions::{Aggregation, Function, Operator};

/// A part of the text, bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    pub start: usize,
    pub end: usize,
}

/// What an expression is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Scalar,
    Vector,
    Range,
    Text,
}

impl Type {
    /// As Prometheus says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Range => "range vector",
            Self::Text => "string",
        }
    }
}

/// An expression.
#[derive(Debug)]
pub struct Expr {
    pub kind: Kind,
    pub place: Place,
    /// How many levels stand below it, its own counted.
    pub height: usize,
}

/// What an expression is made of.
#[derive(Debug)]
pub enum Kind {
    Number(f64),
    /// Bytes: Go's strings need not be UTF-8.
    Text(Vec<u8>),
    Paren(Box<Expr>),
    Negate(Box<Expr>),
    Selector(SelectorExpr),
    Subquery(Box<Subquery>),
    Call(&'static Function, Vec<Expr>),
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
}

/// A selector; with a range it is a range selector.
#[derive(Debug)]
pub struct SelectorExpr {
    pub matchers: Vec<MatcherExpr>,
    pub range_ms: Option<i64>,
    pub when: When,
    pub edges: Edges,
}

/// `name op "value"`.
#[derive(Debug)]
pub struct MatcherExpr {
    pub name: String,
    pub operator: &'static str,
    pub value: String,
    pub place: Place,
}

/// What a range does at its two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edges {
    /// Samples inside, and `rate` extrapolates.
    #[default]
    Plain,
    /// `anchored`: the value at the start is that of the last sample before it.
    Anchored,
    /// `smoothed`: the values at both ends are interpolated.
    Smoothed,
}

/// `offset` and `@`.
#[derive(Debug, Clone, Copy, Default)]
pub struct When {
    /// Positive looks into the past.
    pub offset_ms: Option<i64>,
    pub at: Option<At>,
}

/// `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A time, milliseconds since the epoch.
    Time(i64),
    /// `start()` of the query.
    Start,
    /// `end()` of the query.
    End,
}

/// `inner[range:step]`.
#[derive(Debug)]
pub struct Subquery {
    pub inner: Expr,
    pub range_ms: i64,
    /// `None` for the default.
    pub step_ms: Option<i64>,
    pub when: When,
}

/// Which labels group elements.
#[derive(Debug, Clone)]
pub enum Grouping {
    /// `by` and `on`.
    By(Vec<String>),
    /// `without` and `ignoring`.
    Without(Vec<String>),
}

/// An aggregation.
#[derive(Debug)]
pub struct Aggregate {
    pub aggregation: Aggregation,
    pub grouping: Grouping,
    pub parameter: Option<Expr>,
    pub vector: Expr,
}

/// A binary operator and its sides.
#[derive(Debug)]
pub struct Binary {
    pub operator: Operator,
    pub symbol: &'static str,
    pub modifiers: Modifiers,
    pub left: Expr,
    pub right: Expr,
}

/// What stands between an operator and its right side.
#[derive(Debug, Default)]
pub struct Modifiers {
    pub returns_bool: bool,
    pub matching: Option<Grouping>,
    pub group: Option<Group>,
    /// Value of an element of the left side where only the right one is there.
    pub fill_left: Option<f64>,
    /// Value of an element of the right side where only the left one is there.
    pub fill_right: Option<f64>,
    /// Where they stand.
    pub place: Place,
}

/// `group_left` or `group_right`, with the labels that come from the "one" side.
#[derive(Debug, Clone)]
pub enum Group {
    Left(Vec<String>),
    Right(Vec<String>),
}

impl Expr {
    /// An expression over others.
    pub fn over(kind: Kind, place: Place, below: usize) -> Self {
        Self { kind, place, height: below + 1 }
    }

    /// What is inside of parentheses, however many.
    pub fn inner(&self) -> &Self {
        if let Kind::Paren(inner) = &self.kind { inner.inner() } else { self }
    }

    /// The selector that it is, perhaps in parentheses.
    pub fn selector(&self) -> Option<&SelectorExpr> {
        if let Kind::Selector(selector) = &self.inner().kind { Some(selector) } else { None }
    }

    /// Its type, taken that its parts have theirs.
    pub fn of_type(&self) -> Type {
        match &self.kind {
            Kind::Number(_) => Type::Scalar,
            Kind::Text(_) => Type::Text,
            Kind::Paren(inner) | Kind::Negate(inner) => inner.of_type(),
            Kind::Selector(selector) if selector.range_ms.is_some() => Type::Range,
            Kind::Selector(_) | Kind::Aggregate(_) => Type::Vector,
            Kind::Subquery(_) => Type::Range,
            Kind::Call(function, _) => function.gives,
            Kind::Binary(binary) => match (binary.left.of_type(), binary.right.of_type()) {
                (Type::Scalar, Type::Scalar) => Type::Scalar,
                _ => Type::Vector,
            },
        }
    }
}
