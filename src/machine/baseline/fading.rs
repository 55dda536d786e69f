//! The models `ewma` and `seasonal`: means and variances that fade with every sample, one for each series or one for
//! each series and part of its season.
//!
//! A page holds one part of the season for a thousand series: what is learned at nine on a Monday lies together, so the
//! samples of one hour touch the memory of one hour, and a snapshot copies that and no more. Parts that no sample fell
//! into take no memory.

use super::grown;
use super::judge::Estimate;
use super::moments::Fading;
use crate::machine::series::PAGE_SERIES;
use crate::machine::shareable::Shareable;
use ndarray::Array1;

/// What it knows of a thousand series in one part of the season.
type Page = Shareable<Array1<Fading>>;

/// What it knows of every series, by row and part of the season.
#[derive(Debug)]
pub struct Cells {
    decay: f64,
    buckets: usize,
    /// For each page of rows, one for each part of the season.
    pages: Vec<Vec<Page>>,
}

impl Cells {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(decay: f64, buckets: usize) -> Self {
        Self { decay, buckets, pages: Vec::new() }
    }

    /// Makes a row that knows nothing, in place of whatever was there.
    pub fn reset(&mut self, row: usize) {
        let (page, slot) = place(row);
        while self.pages.len() <= page {
            self.pages.push((0..self.buckets).map(|_| Page::default()).collect());
        }
        for cells in &mut self.pages[page] {
            if cells.get(slot).is_some_and(|cell| cell.count > 0) {
                cells.to_mut()[slot] = Fading::default();
            }
        }
    }

    /// What is known of a row in a part of the season.
    #[must_use]
    pub fn known(&self, row: usize, bucket: usize) -> Estimate {
        let cell = self.cell(row, bucket);
        Estimate { mean: cell.mean, variance: cell.variance(), samples: cell.count }
    }

    /// Reads a cell and nothing more, so that it is near when its turn comes. Whatever it gives, it means nothing.
    #[must_use]
    pub fn touch(&self, row: usize, bucket: usize) -> u64 {
        u64::from(self.cell(row, bucket).count)
    }

    /// Takes a sample in.
    pub fn learn(&mut self, row: usize, bucket: usize, x: f64) {
        let decay = self.decay;
        self.cell_mut(row, bucket).add(x, decay);
    }

    /// The same as it is now, for a snapshot.
    pub(super) fn lend(&mut self) -> Self {
        let pages = self.pages.iter_mut().map(|page| page.iter_mut().map(Shareable::lend).collect());
        Self { decay: self.decay, buckets: self.buckets, pages: pages.collect() }
    }

    /// Memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let cells: usize = self.pages.iter().flatten().map(|cells| cells.len()).sum();
        cells * size_of::<Fading>() + self.pages.len() * self.buckets * size_of::<Page>()
    }

    /// The parts of the season in which a row knows something, in their order.
    pub(in crate::machine) fn cells(&self, row: usize) -> impl Iterator<Item = (usize, Fading)> {
        let cells = (0..self.buckets).map(move |bucket| (bucket, self.cell(row, bucket)));
        cells.filter(|(_, cell)| cell.count > 0)
    }

    /// How many parts there are.
    pub(in crate::machine) fn buckets(&self) -> usize {
        self.buckets
    }

    /// Gives a row what a snapshot held.
    pub(in crate::machine) fn restore(&mut self, row: usize, bucket: usize, cell: Fading) {
        *self.cell_mut(row, bucket) = cell;
    }

    fn cell(&self, row: usize, bucket: usize) -> Fading {
        let (page, slot) = place(row);
        self.pages[page][bucket].get(slot).copied().unwrap_or_default()
    }

    fn cell_mut(&mut self, row: usize, bucket: usize) -> &mut Fading {
        let (page, slot) = place(row);
        let cells = self.pages[page][bucket].to_mut();
        grown::column(cells, slot);
        &mut cells[slot]
    }
}

fn place(row: usize) -> (usize, usize) {
    (row / PAGE_SERIES, row % PAGE_SERIES)
}
