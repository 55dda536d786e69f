//! A store that is filled from a snapshot: series come in order of their ids and are found, selected and ordered as if
//! they had been seen one by one.

use super::{Series, SeriesId, Store};
use crate::machine::baseline::Watch;
use crate::machine::series::Ring;
use crate::wire::Labels;
use std::sync::Arc;

/// What the store does not know yet of the series that were put into it.
#[derive(Debug, Default)]
pub(in crate::machine) struct Loading {
    /// First-seen numbers and ids, selection by selection.
    selected: Vec<Vec<(u64, SeriesId)>>,
    /// First-seen numbers of all.
    first_seen: Vec<u64>,
}

/// Why a series does not fit in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::machine) enum Misfit {
    /// Another series has its labels.
    LabelsTwice,
    /// No rule selects it.
    Unselected,
    /// Another series has its place in the order of first sight.
    FirstSeenTwice,
}

impl Loading {
    /// Room for so many series: whoever asks has checked the number.
    pub(in crate::machine) fn expect(&mut self, store: &mut Store, series: usize) {
        store.index.reserve(series);
        self.first_seen.reserve_exact(series);
        self.selected.resize_with(store.selections.len(), Vec::new);
    }

    /// Puts in a series whose id is above all before it.
    pub(in crate::machine) fn put(
        &mut self,
        store: &mut Store,
        id: SeriesId,
        first_seen: u64,
        labels: Labels,
        (newest_ms, ring): (i64, Ring),
    ) -> Result<(), Misfit> {
        let labels_hash = store.hash(&labels);
        if store.index.find(labels_hash, |id| *store.labels(SeriesId(id)) == labels).is_some() {
            return Err(Misfit::LabelsTwice);
        }
        let matched = store.matching(&labels);
        let Some(lookback_ms) = matched.iter().map(|at| store.selections[*at].lookback_ms).max() else {
            return Err(Misfit::Unselected);
        };
        matched.iter().for_each(|at| self.selected[*at].push((first_seen, id)));
        self.first_seen.push(first_seen);
        store.index.insert(labels_hash, id.0);
        let (labels, watch) = (Arc::new(labels), Watch::Nobody);
        let series = Series { ring, newest_ms, lookback_ms, first_seen, labels_hash, labels, watch };
        store.pages.insert(id, series);
        store.watch(id, &matched);
        Ok(())
    }

    /// The store, whole.
    pub(in crate::machine) fn finish(mut self, store: &mut Store, seen: u64) -> Result<(), Misfit> {
        self.first_seen.sort_unstable();
        if self.first_seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Misfit::FirstSeenTwice);
        }
        for (selection, mut series) in store.selections.iter_mut().zip(self.selected) {
            series.sort_unstable();
            selection.series = series.into_iter().map(|(_, id)| id).collect();
        }
        store.free = store.pages.free().collect();
        store.pages.seen = seen;
        Ok(())
    }

    /// Empties the store and itself, with the rules in force as they are.
    #[cfg(test)]
    pub(in crate::machine) fn clear(&mut self, store: &mut Store) {
        store.pages = super::Pages::default();
        store.index = super::Buckets::default();
        *store.groups.get_mut() = super::Groups::default();
        *store.blocks.get_mut() = super::Blocks::default();
        store.version += 1;
        self.first_seen.clear();
        self.selected.iter_mut().for_each(Vec::clear);
    }
}
