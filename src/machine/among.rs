//! Label sets that are asked whether all labels of one of them are among those of another; the metric's name is none.

use crate::wire::Labels;
use crate::wire::labels::METRIC_NAME;
use std::collections::{BTreeMap, BTreeSet};

/// Names of labels, in order.
type Names = Vec<Box<str>>;

/// Label sets by which labels they have: most expressions give one kind.
#[derive(Debug, Default)]
pub(super) struct Among(BTreeMap<Names, BTreeSet<Labels>>);

impl Among {
    /// Of these label sets.
    pub(super) fn of(sets: impl IntoIterator<Item = Labels>) -> Self {
        let mut by_names: BTreeMap<Names, BTreeSet<Labels>> = BTreeMap::new();
        for mut labels in sets {
            labels.set(METRIC_NAME, "");
            by_names.entry(names(&labels)).or_default().insert(labels);
        }
        Self(by_names)
    }

    /// Whether all labels of one of the sets are among `labels`.
    pub(super) fn covers(&self, labels: &Labels) -> bool {
        self.0.iter().any(|(names, sets)| sets.contains(&projected(labels, names)))
    }
}

/// Label sets, each with the newest time of whatever has all of its labels.
#[derive(Debug)]
pub(super) struct Newest {
    by_names: BTreeMap<Names, BTreeMap<Labels, Option<i64>>>,
    /// Of all.
    any_ms: Option<i64>,
}

impl Newest {
    /// The newest of `times` for each of the label sets.
    pub(super) fn of<'a>(
        sets: impl IntoIterator<Item = &'a Labels>,
        times: impl IntoIterator<Item = (&'a Labels, i64)>,
    ) -> Self {
        let mut by_names: BTreeMap<Names, BTreeMap<Labels, Option<i64>>> = BTreeMap::new();
        for labels in sets {
            let mut labels = labels.clone();
            labels.set(METRIC_NAME, "");
            by_names.entry(names(&labels)).or_default().insert(labels, None);
        }
        let mut any_ms = None;
        for (labels, time_ms) in times {
            any_ms = any_ms.max(Some(time_ms));
            for (names, sets) in &mut by_names {
                if let Some(newest) = sets.get_mut(&projected(labels, names)) {
                    *newest = (*newest).max(Some(time_ms));
                }
            }
        }
        Self { by_names, any_ms }
    }

    /// The newest time of a label set; of everything, where nothing has its labels: an expression made them.
    pub(super) fn get(&self, labels: &Labels) -> Option<i64> {
        let mut labels = labels.clone();
        labels.set(METRIC_NAME, "");
        let found = self.by_names.get(&names(&labels)).and_then(|sets| sets.get(&labels));
        found.copied().flatten().or(self.any_ms)
    }
}

fn names(labels: &Labels) -> Names {
    labels.iter().map(|(name, _)| name.into()).collect()
}

fn projected(labels: &Labels, names: &Names) -> Labels {
    let mut projected = labels.clone();
    projected.retain(|name| names.binary_search_by(|n| (**n).cmp(name)).is_ok());
    projected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().copied())
    }

    #[test]
    fn a_set_covers_those_that_have_all_its_labels() {
        let among =
            Among::of([set(&[("__name__", "up"), ("host", "a")]), set(&[("job", "x"), ("host", "b")])]);
        for (labels, covered) in [
            (set(&[("host", "a"), ("disk", "c")]), true),
            (set(&[("host", "b")]), false),
            (set(&[("host", "b"), ("job", "x")]), true),
            (set(&[]), false),
        ] {
            assert_eq!(among.covers(&labels), covered, "{labels}");
        }
        assert!(Among::of([set(&[])]).covers(&set(&[])) && !Among::of([]).covers(&set(&[])));
    }

    #[test]
    fn the_newest_time_is_of_what_has_the_labels_or_of_all() {
        let (a, b, gone) = (set(&[("host", "a")]), set(&[]), set(&[("made", "up")]));
        let series = [set(&[("__name__", "x"), ("host", "a"), ("disk", "c")]), set(&[("host", "b")])];
        let newest = Newest::of([&a, &b, &gone], series.iter().zip([5, 9]));
        assert_eq!((newest.get(&a), newest.get(&b), newest.get(&gone)), (Some(5), Some(9), Some(9)));
        assert_eq!(Newest::of([&a], []).get(&a), None);
    }
}
