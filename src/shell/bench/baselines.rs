//! What a baseline costs: judging and learning samples of many series in random order, beside the least that any such
//! state costs, a bare read and write of 64 bytes in the same order; and merging the panes of every series anew. In
//! memory, on one core.

use super::percentile;
use crate::machine::baseline::{Guards, Moving, TOUCHED_TOGETHER};
use crate::shell::clock;
use std::time::Duration;

/// Length of a pane, milliseconds, and how many a window has: the default of `moving`.
const PANE_MS: i64 = 5 * 60 * 1000;
const PANES: usize = 12;
/// Different values of samples.
const VALUES: usize = 4096;
/// Between two samples of a series, milliseconds.
const STEP_MS: i64 = 15_000;

/// One run. Each figure is the median of the passes.
#[derive(Debug)]
pub struct Costs {
    /// Series.
    pub series: usize,
    /// Passes over all of them.
    pub passes: usize,
    /// A bare read and write of a row of 64 bytes, nanoseconds.
    pub bare_ns: f64,
    /// Judging a sample and learning it, the same.
    pub judge_ns: f64,
    /// `judge_ns` through `bare_ns`, pass by pass.
    pub ratio: f64,
    /// A first sample in a new pane over any other, in order of the rows: closing a pane and merging all, nanoseconds.
    pub merge_ns: f64,
    /// Memory of a series, bytes.
    pub bytes: f64,
    /// Scores added up: what the compiler may not leave out.
    pub sum: f64,
}

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to 1.
    fn fraction(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A row as wide as a baseline's.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Row([u64; 8]);

fn timed(what: impl FnOnce()) -> Duration {
    let began = clock::monotonic();
    what();
    clock::monotonic().saturating_sub(began)
}

/// Runs it: fills the windows of `series` series, then takes `passes` passes of each kind in turn.
#[must_use]
pub fn measure(series: usize, passes: usize) -> Costs {
    let (series, passes) = (series.max(1), passes.max(1));
    let mut dice = Dice(1);
    let in_order: Vec<u32> = (0..u32::try_from(series).unwrap_or(u32::MAX)).collect();
    let order = shuffled(in_order.clone(), &mut dice);
    let values: Vec<f64> = (0..VALUES).map(|_| 100.0 + 10.0 * dice.fraction()).collect();
    let mut moving = Moving::new(PANE_MS, PANES);
    (0..series).for_each(|row| moving.reset(row));
    let mut state = State { moving, guards: Guards::default(), time_ms: 0, values, sum: 0.0 };
    for pane in 0..2 * PANES as i64 {
        state.time_ms = pane * PANE_MS;
        state.pass(&in_order);
        state.time_ms += STEP_MS;
        state.pass(&in_order);
    }
    let mut rows = vec![Row::default(); series];
    let (mut bare, mut judge, mut ratio, mut merge) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let per_series = |took: Duration| took.as_secs_f64() * 1e9 / series as f64;
    for _ in 0..passes {
        let bare_ns = per_series(timed(|| touch(&mut rows, &order)));
        state.time_ms += STEP_MS;
        let judge_ns = per_series(timed(|| state.pass(&order)));
        bare.push(bare_ns);
        judge.push(judge_ns);
        ratio.push(judge_ns / bare_ns);
        state.time_ms += STEP_MS;
        let plain_ns = per_series(timed(|| state.pass(&in_order)));
        state.time_ms = (state.time_ms / PANE_MS + 1) * PANE_MS;
        let closing_ns = per_series(timed(|| state.pass(&in_order)));
        merge.push(closing_ns - plain_ns);
    }
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        percentile(&figures, 50)
    };
    let touched = rows.iter().map(|row| row.0[7]).fold(0, u64::wrapping_add);
    Costs {
        series,
        passes,
        bare_ns: median(bare),
        judge_ns: median(judge),
        ratio: median(ratio),
        merge_ns: median(merge),
        bytes: state.moving.bytes() as f64 / series as f64,
        sum: state.sum + touched as f64,
    }
}

/// The same in random order (Fisher and Yates).
fn shuffled(mut order: Vec<u32>, dice: &mut Dice) -> Vec<u32> {
    for at in (1..order.len()).rev() {
        let other = usize::try_from(dice.roll() % (at as u64 + 1)).unwrap_or(0);
        order.swap(at, other);
    }
    order
}

fn touch(rows: &mut [Row], order: &[u32]) {
    for row in order {
        let Row(words) = &mut rows[*row as usize];
        words.iter_mut().for_each(|word| *word = word.wrapping_add(u64::from(*row)));
    }
}

struct State {
    moving: Moving,
    guards: Guards,
    time_ms: i64,
    values: Vec<f64>,
    sum: f64,
}

impl State {
    /// One sample of each of these series, fetched, judged and learned as the store does it.
    fn pass(&mut self, rows: &[u32]) {
        let turn = usize::try_from(self.time_ms / STEP_MS).unwrap_or(0);
        for together in rows.chunks(TOUCHED_TOGETHER) {
            let touched = together.iter().fold(0, |touched, row| touched ^ self.moving.touch(*row as usize));
            std::hint::black_box(touched);
            for row in together {
                let x = self.values[(*row as usize + turn) % VALUES];
                let known = self.moving.known(*row as usize, self.time_ms);
                if let Some(verdict) = self.guards.judge(x, &known) {
                    self.sum += verdict.score;
                }
                self.moving.learn(*row as usize, x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::measure;

    #[test]
    fn a_small_run_has_figures() {
        let costs = measure(3_000, 2);
        assert!(costs.bare_ns > 0.0 && costs.judge_ns > 0.0 && costs.sum.is_finite(), "{costs:?}");
        // Pages are filled but for the last, whose rows are doubled.
        assert!((304.0..430.0).contains(&costs.bytes), "{costs:?}");
    }
}
