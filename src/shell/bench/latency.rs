//! From a decision to a person's reach: one emitter, one transition at a time, and a `read_committed` reader.

use super::{Topic, failed};
use crate::config::Config;
use crate::shell::clock;
use crate::shell::emitter::{self, Doors, Emitter, EmitterOptions, FromMachine};
use crate::shell::kafka::{self, KafkaError};
use crate::shell::lock::{InProcessLocks, LockService};
use crate::shell::thread;
use crate::wire::{AlertId, AlertRecord, AlertState, Labels, Reason, Transition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;

/// Between two decisions: a busy alerter, not a storm.
const PACE: Duration = Duration::from_millis(50);
/// One transition that takes longer ends the measurement with an error.
const PATIENCE: Duration = Duration::from_secs(20);

/// Milliseconds from each decision, sorted.
#[derive(Debug)]
pub struct Latency {
    /// Until the emitter knew its transaction committed.
    pub committed_ms: Vec<f64>,
    /// Until a `read_committed` reader had the transition.
    pub seen_ms: Vec<f64>,
}

/// Emits `alerts` transitions into topics of its own, as primary, one transaction each.
pub fn measure(config: &Config, prefix: &str, alerts: usize) -> Result<Latency, KafkaError> {
    let mut config = config.clone();
    config.cluster = prefix.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    config.kafka.topic_prefix = prefix.to_owned();
    let topic = kafka::Topics::new(prefix).alerts;
    let _topic = Topic::create(&config, &topic, config.kafka.replication, &[])?;
    let reader = reader(&config, &topic)?;
    let emitter = emitter(&config)?;
    let sender = emitter.sender();
    let (mut committed_ms, mut seen_ms) = (Vec::new(), Vec::new());
    for seq in 1..=i64::try_from(alerts).unwrap_or(i64::MAX) {
        let decided = clock::monotonic();
        let since = || (clock::monotonic() - decided).as_secs_f64() * 1e3;
        if sender.send(FromMachine::Derived(vec![transition(seq)])).is_err() {
            return Err(failed("emitting the bench's alerts")(ClientError::Canceled));
        }
        let (mut committed, mut seen) = (None, None);
        while committed.is_none() || seen.is_none() {
            if committed.is_none() && emitter.status().marker_seq >= seq {
                committed = Some(since());
            }
            if let Some(message) = reader.poll(Duration::from_millis(1)) {
                let message = message.map_err(failed("reading the bench's alerts"))?;
                let record = AlertRecord::read(message.payload().unwrap_or_default());
                if matches!(record, Ok(AlertRecord::Transition(transition)) if transition.seq == seq) {
                    seen = Some(since());
                }
            }
            if clock::monotonic() - decided > PATIENCE {
                let brokers = config.kafka.brokers;
                return Err(KafkaError::Unreachable {
                    brokers,
                    what: "a commit",
                    waited_ms: PATIENCE.as_millis(),
                });
            }
        }
        // The first one waits for the promotion as well: it is no measure of a commit.
        if seq > 1 {
            committed_ms.extend(committed);
            seen_ms.extend(seen);
        }
        thread::pause(PACE.saturating_sub(clock::monotonic() - decided));
    }
    emitter.stop();
    committed_ms.sort_by(f64::total_cmp);
    seen_ms.sort_by(f64::total_cmp);
    Ok(Latency { committed_ms, seen_ms })
}

fn reader(config: &Config, topic: &str) -> Result<BaseConsumer, KafkaError> {
    let doing = failed("reading the bench's alerts");
    let reader: BaseConsumer = kafka::client(config, "bench")
        .set("group.id", "bellwether-bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "1")
        .create()
        .map_err(&doing)?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning).map_err(&doing)?;
    reader.assign(&assignment).map_err(&doing)?;
    Ok(reader)
}

fn emitter(config: &Config) -> Result<Emitter, KafkaError> {
    let lock = LockService::InProcess(InProcessLocks::new(Duration::from_secs(2)));
    let options = EmitterOptions {
        config: Arc::new(config.clone()),
        partition: 0,
        partition_count: 1,
        topic_id: String::new(),
        doors: Doors::start(config, &lock)?,
        lock,
        derived: (0, [0; 32]),
    };
    let started = emitter::start(options);
    let emitter = started.map_err(|_| failed("starting the bench's emitter")(ClientError::Canceled))?;
    // A closed emitter answers at the first transition.
    let _ = emitter.sender().send(FromMachine::CaughtUp);
    Ok(emitter)
}

/// An alert of common size.
fn transition(seq: i64) -> Transition {
    let labels =
        Labels::new([("alertname", "Bench"), ("service", "bench"), ("instance", "host-01.bench.example")]);
    Transition {
        seq,
        alert: AlertId::of("Bench", &labels),
        from: AlertState::Inactive,
        to: AlertState::Firing,
        reason: Reason::ConditionMet,
        group: "bench".to_owned(),
        rule: "Bench".to_owned(),
        rule_set_version: 1,
        service: "bench".to_owned(),
        labels,
        annotations: Labels::new([("summary", "a summary of common length, as people write them")]),
        value: 1.0,
        output: String::new(),
        event_ms: seq,
        active_since_ms: seq,
        input_offset: seq,
        ordinal: 0,
        append_ms: seq,
        suppressed_by: None,
    }
}
