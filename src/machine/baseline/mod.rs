//! Moving statistics: what is usual for a series, and how unusual its newest sample is. A baseline never pages by itself:
//! what it says are series, and rules decide.
//!
//! ```text
//!   sample ─▶ store ─▶ Slot (of its series) ─▶ Book ─▶ Memory, model by model: what was known ─▶ Guards: a verdict
//!                                               │                    └─ and then the sample is learned
//!                                               └─▶ <name>:score and its kin, back into the store
//! ```
//!
//! A sample is judged when it is applied, by what came before it, and then learned. Only outputs that some rule selects
//! are worked out and written, as every series of the store is kept because some rule selects it; from then on they are
//! ordinary series, with a history, staleness and a place in the snapshot, and count against `limits.series`. An output
//! has the labels of the series that it is of; where a selector does not pin one metric name, that name is in the label
//! `metric`. What a baseline writes no baseline looks at.
//!
//! | what comes | what it means |
//! |---|---|
//! | a late sample | the store refuses it, as it does for every rule: nothing is judged, nothing learned |
//! | a gap | panes without samples are empty and leave as others do; `ewma` and `seasonal` count samples and not time |
//! | a counter that falls | it began again at zero: the sample is what it rose by. Only where `kind: counter` is set |
//! | a counter after a gap | longer than [`COUNTER_GAP_MS`]: no rate; the next sample has one again |
//! | a constant | its variance is 0 to the bit. The same value scores 0, any other ±[`SCORE_MAX`]; `scale_floor` is the way out |
//! | a NaN | neither judged nor learned; a counter begins again after it |
//! | a stale marker | the same, and every output of the series is marked stale, too |
//! | an infinity | scores ±[`SCORE_MAX`], and is not learned; nor is a number beyond ±[`LEARNED_MAX`] |
//! | an outlier | is learned like any other sample by `moving`, and leaves with its pane; `ewma` learns a clipped one |
//! | an edit that takes a baseline away | its outputs end as a series does that nobody feeds: after five minutes |
//! | differences below 1e-154 | their squares are 0: to a baseline they are no difference |
//!
//! State lives in arrays of a thousand rows (`moving`, `fading`), each behind a pointer that a snapshot shares. A series
//! holds the [`Slot`]s of the baselines that look at it; which row that is, nobody sees.

mod book;
pub mod calendar;
mod definition;
mod fading;
mod grown;
mod judge;
mod memory;
mod moments;
mod moving;
#[cfg(test)]
mod tests;

pub(super) use book::{Book, Said, Ticket};
pub use definition::{Baseline, Direction, Guards, Learns, Model, Output};
pub(super) use fading::Cells;
pub use judge::{Combined, Estimate, SCORE_MAX, Verdict};
pub use memory::LEARNED_MAX;
pub(super) use memory::Memory;
pub use moments::{Fading, Moments};
pub use moving::Moving;

use std::collections::BTreeSet;
use std::sync::Arc;

/// How many samples' rows are fetched together.
pub const TOUCHED_TOGETHER: usize = 32;
/// A counter that was silent for longer has no rate over that time, milliseconds: as far as PromQL looks back.
pub const COUNTER_GAP_MS: i64 = 5 * 60 * 1000;

/// A baseline that looks at a series, and the row in which it remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its place among the baselines in force.
    pub(super) baseline: u32,
    /// Its row.
    row: u32,
}

impl Slot {
    /// The row in which its baseline remembers the series.
    pub(super) fn row(self) -> usize {
        self.row as usize
    }

    /// The same row, where its baseline has another place among those in force.
    pub(super) fn moved(self, baseline: u32) -> Self {
        Self { baseline, ..self }
    }
}

/// The baselines that look at a series, in their order. Nearly always none or one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Watch {
    /// None.
    #[default]
    Nobody,
    /// One.
    One(Slot),
    /// More.
    Several(Box<[Slot]>),
}

impl Watch {
    /// Who they are.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        match self {
            Self::Nobody => &[],
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Several(slots) => slots,
        }
    }
}

impl From<Vec<Slot>> for Watch {
    fn from(slots: Vec<Slot>) -> Self {
        match slots[..] {
            [] => Self::Nobody,
            [slot] => Self::One(slot),
            [..] => Self::Several(slots.into()),
        }
    }
}

/// A sample as a baseline sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Event time, milliseconds since the epoch.
    pub(super) time_ms: i64,
    /// Event time of the sample of this series before it.
    pub(super) before_ms: i64,
    /// Its value.
    pub(super) value: f64,
}

/// Every baseline in force.
#[derive(Debug, Default)]
pub(super) struct Baselines {
    books: Vec<Book>,
    /// Every name that one of them may write to.
    names: BTreeSet<Box<str>>,
}

impl Baselines {
    /// Puts definitions in force, in the place of those before. Where each of those before is now; none where it is gone.
    /// `selected` says whether some rule may select a series of a name.
    pub(super) fn switch(
        &mut self,
        definitions: Vec<Arc<Baseline>>,
        selected: impl Fn(&str) -> bool,
    ) -> Vec<Option<u32>> {
        let mut old: Vec<Option<Book>> = std::mem::take(&mut self.books).into_iter().map(Some).collect();
        let mut moved = vec![None; old.len()];
        self.names = definitions.iter().flat_map(|baseline| baseline.outputs()).map(Into::into).collect();
        for (to, definition) in (0_u32..).zip(definitions) {
            let same = |book: &Option<Book>| {
                book.as_ref().is_some_and(|book| book.definition.looks_at_the_same_as(&definition))
            };
            let from = old.iter().position(same);
            let taken = from.and_then(|from| {
                moved[from] = Some(to);
                old[from].take()
            });
            let wanted = wanted(&definition, &selected);
            let mut book = match taken {
                Some(book) => book.redefined(definition),
                None => Book::new(definition),
            };
            book.want(wanted);
            self.books.push(book);
        }
        moved
    }

    /// Whether a name is one of their outputs: such a series no baseline looks at.
    pub(super) fn speaks(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Begins to look at a series.
    pub(super) fn allot(&mut self, baseline: u32) -> Slot {
        Slot { baseline, row: self.books[baseline as usize].allot() }
    }

    /// Forgets what a series was.
    pub(super) fn release(&mut self, slot: Slot) {
        self.books[slot.baseline as usize].release(slot.row);
    }

    /// Reads what [`Self::observe`] is about to touch, and nothing more: rows that are fetched together are waited for
    /// once. Over a million series in random order a row is in no cache, and waiting for it is nine tenths of the cost.
    pub(super) fn touch(&mut self, slot: Slot, time_ms: i64) -> u64 {
        self.books[slot.baseline as usize].touch(slot.row(), time_ms)
    }

    /// Judges a sample, learns it, and appends what is to be written.
    pub(super) fn observe(&mut self, slot: Slot, sample: Sample, out: &mut Vec<Said>) {
        self.books[slot.baseline as usize].observe(slot, sample, out);
    }

    /// The one that a slot is of.
    pub(super) fn book(&self, slot: Slot) -> &Book {
        &self.books[slot.baseline as usize]
    }

    pub(super) fn book_mut(&mut self, slot: Slot) -> &mut Book {
        &mut self.books[slot.baseline as usize]
    }

    /// How long a series is remembered after its last sample, milliseconds.
    pub(super) fn keep_ms(&self, watch: &Watch) -> i64 {
        watch.slots().iter().map(|slot| self.book(*slot).definition.keep_ms()).max().unwrap_or(0)
    }

    /// Release of the time zones' rules, where one is used: another release may put a sample elsewhere.
    pub(super) fn zones(&self) -> Option<&'static str> {
        zones(self.books.iter().map(|book| &*book.definition))
    }

    /// The same as they are now, for a snapshot.
    pub(super) fn lend(&mut self) -> Self {
        Self { books: self.books.iter_mut().map(Book::lend).collect(), names: BTreeSet::new() }
    }

    /// Memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.books.iter().map(Book::bytes).sum()
    }
}

/// Release of the time zones' rules, where one of these uses a zone.
pub fn zones<'a>(baselines: impl IntoIterator<Item = &'a Baseline>) -> Option<&'static str> {
    let mut models = baselines.into_iter().flat_map(|baseline| &baseline.models);
    let zoned = |model: &Model| match &model.learns {
        Learns::Seasonal { calendar, .. } => calendar.has_zone(),
        Learns::Moving { .. } | Learns::Ewma { .. } => false,
    };
    models.any(zoned).then_some(calendar::ZONES)
}

/// The outputs of a baseline that some rule selects: those of all models together first.
fn wanted(baseline: &Baseline, selected: impl Fn(&str) -> bool) -> Vec<book::Wanted> {
    let all = Output::ALL.into_iter().map(|output| (None, output, baseline.output(output)));
    let own = baseline.models.iter().enumerate().flat_map(|(at, model)| {
        Output::ALL.into_iter().map(move |output| (Some(at), output, baseline.output_of(model, output)))
    });
    let wanted = all.chain(own).filter(|(.., name)| selected(name));
    wanted.map(|(model, output, name)| book::Wanted { model, output, name: name.into() }).collect()
}
