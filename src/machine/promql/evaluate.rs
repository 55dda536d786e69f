//! Walks a plan at one time.

use super::aggregate::{Parameter, aggregate};
use super::binary::Labelling;
use super::fault::EvalFault;
use super::functions::{Aggregation, PerElement};
use super::node::{AggregateNode, BinaryNode, Node, ParameterNode, Ranged, SortNode};
use super::note::Note;
use super::number;
use super::relabel::by_labels;
use super::select::Samples;
use super::vector::{Item, distinct, nameless, settled};
use super::{Element, Plan, Times, Value};
use crate::machine::series::{Point, Store};
use crate::wire::Labels;
use std::collections::BTreeSet;

/// What is asked of a plan beside its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    Nothing,
    /// Nothing, and nothing that was remembered helps: what a test compares with.
    Plainly,
    /// What there is to note.
    Notes,
    /// Who reports, whatever the value: see [`Plan::reporting`].
    WhoReports,
}

/// The value of a bound plan, and what there is to note if anybody wants to know.
pub(super) fn evaluate(
    plan: &Plan,
    store: &Store,
    times: Times,
    asking: Asking,
) -> Result<(Value, Vec<Note>), EvalFault> {
    assert_eq!(plan.selections.len(), plan.leaves.len(), "a plan is bound before it is evaluated");
    let unfiltered = asking == Asking::WhoReports;
    let groups = (asking != Asking::Plainly).then(|| store.groups());
    let labelling = Labelling { key: store.hash_key(), groups, late: plan.late_names, unfiltered };
    let notes = (asking == Asking::Notes).then(BTreeSet::new);
    let mut evaluation = Evaluation { plan, store, times, labelling, notes };
    let operand = evaluation.operand(&plan.root)?;
    let notes = evaluation.notes.into_iter().flatten().collect();
    let value = match operand {
        Operand::Scalar(value) => Value::Scalar(canonical(value)),
        Operand::Text(bytes) => Value::Text(bytes),
        Operand::Vector(items) => {
            let items = settled(labelling, items)?;
            let element =
                |item: Item<'_>| Element { value: canonical(item.value), labels: item.into_labels() };
            let mut elements: Vec<Element> = items.into_iter().map(element).collect();
            if !sorts(plan.root.bare()) {
                elements.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
            }
            Value::Vector(elements)
        }
        Operand::Ranges(ranges) => {
            let labelled = ranges.into_iter().map(|(item, points)| (item.into_labels(), points));
            let mut ranges: Vec<(Labels, Vec<Point>)> = labelled.collect();
            ranges.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Ranges(ranges)
        }
    };
    Ok((value, notes))
}

fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

/// Whether the order of the elements is what the expression is about.
fn sorts(root: &Node) -> bool {
    let ranks = |node: &AggregateNode| matches!(node.aggregation, Aggregation::TopK | Aggregation::BottomK);
    matches!(root, Node::Sort(_)) || matches!(root, Node::Aggregate(node) if ranks(node))
}

/// An element without labels.
fn bare<'a>(value: f64) -> Operand<'a> {
    Operand::Vector(vec![Item::new(Labels::default(), value)])
}

/// What a node comes to.
enum Operand<'a> {
    Scalar(f64),
    Vector(Vec<Item<'a>>),
    Ranges(Samples<'a>),
    Text(Vec<u8>),
}

/// One walk.
pub(super) struct Evaluation<'a> {
    pub(super) plan: &'a Plan,
    pub(super) store: &'a Store,
    pub(super) times: Times,
    pub(super) labelling: Labelling<'a>,
    /// `None` if nobody wants to know.
    notes: Option<BTreeSet<Note>>,
}

impl<'a> Evaluation<'a> {
    /// Notes something, if anybody wants to know.
    pub(super) fn note(&mut self, note: impl FnOnce() -> Note) {
        if let Some(notes) = &mut self.notes {
            notes.insert(note());
        }
    }

    /// Drops the metric's name.
    pub(super) fn nameless(&self, items: Vec<Item<'a>>) -> Result<Vec<Item<'a>>, EvalFault> {
        nameless(self.labelling, items)
    }

    /// Seconds since the epoch.
    fn now(&self) -> f64 {
        self.times.at_ms as f64 / 1000.0
    }

    /// The value of a node. It recurses: what an arm needs on the stack it needs in a function of its own.
    fn operand(&mut self, node: &'a Node) -> Result<Operand<'a>, EvalFault> {
        match node {
            Node::Part(number, inner) => match self.slot(*number) {
                Some(slot) => self.shared(slot, inner).map(Operand::Vector),
                None => self.operand(inner),
            },
            Node::Number(value) => Ok(Operand::Scalar(*value)),
            Node::Text(bytes) => Ok(Operand::Text(bytes.clone())),
            Node::Time => Ok(Operand::Scalar(self.now())),
            Node::ToScalar(vector) => self.only_value(vector).map(Operand::Scalar),
            Node::Ranges(ranged) => self.ranges(ranged).map(Operand::Ranges),
            Node::Binary(binary) => self.binary(binary),
            Node::Negate(inner) => self.negated(inner),
            Node::ToVector(scalar) => self.scalar(scalar).map(bare),
            Node::Now(function) => Ok(bare(function(self.now()))),
            Node::Instant(leaf) => Ok(Operand::Vector(self.instant(*leaf, |point| point.value))),
            Node::SampleTimes(leaf) => self.sample_times(*leaf).map(Operand::Vector),
            Node::Times(vector) => self.times_of(vector).map(Operand::Vector),
            Node::OverTime(node) => self.over_time(node).map(Operand::Vector),
            Node::Calendar { function, vector } => self.calendar(*function, vector).map(Operand::Vector),
            Node::PerElement { function, vector, scalars } => {
                self.per_element(*function, vector, scalars).map(Operand::Vector)
            }
            Node::Absent { vector, labels } => self.absent(vector, labels).map(Operand::Vector),
            Node::AbsentOverTime { range, labels } => {
                self.absent_over_time(range, labels).map(Operand::Vector)
            }
            Node::Replace { vector, replace } => {
                self.relabelled(vector, |item| replace.apply(item)).map(Operand::Vector)
            }
            Node::Join { vector, join } => {
                self.relabelled(vector, |item| join.apply(item)).map(Operand::Vector)
            }
            Node::Sort(node) => self.sorted(node).map(Operand::Vector),
            Node::Histogram(node) => self.histogram(node).map(Operand::Vector),
            Node::Aggregate(node) => self.aggregate(node).map(Operand::Vector),
        }
    }

    /// Whether nothing that is remembered or known beforehand may help: what a test compares with.
    pub(super) fn plainly(&self) -> bool {
        self.labelling.groups.is_none()
    }

    /// The slot of a part, if there is one and it may be looked at.
    fn slot(&self, number: usize) -> Option<usize> {
        if self.plainly() || self.notes.is_some() {
            return None;
        }
        let slot = self.plan.slots.get(number).copied().flatten()?;
        Some(2 * slot + usize::from(self.labelling.unfiltered))
    }

    /// What a part comes to: computed where that is not known yet.
    fn shared(&mut self, slot: usize, part: &'a Node) -> Result<Vec<Item<'a>>, EvalFault> {
        let (store, when) = (self.store, (self.times.at_ms, self.store.version()));
        if let Some(kept) = store.shared().borrow_mut().get(when, slot) {
            return Ok(kept.iter().map(|kept| Item::of_kept(kept, store)).collect());
        }
        let mut items = self.vector(part)?;
        let kept = items.iter_mut().map(Item::keep).collect();
        store.shared().borrow_mut().put(slot, kept);
        Ok(items)
    }

    fn only_value(&mut self, vector: &'a Node) -> Result<f64, EvalFault> {
        Ok(match &self.vector(vector)?[..] {
            [item] => item.value,
            [] | [_, _, ..] => f64::NAN,
        })
    }

    fn negated(&mut self, inner: &'a Node) -> Result<Operand<'a>, EvalFault> {
        match self.operand(inner)? {
            Operand::Scalar(value) => Ok(Operand::Scalar(-value)),
            Operand::Vector(items) => self.mapped(items, |value| Some(-value)).map(Operand::Vector),
            Operand::Ranges(_) | Operand::Text(_) => unreachable!("the parser checks types"),
        }
    }

    fn sample_times(&mut self, leaf: usize) -> Result<Vec<Item<'a>>, EvalFault> {
        let items = self.instant(leaf, |point| point.time_ms as f64 / 1000.0);
        self.nameless(items)
    }

    fn times_of(&mut self, vector: &'a Node) -> Result<Vec<Item<'a>>, EvalFault> {
        let now = self.now();
        let items = self.vector(vector)?;
        self.mapped(items, |_| Some(now))
    }

    fn calendar(&mut self, function: fn(f64) -> f64, vector: &'a Node) -> Result<Vec<Item<'a>>, EvalFault> {
        let items = self.vector(vector)?;
        self.mapped(items, |value| Some(function(value)))
    }

    fn per_element(
        &mut self,
        function: PerElement,
        vector: &'a Node,
        scalars: &'a [Node],
    ) -> Result<Vec<Item<'a>>, EvalFault> {
        let items = self.vector(vector)?;
        let scalars = self.scalars(scalars)?;
        self.mapped(items, |value| function(value, &scalars))
    }

    fn absent(&mut self, vector: &'a Node, labels: &Labels) -> Result<Vec<Item<'a>>, EvalFault> {
        let gone = self.vector(vector)?.is_empty();
        Ok(gone.then(|| Item::new(labels.clone(), 1.0)).into_iter().collect())
    }

    fn absent_over_time(&mut self, range: &'a Ranged, labels: &Labels) -> Result<Vec<Item<'a>>, EvalFault> {
        let gone = self.ranges(range)?.is_empty();
        Ok(gone.then(|| Item::new(labels.clone(), 1.0)).into_iter().collect())
    }

    fn relabelled(
        &mut self,
        vector: &'a Node,
        relabel: impl Fn(Item<'a>) -> Item<'a>,
    ) -> Result<Vec<Item<'a>>, EvalFault> {
        let items = self.vector(vector)?.into_iter().map(relabel);
        distinct(self.labelling, items.collect())
    }

    /// Each element with another value and without its name; `None` leaves it out.
    fn mapped(
        &self,
        items: Vec<Item<'a>>,
        function: impl Fn(f64) -> Option<f64>,
    ) -> Result<Vec<Item<'a>>, EvalFault> {
        let items = items.into_iter().filter_map(|item| {
            let value = function(item.value)?;
            Some(item.with_value(value))
        });
        self.nameless(items.collect())
    }

    /// By values NaN comes last either way.
    fn sorted(&mut self, node: &'a SortNode) -> Result<Vec<Item<'a>>, EvalFault> {
        let mut items = self.vector(&node.vector)?;
        if self.times.start_ms != self.times.end_ms {
            self.note(|| node.mark.sorted_range(if node.by.is_some() { "sort_by_label" } else { "sort" }));
        }
        let Some(names) = &node.by else {
            items.sort_by(|a, b| {
                let (low, high) = if node.descending { (b, a) } else { (a, b) };
                a.value.is_nan().cmp(&b.value.is_nan()).then(number::nan_first(low.value, high.value))
            });
            return Ok(items);
        };
        let mut labelled: Vec<(Labels, Item<'a>)> =
            items.into_iter().map(|item| (item.clone().into_labels(), item)).collect();
        labelled.sort_by(|(a, _), (b, _)| {
            let order = by_labels(names, a, b);
            if node.descending { order.reverse() } else { order }
        });
        Ok(labelled.into_iter().map(|(_, item)| item).collect())
    }

    fn aggregate(&mut self, node: &'a AggregateNode) -> Result<Vec<Item<'a>>, EvalFault> {
        let parameter = match &node.parameter {
            ParameterNode::Nothing => Parameter::Nothing,
            ParameterNode::Label(label) => Parameter::Label(label),
            ParameterNode::Number(number) => Parameter::Number(self.scalar(number)?),
        };
        let items = self.vector(&node.vector)?;
        match (node.aggregation, parameter) {
            (Aggregation::Quantile, Parameter::Number(q)) if !number::is_quantile(q) => {
                self.note(|| node.mark.quantile(q));
            }
            (Aggregation::LimitRatio, Parameter::Number(ratio)) if ratio.abs() > 1.0 => {
                self.note(|| node.mark.ratio(ratio, ratio.clamp(-1.0, 1.0)));
            }
            _ => {}
        }
        if self.labelling.unfiltered && node.aggregation.chooses() {
            return Ok(items);
        }
        aggregate(self.labelling, node.aggregation, parameter, &node.grouping, items)
    }

    fn binary(
        &mut self,
        BinaryNode { matching, left, right }: &'a BinaryNode,
    ) -> Result<Operand<'a>, EvalFault> {
        let labelling = self.labelling;
        let items = match (self.operand(left)?, self.operand(right)?) {
            (Operand::Scalar(l), Operand::Scalar(r)) => return Ok(Operand::Scalar(matching.scalars(l, r))),
            (Operand::Vector(l), Operand::Scalar(r)) => matching.with_scalar(labelling, l, r, false)?,
            (Operand::Scalar(l), Operand::Vector(r)) => matching.with_scalar(labelling, r, l, true)?,
            (Operand::Vector(l), Operand::Vector(r)) => matching.vectors(labelling, l, r)?,
            _ => unreachable!("the parser checks types"),
        };
        Ok(Operand::Vector(items))
    }

    pub(super) fn vector(&mut self, node: &'a Node) -> Result<Vec<Item<'a>>, EvalFault> {
        match self.operand(node)? {
            Operand::Vector(items) => Ok(items),
            Operand::Scalar(_) | Operand::Ranges(_) | Operand::Text(_) => {
                unreachable!("a vector stands here: the parser checks types")
            }
        }
    }

    pub(super) fn scalar(&mut self, node: &'a Node) -> Result<f64, EvalFault> {
        match self.operand(node)? {
            Operand::Scalar(value) => Ok(value),
            Operand::Vector(_) | Operand::Ranges(_) | Operand::Text(_) => {
                unreachable!("a scalar stands here: the parser checks types")
            }
        }
    }

    pub(super) fn scalars(&mut self, nodes: &'a [Node]) -> Result<Vec<f64>, EvalFault> {
        nodes.iter().map(|node| self.scalar(node)).collect()
    }
}
