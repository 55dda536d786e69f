//! Classic histograms: cumulative counts in series that differ by the label `le`.

use super::number;

/// The label that holds the upper bound of a bucket.
pub(super) const LE: &str = "le";
/// Two counts that differ by less than this, relative to their sum, differ by rounding.
const TOLERANCE: f64 = 1e-12;

/// A bucket: how many observations were at most `upper`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    pub(super) upper: f64,
    pub(super) count: f64,
}

/// The bound as it is written; `None` if it is no number.
pub(super) fn bound(le: &str) -> Option<f64> {
    let number = le.trim_start_matches(['+', '-']);
    let valid = !number.is_empty() && !le.contains(char::is_whitespace);
    le.parse().ok().filter(|_| valid)
}

/// A quantile, and whether counts had to be made ascending for it.
pub(super) struct Quantile {
    pub(super) value: f64,
    pub(super) forced: bool,
}

/// Sorted by bounds, buckets of the same bound added up. `None` where the last is not that of all observations.
pub(super) fn ordered(mut buckets: Vec<Bucket>) -> Option<Vec<Bucket>> {
    buckets.sort_by(|a, b| number::nan_first(a.upper, b.upper));
    if buckets.last()?.upper != f64::INFINITY {
        return None;
    }
    let mut joined: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        match joined.last_mut().filter(|last| last.upper == bucket.upper) {
            Some(last) => last.count += bucket.count,
            None => joined.push(bucket),
        }
    }
    Some(joined)
}

/// Prometheus's `BucketQuantile`: inside a bucket in proportion; the lowest begins at 0 unless it ends below; what is in
/// the highest is the bound below it.
pub(super) fn quantile(q: f64, buckets: Vec<Bucket>) -> Quantile {
    let plain = |value: f64| Quantile { value, forced: false };
    if q.is_nan() {
        return plain(f64::NAN);
    }
    if q < 0.0 {
        return plain(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return plain(f64::INFINITY);
    }
    let Some(mut buckets) = ordered(buckets) else { return plain(f64::NAN) };
    let forced = make_ascending(&mut buckets);
    Quantile { value: interpolated(q, &buckets), forced }
}

fn interpolated(q: f64, buckets: &[Bucket]) -> f64 {
    let [below_last @ .., last] = buckets else { return f64::NAN };
    if below_last.is_empty() || last.count == 0.0 || last.count.is_nan() {
        return f64::NAN;
    }
    let mut rank = q * last.count;
    let Some(at) = below_last.iter().position(|bucket| bucket.count >= rank) else {
        return below_last[below_last.len() - 1].upper;
    };
    let Bucket { upper, mut count } = buckets[at];
    if at == 0 && upper <= 0.0 {
        return upper;
    }
    let mut lower = 0.0;
    if at > 0 {
        lower = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    lower + (upper - lower) * (rank / count)
}

/// No bucket counts less than the one below it. True if one did by more than rounding.
fn make_ascending(buckets: &mut [Bucket]) -> bool {
    let mut forced = false;
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count == before {
            continue;
        }
        let near = almost_equal(before, bucket.count);
        if near || bucket.count < before {
            forced |= !near;
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, apart) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return apart < TOLERANCE * f64::MIN_POSITIVE;
    }
    apart / sum.min(f64::MAX) < TOLERANCE
}

/// Which part of the observations lies between two values: Prometheus's `BucketFraction`.
pub(super) fn fraction(lower: f64, upper: f64, buckets: Vec<Bucket>) -> f64 {
    let Some(buckets) = ordered(buckets) else { return f64::NAN };
    let all = buckets[buckets.len() - 1].count;
    if all == 0.0 || all.is_nan() || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (below_lower, below_upper) = (below(lower, &buckets), below(upper, &buckets));
    let capped = |rank: Option<f64>| rank.filter(|rank| *rank <= all).unwrap_or(all);
    (capped(below_upper) - capped(below_lower)) / all
}

/// How many observations are below a value; `None` if it is above every bound.
fn below(value: f64, buckets: &[Bucket]) -> Option<f64> {
    let mut rank = 0.0;
    let mut start = if buckets[0].upper > 0.0 { 0.0 } else { f64::NEG_INFINITY };
    for bucket in buckets {
        if start >= value {
            return Some(rank);
        }
        if bucket.upper > value {
            let part = (value - start) / (bucket.upper - start);
            // A bucket without a lower end is taken whole.
            return Some(if start.is_infinite() {
                bucket.count
            } else {
                rank + (bucket.count - rank) * part
            });
        }
        (rank, start) = (bucket.count, bucket.upper);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bounds and counts.
    type Pairs<'a> = &'a [(f64, f64)];

    fn buckets(pairs: Pairs<'_>) -> Vec<Bucket> {
        pairs.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect()
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn a_quantile_lies_in_its_bucket_in_proportion() {
        let table: [(f64, Pairs<'_>, f64); 8] = [
            (0.5, &[(1.0, 2.0), (2.0, 6.0), (INF, 8.0)], 1.5),
            (0.1, &[(1.0, 2.0), (2.0, 6.0), (INF, 8.0)], 0.4),
            (0.9, &[(1.0, 2.0), (2.0, 6.0), (INF, 8.0)], 2.0),
            (0.1, &[(-1.0, 2.0), (INF, 8.0)], -1.0),
            (-0.1, &[(1.0, 2.0), (INF, 8.0)], f64::NEG_INFINITY),
            (1.1, &[(1.0, 2.0), (INF, 8.0)], INF),
            (0.5, &[(1.0, 1.0), (1.0, 1.0), (2.0, 6.0), (INF, 8.0)], 1.5),
            (0.5, &[(INF, 8.0), (2.0, 6.0), (1.0, 2.0)], 1.5),
        ];
        for (q, pairs, want) in table {
            assert_eq!(quantile(q, buckets(pairs)).value, want, "{q} {pairs:?}");
        }
        for pairs in [&[(1.0, 2.0)][..], &[(INF, 2.0)], &[(1.0, 0.0), (INF, 0.0)]] {
            assert!(quantile(0.5, buckets(pairs)).value.is_nan(), "{pairs:?}");
        }
    }

    #[test]
    fn counts_that_fall_are_held_and_it_is_said() {
        let falling = quantile(0.5, buckets(&[(1.0, 4.0), (2.0, 2.0), (INF, 4.0)]));
        assert_eq!((falling.value, falling.forced), (0.5, true));
        let rounded = quantile(1.0, buckets(&[(1.0, 0.3), (2.0, 0.1 + 0.2), (INF, 0.3)]));
        assert_eq!((rounded.value, rounded.forced), (1.0, false));
    }

    #[test]
    fn a_fraction_lies_between_two_values() {
        let table: [(f64, f64, Pairs<'_>, f64); 6] = [
            (0.0, 1.0, &[(1.0, 2.0), (2.0, 6.0), (INF, 8.0)], 0.25),
            (0.5, 1.5, &[(1.0, 2.0), (2.0, 6.0), (INF, 8.0)], 0.375),
            (f64::NEG_INFINITY, INF, &[(1.0, 2.0), (2.0, 6.0), (INF, 8.0)], 1.0),
            (3.0, 4.0, &[(1.0, 2.0), (2.0, 6.0), (INF, 8.0)], 0.0),
            (2.0, 1.0, &[(1.0, 2.0), (2.0, 6.0), (INF, 8.0)], 0.0),
            (-0.5, 0.0, &[(-1.0, 2.0), (0.0, 6.0), (INF, 8.0)], 0.25),
        ];
        for (lower, upper, pairs, want) in table {
            assert_eq!(fraction(lower, upper, buckets(pairs)), want, "{lower} {upper} {pairs:?}");
        }
    }

    #[test]
    fn bounds_are_read_as_go_reads_them() {
        assert_eq!(
            [bound("+Inf"), bound("0.5"), bound("1e3"), bound("")],
            [Some(INF), Some(0.5), Some(1e3), None]
        );
    }
}
