//! promql-parser's tree to nodes over numbered selectors. Whatever the tables of `functions` do not hold is refused
//! here, with the place of its name.

use super::binary::{Cardinality, Matching};
use super::fault::PlanFault;
use super::functions::{
    AGGREGATIONS, Aggregation, Body, FUNCTIONS, OPERATORS, OWN_FUNCTIONS, Operator, named,
};
use super::range::Range;
use super::source::Source;
use super::vector::Projection;
use super::{LOOKBACK_MS, Leaf, Plan};
use crate::machine::series::{Matcher, Selector};
use crate::wire::{Labels, labels::METRIC_NAME};
use promql_parser::label::{MatchOp, Matchers};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AggregateExpr, BinModifier, BinaryExpr, Call, Expr, Function, LabelModifier, MatrixSelector, Offset,
    VectorMatchCardinality, VectorSelector, register_extra_functions,
};
use std::time::Duration;

/// Longest expression, bytes. The parser recurses, so its input is bounded before it starts.
const EXPR_BYTES_MAX: usize = 16 << 10;
/// Deepest nesting of an expression.
const DEPTH_MAX: usize = 256;
/// Longest range or offset: a hundred years, so that no arithmetic on times overflows.
const DURATION_MS_MAX: i64 = 100 * 365 * 24 * 3600 * 1000;

/// One step of an evaluation. Selectors are numbers into the plan's leaves.
#[derive(Debug)]
pub(super) enum Node {
    /// A literal.
    Number(f64),
    /// `time()`.
    Time,
    /// An instant selector.
    Instant(usize),
    /// A function of the samples in a range selector.
    OverTime { function: fn(&Range<'_>) -> Option<f64>, keeps_name: bool, leaf: usize },
    /// A function of each element and of scalars.
    PerElement { function: fn(f64, &[f64]) -> Option<f64>, vector: Box<Node>, scalars: Vec<Node> },
    /// `absent`, with the labels that its selector pins.
    Absent { vector: Box<Node>, labels: Labels },
    /// `scalar`.
    ToScalar(Box<Node>),
    /// `vector`.
    ToVector(Box<Node>),
    /// Unary minus.
    Negate(Box<Node>),
    /// An aggregation.
    Aggregate { aggregation: Aggregation, grouping: Projection, vector: Box<Node> },
    /// A binary operator.
    Binary(Box<Binary>),
}

/// A binary operator and its sides.
#[derive(Debug)]
pub(super) struct Binary {
    pub(super) matching: Matching,
    pub(super) left: Node,
    pub(super) right: Node,
}

/// Text to plan.
pub(super) fn compile(expr: &str) -> Result<Plan, PlanFault> {
    if expr.len() > EXPR_BYTES_MAX {
        return Err(PlanFault::TooLong { bytes: expr.len(), max: EXPR_BYTES_MAX });
    }
    let source = Source::new(expr);
    let depth = source.depth();
    if depth > DEPTH_MAX {
        return Err(PlanFault::TooDeep { depth, max: DEPTH_MAX });
    }
    extend_parser();
    // The parser panics on a duration of more seconds than 64 bits hold; what it says of that is no use to anybody.
    let parsed = std::panic::catch_unwind(|| promql_parser::parser::parse(expr));
    let ast = parsed.unwrap_or_else(|_| Err("a number in it is out of range".to_owned()));
    let ast = ast.map_err(|detail| refused(detail, &source))?;
    let got = match ast.value_type() {
        ValueType::Scalar | ValueType::Vector => None,
        ValueType::Matrix => Some("a range vector"),
        ValueType::String => Some("a string"),
    };
    let mut compiler = Compiler { source, leaves: Vec::new() };
    if let Some(got) = got {
        // Something in it may not be supported either; that is the more useful answer.
        compiler.argument(&ast)?;
        return Err(PlanFault::NotAValue { got });
    }
    let root = compiler.node(&ast, 1)?;
    Ok(Plan { root, leaves: compiler.leaves, selections: Vec::new() })
}

/// Tells the parser of the functions that PromQL does not have. Doing so again changes nothing.
fn extend_parser() {
    let function = |name| Function::new(name, vec![ValueType::Matrix], 0, ValueType::Vector, false);
    // It refuses a name that PromQL has itself. Then that is what an expression means by it.
    _ = register_extra_functions(OWN_FUNCTIONS.map(function).into());
}

/// The parser's words, made a fault with a place where they name a function.
fn refused(detail: String, source: &Source) -> PlanFault {
    let unknown =
        detail.split_once("unknown function with name '").and_then(|(_, rest)| rest.split_once('\''));
    match unknown {
        Some((name, _)) => PlanFault::UnknownFunction { name: name.to_owned(), offset: source.call(name) },
        None => PlanFault::Syntax { detail },
    }
}

struct Compiler<'e> {
    source: Source<'e>,
    leaves: Vec<Leaf>,
}

impl Compiler<'_> {
    fn node(&mut self, expr: &Expr, depth: usize) -> Result<Node, PlanFault> {
        if depth > DEPTH_MAX {
            return Err(PlanFault::TooDeep { depth, max: DEPTH_MAX });
        }
        match expr {
            Expr::Paren(paren) => self.node(&paren.expr, depth + 1),
            Expr::NumberLiteral(literal) => Ok(Node::Number(literal.val)),
            Expr::Unary(unary) => Ok(Node::Negate(Box::new(self.node(&unary.expr, depth + 1)?))),
            Expr::VectorSelector(selector) => Ok(Node::Instant(self.leaf(selector, None)?)),
            Expr::Call(call) => self.call(call, depth),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, depth),
            Expr::Binary(binary) => self.binary(binary, depth),
            Expr::Subquery(_) => Err(unsupported("a subquery", self.source.subquery())),
            Expr::MatrixSelector(_) => Err(PlanFault::NotAValue { got: "a range vector" }),
            Expr::StringLiteral(_) => Err(PlanFault::NotAValue { got: "a string" }),
            Expr::Extension(extension) => Err(unsupported(extension.expr.name(), None)),
        }
    }

    /// An expression that is no value by itself: a range selector gives its leaf.
    fn argument(&mut self, expr: &Expr) -> Result<Option<usize>, PlanFault> {
        match expr {
            Expr::Paren(paren) => self.argument(&paren.expr),
            Expr::MatrixSelector(MatrixSelector { vs, range }) => self.leaf(vs, Some(range)).map(Some),
            Expr::StringLiteral(_) => Ok(None),
            Expr::Subquery(_)
            | Expr::Aggregate(_)
            | Expr::Unary(_)
            | Expr::Binary(_)
            | Expr::NumberLiteral(_)
            | Expr::VectorSelector(_)
            | Expr::Call(_)
            | Expr::Extension(_) => self.node(expr, 1).map(|_| None),
        }
    }

    fn leaf(&mut self, selector: &VectorSelector, range: Option<&Duration>) -> Result<usize, PlanFault> {
        if selector.at.is_some() {
            return Err(unsupported("the @ modifier", self.source.symbol('@')));
        }
        let window_ms = range.map_or(Ok(LOOKBACK_MS), milliseconds)?;
        let offset_ms = match &selector.offset {
            None => 0,
            Some(Offset::Pos(offset)) => milliseconds(offset)?,
            Some(Offset::Neg(offset)) => -milliseconds(offset)?,
        };
        let matchers = self.matchers(selector.name.as_deref(), &selector.matchers)?;
        self.leaves.push(Leaf { selector: Selector::new(matchers), offset_ms, window_ms });
        Ok(self.leaves.len() - 1)
    }

    fn matchers(&self, name: Option<&str>, matchers: &Matchers) -> Result<Vec<Matcher>, PlanFault> {
        if !matchers.or_matchers.is_empty() {
            return Err(unsupported("`or` between matchers", self.source.word("or")));
        }
        let mut all: Vec<Matcher> = name.map(|name| Matcher::equal(METRIC_NAME, name)).into_iter().collect();
        for matcher in &matchers.matchers {
            let (label, value) = (matcher.name.as_str(), matcher.value.as_str());
            let compiled = match &matcher.op {
                MatchOp::Equal => Ok(Matcher::equal(label, value)),
                MatchOp::NotEqual => Ok(Matcher::not_equal(label, value)),
                MatchOp::Re(_) => Matcher::regex(label, value),
                MatchOp::NotRe(_) => Matcher::not_regex(label, value),
            };
            all.push(compiled.map_err(|fault| PlanFault::Regex {
                label: label.to_owned(),
                pattern: value.to_owned(),
                detail: fault.to_string(),
            })?);
        }
        Ok(all)
    }

    fn call(&mut self, call: &Call, depth: usize) -> Result<Node, PlanFault> {
        let name = call.func.name;
        let known = named(&FUNCTIONS, name, |function| function.0);
        let Some((_, arity, body)) = known.filter(|(_, arity, _)| *arity == call.args.len()) else {
            return Err(unsupported(&format!("function {name}()"), self.source.call(name)));
        };
        debug_assert!(*arity <= 3, "a function of the tables has few arguments");
        let args = &call.args.args;
        let node = match *body {
            Body::Time => Node::Time,
            Body::ToVector => Node::ToVector(Box::new(self.node(&args[0], depth + 1)?)),
            Body::ToScalar => Node::ToScalar(Box::new(self.node(&args[0], depth + 1)?)),
            Body::Absent => {
                Node::Absent { vector: Box::new(self.node(&args[0], depth + 1)?), labels: pinned(&args[0]) }
            }
            Body::PerElement(function) => {
                let vector = Box::new(self.node(&args[0], depth + 1)?);
                let scalars = args[1..].iter().map(|arg| self.node(arg, depth + 1));
                Node::PerElement { function, vector, scalars: scalars.collect::<Result<_, _>>()? }
            }
            Body::OverTime(function) => self.over_time(function, false, &args[0])?,
            Body::OverTimeNamed(function) => self.over_time(function, true, &args[0])?,
        };
        Ok(node)
    }

    fn over_time(
        &mut self,
        function: fn(&Range<'_>) -> Option<f64>,
        keeps_name: bool,
        arg: &Expr,
    ) -> Result<Node, PlanFault> {
        match self.argument(arg)? {
            Some(leaf) => Ok(Node::OverTime { function, keeps_name, leaf }),
            None => Err(PlanFault::NotAValue { got: "no range vector where a function needs one" }),
        }
    }

    fn aggregate(&mut self, aggregate: &AggregateExpr, depth: usize) -> Result<Node, PlanFault> {
        let name = aggregate.op.to_string();
        let Some((_, aggregation)) = named(&AGGREGATIONS, &name, |aggregation| aggregation.0) else {
            return Err(unsupported(&format!("aggregation {name}()"), self.source.call(&name)));
        };
        let grouping = match &aggregate.modifier {
            None => Projection::only(&[]),
            Some(LabelModifier::Include(names)) => Projection::only(&names.labels),
            Some(LabelModifier::Exclude(names)) => Projection::except(&names.labels),
        };
        let vector = Box::new(self.node(&aggregate.expr, depth + 1)?);
        Ok(Node::Aggregate { aggregation: *aggregation, grouping, vector })
    }

    fn binary(&mut self, binary: &BinaryExpr, depth: usize) -> Result<Node, PlanFault> {
        let symbol = binary.op.to_string();
        let Some((_, operator)) = named(&OPERATORS, &symbol, |operator| operator.0) else {
            return Err(unsupported(&format!("operator {symbol}"), self.source.word(&symbol)));
        };
        let matching = self.matching(*operator, binary.modifier.as_ref())?;
        let left = self.node(&binary.lhs, depth + 1)?;
        let right = self.node(&binary.rhs, depth + 1)?;
        Ok(Node::Binary(Box::new(Binary { matching, left, right })))
    }

    fn matching(&self, operator: Operator, modifier: Option<&BinModifier>) -> Result<Matching, PlanFault> {
        let modifier = modifier.cloned().unwrap_or_default();
        if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
            let place = ["fill", "fill_left", "fill_right"].iter().find_map(|name| self.source.call(name));
            return Err(unsupported("fill()", place));
        }
        let on = match &modifier.matching {
            None => Projection::except(&[]),
            Some(LabelModifier::Include(names)) => Projection::only(&names.labels),
            Some(LabelModifier::Exclude(names)) => Projection::except(&names.labels),
        };
        let cardinality = match modifier.card {
            VectorMatchCardinality::ManyToOne(names) => Cardinality::ManyToOne(names.labels),
            VectorMatchCardinality::OneToMany(names) => Cardinality::OneToMany(names.labels),
            VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => Cardinality::OneToOne,
        };
        Ok(Matching { operator, returns_bool: modifier.return_bool, on, cardinality })
    }
}

fn unsupported(what: &str, offset: Option<usize>) -> PlanFault {
    PlanFault::Unsupported { what: what.to_owned(), offset }
}

fn milliseconds(duration: &Duration) -> Result<i64, PlanFault> {
    let millis = duration.as_millis();
    match i64::try_from(millis) {
        Ok(ms) if ms <= DURATION_MS_MAX => Ok(ms),
        Ok(_) | Err(_) => Err(PlanFault::TooFar { millis, max: DURATION_MS_MAX }),
    }
}

/// The labels of what `absent` gives: those that its selector pins with `=`, each once. Prometheus drops a label that
/// another matcher names again.
fn pinned(expr: &Expr) -> Labels {
    let mut labels = Labels::default();
    let Expr::VectorSelector(selector) = expr else { return labels };
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector.matchers.matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        if matches!(matcher.op, MatchOp::Equal) && !seen.contains(&matcher.name.as_str()) {
            labels.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            labels.set(&matcher.name, "");
        }
    }
    labels
}
