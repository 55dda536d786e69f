//! Instant vectors on their way through an expression. An element borrows the labels of its series until an operation
//! makes new ones; dropping the metric's name is a flag.

use super::fault::EvalFault;
use crate::machine::index::Buckets;
use crate::wire::{Labels, labels::METRIC_NAME};
use siphasher::sip::SipHasher13;
use std::borrow::Cow;
use std::hash::{Hash, Hasher};

/// Labels that say what a metric is: who drops its name drops these, too, since they no longer hold.
const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// What becomes of the metric's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Stays,
    /// It goes when the evaluation is done; until then it groups and matches (`promql-delayed-name-removal`).
    Leaves,
    Gone,
}

/// One element.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    labels: Cow<'a, Labels>,
    name: Name,
    pub(super) value: f64,
}

impl<'a> Item<'a> {
    /// An element with the labels of a series.
    pub(super) fn of_series(labels: &'a Labels, value: f64) -> Self {
        Self { labels: Cow::Borrowed(labels), name: Name::Stays, value }
    }

    /// An element with labels of its own.
    pub(super) fn new(labels: Labels, value: f64) -> Self {
        Self { labels: Cow::Owned(labels), name: Name::Stays, value }
    }

    /// The same element without the metric's name: at once, or `late`.
    pub(super) fn without_name(self, late: bool) -> Self {
        let name = if late && self.name != Name::Gone { Name::Leaves } else { Name::Gone };
        Self { name, ..self }
    }

    /// Whether its name is on its way out.
    pub(super) fn loses_name(&self) -> bool {
        self.name == Name::Leaves
    }

    /// The same element with another value.
    pub(super) fn with_value(self, value: f64) -> Self {
        Self { value, ..self }
    }

    /// The value of a label; empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        if self.name == Name::Gone && METADATA.contains(&name) { "" } else { self.labels.get(name) }
    }

    /// Labels in order of their names.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().filter(|(name, _)| self.name != Name::Gone || !METADATA.contains(name))
    }

    /// The labels as a set of their own.
    pub(super) fn into_labels(self) -> Labels {
        let mut labels = self.labels.into_owned();
        if self.name == Name::Gone {
            METADATA.iter().for_each(|name| labels.set(name, ""));
        }
        labels
    }
}

/// Which labels count when elements are grouped or matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Projection {
    /// Every label: elements are the same only if their label sets are equal.
    All,
    /// `by` and `on`: these and no other. Sorted.
    Only(Vec<Box<str>>),
    /// `without` and `ignoring`: all but these and the metric's name. Sorted.
    Except(Vec<Box<str>>),
}

impl Projection {
    /// `by` or `on` these labels.
    pub(super) fn only(names: &[String]) -> Self {
        Self::Only(sorted(names))
    }

    /// `without` or `ignoring` these labels.
    pub(super) fn except(names: &[String]) -> Self {
        Self::Except(sorted(names))
    }

    fn takes(&self, name: &str) -> bool {
        let listed = |names: &[Box<str>]| names.binary_search_by(|n| (**n).cmp(name)).is_ok();
        match self {
            Self::All => true,
            Self::Only(names) => listed(names),
            Self::Except(names) => name != METRIC_NAME && !listed(names),
        }
    }

    fn view<'i>(&self, item: &'i Item<'_>) -> impl Iterator<Item = (&'i str, &'i str)> {
        item.labels().filter(|(name, _)| self.takes(name))
    }

    /// A hash of the labels that count.
    pub(super) fn hash(&self, key: u64, item: &Item<'_>) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(key, 2);
        self.view(item).for_each(|pair| pair.hash(&mut hasher));
        hasher.finish()
    }

    /// Whether two elements have the labels that count in common.
    pub(super) fn same(&self, a: &Item<'_>, b: &Item<'_>) -> bool {
        self.view(a).eq(self.view(b))
    }

    /// The labels that count, as a set.
    pub(super) fn labels(&self, item: &Item<'_>) -> Labels {
        Labels::new(self.view(item))
    }
}

fn sorted(names: &[String]) -> Vec<Box<str>> {
    let names: std::collections::BTreeSet<&str> = names.iter().map(String::as_str).collect();
    names.into_iter().map(Into::into).collect()
}

/// Elements, found by the labels that count. Holds at most one of each.
#[derive(Debug)]
pub(super) struct Lookup<'p> {
    key: u64,
    projection: &'p Projection,
    buckets: Buckets,
}

impl<'p> Lookup<'p> {
    /// An empty look-up; `key` is the store's hash key.
    pub(super) fn new(key: u64, projection: &'p Projection) -> Self {
        Self { key, projection, buckets: Buckets::default() }
    }

    /// The number under which a matching element was entered; `item_of` gives the element of a number.
    pub(super) fn find<'i, 'a: 'i>(
        &self,
        item: &Item<'_>,
        item_of: impl Fn(usize) -> &'i Item<'a>,
    ) -> Option<usize> {
        let hash = self.projection.hash(self.key, item);
        let same = |number: u32| self.projection.same(item_of(number as usize), item);
        self.buckets.find(hash, same).map(|number| number as usize)
    }

    /// The number of a matching element, or `Err` after entering this one under `number`.
    pub(super) fn find_or_enter<'i, 'a: 'i>(
        &mut self,
        item: &Item<'_>,
        number: usize,
        item_of: impl Fn(usize) -> &'i Item<'a>,
    ) -> Result<usize, ()> {
        let hash = self.projection.hash(self.key, item);
        let same = |number: u32| self.projection.same(item_of(number as usize), item);
        match self.buckets.find(hash, same) {
            Some(found) => Ok(found as usize),
            None => {
                // A vector has fewer elements than the store has series, whose ids have 32 bits; beyond that an
                // element would only not be found again.
                self.buckets.insert(hash, u32::try_from(number).unwrap_or(u32::MAX));
                Err(())
            }
        }
    }
}

/// Drops the metric's name. Elements of one name stay distinct by that; of several, it is checked.
pub(super) fn nameless<'a>(key: u64, late: bool, items: Vec<Item<'a>>) -> Result<Vec<Item<'a>>, EvalFault> {
    let alike = |a: &Item<'_>, b: &Item<'_>| METADATA.iter().all(|name| a.get(name) == b.get(name));
    let one_name = late || items.windows(2).all(|pair| alike(&pair[0], &pair[1]));
    let items = items.into_iter().map(|item| item.without_name(late)).collect();
    if one_name { Ok(items) } else { distinct(key, items) }
}

/// Lets the names go that were on their way out.
pub(super) fn settled<'a>(key: u64, items: Vec<Item<'a>>) -> Result<Vec<Item<'a>>, EvalFault> {
    if !items.iter().any(Item::loses_name) {
        return Ok(items);
    }
    let settle = |item: Item<'a>| if item.loses_name() { item.without_name(false) } else { item };
    distinct(key, items.into_iter().map(settle).collect())
}

/// Refuses a vector in which two elements have the same labels.
pub(super) fn distinct<'a>(key: u64, items: Vec<Item<'a>>) -> Result<Vec<Item<'a>>, EvalFault> {
    let mut seen = Lookup::new(key, &Projection::All);
    for (at, item) in items.iter().enumerate() {
        if seen.find_or_enter(item, at, |number| &items[number]).is_ok() {
            return Err(EvalFault::SameLabels { labels: item.clone().into_labels() });
        }
    }
    Ok(items)
}
