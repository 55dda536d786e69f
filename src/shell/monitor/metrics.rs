//! What the monitor counts. Every label is bounded by the configuration or by an enum.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the buckets of `run_seconds`.
const RUN_SECONDS: [f64; 9] = [0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Run {
    pub(super) service: String,
    pub(super) check: String,
    pub(super) status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Kind {
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Why {
    pub(super) reason: String,
}

#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) runs: Family<Run, Counter>,
    pub(super) run_seconds: Family<Kind, Histogram>,
    pub(super) skipped: Family<Kind, Counter>,
    pub(super) refused: Family<Why, Counter>,
    pub(super) buffer_bytes: Gauge,
    pub(super) dropped: Family<Why, Counter>,
    pub(super) produced: Counter,
    pub(super) produce_errors: Family<Why, Counter>,
}

impl Metrics {
    /// Registers all of them under `bellwether_monitor_…`.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            runs: Family::default(),
            run_seconds: Family::new_with_constructor(|| Histogram::new(RUN_SECONDS)),
            skipped: Family::default(),
            refused: Family::default(),
            buffer_bytes: Gauge::default(),
            dropped: Family::default(),
            produced: Counter::default(),
            produce_errors: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("bellwether_monitor");
        registry.register("runs", "Runs of checks by status", metrics.runs.clone());
        registry.register("run_seconds", "How long runs took", metrics.run_seconds.clone());
        registry.register(
            "runs_skipped",
            "Grid points that a run of the same check overlapped",
            metrics.skipped.clone(),
        );
        registry.register(
            "samples_refused",
            "Samples and pieces of performance data left out",
            metrics.refused.clone(),
        );
        registry.register(
            "buffer_bytes",
            "Records that wait for Kafka or are in flight, bytes",
            metrics.buffer_bytes.clone(),
        );
        registry.register("records_dropped", "Records that never reached Kafka", metrics.dropped.clone());
        registry.register("records_produced", "Records that Kafka acknowledged", metrics.produced.clone());
        registry.register("produce_errors", "Attempts that Kafka refused", metrics.produce_errors.clone());
        metrics
    }
}
