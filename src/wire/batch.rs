//! The hot path: a hand-written walker of `schemas/observations.avsc` over borrowed bytes.

use super::Fault;

/// One record of observations, checked whole when it is made: its iterators cannot fail.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The service that all series of this batch belong to.
    pub service: &'a str,
    body: &'a [u8],
}

/// One sample of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// The encoded bytes of name and labels: the look-up key of a known series. [`Sample::labels`] parses them.
    pub key: &'a [u8],
    /// Event time, milliseconds since the epoch.
    pub time_ms: i64,
    /// Its value; any bits, Prometheus's stale marker among them.
    pub value: f64,
}

/// One check result of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckResult<'a> {
    /// The encoded bytes of host, check and labels: the look-up key of a known series.
    pub key: &'a [u8],
    /// What was checked, and by which check.
    pub host: &'a str,
    /// Name of the check.
    pub check: &'a str,
    /// 0 OK, 1 warning, 2 critical, 3 unknown.
    pub status: u8,
    /// What the check said.
    pub output: &'a str,
    /// Nagios performance data, as printed.
    pub perfdata: &'a str,
    /// Event time, milliseconds since the epoch.
    pub time_ms: i64,
}

impl<'a> Batch<'a> {
    /// Checks a whole body (framing removed) against the schema, the caps and UTF-8.
    pub fn parse(_body: &'a [u8]) -> Result<Self, Fault> {
        Err(Fault::Truncated { at: 0 })
    }
}
