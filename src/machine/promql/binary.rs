//! Binary operators between vectors: who matches whom, and what comes of it.

use super::fault::EvalFault;
use super::functions::Operator;
use super::groups::Groups;
use super::vector::{Item, Lookup, Projection, distinct, nameless};
use crate::wire::Labels;
use std::cell::RefCell;

/// How many elements of one side may match one of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cardinality {
    /// One to one.
    OneToOne,
    /// `group_left`: many on the left. These labels come from the right.
    ManyToOne(Vec<String>),
    /// `group_right`: many on the right. These labels come from the left.
    OneToMany(Vec<String>),
}

/// A binary operator's modifiers.
#[derive(Debug, Clone)]
pub(super) struct Matching {
    pub(super) operator: Operator,
    /// `bool`: a comparison gives 1 or 0 and filters nothing.
    pub(super) returns_bool: bool,
    /// `on` or `ignoring`.
    pub(super) on: Projection,
    pub(super) cardinality: Cardinality,
    /// Value of an element of the left side where only the right one is there.
    pub(super) fill_left: Option<f64>,
    /// Value of an element of the right side where only the left one is there.
    pub(super) fill_right: Option<f64>,
}

/// How the labels of an evaluation are treated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labelling<'g> {
    /// The store's hash key.
    pub(super) key: u64,
    /// What is remembered of elements that are alike; without it the same comes out.
    pub(super) groups: Option<&'g RefCell<Groups>>,
    /// Whether names go when the evaluation is done, and not before.
    pub(super) late: bool,
    /// Whether nothing is left out for its value: who reports is asked for, and not for whom something holds.
    pub(super) unfiltered: bool,
}

impl Matching {
    /// `/` without a modifier.
    pub(super) fn division() -> Self {
        Self {
            operator: Operator::Arithmetic(|a, b| a / b),
            returns_bool: false,
            on: Projection::except(&[]),
            cardinality: Cardinality::OneToOne,
            fill_left: None,
            fill_right: None,
        }
    }

    /// Whether the metric's name means nothing in the result.
    fn drops_name(&self) -> bool {
        matches!(self.operator, Operator::Arithmetic(_)) || self.returns_bool
    }

    /// The value of the result; `None` where a comparison filters it out.
    fn value(&self, left: f64, right: f64, unfiltered: bool) -> Option<f64> {
        match self.operator {
            Operator::Arithmetic(compute) => Some(compute(left, right)),
            Operator::Comparison(holds) if self.returns_bool => Some(f64::from(holds(&left, &right))),
            Operator::Comparison(holds) => (unfiltered || holds(&left, &right)).then_some(left),
            Operator::And | Operator::Or | Operator::Unless => unreachable!("a set operator has no value"),
        }
    }

    /// Two scalars. A comparison between scalars is always `bool`.
    pub(super) fn scalars(&self, left: f64, right: f64) -> f64 {
        self.value(left, right, false).unwrap_or(f64::NAN)
    }

    /// A vector and a scalar. A filter gives the vector's values even where the vector stands on the right.
    pub(super) fn with_scalar<'a>(
        &self,
        labelling: Labelling<'_>,
        items: Vec<Item<'a>>,
        scalar: f64,
        scalar_left: bool,
    ) -> Result<Vec<Item<'a>>, EvalFault> {
        let filters = matches!(self.operator, Operator::Comparison(_)) && !self.returns_bool;
        let result = items.into_iter().filter_map(|item| {
            let (left, right) = if scalar_left { (scalar, item.value) } else { (item.value, scalar) };
            let value = self.value(left, right, labelling.unfiltered)?;
            Some(if filters { item } else { item.with_value(value) })
        });
        let result = result.collect();
        if filters { Ok(result) } else { nameless(labelling, result) }
    }

    /// Two vectors.
    pub(super) fn vectors<'a>(
        &self,
        labelling: Labelling<'_>,
        left: Vec<Item<'a>>,
        right: Vec<Item<'a>>,
    ) -> Result<Vec<Item<'a>>, EvalFault> {
        match self.operator {
            Operator::Arithmetic(_) | Operator::Comparison(_) => self.matched(labelling, left, right),
            Operator::And => Ok(self.having(labelling, left, &right, true)),
            Operator::Unless if labelling.unfiltered => Ok(left),
            Operator::Unless => Ok(self.having(labelling, left, &right, false)),
            Operator::Or => {
                let only_right = self.having(labelling, right, &left, false);
                distinct(labelling, left.into_iter().chain(only_right).collect())
            }
        }
    }

    /// The elements that have a match on the other side, or those that have none.
    fn having<'a>(
        &self,
        labelling: Labelling<'_>,
        items: Vec<Item<'a>>,
        others: &[Item<'_>],
        matched: bool,
    ) -> Vec<Item<'a>> {
        let mut lookup = Lookup::new(labelling, &self.on);
        for (at, other) in others.iter().enumerate() {
            _ = lookup.find_or_enter(other, at, |number| &others[number]);
        }
        let has = |item: &Item<'_>| lookup.find(item, |number| &others[number]).is_some();
        items.into_iter().filter(|item| has(item) == matched).collect()
    }

    /// Arithmetic and comparison: each element of the "many" side with the one that it matches.
    fn matched<'a>(
        &self,
        labelling: Labelling<'_>,
        left: Vec<Item<'a>>,
        right: Vec<Item<'a>>,
    ) -> Result<Vec<Item<'a>>, EvalFault> {
        let fills = self.fill_left.is_some() || self.fill_right.is_some();
        if (left.is_empty() || right.is_empty()) && !fills {
            return Ok(Vec::new());
        }
        let swapped = matches!(self.cardinality, Cardinality::OneToMany(_));
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let (fill_many, fill_one) =
            if swapped { (self.fill_right, self.fill_left) } else { (self.fill_left, self.fill_right) };
        let mut lookup = Lookup::new(labelling, &self.on);
        for (at, item) in one.iter().enumerate() {
            if let Ok(first) = lookup.find_or_enter(item, at, |number| &one[number]) {
                return Err(self.many_to_many(&one[first], item, swapped));
            }
        }
        let mut taken = vec![false; one.len()];
        let mut result = Vec::new();
        let mut push = |item: Item<'a>, partner: &Item<'_>| {
            let (l, r) = if swapped { (partner.value, item.value) } else { (item.value, partner.value) };
            if let Some(value) = self.value(l, r, labelling.unfiltered) {
                result.push(self.result(labelling.late, item, partner).with_value(value));
            }
        };
        for item in many {
            let found = lookup.find(&item, |number| &one[number]);
            if let Some(at) = found {
                if self.cardinality == Cardinality::OneToOne && taken[at] {
                    return Err(EvalFault::ManyToOne);
                }
                taken[at] = true;
                push(item, &one[at]);
            } else if let Some(value) = fill_one {
                let filled = Item::new(self.on.labels(&item), value);
                push(item, &filled);
            }
        }
        if let Some(value) = fill_many {
            for (partner, _) in one.iter().zip(&taken).filter(|(_, taken)| !**taken) {
                push(Item::new(self.on.labels(partner), value), partner);
            }
        }
        match self.cardinality {
            // Each match group gave one element, and what tells groups apart is still among its labels. Two that were
            // filled in, from either side, may be alike.
            Cardinality::OneToOne if !fills => Ok(result),
            Cardinality::OneToOne => distinct(labelling, result).map_err(|_| EvalFault::ManyToOne),
            Cardinality::ManyToOne(_) | Cardinality::OneToMany(_) => {
                distinct(labelling, result).map_err(|_| EvalFault::AmbiguousGroup)
            }
        }
    }

    /// The element that a match gives, with its labels and not yet its value.
    fn result<'a>(&self, late: bool, item: Item<'a>, partner: &Item<'_>) -> Item<'a> {
        // A number has no name; 1 and 0 of a comparison may keep theirs for a while.
        let late = late && matches!(self.operator, Operator::Comparison(_));
        let item = if self.drops_name() { item.without_name(late) } else { item };
        let leaves = item.loses_name();
        let renewed = |labels: Labels| {
            let item = Item::new(labels, 0.0);
            if leaves { item.without_name(true) } else { item }
        };
        let included = match &self.cardinality {
            Cardinality::OneToOne => {
                return match &self.on {
                    Projection::All => item,
                    Projection::Except(names) if names.is_empty() => item,
                    Projection::Except(names) => {
                        let mut labels = item.into_labels();
                        labels.retain(|name| names.binary_search_by(|n| (**n).cmp(name)).is_err());
                        renewed(labels)
                    }
                    Projection::Only(_) => renewed(self.on.labels(&item)),
                };
            }
            Cardinality::ManyToOne(included) | Cardinality::OneToMany(included) => included,
        };
        if included.is_empty() {
            return item;
        }
        let mut labels = item.into_labels();
        included.iter().for_each(|name| labels.set(name, partner.get(name)));
        renewed(labels)
    }

    fn many_to_many(&self, a: &Item<'_>, b: &Item<'_>, swapped: bool) -> EvalFault {
        let group = self.on.labels(a);
        let (a, b) = (a.clone().into_labels(), b.clone().into_labels());
        let (first, second) = if a <= b { (a, b) } else { (b, a) };
        EvalFault::ManyToMany { side: if swapped { "left" } else { "right" }, group, first, second }
    }
}
