//! From outcomes to records of observations. Pure.
//!
//! | outcome | becomes |
//! |---|---|
//! | verdict | one check result, and `check_perfdata{host, check, label, unit}` for each value of its performance data |
//! | scrape | what the target exposed, `up`, `scrape_duration_seconds`, `scrape_samples_scraped` |
//!
//! A series that the last scrape had and this one has not gets Prometheus's stale marker, all of them when the scrape
//! failed; series with timestamps of their own are left alone, as Prometheus does. Of a series that stands twice in
//! one scrape the first is kept. What the schema's bounds refuse is left out and counted by its fault's code.

use crate::config::{Check, Target};
use crate::machine::series::STALE_NAN_BITS;
use crate::shell::check::{Scrape, ScrapedSample, Verdict, target_labels};
use crate::wire::{CheckResult, Fault, Labels, ObservationsWriter, perfdata};
use std::collections::{BTreeMap, BTreeSet};

/// A record is finished when it has grown beyond this, bytes: brokers take 1 MiB, key and headers included.
const RECORD_BYTES: usize = 900 << 10;

/// What one outcome became.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Encoded {
    /// Records of the check's service, in order.
    pub(super) records: Vec<Vec<u8>>,
    /// Samples that were left out, by reason.
    pub(super) refused: BTreeMap<&'static str, u64>,
}

/// The series of a target's last scrape: name and labels.
pub(super) type Seen = BTreeSet<(Box<str>, Labels)>;

/// Whether what a check brings can be written at all: its names and labels are within the schema's bounds.
pub(super) fn writable(check: &Check) -> Result<(), Fault> {
    let mut writer = ObservationsWriter::new(&check.service)?;
    match &check.target {
        Target::Scrape(url) => writer.sample("up", &target_labels(check, url), 0, 0.0),
        Target::Http(_) | Target::Tcp(_) | Target::Plugin(_) => {
            let result = CheckResult {
                key: &[],
                host: &check.host,
                check: &check.name,
                status: 0,
                output: "",
                perfdata: "",
                time_ms: 0,
            };
            writer.check(&result, &Labels::from(check.labels.clone()))
        }
    }
}

/// A check result that finished at `time_ms`.
pub(super) fn verdict(check: &Check, verdict: &Verdict, time_ms: i64) -> Result<Encoded, Fault> {
    let mut batch = Batch::new(&check.service)?;
    let mut labels = Labels::from(check.labels.clone());
    let result = CheckResult {
        key: &[],
        host: &check.host,
        check: &check.name,
        status: verdict.status.code(),
        output: &verdict.output,
        perfdata: &verdict.perfdata,
        time_ms,
    };
    batch.add(|writer| writer.check(&result, &labels));
    let perfdata = perfdata::parse(&verdict.perfdata);
    labels.set("host", &check.host);
    labels.set("check", &check.name);
    for metric in &perfdata.metrics {
        labels.set("label", &metric.label);
        labels.set("unit", &metric.unit);
        batch.add(|writer| writer.sample(perfdata::METRIC, &labels, time_ms, metric.value));
    }
    batch.refuse("perfdata_malformed", perfdata.malformed);
    Ok(batch.finish())
}

/// A scrape that started at `time_ms`. `seen` is the last scrape's series, and this one's afterwards.
pub(super) fn scrape(service: &str, scrape: Scrape, time_ms: i64, seen: &mut Seen) -> Result<Encoded, Fault> {
    let mut batch = Batch::new(service)?;
    let up = scrape.samples.is_ok();
    let samples = scrape.samples.unwrap_or_default();
    let scraped = samples.len();
    let mut now = Seen::new();
    for ScrapedSample { name, labels, time_ms: own_ms, value } in samples {
        let series = (name, labels);
        if own_ms.is_none() && now.contains(&series) {
            batch.refuse("duplicate", 1);
            continue;
        }
        batch.add(|writer| writer.sample(&series.0, &series.1, own_ms.unwrap_or(time_ms), value));
        if own_ms.is_none() {
            now.insert(series);
        }
    }
    for (name, labels) in seen.difference(&now) {
        batch.add(|writer| writer.sample(name, labels, time_ms, f64::from_bits(STALE_NAN_BITS)));
    }
    *seen = now;
    let scraped = u32::try_from(scraped).unwrap_or(u32::MAX);
    for (name, value) in [
        ("up", f64::from(u8::from(up))),
        ("scrape_duration_seconds", scrape.duration.as_secs_f64()),
        ("scrape_samples_scraped", f64::from(scraped)),
    ] {
        batch.add(|writer| writer.sample(name, &scrape.target, time_ms, value));
    }
    Ok(batch.finish())
}

/// Items of one service, in as many records as they need.
struct Batch {
    empty: ObservationsWriter,
    open: ObservationsWriter,
    encoded: Encoded,
}

impl Batch {
    fn new(service: &str) -> Result<Self, Fault> {
        let empty = ObservationsWriter::new(service)?;
        Ok(Self { open: empty.clone(), empty, encoded: Encoded::default() })
    }

    fn add(&mut self, put: impl Fn(&mut ObservationsWriter) -> Result<(), Fault>) {
        let mut added = put(&mut self.open);
        if matches!(added, Err(Fault::Oversize { .. })) && !self.open.is_empty() {
            self.close();
            added = put(&mut self.open);
        }
        if let Err(fault) = added {
            self.refuse(fault.code(), 1);
        }
        if self.open.len() > RECORD_BYTES {
            self.close();
        }
    }

    fn refuse(&mut self, code: &'static str, count: u64) {
        if count > 0 {
            *self.encoded.refused.entry(code).or_default() += count;
        }
    }

    fn close(&mut self) {
        let full = std::mem::replace(&mut self.open, self.empty.clone());
        self.encoded.records.push(full.finish());
    }

    fn finish(mut self) -> Encoded {
        if !self.open.is_empty() {
            self.close();
        }
        self.encoded
    }
}

#[cfg(test)]
mod tests;
