//! What a machine tells about itself: for metrics, `status` and the console. Nothing here feeds back into it.

use std::collections::BTreeMap;

/// Numbers of one partition's machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The partition's clock, milliseconds since the epoch; 0 before the first record.
    pub clock_ms: i64,
    /// Offset after the last record seen; 0 before the first.
    pub next_offset: i64,
    /// `seq` of the last transition; 0 if there was none.
    pub seq: i64,
    /// Chain over all transitions up to `seq`.
    pub running_hash: [u8; 32],
    /// Version of the rule set in force; 0 before the first.
    pub rule_set_version: i64,
    /// Series held.
    pub series: usize,
    /// Bytes that series and samples take, about.
    pub bytes: usize,
    /// Alerts pending.
    pub pending: usize,
    /// Alerts firing.
    pub firing: usize,
    /// Samples that some rule selects and that were taken in.
    pub samples_accepted: u64,
    /// Samples refused, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Evaluations of groups.
    pub evaluations: u64,
    /// Grid points that a long silence made too many to evaluate.
    pub evaluations_missed: u64,
    /// Evaluations of rules that failed.
    pub evaluation_failures: u64,
}

/// One rule in force and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleStatus<'a> {
    /// File that holds it.
    pub file: &'a str,
    /// Group that holds it.
    pub group: &'a str,
    /// Name of the alert, or of the series that it records.
    pub name: &'a str,
    /// Whether it alerts; else it records.
    pub alerts: bool,
    /// Its expression as written.
    pub expression: &'a str,
    /// Alerts pending.
    pub pending: usize,
    /// Alerts firing.
    pub firing: usize,
    /// Last grid point at which it was evaluated, milliseconds since the epoch; none if never.
    pub evaluated_ms: Option<i64>,
    /// Why its last evaluation failed; none if it did not.
    pub fault: Option<&'a str>,
}
