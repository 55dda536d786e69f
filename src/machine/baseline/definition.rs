//! A baseline as a rule file defines it.

use super::calendar::Calendar;
use crate::machine::series::Selector;

/// What is written of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The value that was expected.
    Expected,
    /// Lower end of what is usual.
    Lower,
    /// Upper end of what is usual.
    Upper,
    /// How many deviations off the sample is.
    Score,
    /// How many samples that rests on.
    Samples,
    /// One standard deviation.
    Deviation,
}

impl Output {
    /// Every output.
    pub const ALL: [Self; 6] =
        [Self::Expected, Self::Lower, Self::Upper, Self::Score, Self::Samples, Self::Deviation];

    /// The last part of its series' name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::Score => "score",
            Self::Samples => "samples",
            Self::Deviation => "deviation",
        }
    }
}

/// A baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// What the names of its outputs begin with.
    pub name: String,
    /// Which series it looks at.
    pub selector: Selector,
    /// Whether they count up from zero: then it looks at how fast, per second.
    pub counter: bool,
    /// What a sample has to be to count.
    pub guards: Guards,
    /// At least one. Their names differ.
    pub models: Vec<Model>,
}

/// What a sample has to be to count. None of it touches what is learned, but for the floor under `ewma`'s clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guards {
    /// Which side counts.
    pub detection_direction: Direction,
    /// A sample closer to what was expected than this does not count, in the unit of the series.
    pub min_dev_from_expected: f64,
    /// The same in percent of what was expected.
    pub min_rel_dev_from_expected: f64,
    /// A model that rests on fewer samples says nothing yet.
    pub min_samples: u32,
    /// Half the width of what is usual, in deviations.
    pub z_threshold: f64,
    /// The least deviation, in the unit of the series.
    pub scale_floor: f64,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            detection_direction: Direction::Both,
            min_dev_from_expected: 0.0,
            min_rel_dev_from_expected: 0.0,
            min_samples: 10,
            z_threshold: 3.0,
            scale_floor: 0.0,
        }
    }
}

/// Which side of what was expected counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Either.
    Both,
    /// Only samples above it.
    AboveExpected,
    /// Only samples below it.
    BelowExpected,
}

/// One of a baseline's models.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What its own outputs are called.
    pub name: String,
    /// Its share in the combined verdict; 0 leaves it out, and it goes on learning.
    pub weight: f64,
    /// What it learns.
    pub learns: Learns,
}

/// What a model learns. Two that are equal hold the same state after the same samples, so an edit of the rules that
/// leaves this as it is keeps the state.
#[derive(Debug, Clone, PartialEq)]
pub enum Learns {
    /// Mean and variance of the last `panes` panes, the one that is filling among them.
    Moving {
        /// Length of a pane, milliseconds. They begin at multiples of it.
        pane_ms: i64,
        /// How many, at least 2.
        panes: usize,
    },
    /// Mean and variance for each part of the day or the week.
    Seasonal {
        /// Which part a time is in.
        calendar: Calendar,
        /// What an older sample of the same part weighs against the next one, above 0 and at most 1.
        decay: f64,
    },
    /// Mean and variance in which every sample fades with those after it.
    Ewma {
        /// What a sample weighs against the next one, above 0 and below 1.
        decay: f64,
        /// A sample further from the mean than so many deviations is learned as if it were just so far.
        clip: f64,
    },
}

impl Baseline {
    /// Whether what it has learned holds for `other` as well, model by model where they learn the same.
    #[must_use]
    pub fn looks_at_the_same_as(&self, other: &Self) -> bool {
        (&self.name, &self.selector, self.counter) == (&other.name, &other.selector, other.counter)
    }

    /// Name of the series that holds an output of the verdict of all models.
    #[must_use]
    pub fn output(&self, output: Output) -> String {
        format!("{}:{}", self.name, output.name())
    }

    /// Name of the series that holds an output of one model.
    #[must_use]
    pub fn output_of(&self, model: &Model, output: Output) -> String {
        format!("{}:{}:{}", self.name, model.name, output.name())
    }

    /// Every name that it may write to.
    pub fn outputs(&self) -> impl Iterator<Item = String> {
        let own = Output::ALL.into_iter().map(|output| self.output(output));
        own.chain(
            self.models.iter().flat_map(move |model| {
                Output::ALL.into_iter().map(move |output| self.output_of(model, output))
            }),
        )
    }

    /// How long a silent series is remembered, milliseconds: for as long as what was learned of it is of use.
    #[must_use]
    pub fn keep_ms(&self) -> i64 {
        self.models.iter().map(|model| model.learns.keep_ms()).max().unwrap_or(0)
    }
}

/// A day, milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;

impl Learns {
    /// A window is empty after its own length; a season comes back after its length, and may come a day late; a fading
    /// mean has no length, and is remembered for a day.
    fn keep_ms(&self) -> i64 {
        match self {
            Self::Moving { pane_ms, panes } => {
                pane_ms.saturating_mul(i64::try_from(*panes).unwrap_or(i64::MAX))
            }
            Self::Seasonal { calendar, .. } => calendar.season_ms() + DAY_MS,
            Self::Ewma { .. } => DAY_MS,
        }
    }
}
