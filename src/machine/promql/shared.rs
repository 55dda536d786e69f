//! Selectors, and functions over the ranges of selectors, that stand in several rules: computed once a step.
//!
//! What was computed holds for one grid point and for as long as the store is as it was. Which are worth keeping shows by
//! itself: those that were asked for twice at one step are kept from the next one on. A memo and no state: an evaluation
//! without it says the same.

use crate::machine::series::{SelectionId, SeriesId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is computed of a selector; equal ones come to the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Computed {
    pub(super) selection: SelectionId,
    /// Name of the function over its range; none for an instant selector.
    pub(super) function: Option<&'static str>,
    pub(super) window_ms: i64,
    pub(super) offset_ms: i64,
}

/// Each series that it gives, with its value.
pub(super) type Values = Arc<Vec<(SeriesId, f64)>>;

/// What one step has computed.
#[derive(Debug, Default)]
pub struct Shared {
    /// The grid point, and the version of the store.
    when: (i64, u64),
    asked: BTreeMap<Computed, Asked>,
    values: BTreeMap<Computed, Values>,
}

#[derive(Debug, Default)]
struct Asked {
    at_this_step: u32,
    /// Whether it ever was asked for twice at one step.
    repeats: bool,
}

impl Shared {
    /// What it came to, if that is known.
    pub(super) fn get(&mut self, when: (i64, u64), computed: Computed) -> Option<Values> {
        if self.when != when {
            self.when = when;
            self.values.clear();
            self.asked.values_mut().for_each(|asked| asked.at_this_step = 0);
        }
        let asked = self.asked.entry(computed).or_default();
        asked.at_this_step = asked.at_this_step.saturating_add(1);
        asked.repeats |= asked.at_this_step > 1;
        self.values.get(&computed).cloned()
    }

    /// Whether what it came to is worth keeping.
    pub(super) fn wants(&self, computed: Computed) -> bool {
        self.asked.get(&computed).is_some_and(|asked| asked.repeats)
    }

    /// Keeps what it came to; `when` is that of the last [`Self::get`].
    pub(super) fn put(&mut self, computed: Computed, values: Values) {
        self.values.insert(computed, values);
    }

    /// Memory taken, bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.values.values().map(|values| values.len() * size_of::<(SeriesId, f64)>()).sum()
    }
}
