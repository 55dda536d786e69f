//! What one model of one baseline knows of every series, whatever the model.

use super::calendar::Calendar;
use super::definition::{Guards, Learns};
use super::fading::Cells;
use super::judge::Estimate;
use super::moving::Moving;

/// Beyond this a sample is judged and not learned: a window of four thousand million such numbers still has a finite sum
/// of squares, so nothing that is learned is ever an infinity.
pub const LEARNED_MAX: f64 = 1e140;

/// The state of a model, by row.
#[derive(Debug)]
pub(in crate::machine) enum Memory {
    /// Panes.
    Moving(Moving),
    /// One fading mean for each part of the season.
    Seasonal(Calendar, Cells),
    /// One fading mean, and how far off a sample may be to be learned as it is, in deviations.
    Ewma(Cells, f64),
}

impl Memory {
    pub(super) fn new(learns: &Learns) -> Self {
        match learns {
            Learns::Moving { pane_ms, panes } => Self::Moving(Moving::new(*pane_ms, *panes)),
            Learns::Seasonal { calendar, decay } => {
                Self::Seasonal(calendar.clone(), Cells::new(*decay, calendar.buckets()))
            }
            Learns::Ewma { decay, clip } => Self::Ewma(Cells::new(*decay, 1), *clip),
        }
    }

    /// Makes a row that knows nothing.
    pub(super) fn reset(&mut self, row: usize) {
        match self {
            Self::Moving(moving) => moving.reset(row),
            Self::Seasonal(_, cells) | Self::Ewma(cells, _) => cells.reset(row),
        }
    }

    /// What was known of a row before the sample `x`, which is then learned: a sample is no witness to itself.
    pub(super) fn observe(&mut self, row: usize, time_ms: i64, x: f64, guards: &Guards) -> Estimate {
        let learned = x.abs() <= LEARNED_MAX;
        match self {
            Self::Moving(moving) => {
                let known = moving.known(row, time_ms);
                if learned {
                    moving.learn(row, x);
                }
                known
            }
            Self::Seasonal(calendar, cells) => {
                let bucket = calendar.bucket(time_ms);
                let known = cells.known(row, bucket);
                if learned {
                    cells.learn(row, bucket, x);
                }
                known
            }
            Self::Ewma(cells, clip) => {
                let known = cells.known(row, 0);
                if learned {
                    cells.learn(row, 0, clipped(x, *clip, &known, guards));
                }
                known
            }
        }
    }

    /// Reads what [`Self::observe`] is about to touch, and nothing more.
    pub(super) fn touch(&mut self, row: usize, time_ms: i64) -> u64 {
        match self {
            Self::Moving(moving) => moving.touch(row),
            Self::Seasonal(calendar, cells) => cells.touch(row, calendar.bucket(time_ms)),
            Self::Ewma(cells, _) => cells.touch(row, 0),
        }
    }

    pub(super) fn lend(&mut self) -> Self {
        match self {
            Self::Moving(moving) => Self::Moving(moving.lend()),
            Self::Seasonal(calendar, cells) => Self::Seasonal(calendar.clone(), cells.lend()),
            Self::Ewma(cells, clip) => Self::Ewma(cells.lend(), *clip),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Moving(moving) => moving.bytes(),
            Self::Seasonal(_, cells) | Self::Ewma(cells, _) => cells.bytes(),
        }
    }
}

/// Huber's clip ("Robust estimation of a location parameter", 1964): a sample far off moves the mean as far as one that
/// is `clip` deviations off, and no further. Not while the model is warming up, and not where the deviation is 0: a
/// series that never moved would else never be seen to move.
fn clipped(x: f64, clip: f64, known: &Estimate, guards: &Guards) -> f64 {
    let reach = clip * guards.deviation(known);
    if known.samples < guards.min_samples || reach == 0.0 {
        return x;
    }
    x.clamp(known.mean - reach, known.mean + reach)
}
