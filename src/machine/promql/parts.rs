//! An expression part by part, each part with its value: what `rules explain` shows.
//!
//! A part is compiled from its own text and bound to the selections of the whole: the selectors of a text are numbered
//! in its order, so those of a part follow each other.

use super::compile::compile;
use super::fault::{EvalFault, PlanFault};
use super::node::{Node, Ranged};
use super::syntax::{Expr, Kind, Type, parse};
use super::{Element, Plan, Settings, Value};
use crate::machine::series::{Point, Store};
use crate::wire::Labels;

/// Series, each with samples in order of time.
pub type Samples = Vec<(Labels, Vec<Point>)>;

/// A part of an expression.
#[derive(Debug)]
pub struct Part {
    /// How deep it stands in the whole, which is 0.
    pub depth: usize,
    /// Its text, parentheses around it left out.
    pub text: String,
    plan: Plan,
    /// What it compares and with what, where it is a comparison with a number.
    comparison: Option<(Plan, Order, Plan)>,
    /// For a selector: the samples in its window, and the window's length, milliseconds.
    samples: Option<(i64, Plan)>,
}

/// Which side of a comparison makes it true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Above,
    Below,
    Equal,
}

/// The element that is nearest to making a comparison true, or furthest beyond.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    /// The element, as it is compared.
    pub element: Element,
    /// What it is compared with.
    pub bound: f64,
}

impl Part {
    /// Its value at `at_ms`, milliseconds since the epoch.
    pub fn value(&self, store: &Store, at_ms: i64) -> Result<Value, EvalFault> {
        self.plan.evaluate(store, at_ms)
    }

    /// For a selector, each of its series with the samples in the window that it looks at, and that window's length,
    /// milliseconds. Series in order of their labels, samples in order of time.
    pub fn samples(&self, store: &Store, at_ms: i64) -> Option<(i64, Samples)> {
        let (window_ms, plan) = self.samples.as_ref()?;
        match plan.evaluate(store, at_ms) {
            Ok(Value::Ranges(ranges)) => Some((*window_ms, ranges)),
            Ok(Value::Scalar(_) | Value::Vector(_) | Value::Text(_)) | Err(_) => None,
        }
    }

    /// For a comparison with a number: which of what is compared is nearest to it, on the side from which it comes true.
    /// Only elements whose labels are `mine` are looked at.
    pub fn nearest(&self, store: &Store, at_ms: i64, mine: impl Fn(&Labels) -> bool) -> Option<Nearest> {
        let (compared, order, bound) = self.comparison.as_ref()?;
        let (Ok(compared), Ok(Value::Scalar(bound))) =
            (compared.evaluate(store, at_ms), bound.evaluate(store, at_ms))
        else {
            return None;
        };
        let elements = match compared {
            Value::Vector(elements) => elements,
            Value::Scalar(value) => vec![Element { labels: Labels::default(), value }],
            Value::Ranges(_) | Value::Text(_) => return None,
        };
        let rank = |element: &Element| match order {
            Order::Above => element.value,
            Order::Below => -element.value,
            Order::Equal => -(element.value - bound).abs(),
        };
        let numbers = elements.into_iter().filter(|element| !element.value.is_nan() && mine(&element.labels));
        let element = numbers.max_by(|a, b| rank(a).total_cmp(&rank(b)))?;
        Some(Nearest { element, bound })
    }
}

impl Plan {
    /// The parts of the expression that this plan was compiled from, the whole first and each before its own parts. Plain
    /// numbers and strings are no parts, nor is what stands in a subquery: that has a value at every step.
    pub fn parts(&self, expr: &str) -> Result<Vec<Part>, PlanFault> {
        let tree = parse(expr, Settings::default())?;
        let mut walk = Walk { whole: self, expr, leaf: 0, parts: Vec::new() };
        walk.visit(&tree, 0)?;
        Ok(walk.parts)
    }
}

struct Walk<'a> {
    whole: &'a Plan,
    expr: &'a str,
    /// How many selectors were passed.
    leaf: usize,
    parts: Vec<Part>,
}

impl Walk<'_> {
    fn text(&self, expr: &Expr) -> &str {
        let place = expr.inner().place;
        self.expr.get(place.start..place.end).unwrap_or_default()
    }

    /// The plan of a part whose first selector is number `first` of the whole.
    fn plan(&self, expr: &Expr, first: usize) -> Result<Plan, PlanFault> {
        let mut plan = compile(self.text(expr), Settings::default(), false)?;
        let count = plan.leaves.len();
        let Some(selections) = self.whole.selections.get(first..first + count) else {
            return Err(PlanFault::syntax(self.expr, 0, "it is not the expression of this plan"));
        };
        plan.bind(selections);
        Ok(plan)
    }

    fn visit(&mut self, expr: &Expr, depth: usize) -> Result<(), PlanFault> {
        let expr = expr.inner();
        if matches!(expr.kind, Kind::Number(_) | Kind::Text(_)) {
            return Ok(());
        }
        let first = self.leaf;
        let plan = self.plan(expr, first)?;
        let leaves = plan.leaves.len();
        let samples = match &expr.kind {
            Kind::Selector(_) => {
                let mut ranges = self.plan(expr, first)?;
                ranges.root = Node::Ranges(Ranged::Leaf(0));
                ranges.leaves.first().map(|leaf| leaf.window_ms).map(|window_ms| (window_ms, ranges))
            }
            Kind::Number(_)
            | Kind::Text(_)
            | Kind::Paren(_)
            | Kind::Negate(_)
            | Kind::Subquery(_)
            | Kind::Call(..)
            | Kind::Aggregate(_)
            | Kind::Binary(_) => None,
        };
        let comparison = self.comparison(expr, first)?;
        let text = self.text(expr).to_owned();
        self.parts.push(Part { depth, text, plan, comparison, samples });
        match &expr.kind {
            Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Subquery(_) => {}
            Kind::Paren(inner) | Kind::Negate(inner) => self.visit(inner, depth + 1)?,
            Kind::Call(_, arguments) => {
                arguments.iter().try_for_each(|argument| self.visit(argument, depth + 1))?;
            }
            Kind::Aggregate(aggregate) => {
                aggregate.parameter.iter().try_for_each(|parameter| self.visit(parameter, depth + 1))?;
                self.visit(&aggregate.vector, depth + 1)?;
            }
            Kind::Binary(binary) => {
                self.visit(&binary.left, depth + 1)?;
                self.visit(&binary.right, depth + 1)?;
            }
        }
        self.leaf = first + leaves;
        Ok(())
    }

    fn comparison(&self, expr: &Expr, first: usize) -> Result<Option<(Plan, Order, Plan)>, PlanFault> {
        let Kind::Binary(binary) = &expr.kind else { return Ok(None) };
        if binary.left.of_type() != Type::Vector || binary.right.of_type() != Type::Scalar {
            return Ok(None);
        }
        let order = match binary.symbol {
            ">" | ">=" => Order::Above,
            "<" | "<=" => Order::Below,
            "==" => Order::Equal,
            _ => return Ok(None),
        };
        let left = self.plan(&binary.left, first)?;
        let right = self.plan(&binary.right, first + left.leaves.len())?;
        Ok(Some((left, order, right)))
    }
}
