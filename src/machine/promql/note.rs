//! What Prometheus would tell whoever asked beside the answer: its annotations, word for word.

use super::syntax::Place;
use crate::machine::template::general;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The result is probably not what was meant.
    Warning,
    /// The result may not be what was meant.
    Info,
}

/// An annotation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// How bad it is.
    pub level: Level,
    /// `PromQL warning: … (line:column)`.
    pub message: String,
}

/// A line and a column of an expression, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    line: usize,
    column: usize,
}

impl Mark {
    /// Where a part of the text begins.
    pub(super) fn new(text: &str, place: Place) -> Self {
        let before = &text[..place.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: before.matches('\n').count() + 1, column: place.start - line_start + 1 }
    }

    fn warning(self, text: &str) -> Note {
        let Self { line, column } = self;
        Note { level: Level::Warning, message: format!("PromQL warning: {text} ({line}:{column})") }
    }

    fn info(self, text: &str) -> Note {
        let Self { line, column } = self;
        Note { level: Level::Info, message: format!("PromQL info: {text} ({line}:{column})") }
    }

    pub(super) fn quantile(self, q: f64) -> Note {
        self.warning(&format!("quantile value should be between 0 and 1, got {}", general(q, None)))
    }

    pub(super) fn ratio(self, ratio: f64, capped: f64) -> Note {
        let (ratio, capped) = (general(ratio, None), general(capped, None));
        self.warning(&format!("ratio value should be between -1 and 1, got {ratio}, capping to {capped}"))
    }

    pub(super) fn bucket(self, le: &str, metric: &str) -> Note {
        let name = name_of(metric);
        self.warning(&format!("bucket label \"le\" is missing or has a malformed value of {le:?}{name}"))
    }

    pub(super) fn not_monotonic(self, metric: &str) -> Note {
        let name = name_of(metric);
        self.info(&format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see \
             https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){name}"
        ))
    }

    pub(super) fn no_counter(self, metric: &str) -> Note {
        self.info(&format!(
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"
        ))
    }

    pub(super) fn sorted_range(self, function: &str) -> Note {
        self.warning(&format!(
            "{function} is ineffective for range queries since results are always ordered by labels"
        ))
    }
}

fn name_of(metric: &str) -> String {
    if metric.is_empty() { String::new() } else { format!(" for metric name {metric:?}") }
}
