//! Sums and means as Prometheus takes them, to the last bit: Neumaier's compensated summation, in the order of the
//! elements, and a mean that divides once at the end unless the sum would overflow.

/// A compensated sum (Neumaier's variant of Kahan's).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    /// Adds a number.
    pub(super) fn add(&mut self, x: f64) {
        let sum = self.sum + x;
        if sum.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= x.abs() {
            self.lost += (self.sum - sum) + x;
        } else {
            self.lost += (x - sum) + self.sum;
        }
        self.sum = sum;
    }

    /// Adds the numbers of another sum.
    pub(super) fn join(&mut self, other: Self) {
        self.add(other.sum);
        self.lost += other.lost;
    }

    /// The sum, with what rounding lost put back.
    pub(super) fn value(self) -> f64 {
        self.sum + self.lost
    }

    fn scaled(self, factor: f64) -> Self {
        Self { sum: factor * self.sum, lost: factor * self.lost }
    }

    pub(super) fn divided(self, by: f64) -> Self {
        Self { sum: self.sum / by, lost: self.lost / by }
    }
}

/// A mean.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    count: f64,
    /// The sum so far, or the mean so far once a sum would overflow.
    so_far: Sum,
    incremental: bool,
}

impl Mean {
    /// Takes a number in.
    pub(super) fn add(&mut self, x: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.so_far.sum = x;
            return;
        }
        if !self.incremental {
            let mut sum = self.so_far;
            sum.add(x);
            if sum.sum.is_finite() || sum.sum.is_nan() {
                self.so_far = sum;
                return;
            }
            self.incremental = true;
            self.so_far = self.so_far.divided(self.count - 1.0);
        }
        self.so_far = self.so_far.scaled((self.count - 1.0) / self.count);
        self.so_far.add(x / self.count);
    }

    /// The mean; NaN of nothing.
    pub(super) fn value(self) -> f64 {
        if self.incremental { self.so_far.value() } else { self.so_far.divided(self.count).value() }
    }
}

/// Population variance by Welford's method with compensated sums, as `stddev_over_time` has it.
pub(super) fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Sum::default(), Sum::default());
    for x in values {
        count += 1.0;
        let delta = x - mean.value();
        mean.add(delta / count);
        squares.add(delta * (x - mean.value()));
    }
    squares.value() / count
}

/// The value below which a fraction `q` of the values lies, between two of them in proportion. NaN counts as the least.
/// Below 0 and above 1 the quantile is an infinity.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| nan_first(*a, *b));
    let last = values.len() - 1;
    let rank = q * last as f64;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of values"
    )]
    let lower = (rank.floor() as usize).min(last);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[(lower + 1).min(last)] * weight
}

/// Ascending, NaN before all else. +0 and -0 are equal.
pub(super) fn nan_first(a: f64, b: f64) -> std::cmp::Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// Whether a value is a quantile.
pub(super) fn is_quantile(q: f64) -> bool {
    (0.0..=1.0).contains(&q)
}

/// The greater; NaN if either is, and +0 is above -0, as Go's `math.Max`. (`f64::max` leaves both open.)
pub(super) fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a > b || (a == b && a.is_sign_positive()) {
        a
    } else {
        b
    }
}

/// The smaller; NaN if either is, and -0 is below +0, as Go's `math.Min`.
pub(super) fn min(a: f64, b: f64) -> f64 {
    -max(-a, -b)
}
