//! What a notifier counts, under `/metrics`.

use crate::notify::Owed;
use crate::shell::clock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct To {
    receiver: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    receiver: String,
    reason: String,
}

/// The notifier's instruments.
#[derive(Debug)]
pub(super) struct Metrics {
    receivers: Vec<String>,
    taken: Family<To, Counter>,
    failed: Family<Why, Counter>,
    held: Family<Why, Counter>,
    owed: Family<To, Gauge>,
    oldest: Family<To, Gauge<f64, AtomicU64>>,
    /// Partitions that this process decides for.
    pub(super) partitions: Gauge,
    /// Records of either topic that could not be read.
    pub(super) unreadable: Counter,
    /// Transitions that were missing in the alerts topic and given up.
    pub(super) missing: Counter,
}

impl Metrics {
    pub(super) fn new<'a>(registry: &mut Registry, receivers: impl Iterator<Item = &'a str>) -> Self {
        let metrics = Self {
            receivers: receivers.map(str::to_owned).collect(),
            taken: Family::default(),
            failed: Family::default(),
            held: Family::default(),
            owed: Family::default(),
            oldest: Family::default(),
            partitions: Gauge::default(),
            unreadable: Counter::default(),
            missing: Counter::default(),
        };
        let r = registry;
        let name = "bellwether_notifications";
        r.register(name, "Notifications that a receiver took", metrics.taken.clone());
        r.register(format!("{name}_failed"), "Attempts that failed, by reason", metrics.failed.clone());
        r.register(format!("{name}_held"), "Decisions to say nothing, by reason", metrics.held.clone());
        r.register(format!("{name}_owed"), "Notifications that wait or are under way", metrics.owed.clone());
        r.register(
            format!("{name}_oldest_seconds"),
            "Age of the oldest notification that waits or is under way; 0 if none does",
            metrics.oldest.clone(),
        );
        let (partitions, unreadable) = (metrics.partitions.clone(), metrics.unreadable.clone());
        r.register("bellwether_notify_partitions", "Partitions that this process decides for", partitions);
        r.register("bellwether_notify_unreadable_records", "Records that could not be read", unreadable);
        r.register(
            "bellwether_notify_missing_transitions",
            "Transitions that were missing in the alerts topic and given up",
            metrics.missing.clone(),
        );
        for receiver in &metrics.receivers {
            // Shown as 0 before the first one, so that a rate over it has a beginning.
            drop(metrics.taken.get_or_create(&To { receiver: receiver.clone() }));
        }
        metrics
    }

    pub(super) fn took(&self, receiver: &str) {
        self.taken.get_or_create(&To { receiver: receiver.to_owned() }).inc();
    }

    pub(super) fn failed(&self, receiver: &str, reason: &str) {
        let why = Why { receiver: receiver.to_owned(), reason: reason.to_owned() };
        self.failed.get_or_create(&why).inc();
    }

    pub(super) fn held(&self, receiver: &str, reason: &str) {
        let why = Why { receiver: receiver.to_owned(), reason: reason.to_owned() };
        self.held.get_or_create(&why).inc();
    }

    /// What all partitions together owe each receiver.
    pub(super) fn owed(&self, partitions: impl Iterator<Item = Vec<Owed>>) {
        let mut sum = vec![Owed::default(); self.receivers.len()];
        for owed in partitions {
            for (sum, owed) in sum.iter_mut().zip(owed) {
                sum.notifications += owed.notifications;
                sum.oldest_ms = match (sum.oldest_ms, owed.oldest_ms) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
        }
        let now_ms = clock::wall_ms();
        for (receiver, owed) in self.receivers.iter().zip(sum) {
            let to = To { receiver: receiver.clone() };
            let count = i64::try_from(owed.notifications).unwrap_or(i64::MAX);
            self.owed.get_or_create(&to).set(count);
            let age_ms = u64::try_from(now_ms - owed.oldest_ms.unwrap_or(now_ms)).unwrap_or(0);
            self.oldest.get_or_create(&to).set(std::time::Duration::from_millis(age_ms).as_secs_f64());
        }
    }
}
