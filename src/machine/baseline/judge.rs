//! What is said of a sample: what was expected, how far off it is, and whether that counts.

use super::definition::{Direction, Guards};

/// The greatest score, and with a minus sign the least: a million deviations. What a series gets that has never moved
/// and moves now, and what an infinity gets; so a score is never infinite and scores can be averaged.
pub const SCORE_MAX: f64 = 1e6;

/// What a model knows before it sees a sample.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// The value that it expects, in the unit of the series.
    pub mean: f64,
    /// Mean squared distance from it, in the unit's square; 0 where every sample was the same.
    pub variance: f64,
    /// How many samples this rests on.
    pub samples: u32,
}

/// What is said of one sample.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Verdict {
    /// The value that was expected.
    pub expected: f64,
    /// Lower end of what is usual.
    pub lower: f64,
    /// Upper end of what is usual.
    pub upper: f64,
    /// How many deviations the sample is above (positive) or below (negative) what was expected; 0 where a guard holds.
    pub score: f64,
    /// One standard deviation, but no less than the floor.
    pub deviation: f64,
}

impl Guards {
    /// Judges `x`, a number or an infinity, by what was known before it. None while that rests on too few samples.
    #[must_use]
    pub fn judge(&self, x: f64, known: &Estimate) -> Option<Verdict> {
        if known.samples < self.min_samples {
            return None;
        }
        let expected = known.mean;
        let deviation = self.deviation(known);
        let slack = self.min_dev_from_expected.max(self.min_rel_dev_from_expected / 100.0 * expected.abs());
        let reach = (self.z_threshold * deviation).max(slack);
        let off = x - expected;
        let counts = match self.detection_direction {
            Direction::Both => true,
            Direction::AboveExpected => off > 0.0,
            Direction::BelowExpected => off < 0.0,
        };
        let score = if !counts || off == 0.0 || off.abs() < slack {
            0.0
        } else {
            // A deviation of 0 makes an infinity of it, and never 0 / 0.
            (off / deviation).clamp(-SCORE_MAX, SCORE_MAX)
        };
        Some(Verdict { expected, lower: expected - reach, upper: expected + reach, score, deviation })
    }

    /// One standard deviation, but no less than the floor.
    #[must_use]
    pub fn deviation(&self, known: &Estimate) -> f64 {
        known.variance.sqrt().max(self.scale_floor)
    }
}

/// Verdicts of several models as one: their weighted mean. Models that have none yet, and those of weight 0, are left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Combined {
    weight: f64,
    sum: Verdict,
    samples: Option<u32>,
}

impl Combined {
    /// Takes a model's verdict in.
    pub fn add(&mut self, weight: f64, samples: u32, verdict: Option<&Verdict>) {
        if weight <= 0.0 {
            return;
        }
        self.samples = Some(self.samples.map_or(samples, |least| least.min(samples)));
        let Some(verdict) = verdict else { return };
        self.weight += weight;
        self.sum.expected += weight * verdict.expected;
        self.sum.lower += weight * verdict.lower;
        self.sum.upper += weight * verdict.upper;
        self.sum.score += weight * verdict.score;
        self.sum.deviation += weight * verdict.deviation;
    }

    /// The verdict of all; none while no model has one.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let mean = |sum: f64| sum / self.weight;
        (self.weight > 0.0).then(|| Verdict {
            expected: mean(self.sum.expected),
            lower: mean(self.sum.lower),
            upper: mean(self.sum.upper),
            score: mean(self.sum.score),
            deviation: mean(self.sum.deviation),
        })
    }

    /// The fewest samples that one of its models rests on.
    #[must_use]
    pub fn samples(&self) -> u32 {
        self.samples.unwrap_or(0)
    }
}
