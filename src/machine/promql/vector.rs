//! Instant vectors on their way through an expression. An element borrows the labels of its series until an operation
//! makes new ones; dropping the metric's name is a flag.

use super::binary::Labelling;
use super::fault::EvalFault;
use super::groups::Groups;
use crate::machine::index::Buckets;
use crate::machine::series::{SeriesId, Store};
use crate::wire::{Labels, labels::METRIC_NAME};
use siphasher::sip::SipHasher13;
use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Labels that say what a metric is: who drops its name drops these, too, since they no longer hold.
const METADATA: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// So few elements are compared as they are.
const FEW: usize = 8;

/// What becomes of the metric's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Stays,
    /// It goes when the evaluation is done; until then it groups and matches (`promql-delayed-name-removal`).
    Leaves,
    Gone,
}

/// Who holds the labels of an element.
#[derive(Debug, Clone)]
enum Held<'a> {
    /// They are a series'.
    Series(SeriesId, &'a Labels),
    Own(Labels),
    /// They are those of a group.
    Group(Arc<Labels>),
}

impl Held<'_> {
    fn get(&self) -> &Labels {
        match self {
            Self::Series(_, labels) => labels,
            Self::Own(labels) => labels,
            Self::Group(labels) => labels,
        }
    }
}

/// One element.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    labels: Held<'a>,
    name: Name,
    pub(super) value: f64,
}

impl<'a> Item<'a> {
    /// An element with the labels of a series.
    pub(super) fn of_series(id: SeriesId, labels: &'a Labels, value: f64) -> Self {
        Self { labels: Held::Series(id, labels), name: Name::Stays, value }
    }

    /// An element with the labels of a group.
    pub(super) fn of_group(labels: Arc<Labels>, value: f64) -> Self {
        Self { labels: Held::Group(labels), name: Name::Stays, value }
    }

    /// The same element as it was kept.
    pub(super) fn of_kept(kept: &Kept, store: &'a Store) -> Self {
        let labels = match &kept.labels {
            KeptLabels::Series(id) => Held::Series(*id, store.labels(*id)),
            KeptLabels::Shared(labels) => Held::Group(Arc::clone(labels)),
        };
        Self { labels, name: kept.name, value: kept.value }
    }

    /// What is to be kept of it. Labels of its own are from now on shared with that.
    pub(super) fn keep(&mut self) -> Kept {
        if let Held::Own(labels) = &mut self.labels {
            self.labels = Held::Group(Arc::new(std::mem::take(labels)));
        }
        let labels = match &self.labels {
            Held::Series(id, _) => KeptLabels::Series(*id),
            Held::Group(labels) => KeptLabels::Shared(Arc::clone(labels)),
            Held::Own(_) => unreachable!("they are shared by now"),
        };
        Kept { labels, name: self.name, value: self.value }
    }

    /// The series that its labels are those of, and whether without the name.
    pub(super) fn series(&self) -> Option<(SeriesId, bool)> {
        match &self.labels {
            Held::Series(id, _) => Some((*id, self.name == Name::Gone)),
            Held::Own(_) | Held::Group(_) => None,
        }
    }

    /// An element with labels of its own.
    pub(super) fn new(labels: Labels, value: f64) -> Self {
        Self { labels: Held::Own(labels), name: Name::Stays, value }
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
        if self.name == Name::Gone && METADATA.contains(&name) { "" } else { self.labels.get().get(name) }
    }

    /// Labels in order of their names.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.get().iter().filter(|(name, _)| self.name != Name::Gone || !METADATA.contains(name))
    }

    /// The labels as a set of their own.
    pub(super) fn into_labels(self) -> Labels {
        let mut labels = match self.labels {
            Held::Series(_, labels) => labels.clone(),
            Held::Own(labels) => labels,
            Held::Group(labels) => Arc::unwrap_or_clone(labels),
        };
        if self.name == Name::Gone {
            METADATA.iter().for_each(|name| labels.set(name, ""));
        }
        labels
    }
}

/// What is kept of an element from one expression to the next: it borrows nothing of the store.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    labels: KeptLabels,
    name: Name,
    value: f64,
}

#[derive(Debug, Clone)]
enum KeptLabels {
    Series(SeriesId),
    Shared(Arc<Labels>),
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

    pub(super) fn takes_of<'i>(&self, item: &'i Item<'_>) -> impl Iterator<Item = (&'i str, &'i str)> {
        item.labels().filter(|(name, _)| self.takes(name))
    }

    /// A hash of the labels that count.
    pub(super) fn hash(&self, key: u64, item: &Item<'_>) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(key, 2);
        self.takes_of(item).for_each(|pair| pair.hash(&mut hasher));
        hasher.finish()
    }

    /// Whether two elements have the labels that count in common.
    pub(super) fn same(&self, a: &Item<'_>, b: &Item<'_>) -> bool {
        self.takes_of(a).eq(self.takes_of(b))
    }

    /// The labels that count, as a set.
    pub(super) fn labels(&self, item: &Item<'_>) -> Labels {
        Labels::new(self.takes_of(item))
    }
}

fn sorted(names: &[String]) -> Vec<Box<str>> {
    let names: std::collections::BTreeSet<&str> = names.iter().map(String::as_str).collect();
    names.into_iter().map(Into::into).collect()
}

/// Elements, found by the labels that count. Holds at most one of each. Between two calls of one look-up no other may
/// begin that remembers groups: what goes on while elements are computed is [`Lookup::plain`].
#[derive(Debug)]
pub(super) struct Lookup<'p> {
    key: u64,
    projection: &'p Projection,
    buckets: Buckets,
    dense: Option<Dense<'p>>,
}

/// The same by the numbers of groups.
#[derive(Debug)]
struct Dense<'p> {
    groups: &'p RefCell<Groups>,
    table: usize,
    /// For each group, one more than the number of its element; 0 where there is none.
    numbers: Vec<u32>,
}

impl<'p> Lookup<'p> {
    /// An empty look-up.
    pub(super) fn new(labelling: Labelling<'p>, projection: &'p Projection) -> Self {
        let dense = labelling.groups.map(|groups| {
            let table = groups.borrow_mut().table(projection);
            let numbers = vec![0; groups.borrow().count(table)];
            Dense { groups, table, numbers }
        });
        Self { dense, ..Self::plain(labelling.key, projection) }
    }

    /// The same without any memory of groups; `key` is the store's hash key.
    pub(super) fn plain(key: u64, projection: &'p Projection) -> Self {
        Self { key, projection, buckets: Buckets::default(), dense: None }
    }

    /// The number under which a matching element was entered; `item_of` gives the element of a number.
    pub(super) fn find<'i, 'a: 'i>(
        &self,
        item: &Item<'_>,
        item_of: impl Fn(usize) -> &'i Item<'a>,
    ) -> Option<usize> {
        if let Some(Dense { groups, table, numbers }) = &self.dense {
            let group = groups.borrow_mut().find(*table, self.key, item)?;
            let number = numbers.get(group as usize).copied().filter(|number| *number > 0)?;
            return Some(number as usize - 1);
        }
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
        // A vector has fewer elements than the store has series, whose ids have 32 bits; beyond that an element would
        // only not be found again.
        let entered = u32::try_from(number).unwrap_or(u32::MAX);
        if let Some(Dense { groups, table, numbers }) = &mut self.dense {
            let group = groups.borrow_mut().enter(*table, self.key, item) as usize;
            if numbers.len() <= group {
                numbers.resize(group + 1, 0);
            }
            let found = std::mem::replace(&mut numbers[group], entered.saturating_add(1));
            if found == 0 {
                return Err(());
            }
            numbers[group] = found;
            return Ok(found as usize - 1);
        }
        let hash = self.projection.hash(self.key, item);
        let same = |number: u32| self.projection.same(item_of(number as usize), item);
        match self.buckets.find(hash, same) {
            Some(found) => Ok(found as usize),
            None => {
                self.buckets.insert(hash, entered);
                Err(())
            }
        }
    }

    /// An element with the labels that count of this one, which was entered. A name that leaves goes on leaving.
    pub(super) fn projected<'a>(&self, item: &Item<'_>, value: f64) -> Item<'a> {
        let group = self.dense.as_ref().and_then(|Dense { groups, table, .. }| {
            let mut groups = groups.borrow_mut();
            let group = groups.find(*table, self.key, item)?;
            Some(groups.labels(*table, group))
        });
        let projected = match group {
            Some(labels) => Item::of_group(labels, value),
            None => Item::new(self.projection.labels(item), value),
        };
        if item.loses_name() { projected.without_name(true) } else { projected }
    }
}

/// Drops the metric's name. Elements of one name stay distinct by that; of several, it is checked.
pub(super) fn nameless<'a>(
    labelling: Labelling<'_>,
    items: Vec<Item<'a>>,
) -> Result<Vec<Item<'a>>, EvalFault> {
    let late = labelling.late;
    let one_name = late || of_one_name(labelling, &items);
    let items = items.into_iter().map(|item| item.without_name(late)).collect();
    if one_name { Ok(items) } else { distinct(labelling, items) }
}

/// Whether what says which metric they are of is the same for all.
fn of_one_name(labelling: Labelling<'_>, items: &[Item<'_>]) -> bool {
    let Some(groups) = labelling.groups.filter(|_| items.len() > FEW) else {
        let alike = |a: &Item<'_>, b: &Item<'_>| METADATA.iter().all(|name| a.get(name) == b.get(name));
        return items.windows(2).all(|pair| alike(&pair[0], &pair[1]));
    };
    let mut groups = groups.borrow_mut();
    let table = groups.table(&Projection::only(&METADATA.map(str::to_owned)));
    let first = groups.enter(table, labelling.key, &items[0]);
    items[1..].iter().all(|item| groups.enter(table, labelling.key, item) == first)
}

/// Lets the names go that were on their way out.
pub(super) fn settled<'a>(
    labelling: Labelling<'_>,
    items: Vec<Item<'a>>,
) -> Result<Vec<Item<'a>>, EvalFault> {
    if !items.iter().any(Item::loses_name) {
        return Ok(items);
    }
    let settle = |item: Item<'a>| if item.loses_name() { item.without_name(false) } else { item };
    distinct(labelling, items.into_iter().map(settle).collect())
}

/// Refuses a vector in which two elements have the same labels.
pub(super) fn distinct<'a>(
    labelling: Labelling<'_>,
    items: Vec<Item<'a>>,
) -> Result<Vec<Item<'a>>, EvalFault> {
    let mut seen = Lookup::new(labelling, &Projection::All);
    for (at, item) in items.iter().enumerate() {
        if seen.find_or_enter(item, at, |number| &items[number]).is_ok() {
            return Err(EvalFault::SameLabels { labels: item.clone().into_labels() });
        }
    }
    Ok(items)
}
