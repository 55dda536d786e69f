//! How a hosted partition stands: the one place where its thread writes metrics and its line of the worker's report.

use super::metrics::{In, Metrics, Of, To, Why, word};
use crate::machine::{Machine, Summary};
use crate::shell::emitter::EmitterStatus;
use crate::shell::kafka::consumer::Batch;
use crate::shell::registry::PartitionReport;
use crate::shell::{clock, thread};
use crate::wire::{AlertState, hex};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The digest reads the whole state, so it is taken beside the machine and no more often than every two seconds …
const DIGEST_EVERY: Duration = Duration::from_secs(2);
/// … and takes no more than this part of a processor's time.
const DIGEST_SHARE: u32 = 50;

/// The line that the worker reports of a partition. Written by its thread, read by the host thread.
pub(super) type Line = Arc<Mutex<PartitionReport>>;

/// Metrics and report of one partition.
pub(super) struct Standing {
    partition: i32,
    metrics: Metrics,
    line: Line,
    /// The last summary that was shown: counters grow by the difference.
    shown: Summary,
    next_digest: Duration,
    digesting: Option<Digesting>,
}

/// A digest that is being taken on a thread of its own.
struct Digesting {
    /// Offset of the state that it is of.
    offset: i64,
    began: Duration,
    thread: JoinHandle<[u8; 32]>,
}

impl Standing {
    pub(super) fn new(partition: i32, metrics: Metrics, line: Line) -> Self {
        Self {
            partition,
            metrics,
            line,
            shown: Summary::default(),
            next_digest: Duration::ZERO,
            digesting: None,
        }
    }

    /// A new machine begins: what it counted before is not counted again.
    pub(super) fn begin(&mut self, summary: &Summary) {
        self.shown = summary.clone();
    }

    /// The partition's line of the worker's report.
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    fn of(&self) -> Of {
        Of { partition: self.partition }
    }

    /// A batch was applied.
    pub(super) fn applied(&self, batch: &Batch, took: Duration) {
        let of = self.of();
        self.metrics.records.get_or_create(&of).inc_by(batch.len() as u64);
        self.metrics.record_bytes.get_or_create(&of).inc_by(batch.bytes() as u64);
        self.metrics.step_seconds.observe(took.as_secs_f64());
    }

    /// An alert changed its state.
    pub(super) fn derived(&self, to: AlertState) {
        self.metrics.transitions.get_or_create(&To { partition: self.partition, to: word(to) }).inc();
    }

    /// A record could not be read.
    pub(super) fn rejected(&self, reason: &str) {
        let why = Why { partition: self.partition, reason: reason.to_owned() };
        self.metrics.rejected_records.get_or_create(&why).inc();
    }

    /// A tick was written.
    pub(super) fn ticked(&self) {
        self.metrics.ticks.get_or_create(&self.of()).inc();
    }

    /// Shows everything else.
    pub(super) fn show(
        &mut self,
        summary: &Summary,
        machine: &mut Machine,
        emission: EmitterStatus,
        caught_up: bool,
    ) {
        self.count(summary);
        self.gauge(summary, caught_up);
        let digest = self.digest(machine, summary.next_offset, caught_up);
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((offset, digest)) = digest {
            (line.digest_offset, line.digest) = (offset, hex::digits(&digest));
        }
        line.role = emission.role.code().to_owned();
        line.offset = summary.next_offset;
        line.clock_ms = summary.clock_ms;
        line.seq = summary.seq;
        line.out_seq = emission.marker_seq;
        line.epoch = emission.epoch;
        line.series = summary.series;
        line.rule_set_version = summary.rule_set_version;
        drop(line);
        self.metrics.emission.show(emission);
        self.shown = summary.clone();
    }

    /// What the last digest came to, once it is there; begins the next where one is due.
    fn digest(&mut self, machine: &mut Machine, offset: i64, caught_up: bool) -> Option<(i64, [u8; 32])> {
        let now = clock::monotonic();
        let done = self.digesting.take_if(|digesting| digesting.thread.is_finished());
        if let Some(Digesting { began, .. }) = &done {
            self.next_digest = now + DIGEST_EVERY.max(now.saturating_sub(*began) * DIGEST_SHARE);
        } else if caught_up && self.digesting.is_none() && now >= self.next_digest {
            let capture = machine.capture();
            let thread =
                thread::spawn(format!("digest-{}", self.partition), move || capture.digest()).ok()?;
            self.digesting = Some(Digesting { offset, began: now, thread });
        }
        let Digesting { offset, thread, .. } = done?;
        Some((offset, thread.join().ok()?))
    }

    fn count(&self, summary: &Summary) {
        let of = self.of();
        let (metrics, shown) = (&self.metrics, &self.shown);
        let grown = [
            (&metrics.samples, summary.samples_accepted, shown.samples_accepted),
            (&metrics.evaluations, summary.evaluations, shown.evaluations),
            (&metrics.evaluations_missed, summary.evaluations_missed, shown.evaluations_missed),
            (&metrics.evaluation_failures, summary.evaluation_failures, shown.evaluation_failures),
        ];
        for (family, now, before) in grown {
            family.get_or_create(&of).inc_by(now.saturating_sub(before));
        }
        for (reason, now) in &summary.rejected {
            let before = shown.rejected.get(reason).copied().unwrap_or_default();
            let why = Why { partition: self.partition, reason: (*reason).to_owned() };
            metrics.rejected_samples.get_or_create(&why).inc_by(now.saturating_sub(before));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch fit an f64")]
    fn gauge(&self, summary: &Summary, caught_up: bool) {
        let (of, metrics) = (self.of(), &self.metrics);
        let count = |of: usize| i64::try_from(of).unwrap_or(i64::MAX);
        metrics.clock_seconds.get_or_create(&of).set(summary.clock_ms as f64 / 1000.0);
        metrics.series.get_or_create(&of).set(count(summary.series));
        metrics.state_bytes.get_or_create(&of).set(count(summary.bytes));
        for (state, held) in [(AlertState::Pending, summary.pending), (AlertState::Firing, summary.firing)] {
            metrics
                .alerts
                .get_or_create(&In { partition: self.partition, state: word(state) })
                .set(count(held));
        }
        metrics.seq.get_or_create(&of).set(summary.seq);
        metrics.rule_set_version.get_or_create(&of).set(summary.rule_set_version);
        metrics.caught_up.get_or_create(&of).set(i64::from(caught_up));
    }
}

/// Writes what only the host thread knows: how far behind the end of the log each partition is.
#[expect(clippy::cast_precision_loss, reason = "a lag in milliseconds fits an f64")]
pub(super) fn show_lag(metrics: &Metrics, lines: &BTreeMap<i32, Line>, ends: &BTreeMap<i32, i64>) {
    for (partition, line) in lines {
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(end) = ends.get(partition) else { continue };
        line.end_offset = Some(*end);
        let records = (end - line.offset).max(0);
        let behind_ms = if records == 0 { 0 } else { (clock::wall_ms() - line.clock_ms).max(0) };
        let of = Of { partition: *partition };
        metrics.lag_records.get_or_create(&of).set(records);
        metrics.lag_seconds.get_or_create(&of).set(behind_ms as f64 / 1000.0);
    }
}
