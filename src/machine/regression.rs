//! How fast a series moves and how fast that changes: the straight line and the parabola that lie closest to its samples
//! (least squares), at the samples' own times. Units are those of the series per minute, and per minute squared.

use super::series::Point;

/// A minute, milliseconds.
const MINUTE_MS: f64 = 60_000.0;

/// Slope of the straight line through the samples, per minute: PromQL's `deriv` times 60. None of fewer than two samples.
#[must_use]
pub fn speed(points: &[Point]) -> Option<f64> {
    let samples = Centred::of(points, 2)?;
    let (mut products, mut squares) = (0.0, 0.0);
    for (t, y) in samples.pairs() {
        products += t * y;
        squares += t * t;
    }
    Some(products / squares)
}

/// Twice the quadratic coefficient of the parabola through the samples, per minute squared: how fast the speed changes.
/// None of fewer than three samples.
///
/// The parabola is built on polynomials that are orthogonal over the samples' own times (Forsythe, "Generation and use
/// of orthogonal polynomials for data-fitting", 1957), so no system of equations is solved, and the times need not be
/// evenly spaced.
#[must_use]
pub fn acceleration(points: &[Point]) -> Option<f64> {
    let samples = Centred::of(points, 3)?;
    let (mut squares, mut cubes) = (0.0, 0.0);
    for (t, _) in samples.pairs() {
        squares += t * t;
        cubes += t * t * t;
    }
    let (skew, mean_square) = (cubes / squares, squares / points.len() as f64);
    let (mut products, mut norm) = (0.0, 0.0);
    for (t, y) in samples.pairs() {
        let p = t * t - skew * t - mean_square;
        products += p * y;
        norm += p * p;
    }
    Some(2.0 * products / norm)
}

/// Samples with the middle of their times and values taken off: near zero the sums lose nothing, and a constant is 0
/// throughout, whatever its value.
struct Centred<'a> {
    points: &'a [Point],
    first_ms: i64,
    middle: f64,
    /// The first value: equal values then differ from it by exactly 0.
    first: f64,
    mean: f64,
}

impl<'a> Centred<'a> {
    fn of(points: &'a [Point], least: usize) -> Option<Self> {
        let first = points.first().filter(|_| points.len() >= least)?;
        let count = points.len() as f64;
        let mut samples =
            Self { points, first_ms: first.time_ms, middle: 0.0, first: first.value, mean: 0.0 };
        let (mut times, mut values) = (0.0, 0.0);
        for (t, y) in samples.pairs() {
            times += t;
            values += y;
        }
        (samples.middle, samples.mean) = (times / count, values / count);
        Some(samples)
    }

    /// Minutes from the middle and the distance from the mean, in order of time.
    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.iter().map(|point| {
            let minutes = point.time_ms.saturating_sub(self.first_ms) as f64 / MINUTE_MS;
            (minutes - self.middle, point.value - self.first - self.mean)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(pairs: impl IntoIterator<Item = (i64, f64)>) -> Vec<Point> {
        pairs.into_iter().map(|(time_ms, value)| Point { time_ms, value }).collect()
    }

    #[test]
    fn too_few_samples_have_none_and_a_constant_has_exactly_zero() {
        let one = points([(0, 1.0)]);
        let two = points([(0, 1.0), (60_000, 4.0)]);
        assert_eq!((speed(&one), speed(&two), acceleration(&two)), (None, Some(3.0), None));
        let flat = points((0..50).map(|n| (n * 7_919, 0.1 + 1e9)));
        assert_eq!((speed(&flat), acceleration(&flat)), (Some(0.0), Some(0.0)));
    }

    /// The textbook's normal equations of a parabola, solved by Cramer's rule in 128-bit integers: exact.
    fn exact(pairs: &[(i64, i64)]) -> (f64, f64) {
        let sum = |t: u32, y: u32| -> i128 {
            pairs.iter().map(|(time, value)| i128::from(*time).pow(t) * i128::from(*value).pow(y)).sum()
        };
        let n = sum(0, 0);
        let (s1, s2, s3, s4) = (sum(1, 0), sum(2, 0), sum(3, 0), sum(4, 0));
        let (y0, y1, y2) = (sum(0, 1), sum(1, 1), sum(2, 1));
        let line = (n * y1 - s1 * y0) as f64 / (n * s2 - s1 * s1) as f64;
        let det = n * (s2 * s4 - s3 * s3) - s1 * (s1 * s4 - s3 * s2) + s2 * (s1 * s3 - s2 * s2);
        let square = n * (s2 * y2 - y1 * s3) - s1 * (s1 * y2 - y1 * s2) + y0 * (s1 * s3 - s2 * s2);
        (line, 2.0 * square as f64 / det as f64)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn both_agree_with_the_normal_equations(
            gaps in prop::collection::vec(1i64..20, 3..40),
            values in prop::collection::vec(-100_000i64..100_000, 40),
            start in 0i64..2_000_000_000_000,
        ) {
            let mut minute = 0;
            let pairs: Vec<(i64, i64)> = gaps.iter().zip(values).map(|(gap, value)| {
                minute += gap;
                (minute, value)
            }).collect();
            let points = points(pairs.iter().map(|(t, y)| (start + t * 60_000, *y as f64)));
            let (line, square) = exact(&pairs);
            let near = |ours: Option<f64>, exact: f64| {
                // What rounding may do: values of this size over gaps of a minute and more.
                (ours.expect("enough samples") - exact).abs() <= 1e-9 * (1.0 + exact.abs())
            };
            prop_assert!(near(speed(&points), line), "{:?} {line}", speed(&points));
            prop_assert!(near(acceleration(&points), square), "{:?} {square}", acceleration(&points));
        }
    }
}
