//! One baseline in force and what it remembers: a row for each series that it looks at.

use super::definition::{Baseline, Output};
use super::grown;
use super::judge::{Combined, Estimate, Verdict};
use super::memory::Memory;
use super::{Sample, Slot};
use crate::machine::series::{PAGE_SERIES, STALE_NAN_BITS, SeriesId};
use crate::machine::shareable::Shareable;
use ndarray::Array1;
use std::sync::Arc;

/// An output that some rule selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::machine) struct Wanted {
    /// The model that says it; none where it is the verdict of all.
    pub(super) model: Option<usize>,
    /// What is said.
    pub(super) output: Output,
    /// Name of its series.
    pub(in crate::machine) name: Box<str>,
}

/// Where the output of a row goes, as it was found the last time. No state: looking it up again says the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::machine) enum Ticket {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// No rule selects that series, until the rules change.
    Unselected,
    /// This one, as long as it is the so-manieth of the store.
    Series(SeriesId, u64),
}

/// An output about to be written.
#[derive(Debug, Clone, Copy)]
pub(in crate::machine) struct Said {
    /// Whose.
    pub(in crate::machine) slot: Slot,
    /// Which, of [`Book::wanted`].
    pub(in crate::machine) which: usize,
    /// Its value, or the stale marker.
    pub(in crate::machine) value: f64,
}

/// A baseline and its rows.
#[derive(Debug)]
pub(in crate::machine) struct Book {
    pub(in crate::machine) definition: Arc<Baseline>,
    /// One for each model.
    pub(in crate::machine) models: Vec<Memory>,
    /// Of a counter, the sample before, by row; NaN where there is none to go on from.
    before: Vec<Shareable<Array1<f64>>>,
    wanted: Vec<Wanted>,
    /// For each row, one for each of `wanted`.
    tickets: Vec<Ticket>,
    /// Rows that are nobody's, below `rows`. Which row a series has is no state.
    free: Vec<u32>,
    rows: u32,
}

impl Book {
    /// Of a baseline that has seen nothing.
    pub(super) fn new(definition: Arc<Baseline>) -> Self {
        let models = definition.models.iter().map(|model| Memory::new(&model.learns)).collect();
        Self {
            definition,
            models,
            before: Vec::new(),
            wanted: Vec::new(),
            tickets: Vec::new(),
            free: Vec::new(),
            rows: 0,
        }
    }

    /// The same rows under a new definition that looks at the same: models that learn the same keep what they know, and
    /// the others begin.
    pub(super) fn redefined(mut self, definition: Arc<Baseline>) -> Self {
        let mut old: Vec<Option<Memory>> = self.models.into_iter().map(Some).collect();
        let before = &self.definition.models;
        self.models = definition
            .models
            .iter()
            .map(|model| {
                let same = before.iter().zip(&mut old).find(|(other, memory)| {
                    memory.is_some() && (&other.name, &other.learns) == (&model.name, &model.learns)
                });
                same.and_then(|(_, memory)| memory.take()).unwrap_or_else(|| {
                    let mut memory = Memory::new(&model.learns);
                    (0..self.rows).for_each(|row| memory.reset(row as usize));
                    memory
                })
            })
            .collect();
        self.definition = definition;
        self
    }

    /// Which outputs are written from now on.
    pub(super) fn want(&mut self, wanted: Vec<Wanted>) {
        self.wanted = wanted;
        self.tickets = vec![Ticket::Unknown; self.wanted.len() * self.rows as usize];
    }

    /// A row for a series that it did not look at before.
    pub(super) fn allot(&mut self) -> u32 {
        let row = self.free.pop().unwrap_or(self.rows);
        self.rows = self.rows.max(row + 1);
        let at = row as usize;
        self.models.iter_mut().for_each(|memory| memory.reset(at));
        if self.definition.counter {
            *self.before_mut(at) = f64::NAN;
        }
        let tickets = self.wanted.len();
        if self.tickets.len() < (at + 1) * tickets {
            self.tickets.resize((at + 1) * tickets, Ticket::Unknown);
        }
        self.tickets[at * tickets..(at + 1) * tickets].fill(Ticket::Unknown);
        row
    }

    /// Takes a row back.
    pub(super) fn release(&mut self, row: u32) {
        self.free.push(row);
    }

    /// Reads what [`Self::observe`] is about to touch, and nothing more.
    pub(super) fn touch(&mut self, row: usize, time_ms: i64) -> u64 {
        self.models.iter_mut().fold(0, |touched, memory| touched ^ memory.touch(row, time_ms))
    }

    /// Judges a sample, learns it, and appends what is to be written.
    pub(super) fn observe(&mut self, slot: Slot, sample: Sample, out: &mut Vec<Said>) {
        let row = slot.row as usize;
        let say = |out: &mut Vec<Said>, which, value| out.push(Said { slot, which, value });
        if sample.value.is_nan() {
            if self.definition.counter {
                *self.before_mut(row) = f64::NAN;
            }
            if sample.value.to_bits() == STALE_NAN_BITS {
                (0..self.wanted.len()).for_each(|which| say(out, which, f64::from_bits(STALE_NAN_BITS)));
            }
            return;
        }
        let Some(x) = self.input(row, sample) else { return };
        let (guards, models) = (&self.definition.guards, &self.definition.models);
        let mut all = Combined::default();
        for (at, (model, memory)) in models.iter().zip(&mut self.models).enumerate() {
            let known = memory.observe(row, sample.time_ms, x, guards);
            let verdict = guards.judge(x, &known);
            all.add(model.weight, known.samples, verdict.as_ref());
            for (which, wanted) in self.wanted.iter().enumerate().filter(|(_, w)| w.model == Some(at)) {
                if let Some(value) = wanted.output.of(&known, verdict.as_ref()) {
                    say(out, which, value);
                }
            }
        }
        let (known, verdict) = (Estimate { samples: all.samples(), ..Estimate::default() }, all.verdict());
        for (which, wanted) in self.wanted.iter().enumerate().filter(|(_, wanted)| wanted.model.is_none()) {
            if let Some(value) = wanted.output.of(&known, verdict.as_ref()) {
                say(out, which, value);
            }
        }
    }

    /// What is judged of a sample: its value, or of a counter how fast it rose since the sample before, per second.
    fn input(&mut self, row: usize, sample: Sample) -> Option<f64> {
        if !self.definition.counter {
            return Some(sample.value);
        }
        let before = std::mem::replace(self.before_mut(row), sample.value);
        let passed_ms = sample.time_ms.saturating_sub(sample.before_ms);
        if before.is_nan() || passed_ms > super::COUNTER_GAP_MS {
            return None;
        }
        // A counter that fell began again from zero, as `rate` has it.
        let rise = if sample.value < before { sample.value } else { sample.value - before };
        let rate = rise / (passed_ms as f64 / 1000.0);
        // From one infinity to the next there is no rate.
        (!rate.is_nan()).then_some(rate)
    }

    /// Where an output goes.
    pub(in crate::machine) fn ticket(&mut self, said: &Said) -> &mut Ticket {
        &mut self.tickets[said.slot.row as usize * self.wanted.len() + said.which]
    }

    /// Outputs that some rule selects.
    pub(in crate::machine) fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// Of a counter, the sample before; NaN where there is none to go on from.
    pub(in crate::machine) fn before(&self, row: usize) -> f64 {
        self.before[row / PAGE_SERIES][row % PAGE_SERIES]
    }

    pub(in crate::machine) fn before_mut(&mut self, row: usize) -> &mut f64 {
        let (page, slot) = (row / PAGE_SERIES, row % PAGE_SERIES);
        if self.before.len() <= page {
            self.before.resize_with(page + 1, Shareable::default);
        }
        let column = self.before[page].to_mut();
        grown::column(column, slot);
        &mut column[slot]
    }

    /// The same as it is now, for a snapshot.
    pub(super) fn lend(&mut self) -> Self {
        Self {
            definition: Arc::clone(&self.definition),
            models: self.models.iter_mut().map(Memory::lend).collect(),
            before: self.before.iter_mut().map(Shareable::lend).collect(),
            wanted: Vec::new(),
            tickets: Vec::new(),
            free: Vec::new(),
            rows: self.rows,
        }
    }

    /// Memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        let before: usize = self.before.iter().map(|page| page.len() * size_of::<f64>()).sum();
        let models: usize = self.models.iter().map(Memory::bytes).sum();
        before + models + self.tickets.capacity() * size_of::<Ticket>()
    }
}

impl Output {
    /// Its value; none while too few samples were seen for it.
    fn of(self, known: &Estimate, verdict: Option<&Verdict>) -> Option<f64> {
        match self {
            Self::Samples => Some(f64::from(known.samples)),
            Self::Expected => verdict.map(|verdict| verdict.expected),
            Self::Lower => verdict.map(|verdict| verdict.lower),
            Self::Upper => verdict.map(|verdict| verdict.upper),
            Self::Score => verdict.map(|verdict| verdict.score),
            Self::Deviation => verdict.map(|verdict| verdict.deviation),
        }
    }
}
