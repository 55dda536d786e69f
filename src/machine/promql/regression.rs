//! Least squares over a range: `deriv`, `predict_linear`; and Holt's smoothing.

use super::number::Sum;
use super::range::Range;

/// A line through points by least squares.
struct Line {
    /// Per second.
    slope: f64,
    /// Its value at the time from which it was counted.
    intercept: f64,
}

/// The line through the samples of a range, counted from `from_ms`: Prometheus's `linearRegression`, in its order and
/// with its compensated sums. A constant series gives exactly itself.
fn line(range: &Range<'_>, from_ms: i64) -> Line {
    let first = range.points[0].value;
    if range.points.iter().all(|point| point.value == first) {
        return if first.is_infinite() {
            Line { slope: f64::NAN, intercept: f64::NAN }
        } else {
            Line { slope: 0.0, intercept: first }
        };
    }
    let (mut xs, mut ys, mut xys, mut xxs) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for point in range.points {
        let x = (point.time_ms - from_ms) as f64 / 1000.0;
        xs.add(x);
        ys.add(point.value);
        xys.add(x * point.value);
        xxs.add(x * x);
    }
    let count = range.points.len() as f64;
    let (xs, ys, xys, xxs) = (xs.value(), ys.value(), xys.value(), xxs.value());
    let covariance = xys - xs * ys / count;
    let variance = xxs - xs * xs / count;
    let slope = covariance / variance;
    Line { slope, intercept: ys / count - slope * xs / count }
}

/// Slope per second.
pub(super) fn deriv(range: &Range<'_>, _: &[f64]) -> Option<f64> {
    let [first, _, ..] = range.points else { return None };
    Some(line(range, first.time_ms).slope)
}

/// The value so many seconds from now.
pub(super) fn predict_linear(range: &Range<'_>, scalars: &[f64]) -> Option<f64> {
    let [_, _, ..] = range.points else { return None };
    let line = line(range, range.at_ms);
    Some(line.slope * scalars[0] + line.intercept)
}

/// Holt's double exponential smoothing, with a factor for the level and one for the trend.
pub(super) fn smoothing(range: &Range<'_>, factors: &[f64]) -> Option<f64> {
    let [first, second, ..] = range.points else { return None };
    let (level_factor, trend_factor) = (factors[0], factors[1]);
    let (mut before, mut level) = (0.0, first.value);
    let mut trend = second.value - first.value;
    for (at, point) in range.points.iter().enumerate().skip(1) {
        if at > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let next = level_factor * point.value + (1.0 - level_factor) * (level + trend);
        (before, level) = (level, next);
    }
    Some(level)
}
