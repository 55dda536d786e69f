//! The pages that hold a thousand series each: the unit that a snapshot shares and a later write copies.

use super::ring::Ring;
use super::{SeriesId, number};
use crate::machine::baseline::Watch;
use crate::machine::shareable::Shareable;
use crate::wire::Labels;
use std::sync::Arc;

/// Series per page.
pub const PAGE_SERIES: usize = 1024;

/// One series: its samples first, since every sample touches them.
#[derive(Debug, Clone)]
pub(in crate::machine) struct Series {
    pub(in crate::machine) ring: Ring,
    /// Event time of the newest sample ever taken, kept or not.
    pub(in crate::machine) newest_ms: i64,
    /// The longest lookback among its selections. Follows from the rules: no part of a snapshot.
    pub(super) lookback_ms: i64,
    /// The how-manieth series of this store it was: the order of [`super::Store::selected`].
    pub(in crate::machine) first_seen: u64,
    pub(super) labels_hash: u64,
    /// Behind a pointer, so that the copy of a page does not copy them.
    pub(in crate::machine) labels: Arc<Labels>,
    /// The baselines that look at it. Who they are follows from the rules; which rows are theirs is no state.
    pub(in crate::machine) watch: Watch,
}

impl Series {
    /// Memory of its samples and labels, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.ring.bytes() + self.labels.bytes()
    }
}

/// At most a thousand slots; `None` where an id is free, as those are that are not there.
type Page = Vec<Option<Series>>;

/// Every series by its id.
#[derive(Debug, Default)]
pub(in crate::machine) struct Pages {
    pages: Vec<Shareable<Page>>,
    live: usize,
    /// What [`Series::bytes`] of all comes to: counted as it changes, since it is asked for several times a second.
    held_bytes: usize,
    /// Above the highest id that a series has or had.
    end: u32,
    /// How many series there ever were.
    pub(in crate::machine) seen: u64,
}

impl Pages {
    /// The same series as they are now, for a snapshot.
    pub(in crate::machine) fn lend(&mut self) -> Self {
        let pages = self.pages.iter_mut().map(Shareable::lend).collect();
        Self { pages, live: self.live, held_bytes: self.held_bytes, end: self.end, seen: self.seen }
    }

    /// How many series there are.
    pub(in crate::machine) fn len(&self) -> usize {
        self.live
    }

    /// A number that no series had yet.
    pub(super) fn unused(&self) -> SeriesId {
        SeriesId(self.end)
    }

    /// Puts a series where none is. Whatever the id, memory is taken for its own page alone.
    pub(super) fn insert(&mut self, id: SeriesId, series: Series) {
        let (page, slot) = place(id);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, Shareable::default);
        }
        self.held_bytes += series.bytes();
        let slots = self.pages[page].to_mut();
        if slots.len() <= slot {
            slots.resize_with(slot + 1, || None);
        }
        let before = slots[slot].replace(series);
        assert!(before.is_none(), "series {} is there already", id.0);
        self.live += 1;
        self.end = self.end.max(next(id));
    }

    /// Takes a series out.
    pub(super) fn remove(&mut self, id: SeriesId) -> Option<Series> {
        let (page, slot) = place(id);
        let series = self.pages[page].to_mut()[slot].take();
        self.live -= usize::from(series.is_some());
        let bytes = series.as_ref().map_or(0, Series::bytes);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        series
    }

    /// Counts what a series holds more than before, bytes.
    pub(super) fn grew(&mut self, bytes: usize) {
        self.held_bytes += bytes;
    }

    pub(super) fn get(&self, id: SeriesId) -> &Series {
        match self.find(id) {
            Some(series) => series,
            None => panic!("series {} was evicted", id.0),
        }
    }

    /// The series that has an id now, if one has it. The id was one's once.
    pub(super) fn find(&self, id: SeriesId) -> Option<&Series> {
        let (page, slot) = place(id);
        self.pages[page][slot].as_ref()
    }

    pub(super) fn get_mut(&mut self, id: SeriesId) -> &mut Series {
        let (page, slot) = place(id);
        match &mut self.pages[page].to_mut()[slot] {
            Some(series) => series,
            None => panic!("series {} was evicted", id.0),
        }
    }

    /// Every series, in order of ids.
    pub(in crate::machine) fn iter(&self) -> impl Iterator<Item = (SeriesId, &Series)> {
        let pages = (0..).step_by(PAGE_SERIES).zip(&self.pages);
        pages.flat_map(|(first, page)| {
            (first..).zip(page.iter()).filter_map(|(at, slot)| Some((SeriesId(number(at)), slot.as_ref()?)))
        })
    }

    /// What series hold, as it was counted, bytes.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Ids below the highest that no series has.
    pub(super) fn free(&self) -> impl Iterator<Item = u32> {
        let mut live = self.iter().map(|(id, _)| id.0).peekable();
        (0..self.end).filter(move |id| live.next_if_eq(id).is_none())
    }

    /// Memory of the slots and of what series hold, bytes.
    pub(super) fn bytes(&self) -> usize {
        let slots = self.pages.iter().map(|page| page.capacity() * size_of::<Option<Series>>());
        self.held_bytes + slots.sum::<usize>()
    }
}

/// Ids are counted in 32 bits: four thousand million series do not fit into memory.
fn next(id: SeriesId) -> u32 {
    number(id.0 as usize + 1)
}

fn place(id: SeriesId) -> (usize, usize) {
    (id.0 as usize / PAGE_SERIES, id.0 as usize % PAGE_SERIES)
}
