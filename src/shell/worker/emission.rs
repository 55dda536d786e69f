//! Emission in `/metrics`: read from the emission threads' own accounts at each scrape.

use super::metrics::{As, Of};
use crate::shell::emitter::{EmitterStatus, LATENCY_BUCKETS_MS, Latency};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The last account of each hosted partition. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Emission(Arc<Mutex<BTreeMap<i32, EmitterStatus>>>);

impl Emission {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, EmitterStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a newer account.
    pub(super) fn show(&self, status: EmitterStatus) {
        self.lock().insert(status.partition, status);
    }

    /// A partition is no longer hosted.
    pub(super) fn forget(&self, partition: i32) {
        self.lock().remove(&partition);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Change {
    partition: i32,
    to: &'static str,
    reason: &'static str,
}

impl Collector for Emission {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let statuses = self.lock();
        let all: Vec<&EmitterStatus> = statuses.values().collect();
        counter(&mut encoder, "commits", "Transactions committed", &all, |status| status.commits)?;
        counter(&mut encoder, "commit_failures", "Transactions whose commit failed", &all, |status| {
            status.commit_failures
        })?;
        counter(&mut encoder, "transitions_out", "Transitions committed by this worker", &all, |status| {
            status.transitions
        })?;
        counter(&mut encoder, "promotions", "How often this worker became primary", &all, |status| {
            status.promotions()
        })?;
        counter(&mut encoder, "fences", "How often another primary put this worker out", &all, |status| {
            status.fences()
        })?;
        counter(
            &mut encoder,
            "divergences",
            "Markers that showed another history than ours",
            &all,
            |status| status.divergences,
        )?;
        changes(&mut encoder, &all)?;
        gauge(&mut encoder, "marker_seq", "Last transition that is known to be out", &all, |status| {
            status.marker_seq
        })?;
        gauge(&mut encoder, "unsent_transitions", "Transitions that wait to be seen out", &all, |status| {
            i64::try_from(status.unsent).unwrap_or(i64::MAX)
        })?;
        gauge(&mut encoder, "epoch", "Promotions of a primary on this partition", &all, |status| {
            status.epoch
        })?;
        roles(&mut encoder, &all)?;
        latencies(&mut encoder, &all)
    }
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    all: &[&EmitterStatus],
    value: impl Fn(&EmitterStatus) -> u64,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for status in all {
        let of = Of { partition: status.partition };
        metric.encode_family(&of)?.encode_counter(&value(status), None::<&Exemplar<NoLabelSet, f64>>)?;
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    all: &[&EmitterStatus],
    value: impl Fn(&EmitterStatus) -> i64,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for status in all {
        metric.encode_family(&Of { partition: status.partition })?.encode_gauge(&value(status))?;
    }
    Ok(())
}

fn changes(encoder: &mut DescriptorEncoder<'_>, all: &[&EmitterStatus]) -> fmt::Result {
    let help = "Changes of role, by what they led to and why";
    let mut metric = encoder.encode_descriptor("role_changes", help, None, MetricType::Counter)?;
    for status in all {
        for ((role, reason), count) in &status.role_changes {
            let change = Change { partition: status.partition, to: role.code(), reason: reason.code() };
            metric.encode_family(&change)?.encode_counter(count, None::<&Exemplar<NoLabelSet, f64>>)?;
        }
    }
    Ok(())
}

/// One series a partition, 1, labelled with the role it has: `bellwether_role{role="primary"}` counts primaries.
fn roles(encoder: &mut DescriptorEncoder<'_>, all: &[&EmitterStatus]) -> fmt::Result {
    let help = "1, labelled with the role that this worker has";
    let mut metric = encoder.encode_descriptor("role", help, None, MetricType::Gauge)?;
    for status in all {
        let held = As { partition: status.partition, role: status.role.code() };
        metric.encode_family(&held)?.encode_gauge(&1_i64)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "bucket bounds are a few thousand milliseconds")]
fn latencies(encoder: &mut DescriptorEncoder<'_>, all: &[&EmitterStatus]) -> fmt::Result {
    let help = "From begin to committed";
    let mut metric = encoder.encode_descriptor("commit_seconds", help, None, MetricType::Histogram)?;
    for status in all {
        let Latency { buckets, sum } = status.commit_latency;
        let bounds = LATENCY_BUCKETS_MS.iter().map(|bound| *bound as f64 / 1000.0).chain([f64::MAX]);
        let counted: Vec<(f64, u64)> = bounds.zip(buckets).collect();
        let of = Of { partition: status.partition };
        let count = buckets.iter().sum();
        metric.encode_family(&of)?.encode_histogram::<NoLabelSet>(
            sum.as_secs_f64(),
            count,
            &counted,
            None,
        )?;
    }
    Ok(())
}
