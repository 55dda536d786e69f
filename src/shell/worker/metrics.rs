//! What a worker counts, under `/metrics`: `bellwether_<noun>_<unit>`. Written once a batch, or once a half second, never
//! once a record.

use super::emission::Emission;
use crate::shell::{clock, snapshot};
use crate::wire::AlertState;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// A gauge of a real number, such as seconds.
type Real = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Of {
    pub(super) partition: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Why {
    pub(super) partition: i32,
    pub(super) reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct To {
    pub(super) partition: i32,
    pub(super) to: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct In {
    pub(super) partition: i32,
    pub(super) state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct As {
    pub(super) partition: i32,
    pub(super) role: &'static str,
}

/// The worker's instruments. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(super) records: Family<Of, Counter>,
    pub(super) record_bytes: Family<Of, Counter>,
    pub(super) samples: Family<Of, Counter>,
    pub(super) rejected_records: Family<Why, Counter>,
    pub(super) rejected_samples: Family<Why, Counter>,
    pub(super) step_seconds: Histogram,
    pub(super) transitions: Family<To, Counter>,
    pub(super) ticks: Family<Of, Counter>,
    pub(super) outbox_dropped: Counter,
    pub(super) lag_records: Family<Of, Gauge>,
    pub(super) lag_seconds: Family<Of, Real>,
    pub(super) clock_seconds: Family<Of, Real>,
    pub(super) series: Family<Of, Gauge>,
    pub(super) state_bytes: Family<Of, Gauge>,
    pub(super) alerts: Family<In, Gauge>,
    pub(super) seq: Family<Of, Gauge>,
    pub(super) rule_set_version: Family<Of, Gauge>,
    pub(super) evaluations: Family<Of, Counter>,
    pub(super) evaluations_missed: Family<Of, Counter>,
    pub(super) evaluation_failures: Family<Of, Counter>,
    pub(super) caught_up: Family<Of, Gauge>,
    pub(super) emission: Emission,
    pub(super) snapshots: snapshot::Metrics,
}

/// Instruments that nobody reads, for a worker without a port.
impl Default for Metrics {
    fn default() -> Self {
        Self {
            records: Family::default(),
            record_bytes: Family::default(),
            samples: Family::default(),
            rejected_records: Family::default(),
            rejected_samples: Family::default(),
            step_seconds: Histogram::new(exponential_buckets(0.000_1, 4.0, 9)),
            transitions: Family::default(),
            ticks: Family::default(),
            outbox_dropped: Counter::default(),
            lag_records: Family::default(),
            lag_seconds: Family::default(),
            clock_seconds: Family::default(),
            series: Family::default(),
            state_bytes: Family::default(),
            alerts: Family::default(),
            seq: Family::default(),
            rule_set_version: Family::default(),
            evaluations: Family::default(),
            evaluations_missed: Family::default(),
            evaluation_failures: Family::default(),
            caught_up: Family::default(),
            emission: Emission::default(),
            snapshots: snapshot::Metrics::default(),
        }
    }
}

impl Metrics {
    /// Instruments in a registry. Names get the prefix `bellwether`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        register_process(registry);
        let to = registry.sub_registry_with_prefix("bellwether");
        all.register_flow(to);
        all.register_state(to);
        all.snapshots.register(to);
        to.register_collector(Box::new(all.emission.clone()));
        all
    }

    fn register_flow(&self, to: &mut Registry) {
        to.register("records", "Records of observations that were applied", self.records.clone());
        to.register("record_bytes", "Keys and values of those records", self.record_bytes.clone());
        to.register("samples", "Samples taken in: a rule selects them", self.samples.clone());
        to.register("rejected_records", "Records that could not be read", self.rejected_records.clone());
        to.register("rejected_samples", "Samples that were refused", self.rejected_samples.clone());
        to.register("batch_step_seconds", "Time that one batch took to apply", self.step_seconds.clone());
        to.register(
            "transitions",
            "Alert transitions derived, by the state entered",
            self.transitions.clone(),
        );
        to.register("ticks", "Ticks written", self.ticks.clone());
        to.register(
            "outbox_dropped",
            "Ticks and rejects that Kafka did not take in time",
            self.outbox_dropped.clone(),
        );
        to.register("evaluations", "Evaluations of rule groups", self.evaluations.clone());
        to.register(
            "evaluations_missed",
            "Grid points that a long silence made too many to evaluate",
            self.evaluations_missed.clone(),
        );
        to.register("evaluation_failures", "Rules that failed", self.evaluation_failures.clone());
    }

    fn register_state(&self, to: &mut Registry) {
        to.register("lag_records", "Records behind the end of the log", self.lag_records.clone());
        to.register(
            "lag_seconds",
            "How far the log's clock is behind, if records wait",
            self.lag_seconds.clone(),
        );
        to.register("clock_seconds", "The log's clock, since the epoch", self.clock_seconds.clone());
        to.register("series", "Series held", self.series.clone());
        to.register("state_bytes", "Bytes that series and samples take, about", self.state_bytes.clone());
        to.register("alerts", "Alerts by state", self.alerts.clone());
        to.register("seq", "Sequence number of the last transition derived", self.seq.clone());
        to.register("rule_set_version", "Version of the rules in force", self.rule_set_version.clone());
        to.register("caught_up", "1 once the end of the log was reached", self.caught_up.clone());
    }

    /// A partition that is no longer hosted shows no state; what was counted stays counted.
    pub(super) fn forget(&self, partition: i32) {
        let of = Of { partition };
        for gauge in [&self.lag_records, &self.series, &self.state_bytes, &self.seq, &self.rule_set_version] {
            gauge.remove(&of);
        }
        for gauge in [&self.lag_seconds, &self.clock_seconds] {
            gauge.remove(&of);
        }
        self.caught_up.remove(&of);
        self.emission.forget(partition);
        self.snapshots.forget(partition);
        for state in [AlertState::Pending, AlertState::Firing] {
            self.alerts.remove(&In { partition, state: word(state) });
        }
    }
}

/// An alert's state as a label value.
pub(super) fn word(state: AlertState) -> &'static str {
    match state {
        AlertState::Inactive => "inactive",
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
    }
}

/// What every Prometheus client tells about its process.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch fit an f64")]
fn register_process(registry: &mut Registry) {
    let started = clock::wall_ms() as f64 / 1000.0;
    registry.register(
        "process_start_time_seconds",
        "Start of the process, since the epoch",
        ConstGauge::new(started),
    );
    registry.register(
        "bellwether_build",
        "The version that runs",
        Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
    );
}
