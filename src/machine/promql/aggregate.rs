//! Aggregations: the elements of a vector, group by group, each group to one element.

use super::functions::Aggregation;
use super::number::{Mean, Sum};
use super::vector::{Item, Lookup, Projection};

/// What a group has come to so far.
#[derive(Debug)]
enum State {
    Mean(Mean),
    Count(f64),
    Max(f64),
    Min(f64),
    Sum(Sum),
}

impl State {
    fn new(aggregation: Aggregation) -> Self {
        match aggregation {
            Aggregation::Avg => Self::Mean(Mean::default()),
            Aggregation::Count => Self::Count(0.0),
            Aggregation::Max => Self::Max(f64::NAN),
            Aggregation::Min => Self::Min(f64::NAN),
            Aggregation::Sum => Self::Sum(Sum::default()),
        }
    }

    /// A NaN is neither least nor greatest, unless there is nothing else.
    fn add(&mut self, value: f64) {
        match self {
            Self::Mean(mean) => mean.add(value),
            Self::Count(count) => *count += 1.0,
            Self::Max(most) if *most < value || most.is_nan() => *most = value,
            Self::Min(least) if *least > value || least.is_nan() => *least = value,
            Self::Max(_) | Self::Min(_) => {}
            Self::Sum(sum) => sum.add(value),
        }
    }

    fn value(self) -> f64 {
        match self {
            Self::Mean(mean) => mean.value(),
            Self::Count(value) | Self::Max(value) | Self::Min(value) => value,
            Self::Sum(sum) => sum.value(),
        }
    }
}

/// Groups `items` by the labels that `grouping` takes, in the order in which the groups appear. The elements of a group
/// are taken in their order.
pub(super) fn aggregate<'a>(
    key: u64,
    aggregation: Aggregation,
    grouping: &Projection,
    items: &[Item<'_>],
) -> Vec<Item<'a>> {
    let mut lookup = Lookup::new(key, grouping);
    let mut groups: Vec<(&Item<'_>, State)> = Vec::new();
    for item in items {
        let group = lookup.find_or_enter(item, groups.len(), |number| groups[number].0);
        let group = group.unwrap_or_else(|()| {
            groups.push((item, State::new(aggregation)));
            groups.len() - 1
        });
        groups[group].1.add(item.value);
    }
    groups.into_iter().map(|(first, state)| Item::new(grouping.labels(first), state.value())).collect()
}
