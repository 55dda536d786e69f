//! Functions of one series' samples in a range: `rate` and its kin, and the `…_over_time` family.

use super::number::{self, Mean, Sum, variance};
use crate::machine::series::Point;

/// Functions to which it is all the same what lies between the first sample and the last two of a counter that is not
/// reset: they need not look at it.
pub(super) const OF_ENDS: [&str; 8] =
    ["count_over_time", "delta", "idelta", "increase", "irate", "last_over_time", "rate", "resets"];

/// The samples of one series in `(start_ms, end_ms]`, oldest first, stale markers left out; at least one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range<'a> {
    /// All of them, or, for one of [`OF_ENDS`], the first and the last two.
    pub(super) points: &'a [Point],
    /// How many there are.
    pub(super) count: usize,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    /// When the expression is evaluated, whatever the offset.
    pub(super) at_ms: i64,
}

impl Range<'_> {
    fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|point| point.value)
    }

    /// Its length.
    pub(super) fn seconds(&self) -> f64 {
        (self.end_ms - self.start_ms) as f64 / 1000.0
    }

    /// Each value with the one before it.
    fn steps(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.windows(2).map(|pair| (pair[0].value, pair[1].value))
    }

    /// The last two samples.
    fn last_two(&self) -> Option<(Point, Point)> {
        match self.points {
            [.., before, last] => Some((*before, *last)),
            [] | [_] => None,
        }
    }
}

pub(super) fn rate(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    extrapolated(range, true, Some(range.seconds()))
}

pub(super) fn increase(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    extrapolated(range, true, None)
}

pub(super) fn delta(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    extrapolated(range, false, None)
}

/// The change over the whole range, guessed from the change between the first and the last sample: Prometheus's
/// `extrapolatedRate`, step by step in its order, since the result must agree to the digit.
///
/// A side of the range is reached if the sample nearest to it is closer than 1.1 average gaps; else the series is taken
/// to begin or end half a gap beyond that sample. A counter is not extrapolated to before it was zero. `per` divides
/// the result, in seconds, for a rate.
fn extrapolated(range: &Range<'_>, counter: bool, per: Option<f64>) -> Option<f64> {
    let [first, .., last] = range.points else { return None };
    let mut change = last.value - first.value;
    if counter {
        // A counter that falls was reset to zero: what it had then counts as well.
        range.steps().filter(|(before, now)| now < before).for_each(|(before, _)| change += before);
    }
    let mut to_start = (first.time_ms - range.start_ms) as f64 / 1000.0;
    let mut to_end = (range.end_ms - last.time_ms) as f64 / 1000.0;
    let sampled = (last.time_ms - first.time_ms) as f64 / 1000.0;
    let gap = sampled / (range.count - 1) as f64;
    let near = gap * 1.1;
    if to_start >= near {
        to_start = gap / 2.0;
    }
    if counter && change > 0.0 && first.value >= 0.0 {
        let to_zero = sampled * (first.value / change);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= near {
        to_end = gap / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if let Some(seconds) = per {
        factor /= seconds;
    }
    Some(change * factor)
}

pub(super) fn irate(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    let (before, last) = range.last_two()?;
    let change = if last.value < before.value { last.value } else { last.value - before.value };
    Some(change / ((last.time_ms - before.time_ms) as f64 / 1000.0))
}

pub(super) fn idelta(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    let (before, last) = range.last_two()?;
    Some(last.value - before.value)
}

pub(super) fn resets(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    Some(range.steps().filter(|(before, now)| now < before).count() as f64)
}

pub(super) fn changes(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    let changed = |(before, now): &(f64, f64)| before != now && !(before.is_nan() && now.is_nan());
    Some(range.steps().filter(changed).count() as f64)
}

pub(super) fn avg_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    let mut mean = Mean::default();
    range.values().for_each(|value| mean.add(value));
    Some(mean.value())
}

pub(super) fn sum_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    let mut sum = Sum::default();
    range.values().for_each(|value| sum.add(value));
    Some(sum.value())
}

pub(super) fn min_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    range.values().reduce(|least, value| if value < least || least.is_nan() { value } else { least })
}

pub(super) fn max_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    range.values().reduce(|most, value| if value > most || most.is_nan() { value } else { most })
}

pub(super) fn count_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    Some(range.count as f64)
}

pub(super) fn first_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    range.points.first().map(|point| point.value)
}

pub(super) fn last_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    range.points.last().map(|point| point.value)
}

pub(super) fn stddev_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    Some(variance(range.values()).sqrt())
}

pub(super) fn stdvar_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    Some(variance(range.values()))
}

/// The quantile is the scalar.
pub(super) fn quantile_over_time(range: &Range<'_>, scalars: &[f64]) -> Option<f64> {
    Some(number::quantile(scalars[0], range.values().collect()))
}

/// Median of the distances from the median.
pub(super) fn mad_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    let median = number::quantile(0.5, range.values().collect());
    Some(number::quantile(0.5, range.values().map(|value| (value - median).abs()).collect()))
}

/// Seconds since the epoch, as for all that follow.
fn ts(point: &Point) -> f64 {
    point.time_ms as f64 / 1000.0
}

pub(super) fn ts_of_first_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    range.points.first().map(ts)
}

pub(super) fn ts_of_last_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    range.points.last().map(ts)
}

/// Of several that are the greatest, the last.
pub(super) fn ts_of_max_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    let greatest = |most: Point, point: Point| {
        if point.value >= most.value || most.value.is_nan() { point } else { most }
    };
    range.points.iter().copied().reduce(greatest).map(|point| ts(&point))
}

/// Of several that are the least, the last.
pub(super) fn ts_of_min_over_time(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    let least = |least: Point, point: Point| {
        if point.value <= least.value || least.value.is_nan() { point } else { least }
    };
    range.points.iter().copied().reduce(least).map(|point| ts(&point))
}
