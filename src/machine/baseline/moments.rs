//! Count, mean and sum of squared deviations: enough to judge by, and mergeable without the numbers behind them.
//!
//! Nothing is ever subtracted from them. A sum of squares minus the square of a sum loses every digit once the mean is
//! large against the deviation, and a window that takes old numbers out again keeps the rounding error of one huge
//! number after it has left.

/// Of some numbers: how many, their mean, and the sum of the squares of their distances from it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    /// Their mean; 0 of none.
    pub mean: f64,
    /// Sum of the squared distances from the mean, in squares of their unit; 0 where all are equal.
    pub squares: f64,
    /// How many they are.
    pub count: u32,
}

impl Moments {
    /// Takes a number in: Welford's step ("Note on a method for calculating corrected sums of squares and products",
    /// 1962). Equal numbers leave `squares` at exactly 0.
    pub fn add(&mut self, x: f64) {
        self.count = self.count.saturating_add(1);
        let delta = x - self.mean;
        self.mean += delta / f64::from(self.count);
        self.squares += delta * (x - self.mean);
    }

    /// Of the numbers of both: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    /// variances", 1979.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if self.count == 0 {
            return other;
        }
        let (own, others) = (f64::from(self.count), f64::from(other.count));
        let share = others / (own + others);
        let delta = other.mean - self.mean;
        Self {
            mean: self.mean + delta * share,
            squares: self.squares + other.squares + delta * delta * own * share,
            count: self.count.saturating_add(other.count),
        }
    }

    /// Of the numbers of all panes, given as one slice for each field: the same formula for many parts at once. The
    /// squares of the whole are the squares within the parts, and between them `count * (mean - mean of all)²`. One
    /// division for all instead of one for each, and every term is 0 or above, so none cancels another.
    #[must_use]
    pub fn merge_all(counts: &[u32], means: &[f64], squares: &[f64]) -> Self {
        let Some(first) = counts.iter().position(|count| *count > 0) else { return Self::default() };
        // Distances from a mean that is near are exact where the means themselves are large; equal means stay equal.
        let near = means[first];
        let count = sum_in_lanes(counts, means, |own, _| own);
        let shift = sum_in_lanes(counts, means, |own, mean| own * (mean - near));
        let mean = near + shift / count;
        let between =
            sum_in_lanes(counts, means, |own, own_mean| own * ((own_mean - mean) * (own_mean - mean)));
        let within = sum_in_lanes(counts, squares, |_, squares| squares);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number; saturates"
        )]
        let count = count as u32;
        Self { mean, squares: within + between, count }
    }

    /// Mean squared distance from the mean: the variance of just these numbers, as PromQL's `stdvar_over_time` has it.
    /// 0 of none.
    #[must_use]
    pub fn variance(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.squares / f64::from(self.count) }
    }
}

/// Sum of a term of each pane, in four parts by the pane's place: the processor need not wait for one addition before
/// the next, and the order is the same on every machine.
fn sum_in_lanes(counts: &[u32], values: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    let ((counts, counts_left), (values, values_left)) = (counts.as_chunks::<4>(), values.as_chunks::<4>());
    let mut lanes = [0.0; 4];
    for (counts, values) in counts.iter().zip(values) {
        for lane in 0..4 {
            lanes[lane] += term(f64::from(counts[lane]), values[lane]);
        }
    }
    for ((lane, count), value) in lanes.iter_mut().zip(counts_left).zip(values_left) {
        *lane += term(f64::from(*count), *value);
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

/// The same, where each number counts less with every number that comes after it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Fading {
    /// What all of them weigh together; the newest weighs 1.
    pub weight: f64,
    /// Their weighted mean; 0 of none.
    pub mean: f64,
    /// Weighted sum of the squared distances from the mean.
    pub squares: f64,
    /// How many there were, faded or not.
    pub count: u32,
}

impl Fading {
    /// Takes a number in; what was there before weighs `decay` times what it did. The weighted form of Welford's step
    /// (West, "Updating mean and variance estimates: an improved method", 1979): with a decay of 1 it is that step.
    pub fn add(&mut self, x: f64, decay: f64) {
        let before = decay * self.weight;
        self.count = self.count.saturating_add(1);
        self.weight = before + 1.0;
        let delta = x - self.mean;
        self.mean += delta / self.weight;
        self.squares = decay * self.squares + delta * (x - self.mean);
    }

    /// Weighted mean of the squared distances from the mean; 0 of none.
    #[must_use]
    pub fn variance(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.squares / self.weight }
    }
}
