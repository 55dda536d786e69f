//! Which elements are alike in the labels that an operator looks at, as dense numbers: what matches and groupings need of
//! the labels of series is worked out when a series is met first, and not at each step.
//!
//! ```text
//!  projection (`on (instance)`) ─▶ table: series ─▶ group ─▶ its labels
//! ```
//!
//! Elements that are no series are found in the same table by their labels. It is a memo and no state: it may forget
//! everything between two operators, and a [`super::vector::Lookup`] without it says the same.

use super::vector::{Item, Projection};
use crate::machine::index::Buckets;
use crate::machine::series::SeriesId;
use crate::wire::Labels;
use std::sync::Arc;

const NONE: u32 = u32::MAX;
/// Groups that a table may hold beside four for each series: it begins anew beyond that.
const GROUPS_SLACK: usize = 4096;

/// One table for each projection that an expression in force uses.
#[derive(Debug, Default)]
pub struct Groups {
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    projection: Projection,
    /// Group of each series, by its id: as it is, and without its name.
    of: [Vec<u32>; 2],
    index: Buckets,
    /// The labels that count, of each group.
    labels: Vec<Arc<Labels>>,
    /// Their memory.
    text_bytes: usize,
}

impl Groups {
    /// The table of a projection. Groups of a table are the same until this is called again.
    pub(super) fn table(&mut self, projection: &Projection) -> usize {
        let Some(at) = self.tables.iter().position(|table| table.projection == *projection) else {
            self.tables.push(Table::new(projection.clone()));
            return self.tables.len() - 1;
        };
        let table = &mut self.tables[at];
        let series = table.of.iter().map(Vec::len).max().unwrap_or(0);
        if table.labels.len() > 4 * series + GROUPS_SLACK {
            *table = Table::new(projection.clone());
        }
        at
    }

    /// The group of an element.
    pub(super) fn enter(&mut self, table: usize, key: u64, item: &Item<'_>) -> u32 {
        let table = &mut self.tables[table];
        if let Some(group) = table.of_series(item) {
            return group;
        }
        let hash = table.projection.hash(key, item);
        let group = table.find(hash, item).unwrap_or_else(|| {
            let group = u32::try_from(table.labels.len()).unwrap_or(NONE - 1);
            let labels = table.projection.labels(item);
            table.text_bytes += labels.bytes();
            table.labels.push(Arc::new(labels));
            table.index.insert(hash, group);
            group
        });
        table.remember(item, group);
        group
    }

    /// The group of an element, if it is in one that is known.
    pub(super) fn find(&mut self, table: usize, key: u64, item: &Item<'_>) -> Option<u32> {
        let table = &mut self.tables[table];
        if let Some(group) = table.of_series(item) {
            return Some(group);
        }
        let group = table.find(table.projection.hash(key, item), item)?;
        table.remember(item, group);
        Some(group)
    }

    /// How many groups a table has.
    pub(super) fn count(&self, table: usize) -> usize {
        self.tables[table].labels.len()
    }

    /// The labels that count, of a group.
    pub(super) fn labels(&self, table: usize, group: u32) -> Arc<Labels> {
        Arc::clone(&self.tables[table].labels[group as usize])
    }

    /// Forgets a series: its number is given out again.
    pub fn forget(&mut self, id: SeriesId) {
        for column in self.tables.iter_mut().flat_map(|table| &mut table.of) {
            if let Some(group) = column.get_mut(id.0 as usize) {
                *group = NONE;
            }
        }
    }

    /// Memory taken, bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let column = |column: &Vec<u32>| column.capacity() * size_of::<u32>();
        let table = |table: &Table| {
            table.of.iter().map(column).sum::<usize>() + table.index.bytes() + table.text_bytes
        };
        self.tables.iter().map(table).sum()
    }
}

impl Table {
    fn new(projection: Projection) -> Self {
        let of = [Vec::new(), Vec::new()];
        Self { projection, of, index: Buckets::default(), labels: Vec::new(), text_bytes: 0 }
    }

    fn of_series(&self, item: &Item<'_>) -> Option<u32> {
        let (id, gone) = item.series()?;
        self.of[usize::from(gone)].get(id.0 as usize).copied().filter(|group| *group != NONE)
    }

    fn find(&self, hash: u64, item: &Item<'_>) -> Option<u32> {
        self.index.find(hash, |group| self.projection.takes_of(item).eq(self.labels[group as usize].iter()))
    }

    fn remember(&mut self, item: &Item<'_>, group: u32) {
        let Some((id, gone)) = item.series() else { return };
        let (column, at) = (&mut self.of[usize::from(gone)], id.0 as usize);
        if column.len() <= at {
            column.resize(at + 1, NONE);
        }
        column[at] = group;
    }
}
