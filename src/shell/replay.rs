//! The independent judge: one naive loop replays a partition's whole log through a fresh machine and compares the alerts
//! partition with what came out, record by record. It shares no code with `replica/`, the emitter or the worker's
//! consumers: what they got wrong, it does not repeat.

use super::kafka::{self, KafkaError, Topics};
use crate::config::Config;
use crate::machine::{Action, Event, Machine, Options, Position};
use crate::shell::clock;
use crate::wire::{AlertRecord, Transition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;

/// No answer from Kafka for this long ends the replay with an error.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the judge found on one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The partition.
    pub partition: i32,
    /// Records of the observations log that were replayed.
    pub records: u64,
    /// Transitions that the replay derived.
    pub expected: u64,
    /// Transitions that a `read_committed` reader finds in the alerts partition.
    pub found: u64,
    /// The first difference, with its place; none if the two are equal record by record.
    pub difference: Option<String>,
}

impl Verdict {
    /// Whether the alerts partition holds each transition of the replay once, in order, unchanged, and no other.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.difference.is_none()
    }
}

/// Replays observations partition `partition` from the beginning of retention and compares alerts partition
/// `partition`, both to their present ends.
pub fn judge(config: &Config, partition: i32, producer_time: bool) -> Result<Verdict, KafkaError> {
    let topics = Topics::new(&config.kafka.topic_prefix);
    let mut machine =
        Machine::new(Options { partition, hash_key: 0, producer_time, snapshot_interval_ms: 0 });
    let (mut expected, mut actions, mut records) = (Vec::new(), Vec::new(), 0);
    read_partition(config, &topics.observations, partition, "read_uncommitted", |message| {
        let (append_ms, log_append) = match message.timestamp() {
            Timestamp::LogAppendTime(ms) => (ms, true),
            Timestamp::CreateTime(ms) => (ms, false),
            Timestamp::NotAvailable => (0, false),
        };
        let position = Position { offset: message.offset(), append_ms, log_append };
        machine.step(Event::read(position, message.payload()), &mut actions);
        records += 1;
        expected.extend(actions.drain(..).filter_map(|action| match action {
            Action::Emit(transition) => Some(*transition),
            Action::Reject(..) | Action::RulesSwitched { .. } | Action::ConfirmTime(_) | Action::Cut => None,
        }));
    })?;
    let mut found = Vec::new();
    let mut running_hash = [0; 32];
    let mut difference = None;
    read_partition(config, &topics.alerts, partition, "read_committed", |message| {
        let offset = message.offset();
        match AlertRecord::read(message.payload().unwrap_or_default()) {
            Ok(AlertRecord::Transition(transition)) => {
                running_hash = transition.chain(&running_hash);
                found.push((offset, *transition));
            }
            Ok(AlertRecord::Marker(marker)) => {
                let last = found.last().map_or(0, |(_, transition): &(i64, Transition)| transition.seq);
                if (marker.seq, marker.running_hash) != (last, running_hash) {
                    difference.get_or_insert(format!(
                        "alerts offset {offset}: the marker says seq {} and hash {}, the records before it end at seq {last} with hash {}",
                        marker.seq,
                        short(&marker.running_hash),
                        short(&running_hash)
                    ));
                }
            }
            Err(fault) => {
                difference.get_or_insert(format!("alerts offset {offset}: {fault}"));
            }
        }
    })?;
    let difference = first_difference(&expected, &found).or(difference);
    Ok(Verdict { partition, records, expected: expected.len() as u64, found: found.len() as u64, difference })
}

/// The first place at which the topic differs from the replay.
fn first_difference(expected: &[Transition], found: &[(i64, Transition)]) -> Option<String> {
    for (at, (offset, transition)) in found.iter().enumerate() {
        match expected.get(at) {
            Some(wanted) if same(wanted, transition) => {}
            Some(wanted) => {
                return Some(format!(
                    "alerts offset {offset}: the replay has {wanted:?}, the topic has {transition:?}"
                ));
            }
            None => {
                return Some(format!(
                    "alerts offset {offset}: the replay has no such transition: {transition:?}"
                ));
            }
        }
    }
    let missing = expected.get(found.len())?;
    Some(format!(
        "the topic ends before seq {}, which the replay derived from offset {}: {missing:?}",
        missing.seq, missing.input_offset
    ))
}

/// Equal field by field; a NaN equals a NaN of the same bits.
fn same(a: &Transition, b: &Transition) -> bool {
    a == b || (a.value.to_bits() == b.value.to_bits() && a.encode() == b.encode())
}

fn short(hash: &[u8; 32]) -> String {
    hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a partition from the beginning of its retention to its present end.
fn read_partition(
    config: &Config,
    topic: &str,
    partition: i32,
    isolation: &str,
    mut each: impl FnMut(&BorrowedMessage<'_>),
) -> Result<(), KafkaError> {
    let client = |source| KafkaError::Client { doing: "replaying a partition", source };
    let consumer: BaseConsumer = kafka::client(config, "judge")
        .set("group.id", "bellwether-judge")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("isolation.level", isolation)
        .set("fetch.queue.backoff.ms", "1")
        .set("fetch.wait.max.ms", "10")
        .create()
        .map_err(client)?;
    let (low, _) = consumer.fetch_watermarks(topic, partition, PATIENCE).map_err(client)?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Offset(low)).map_err(client)?;
    consumer.assign(&assignment).map_err(client)?;
    let mut heard = clock::monotonic();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                each(&message);
                heard = clock::monotonic();
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(source)) if source.rdkafka_error_code().is_none_or(|code| !is_passing(code)) => {
                return Err(client(source));
            }
            Some(Err(_)) | None => {
                let waited = clock::monotonic() - heard;
                if waited > PATIENCE {
                    let brokers = config.kafka.brokers.clone();
                    return Err(KafkaError::Unreachable {
                        brokers,
                        what: "a fetch",
                        waited_ms: waited.as_millis(),
                    });
                }
            }
        }
    }
}

/// Errors that librdkafka mends by itself.
fn is_passing(code: rdkafka::types::RDKafkaErrorCode) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::NotLeaderForPartition
            | Code::OperationTimedOut
    )
}
