//! Walks a plan at one time. Types were checked when it was compiled.

use super::aggregate::aggregate;
use super::compile::{Binary, Node};
use super::fault::EvalFault;
use super::range::Range;
use super::vector::{Item, nameless};
use super::{Element, Plan, Value};
use crate::machine::series::{Point, Store};
use crate::wire::Labels;

/// The value of a bound plan.
pub(super) fn evaluate(plan: &Plan, store: &Store, at_ms: i64) -> Result<Value, EvalFault> {
    assert_eq!(plan.selections.len(), plan.leaves.len(), "a plan is bound before it is evaluated");
    let evaluation = Evaluation { plan, store, at_ms };
    let canonical = |value: f64| if value.is_nan() { f64::NAN } else { value };
    match evaluation.operand(&plan.root)? {
        Operand::Scalar(value) => Ok(Value::Scalar(canonical(value))),
        Operand::Vector(items) => {
            let element =
                |item: Item<'_>| Element { value: canonical(item.value), labels: item.into_labels() };
            let mut elements: Vec<Element> = items.into_iter().map(element).collect();
            elements.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
            Ok(Value::Vector(elements))
        }
    }
}

/// What a node comes to.
enum Operand<'a> {
    Scalar(f64),
    Vector(Vec<Item<'a>>),
}

/// One walk.
struct Evaluation<'a> {
    plan: &'a Plan,
    store: &'a Store,
    at_ms: i64,
}

impl<'a> Evaluation<'a> {
    fn operand(&self, node: &Node) -> Result<Operand<'a>, EvalFault> {
        let key = self.store.hash_key();
        let items = match node {
            Node::Number(value) => return Ok(Operand::Scalar(*value)),
            Node::Time => return Ok(Operand::Scalar(self.at_ms as f64 / 1000.0)),
            Node::ToScalar(vector) => {
                let value = match &self.vector(vector)?[..] {
                    [item] => item.value,
                    [] | [_, _, ..] => f64::NAN,
                };
                return Ok(Operand::Scalar(value));
            }
            Node::ToVector(scalar) => vec![Item::new(Labels::default(), self.scalar(scalar)?)],
            Node::Instant(leaf) => self.instant(*leaf),
            Node::OverTime { function, keeps_name, leaf } => {
                let items = self.over_time(*leaf, *function);
                if *keeps_name { items } else { nameless(key, items)? }
            }
            Node::PerElement { function, vector, scalars } => {
                let items = self.vector(vector)?;
                let scalars: Vec<f64> =
                    scalars.iter().map(|node| self.scalar(node)).collect::<Result<_, _>>()?;
                let items = items.into_iter().filter_map(|item| {
                    let value = function(item.value, &scalars)?;
                    Some(item.with_value(value))
                });
                nameless(key, items.collect())?
            }
            Node::Absent { vector, labels } if self.vector(vector)?.is_empty() => {
                vec![Item::new(labels.clone(), 1.0)]
            }
            Node::Absent { .. } => Vec::new(),
            Node::Negate(inner) => match self.operand(inner)? {
                Operand::Scalar(value) => return Ok(Operand::Scalar(-value)),
                Operand::Vector(items) => {
                    let negated = items.into_iter().map(|item| {
                        let value = -item.value;
                        item.with_value(value)
                    });
                    nameless(key, negated.collect())?
                }
            },
            Node::Aggregate { aggregation, grouping, vector } => {
                aggregate(key, *aggregation, grouping, &self.vector(vector)?)
            }
            Node::Binary(binary) => return self.binary(binary),
        };
        Ok(Operand::Vector(items))
    }

    fn binary(&self, Binary { matching, left, right }: &Binary) -> Result<Operand<'a>, EvalFault> {
        let key = self.store.hash_key();
        let items = match (self.operand(left)?, self.operand(right)?) {
            (Operand::Scalar(l), Operand::Scalar(r)) => return Ok(Operand::Scalar(matching.scalars(l, r))),
            (Operand::Vector(l), Operand::Scalar(r)) => matching.with_scalar(key, l, r, false)?,
            (Operand::Scalar(l), Operand::Vector(r)) => matching.with_scalar(key, r, l, true)?,
            (Operand::Vector(l), Operand::Vector(r)) => matching.vectors(key, l, r)?,
        };
        Ok(Operand::Vector(items))
    }

    fn vector(&self, node: &Node) -> Result<Vec<Item<'a>>, EvalFault> {
        match self.operand(node)? {
            Operand::Vector(items) => Ok(items),
            Operand::Scalar(_) => unreachable!("a vector stands here: the parser checks types"),
        }
    }

    fn scalar(&self, node: &Node) -> Result<f64, EvalFault> {
        match self.operand(node)? {
            Operand::Scalar(value) => Ok(value),
            Operand::Vector(_) => unreachable!("a scalar stands here: the parser checks types"),
        }
    }

    /// The window of a leaf, `(after, to]`.
    fn window_ms(&self, leaf: usize) -> (i64, i64) {
        let leaf = &self.plan.leaves[leaf];
        let to_ms = self.at_ms - leaf.offset_ms;
        (to_ms - leaf.window_ms, to_ms)
    }

    /// Each series with its newest sample, unless that says that the series ended.
    fn instant(&self, leaf: usize) -> Vec<Item<'a>> {
        let (after_ms, to_ms) = self.window_ms(leaf);
        let ids = self.store.selected(self.plan.selections[leaf]);
        let items = ids.iter().filter_map(|id| {
            let newest = self.store.latest(*id, after_ms, to_ms).filter(|point| !point.is_stale())?;
            Some(Item::of_series(self.store.labels(*id), newest.value))
        });
        items.collect()
    }

    /// Each series with what a function makes of its samples in the range.
    fn over_time(&self, leaf: usize, function: fn(&Range<'_>) -> Option<f64>) -> Vec<Item<'a>> {
        let (start_ms, end_ms) = self.window_ms(leaf);
        let mut points: Vec<Point> = Vec::new();
        let ids = self.store.selected(self.plan.selections[leaf]);
        let items = ids.iter().filter_map(|id| {
            points.clear();
            points.extend(self.store.window(*id, start_ms, end_ms).iter().filter(|point| !point.is_stale()));
            if points.is_empty() {
                return None;
            }
            let value = function(&Range { points: &points, start_ms, end_ms })?;
            Some(Item::of_series(self.store.labels(*id), value))
        });
        items.collect()
    }
}
