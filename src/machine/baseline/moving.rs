//! The model `moving`: mean and variance of the last panes, the one that is filling among them.
//!
//! ```text
//!   time ─▶   | pane | pane | pane | … | pane | filling |          panes begin at multiples of their length since the epoch
//!             └──────── closed, in the ring ──┘ └─ open ┘
//!              merged once when a pane closes    merged with the others for each sample
//! ```
//!
//! A sample touches one row of 64 bytes, a cache line: the moments of the closed panes together, and those of the open
//! one. The ring is touched when a series has its first sample in a new pane. Then the pane that closes is written to
//! its slot, slots of panes that no sample fell into are emptied, and the whole ring is merged anew: a pane leaves as a
//! whole, and with it whatever outlier it held.
//!
//! The merge always runs over the ring in order of its slots, so its bits are a function of what the panes hold.

use super::grown;
use super::judge::Estimate;
use super::moments::Moments;
use crate::machine::series::PAGE_SERIES;
use crate::machine::shareable::Shareable;
use ndarray::{Array1, Array2};

/// Where the open pane of a row ends that has not seen a sample.
const NEVER: i64 = i64::MIN;

/// What every sample of a series touches. A cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Hot {
    /// The closed panes of the window, merged.
    closed: Moments,
    /// The pane that is filling.
    open: Moments,
    /// Where it ends, milliseconds since the epoch: a multiple of the panes' length.
    until_ms: i64,
    /// Its column in the ring. Divisions are for pane's edges, not for every sample.
    column: u32,
}

impl Default for Hot {
    fn default() -> Self {
        Self { closed: Moments::default(), open: Moments::default(), until_ms: NEVER, column: 0 }
    }
}

/// The closed panes of the series of a page: row by series, column by the pane's number modulo the window's panes. A pane
/// that no sample fell into is 0 in all three, and so is the column of the open one.
#[derive(Debug, Clone, Default)]
struct Ring {
    counts: Array2<u32>,
    means: Array2<f64>,
    squares: Array2<f64>,
}

/// What it knows of every series, by row.
#[derive(Debug)]
pub struct Moving {
    pane_ms: i64,
    /// Panes of the window, the open one among them.
    panes: usize,
    hot: Vec<Shareable<Array1<Hot>>>,
    rings: Vec<Shareable<Ring>>,
}

/// One pane as a snapshot holds it.
pub(in crate::machine) type Pane = Moments;

impl Moving {
    /// Knows nothing yet. `panes` is at least 2.
    #[must_use]
    pub fn new(pane_ms: i64, panes: usize) -> Self {
        assert!(pane_ms > 0 && panes >= 2, "{panes} panes of {pane_ms} ms");
        Self { pane_ms, panes, hot: Vec::new(), rings: Vec::new() }
    }

    /// Makes a row that knows nothing, in place of whatever was there.
    pub fn reset(&mut self, row: usize) {
        let (page, slot) = place(row);
        if self.hot.len() <= page {
            self.hot.resize_with(page + 1, Shareable::default);
            self.rings.resize_with(page + 1, Shareable::default);
        }
        let hot = self.hot[page].to_mut();
        grown::column(hot, slot);
        hot[slot] = Hot::default();
        let ring = self.rings[page].to_mut();
        grown::table(&mut ring.counts, slot, self.panes);
        grown::table(&mut ring.means, slot, self.panes);
        grown::table(&mut ring.squares, slot, self.panes);
        ring.empty_all(slot);
    }

    /// What is known of a row at a time: of the samples of its window before this one. Times of a row never go back.
    pub fn known(&mut self, row: usize, time_ms: i64) -> Estimate {
        let (page, slot) = place(row);
        let hot = &mut self.hot[page].to_mut()[slot];
        if time_ms >= hot.until_ms {
            hot.turn(time_ms, self.pane_ms, self.rings[page].to_mut(), slot);
        }
        let all = hot.closed.merge(hot.open);
        Estimate { mean: all.mean, variance: all.variance(), samples: all.count }
    }

    /// Reads the row and nothing more, so that it is near when its turn comes. Whatever it gives, it means nothing.
    #[must_use]
    pub fn touch(&self, row: usize) -> u64 {
        let (page, slot) = place(row);
        self.hot[page][slot].until_ms.cast_unsigned()
    }

    /// Takes a sample into the pane that [`Self::known`] was asked for last.
    pub fn learn(&mut self, row: usize, x: f64) {
        let (page, slot) = place(row);
        self.hot[page].to_mut()[slot].open.add(x);
    }

    /// The same as it is now, for a snapshot.
    pub(super) fn lend(&mut self) -> Self {
        Self {
            pane_ms: self.pane_ms,
            panes: self.panes,
            hot: self.hot.iter_mut().map(Shareable::lend).collect(),
            rings: self.rings.iter_mut().map(Shareable::lend).collect(),
        }
    }

    /// Memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let hot: usize = self.hot.iter().map(|page| page.len() * size_of::<Hot>()).sum();
        let pane = size_of::<u32>() + 2 * size_of::<f64>();
        hot + self.rings.iter().map(|ring| ring.counts.len() * pane).sum::<usize>()
    }

    /// The panes of a row, the open one first and then back in time, and the open one's number (its beginning divided by
    /// the panes' length); none where the window is empty: such a row is as good as new.
    pub(in crate::machine) fn panes(&self, row: usize) -> Option<(i64, impl Iterator<Item = Pane>)> {
        let (page, slot) = place(row);
        let hot = self.hot[page][slot];
        let ring = &self.rings[page];
        let back = (1..self.panes).map(move |age| ring.pane(slot, ring.column_before(hot.column, age)));
        let any = hot.closed.count > 0 || hot.open.count > 0;
        any.then(|| (self.pane_of(hot.until_ms) - 1, std::iter::once(hot.open).chain(back)))
    }

    /// How many panes [`Self::panes`] gives.
    pub(in crate::machine) fn window(&self) -> usize {
        self.panes
    }

    /// The number of the pane that a time is in.
    pub(in crate::machine) fn pane_of(&self, time_ms: i64) -> i64 {
        time_ms.div_euclid(self.pane_ms)
    }

    /// Gives a row that knows nothing the panes that a snapshot held, in the order of [`Self::panes`].
    pub(in crate::machine) fn restore(&mut self, row: usize, pane: i64, panes: &[Pane]) {
        let (page, slot) = place(row);
        let [open, back @ ..] = panes else { return };
        let ring = self.rings[page].to_mut();
        let mut hot = Hot::begin(pane, self.pane_ms, self.panes);
        hot.open = *open;
        for (age, closed) in (1..).zip(back) {
            ring.set(slot, ring.column_before(hot.column, age), *closed);
        }
        hot.closed = ring.merge(slot);
        self.hot[page].to_mut()[slot] = hot;
    }
}

impl Hot {
    /// An empty row whose open pane is `pane`.
    fn begin(pane: i64, pane_ms: i64, panes: usize) -> Self {
        let panes = i64::try_from(panes).unwrap_or(i64::MAX);
        Self {
            until_ms: pane.saturating_add(1).saturating_mul(pane_ms),
            column: u32::try_from(pane.rem_euclid(panes)).unwrap_or(0),
            ..Self::default()
        }
    }

    /// Closes the open pane, since a sample at `time_ms` fell behind it, and opens that sample's.
    fn turn(&mut self, time_ms: i64, pane_ms: i64, ring: &mut Ring, slot: usize) {
        let panes = ring.counts.ncols();
        let behind_ms = time_ms.saturating_sub(self.until_ms);
        let skipped = if behind_ms < pane_ms { 0 } else { behind_ms / pane_ms };
        let Some(skipped) = usize::try_from(skipped).ok().filter(|skipped| skipped + 1 < panes) else {
            ring.empty_all(slot);
            *self = Self::begin(time_ms.div_euclid(pane_ms), pane_ms, panes);
            return;
        };
        ring.set(slot, self.column as usize, self.open);
        for _ in 0..=skipped {
            self.until_ms = self.until_ms.saturating_add(pane_ms);
            self.column = if self.column as usize + 1 == panes { 0 } else { self.column + 1 };
            ring.set(slot, self.column as usize, Moments::default());
        }
        self.closed = ring.merge(slot);
        self.open = Moments::default();
    }
}

impl Ring {
    /// The column of the pane that is `age` panes before the one in `column`; `age` is below the number of columns.
    fn column_before(&self, column: u32, age: usize) -> usize {
        let columns = self.counts.ncols();
        (column as usize + columns - age) % columns
    }

    fn pane(&self, slot: usize, column: usize) -> Moments {
        let at = [slot, column];
        Moments { mean: self.means[at], squares: self.squares[at], count: self.counts[at] }
    }

    fn set(&mut self, slot: usize, column: usize, moments: Moments) {
        let at = [slot, column];
        self.means[at] = moments.mean;
        self.squares[at] = moments.squares;
        self.counts[at] = moments.count;
    }

    fn empty_all(&mut self, slot: usize) {
        self.counts.row_mut(slot).fill(0);
        self.means.row_mut(slot).fill(0.0);
        self.squares.row_mut(slot).fill(0.0);
    }

    fn merge(&self, slot: usize) -> Moments {
        let (counts, means, squares) = (self.counts.row(slot), self.means.row(slot), self.squares.row(slot));
        match (counts.to_slice(), means.to_slice(), squares.to_slice()) {
            (Some(counts), Some(means), Some(squares)) => Moments::merge_all(counts, means, squares),
            _ => unreachable!("a row of a table lies in one piece"),
        }
    }
}

fn place(row: usize) -> (usize, usize) {
    (row / PAGE_SERIES, row % PAGE_SERIES)
}
