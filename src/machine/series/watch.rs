//! Baselines over the series of the store: who looks at which, and the way of a sample past them and of what they say
//! back into the store.
//!
//! ```text
//!  take ─▶ the series' ring, and the list of what is unjudged        for every sample of a record
//!  judge ─▶ rows fetched, 32 together ─▶ judged, learned ─▶ outputs   once, at the record's end
//! ```
//!
//! Between the two nothing is evaluated: whoever takes samples has them judged before it returns. So the list is empty
//! between records, and no state.

use super::{Interest, SampleFault, SelectionId, SeriesId, Store};
use crate::machine::baseline::{Baseline, Baselines, Said, Sample, Slot, TOUCHED_TOGETHER, Ticket, Watch};
use crate::wire::{Labels, labels::METRIC_NAME};
use std::sync::Arc;

/// Holds the name of the series that an output is of, where the baseline's selector allows for several.
const OF_LABEL: &str = "metric";

impl Store {
    /// What is selected from now on, by rules and by baselines. One id for each interest of the rules, in their order.
    /// Series that nobody selects any more are forgotten; a baseline that looks at the same as one before it goes on with
    /// what that one knew.
    pub(in crate::machine) fn set_rules(
        &mut self,
        interests: Vec<Interest>,
        baselines: Vec<Baseline>,
    ) -> Vec<SelectionId> {
        self.clear_selections();
        let ids = interests.into_iter().map(|interest| self.add_selection(interest)).collect();
        let selections = &self.selections;
        let selected = |name: &str| selections.iter().any(|s| s.selector.may_be_named(name));
        let baselines: Vec<Arc<Baseline>> = baselines.into_iter().map(Arc::new).collect();
        let moved = self.baselines.switch(baselines.clone(), selected);
        for (at, baseline) in (0..).zip(baselines) {
            let interest = Interest { selector: baseline.selector.clone(), lookback_ms: 0 };
            let selection = self.add_selection(interest);
            self.selections[selection.0 as usize].baselines.push(at);
        }
        for id in self.in_first_seen_order() {
            let series = self.pages.get_mut(id);
            let slots = series.watch.slots().iter();
            let stay = slots.filter_map(|slot| Some(slot.moved(moved[slot.baseline as usize]?)));
            series.watch = stay.collect::<Vec<Slot>>().into();
            self.rejoin(id);
        }
        ids
    }

    /// Takes a sample as [`Store::append`] does; where baselines look at its series, it is theirs to judge, at
    /// [`Store::judge`].
    pub(in crate::machine) fn take(
        &mut self,
        id: SeriesId,
        time_ms: i64,
        value: f64,
        clock_ms: i64,
    ) -> Result<(), SampleFault> {
        let before_ms = self.pages.get(id).newest_ms;
        self.append(id, time_ms, value, clock_ms)?;
        let series = self.pages.get(id);
        if series.watch != Watch::Nobody {
            let of = Named { id, first_seen: series.first_seen };
            self.unjudged.push(Unjudged { of, sample: Sample { time_ms, before_ms, value } });
        }
        Ok(())
    }

    /// Has the baselines judge and learn what was taken since the last call, in its order, and writes what they say. Call
    /// it at the end of what brought the samples. How many outputs were refused, since something stood in their way.
    pub(in crate::machine) fn judge(&mut self, clock_ms: i64) -> u64 {
        if self.unjudged.is_empty() {
            return 0;
        }
        let mut unjudged = std::mem::take(&mut self.unjudged);
        let mut refused = 0;
        for together in unjudged.chunks(TOUCHED_TOGETHER) {
            let touched = together.iter().fold(0, |touched, next| touched ^ self.touch(next));
            // What was read is of no use; that it was read is.
            std::hint::black_box(touched);
            refused += together.iter().map(|next| self.judge_one(next, clock_ms)).sum::<u64>();
        }
        unjudged.clear();
        self.unjudged = unjudged;
        refused
    }

    fn touch(&mut self, Unjudged { of, sample }: &Unjudged) -> u64 {
        let Some(series) = self.pages.find(of.id) else { return 0 };
        let slots = series.watch.slots().iter();
        slots.fold(0, |touched, slot| touched ^ self.baselines.touch(*slot, sample.time_ms))
    }

    fn judge_one(&mut self, Unjudged { of, sample }: &Unjudged, clock_ms: i64) -> u64 {
        // An output written a moment ago may have pushed it out.
        let Some(series) = self.pages.find(of.id).filter(|series| series.first_seen == of.first_seen) else {
            return 0;
        };
        let mut said = std::mem::take(&mut self.said);
        for slot in series.watch.slots() {
            self.baselines.observe(*slot, *sample, &mut said);
        }
        let refused = said.iter().filter(|said| !self.say(*of, said, sample.time_ms, clock_ms)).count();
        said.clear();
        self.said = said;
        refused as u64
    }

    /// Writes an output of a series. Whether nothing stood in its way.
    fn say(&mut self, of: Named, said: &Said, time_ms: i64, clock_ms: i64) -> bool {
        let known = match *self.baselines.book_mut(said.slot).ticket(said) {
            Ticket::Unselected => return true,
            Ticket::Series(id, first_seen) => Some(id).filter(|id| self.is(Named { id: *id, first_seen })),
            Ticket::Unknown => None,
        };
        let Some(id) = known.or_else(|| self.output(of, said)) else { return true };
        self.append(id, time_ms, said.value, clock_ms).is_ok()
    }

    /// The series of an output; none where no rule selects it, or where the series that it is of has just given way to
    /// an output.
    fn output(&mut self, of: Named, said: &Said) -> Option<SeriesId> {
        if !self.is(of) {
            return None;
        }
        let book = self.baselines.book(said.slot);
        let pins_name = book.definition.selector.metric_name().is_some();
        let labels = output_labels(self.labels(of.id), &book.wanted()[said.which].name, pins_name);
        let found = self.lookup_labels(&labels);
        *self.baselines.book_mut(said.slot).ticket(said) = match found {
            Some(id) => Ticket::Series(id, self.pages.get(id).first_seen),
            None => Ticket::Unselected,
        };
        found
    }

    /// Whether an id is still the series' that it was.
    fn is(&self, named: Named) -> bool {
        self.pages.find(named.id).is_some_and(|series| series.first_seen == named.first_seen)
    }

    /// The baselines that look at a series with these labels and in these selections, in their order.
    fn watchers(&self, labels: &Labels, matched: &[usize]) -> Vec<u32> {
        let mut watchers: Vec<u32> =
            matched.iter().flat_map(|at| &self.selections[*at].baselines).copied().collect();
        if watchers.is_empty() || self.baselines.speaks(labels.get(METRIC_NAME)) {
            return Vec::new();
        }
        watchers.sort_unstable();
        watchers
    }

    /// Has the baselines look at a series that is in these selections. Who looks at it already goes on.
    pub(super) fn watch(&mut self, id: SeriesId, matched: &[usize]) {
        let watchers = self.watchers(self.labels(id), matched);
        let before = std::mem::take(&mut self.pages.get_mut(id).watch);
        if watchers.is_empty() && before == Watch::Nobody {
            return;
        }
        let (stay, gone): (Vec<Slot>, Vec<Slot>) =
            before.slots().iter().partition(|slot| watchers.contains(&slot.baseline));
        gone.into_iter().for_each(|slot| self.baselines.release(slot));
        let slot = |baseline: u32| {
            let same = stay.iter().find(|slot| slot.baseline == baseline);
            same.copied().unwrap_or_else(|| self.baselines.allot(baseline))
        };
        let slots: Vec<Slot> = watchers.into_iter().map(slot).collect();
        self.pages.get_mut(id).watch = slots.into();
    }

    /// Every baseline in force and what it knows.
    pub(in crate::machine) fn baselines(&self) -> &Baselines {
        &self.baselines
    }

    /// The same, to be filled from a snapshot; and who looks at a series.
    pub(in crate::machine) fn baselines_of(&mut self, id: SeriesId) -> (&mut Baselines, Watch) {
        (&mut self.baselines, self.pages.get(id).watch.clone())
    }

    /// The same as they are now, for a snapshot.
    pub(in crate::machine) fn lend_baselines(&mut self) -> Baselines {
        self.baselines.lend()
    }
}

/// A series by its id and its place in the order of first sight: ids are given out again, places are not.
#[derive(Debug, Clone, Copy)]
struct Named {
    id: SeriesId,
    first_seen: u64,
}

/// A sample that was taken and not judged yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unjudged {
    of: Named,
    sample: Sample,
}

/// The labels of an output: the series' own, under the output's name.
fn output_labels(of: &Labels, name: &str, pins_name: bool) -> Labels {
    let mut labels = of.clone();
    if !pins_name {
        labels.set(OF_LABEL, of.get(METRIC_NAME));
    }
    labels.set(METRIC_NAME, name);
    labels
}
