//! What snapshots count, under `/metrics`.

use super::read::Spent;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A gauge of a real number, such as seconds.
type Real = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    partition: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    partition: i32,
    reason: String,
}

/// Instruments of snapshots. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    written: Family<Of, Counter>,
    cosigned: Family<Of, Counter>,
    disputed: Family<Of, Counter>,
    failures: Family<Of, Counter>,
    skipped: Family<Why, Counter>,
    thinned: Family<Of, Counter>,
    clock_seconds: Family<Of, Real>,
    seq: Family<Of, Gauge>,
    bytes: Family<Of, Gauge>,
    seconds: Family<Of, Real>,
    capture_seconds: Family<Of, Real>,
    restores: Family<Of, Counter>,
    restore_seconds: Family<Of, Real>,
    refused: Family<Why, Counter>,
    retention_close: Family<Of, Gauge>,
}

impl Metrics {
    /// Puts them into a registry.
    pub fn register(&self, to: &mut Registry) {
        to.register("snapshots_written", "Snapshots stored and verified", self.written.clone());
        to.register("snapshots_cosigned", "Snapshots of other workers signed", self.cosigned.clone());
        to.register(
            "snapshots_disputed",
            "Snapshots of other workers that had another digest",
            self.disputed.clone(),
        );
        to.register("snapshot_failures", "Snapshots given up", self.failures.clone());
        to.register("snapshots_skipped", "Captures that were not stored, by reason", self.skipped.clone());
        to.register("snapshots_thinned", "Snapshots taken away by retention", self.thinned.clone());
        to.register(
            "snapshot_clock_seconds",
            "The log's clock at the last snapshot written or signed here, since the epoch",
            self.clock_seconds.clone(),
        );
        to.register("snapshot_seq", "seq at that snapshot", self.seq.clone());
        to.register("snapshot_bytes", "Bytes of the last snapshot written here", self.bytes.clone());
        to.register("snapshot_seconds", "Time that writing or signing it took", self.seconds.clone());
        to.register(
            "snapshot_capture_seconds",
            "Time that the last capture held up the partition",
            self.capture_seconds.clone(),
        );
        to.register("restores", "Partitions begun from a snapshot", self.restores.clone());
        to.register("restore_seconds", "Time that the last restore took", self.restore_seconds.clone());
        to.register(
            "snapshots_refused",
            "Snapshots that a restore did not use, by reason",
            self.refused.clone(),
        );
        to.register(
            "retention_close",
            "1 where the log reaches back less than four times as far as the newest usable snapshot",
            self.retention_close.clone(),
        );
    }

    pub(super) fn stored(&self, partition: i32, clock_ms: i64, seq: i64, took: Duration) {
        let of = Of { partition };
        self.clock_seconds.get_or_create(&of).set(seconds(clock_ms));
        self.seq.get_or_create(&of).set(seq);
        self.seconds.get_or_create(&of).set(took.as_secs_f64());
    }

    pub(super) fn written(&self, partition: i32, bytes: u64) {
        let of = Of { partition };
        self.written.get_or_create(&of).inc();
        self.bytes.get_or_create(&of).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn cosigned(&self, partition: i32) {
        self.cosigned.get_or_create(&Of { partition }).inc();
    }

    pub(super) fn disputed(&self, partition: i32) {
        self.disputed.get_or_create(&Of { partition }).inc();
    }

    pub(super) fn failed(&self, partition: i32) {
        self.failures.get_or_create(&Of { partition }).inc();
    }

    pub(super) fn thinned(&self, partition: i32, count: usize) {
        self.thinned.get_or_create(&Of { partition }).inc_by(count as u64);
    }

    /// A capture that was not stored.
    pub fn skipped(&self, partition: i32, reason: &str) {
        self.skipped.get_or_create(&Why { partition, reason: reason.to_owned() }).inc();
    }

    /// How long a capture held up its partition.
    pub fn captured(&self, partition: i32, took: Duration) {
        self.capture_seconds.get_or_create(&Of { partition }).set(took.as_secs_f64());
    }

    /// A partition was begun from a snapshot.
    pub fn restored(&self, partition: i32, spent: &Spent) {
        self.restores.get_or_create(&Of { partition }).inc();
        self.restore_seconds.get_or_create(&Of { partition }).set(spent.total.as_secs_f64());
    }

    /// A restore did not use a snapshot.
    pub fn refused(&self, partition: i32, reason: &str) {
        self.refused.get_or_create(&Why { partition, reason: reason.to_owned() }).inc();
    }

    /// Whether retention of the log comes close to the newest usable snapshot.
    pub fn retention(&self, partition: i32, is_close: bool) {
        self.retention_close.get_or_create(&Of { partition }).set(i64::from(is_close));
    }

    /// A partition that is no longer hosted shows no state.
    pub fn forget(&self, partition: i32) {
        let of = Of { partition };
        for gauge in [&self.seq, &self.bytes, &self.retention_close] {
            gauge.remove(&of);
        }
        for gauge in [&self.clock_seconds, &self.seconds, &self.capture_seconds, &self.restore_seconds] {
            gauge.remove(&of);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch fit an f64")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
