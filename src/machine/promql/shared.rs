//! Parts of expressions that stand in several rules, or several times in one: computed once a step.
//!
//! ```text
//!  rules load:   a / b > 80   a / b > 90   rate(a[5m])    parts, by their words: a, b, a / b, a / b > 80 …
//!                └─┬─┘        └─┬─┘                       a / b stands twice: a number for it, and none for what it holds
//!  each step:      computed ──▶ slot ──▶ taken again
//! ```
//!
//! What a part came to holds for one grid point and for as long as the store is as it was. A memo and no state: an
//! evaluation without it says the same.

use super::Plan;
use super::vector::Kept;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A part of an expression that is an instant vector at the time of the evaluation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Digest of its words: parts that are written alike are the same in all rules.
    pub(super) words: [u8; 32],
    /// Number of the first part that stands in it; its own if there is none.
    pub(super) first: usize,
}

/// Gives the same slot to parts that are written alike, where they stand more than once in these plans. All are bound to
/// one store; a part without slot is computed where it stands.
pub fn share<'p>(plans: impl Iterator<Item = &'p mut Plan>) {
    // What `speed_sigma` looks at does not follow from its words.
    let mut plans: Vec<&mut Plan> = plans.filter(|plan| plan.sigmas.is_empty()).collect();
    let mut times: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    for part in plans.iter().flat_map(|plan| &plan.parts) {
        *times.entry(part.words).or_default() += 1;
    }
    let mut slots = BTreeMap::new();
    for plan in &mut plans {
        // The shared parts around a part, the nearest last: where each begins, and how often it stands. What stands no
        // more often than the part around it is computed with that one, and needs no slot.
        let mut around: Vec<(usize, usize)> = Vec::new();
        plan.slots = vec![None; plan.parts.len()];
        for (number, part) in plan.parts.iter().enumerate().rev() {
            around.retain(|(first, _)| *first <= number);
            let count = times[&part.words];
            if count > around.last().map_or(1, |(_, count)| *count) {
                let free = slots.len();
                plan.slots[number] = Some(*slots.entry(part.words).or_insert(free));
                around.push((part.first, count));
            }
        }
    }
}

/// What one step has computed.
#[derive(Debug, Default)]
pub struct Shared {
    /// The grid point, and the version of the store.
    when: (i64, u64),
    values: Vec<Option<Arc<[Kept]>>>,
}

impl Shared {
    /// What the part in a slot came to, if that is known.
    pub(super) fn get(&mut self, when: (i64, u64), slot: usize) -> Option<Arc<[Kept]>> {
        if self.when != when {
            self.when = when;
            self.values.clear();
        }
        self.values.get(slot)?.clone()
    }

    /// Keeps what it came to; `when` is that of the last [`Self::get`].
    pub(super) fn put(&mut self, slot: usize, values: Arc<[Kept]>) {
        if self.values.len() <= slot {
            self.values.resize(slot + 1, None);
        }
        self.values[slot] = Some(values);
    }

    /// Memory taken, bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.values.iter().flatten().map(|values| values.len() * size_of::<Kept>()).sum()
    }
}
