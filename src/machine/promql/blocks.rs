//! `sum`, `avg`, `min` and `max_over_time` over windows of many samples: block by block, each block looked at once.
//!
//! ```text
//!  (start, end]:   ┆▒▒│▓▓▓▓▓▓│▓▓▓▓▓▓│ … │▓▓▓▓▓▓│▒▒┆      blocks of a 16th of the window, at its multiples since the epoch
//!                   └ looked at  └ remembered     └ looked at
//! ```
//!
//! A block of a series that has a sample at its end or behind it never changes: samples come in order of time. So what is
//! remembered of it follows from what the store holds and is no state; where a sample left the store early, the numbers
//! of samples differ, and all is looked at again.
//!
//! Least and most are those of the plain functions to the bit. A sum over more than [`MANY`] samples is the compensated
//! sum of the blocks' compensated sums, remembered or not: that is its definition here, on every replica. It differs from
//! Prometheus's, sample by sample, by at most four times the machine epsilon times the sum of the magnitudes.

use super::number::Sum;
use super::select::Span;
use crate::machine::series::{SeriesId, Store, Window};
use std::collections::{BTreeMap, VecDeque};

/// Windows of no more samples are looked at as they are: up to there that takes no longer.
pub(super) const MANY: usize = 256;
/// Blocks in a window.
const BLOCKS: i64 = 16;

/// What is asked of the samples in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    Sum,
    Mean,
    Least,
    Most,
}

impl Fold {
    /// The one that a function is.
    pub(super) fn of(function: &str) -> Option<Self> {
        match function {
            "sum_over_time" => Some(Self::Sum),
            "avg_over_time" => Some(Self::Mean),
            "min_over_time" => Some(Self::Least),
            "max_over_time" => Some(Self::Most),
            _ => None,
        }
    }
}

/// Of samples that follow each other.
#[derive(Debug, Clone, Copy)]
struct Partial {
    /// How many, stale markers among them.
    held: usize,
    /// How many have a value.
    count: usize,
    sum: Sum,
    /// NaN of none.
    least: f64,
    most: f64,
}

impl Default for Partial {
    fn default() -> Self {
        Self { held: 0, count: 0, sum: Sum::default(), least: f64::NAN, most: f64::NAN }
    }
}

impl Partial {
    fn of(window: &Window<'_>) -> Self {
        let mut all = Self { held: window.len(), ..Self::default() };
        for point in window.iter().filter(|point| !point.is_stale()) {
            all.count += 1;
            all.sum.add(point.value);
            all.bounds(point.value, point.value);
        }
        all
    }

    fn bounds(&mut self, least: f64, most: f64) {
        if least < self.least || self.least.is_nan() {
            self.least = least;
        }
        if most > self.most || self.most.is_nan() {
            self.most = most;
        }
    }

    /// Takes in what follows.
    fn join(&mut self, next: &Self) {
        self.held += next.held;
        self.count += next.count;
        self.sum.join(next.sum);
        self.bounds(next.least, next.most);
    }
}

/// Blocks that follow each other, of one series.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Number of the first: its start divided by the length of a block.
    first: i64,
    blocks: VecDeque<Partial>,
}

/// What is remembered: by length of the window and offset, series by series.
#[derive(Debug, Default)]
pub struct Blocks {
    columns: BTreeMap<(i64, i64), Vec<Option<Box<Known>>>>,
    /// How many series there are in all columns.
    known: usize,
}

/// What the samples come to; `None` where none has a value, or where the plain function is to be asked: a sum that is not
/// finite. `remembered`: the store's memory, and how far back the window's end lies.
pub(super) fn fold(
    store: &Store,
    id: SeriesId,
    fold: Fold,
    span: Span,
    remembered: Option<(&mut Blocks, i64)>,
) -> Option<f64> {
    let held = store.window(id, span.start_ms, span.end_ms).len();
    let all = match remembered {
        None => add_up(store, id, span, &mut Known::default()),
        Some((blocks, offset_ms)) => {
            let known = blocks.of(id, (span.end_ms - span.start_ms, offset_ms));
            let all = add_up(store, id, span, known);
            if all.held == held {
                all
            } else {
                *known = Known::default();
                add_up(store, id, span, known)
            }
        }
    };
    if all.count == 0 {
        return None;
    }
    match fold {
        Fold::Least => Some(all.least),
        Fold::Most => Some(all.most),
        Fold::Sum => Some(all.sum.value()).filter(|sum| sum.is_finite()),
        Fold::Mean => Some(all.sum.divided(all.count as f64).value()).filter(|mean| mean.is_finite()),
    }
}

fn add_up(store: &Store, id: SeriesId, span: Span, known: &mut Known) -> Partial {
    let length_ms = ((span.end_ms - span.start_ms) / BLOCKS).max(1);
    let (first, end) = (-(-span.start_ms).div_euclid(length_ms), span.end_ms.div_euclid(length_ms));
    let look = |from_ms, to_ms| Partial::of(&store.window(id, from_ms, to_ms));
    if first >= end {
        return look(span.start_ms, span.end_ms);
    }
    if known.first > first {
        *known = Known::default();
    }
    while known.first < first && known.blocks.pop_front().is_some() {
        known.first += 1;
    }
    if known.blocks.is_empty() {
        known.first = first;
    }
    let mut all = look(span.start_ms, first * length_ms);
    let newest_ms = store.newest_ms(id);
    for number in first..end {
        let at = usize::try_from(number - known.first).unwrap_or(usize::MAX);
        if let Some(block) = known.blocks.get(at) {
            all.join(block);
            continue;
        }
        let block = look(number * length_ms, (number + 1) * length_ms);
        all.join(&block);
        // A block that may still grow is not remembered: a late sample would cost all of them.
        if at == known.blocks.len() && newest_ms >= (number + 1) * length_ms {
            known.blocks.push_back(block);
        }
    }
    all.join(&look(end * length_ms, span.end_ms));
    all
}

impl Blocks {
    fn of(&mut self, id: SeriesId, column: (i64, i64)) -> &mut Known {
        let column = self.columns.entry(column).or_default();
        let at = id.0 as usize;
        if column.len() <= at {
            column.resize(at + 1, None);
        }
        self.known += usize::from(column[at].is_none());
        column[at].get_or_insert_default()
    }

    /// Forgets a series: its number is given out again.
    pub fn forget(&mut self, id: SeriesId) {
        for column in self.columns.values_mut() {
            let known = column.get_mut(id.0 as usize).and_then(Option::take);
            self.known -= usize::from(known.is_some());
        }
    }

    /// Memory taken, bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let blocks = usize::try_from(BLOCKS).unwrap_or(0) * size_of::<Partial>();
        self.known * (size_of::<Known>() + blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::promql::{Element, Plan, Value};
    use crate::machine::series::{Interest, Point, STALE_NAN_BITS};
    use crate::wire::{Labels, labels::METRIC_NAME};
    use proptest::prelude::*;

    const EXPRESSIONS: [&str; 10] = [
        "sum_over_time(a[1m])",
        "avg_over_time(a[1m])",
        "min_over_time(a[1m])",
        "max_over_time(a[1m])",
        "sum_over_time(a[1m] offset 5s)",
        "avg_over_time(a[1m] offset 5s)",
        "min_over_time(a[1m] offset 5s)",
        "max_over_time(a[1m] offset 5s)",
        "max_over_time(sum_over_time(a[1m])[3s:1s])",
        "sum_over_time(a[1m] @ 1030)",
    ];

    #[derive(Debug, Clone)]
    enum Happens {
        /// So many samples, so far apart, milliseconds; now and then one is a stale marker, NaN, infinite, or huge.
        Samples(usize, i64, u64),
        /// So many milliseconds pass: what comes then may come late.
        Passes(i64),
        /// What is remembered is spoilt as if samples had left the store.
        Spoilt,
        Evaluate,
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            6 => (1_usize..200, 20_i64..400, any::<u64>()).prop_map(|(n, gap, seed)| Happens::Samples(n, gap, seed)),
            1 => (1_i64..20_000).prop_map(Happens::Passes),
            1 => Just(Happens::Spoilt),
            6 => Just(Happens::Evaluate),
        ]
    }

    fn value(seed: &mut u64) -> f64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (kind, bits) = (*seed >> 56, (*seed >> 24 & 0xffff_ffff) as f64);
        match kind {
            0 => f64::from_bits(STALE_NAN_BITS),
            1 => f64::NAN,
            2 if bits > 3e9 => f64::INFINITY,
            3 => bits * 1e12,
            4 => 0.0,
            5 => -0.0,
            _ => bits / 1e6 - 2_000.0,
        }
    }

    /// The one element's value.
    fn only(value: Value) -> Option<f64> {
        match value {
            Value::Vector(elements) => elements.first().map(|Element { value, .. }| *value),
            Value::Scalar(_) | Value::Ranges(_) | Value::Text(_) => None,
        }
    }

    #[test]
    fn what_rounding_loses_in_a_block_is_put_back_in_the_whole() {
        let mut plan = Plan::compile("sum_over_time(a[5m])").expect("a plan");
        let mut store = Store::new(5);
        plan.bind(&store.set_interests(plan.interests()));
        let id = store.lookup_labels(&Labels::new([(METRIC_NAME, "a")])).expect("it is selected");
        for second in 1..=300 {
            let value = match second {
                1 => 1e16,
                300 => -1e16,
                _ => 1.0,
            };
            store.append(id, second * 1000, value, second * 1000).expect("in order");
        }
        assert_eq!(only(plan.evaluate(&store, 300_000).expect("no fault")), Some(298.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn blocks_say_what_samples_say(story in prop::collection::vec(happens(), 1..40)) {
            let mut plans: Vec<Plan> = EXPRESSIONS.iter().map(|text| Plan::compile(text).expect(text)).collect();
            let mut store = Store::new(5);
            let interests: Vec<Interest> = plans.iter().flat_map(Plan::interests).collect();
            let selections = store.set_interests(interests);
            plans.iter_mut().zip(&selections).for_each(|(plan, selection)| plan.bind(&[*selection]));
            let id = store.lookup_labels(&Labels::new([(METRIC_NAME, "a")])).expect("it is selected");
            let (mut now_ms, mut last_ms, mut points) = (1_000_000, 1_000_000, Vec::new());
            for next in story.into_iter().chain([Happens::Evaluate]) {
                match next {
                    Happens::Samples(count, gap_ms, mut seed) => for _ in 0..count {
                        last_ms += gap_ms;
                        now_ms = now_ms.max(last_ms);
                        let value = value(&mut seed);
                        _ = store.append(id, last_ms, value, now_ms);
                        points.push(Point { time_ms: last_ms, value });
                    },
                    Happens::Passes(ms) => now_ms += ms,
                    Happens::Spoilt => {
                        let mut blocks = store.blocks().borrow_mut();
                        for known in blocks.columns.values_mut().flatten().flatten() {
                            known.blocks.iter_mut().for_each(|block| {
                                block.held += 1;
                                block.sum.add(1.0);
                                block.most += 1.0;
                            });
                        }
                    }
                    Happens::Evaluate => for (plan, text) in plans.iter().zip(EXPRESSIONS) {
                        let evaluate = || only(plan.evaluate(&store, now_ms).expect("no fault"));
                        let found = evaluate();
                        let remembered = store.blocks().take();
                        let anew = evaluate();
                        store.blocks().replace(remembered);
                        prop_assert_eq!(found.map(f64::to_bits), anew.map(f64::to_bits), "{}", text);
                        let plain = only(plan.evaluate_plainly(&store, now_ms).expect("no fault"));
                        let magnitude: f64 = points.iter().map(|p| p.value.abs()).filter(|x| x.is_finite()).sum();
                        let near = |(a, b): (f64, f64)| (a - b).abs() <= 4.0 * f64::EPSILON * magnitude;
                        let same = found.map(f64::to_bits) == plain.map(f64::to_bits);
                        let sums = text.contains("sum") || text.contains("avg");
                        prop_assert!(same || sums && found.zip(plain).is_some_and(near), "{text}: {found:?} {plain:?}");
                    },
                }
            }
        }
    }
}
