//! The notifications topic: written by one idempotent producer, read to its end when a partition is taken over.
//!
//! Entries of a partition are written in the order of the decisions, and an idempotent producer keeps that order: what a
//! dead process leaves is a prefix of it, so an entry never stands there without those that it rests on.

use crate::config::Config;
use crate::shell::clock;
use crate::shell::kafka::{KafkaError, client, writer};
use crate::wire::NotifyEntry;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a partition may take to be read to its end, before the attempt is given up and made again.
const RESTORE_WITHIN: Duration = Duration::from_secs(10);

/// The notifications topic.
pub(super) struct Store {
    config: Config,
    topic: String,
    producer: BaseProducer<Deliveries>,
}

/// Partitions of which an entry could not be written.
#[derive(Debug, Default)]
struct Deliveries(Mutex<BTreeSet<i32>>);

impl ClientContext for Deliveries {
    fn error(&self, fault: ClientError, reason: &str) {
        tracing::debug!(%fault, reason, "notifications producer");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((fault, message)) = result {
            let partition = message.partition();
            tracing::error!(%fault, partition, "what was acknowledged could not be recorded");
            // A record that is too large stays too large: to begin again would bring it back.
            if fault.rdkafka_error_code() != Some(RDKafkaErrorCode::MessageSizeTooLarge) {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition);
            }
        }
    }
}

/// What a partition held.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// The newest entry of each key.
    pub(super) entries: Vec<NotifyEntry>,
    /// Records that could not be read.
    pub(super) unreadable: u64,
}

impl Store {
    pub(super) fn new(config: &Config, topic: &str) -> Result<Self, KafkaError> {
        let producer = writer(config, "notifications")
            .set("linger.ms", "0")
            // An entry waits for Kafka for as long as it takes: what is not recorded would be repeated.
            .set("message.timeout.ms", "0")
            .create_with_context(Deliveries::default())
            .map_err(|source| KafkaError::Client { doing: "making the notifications producer", source })?;
        Ok(Self { config: config.clone(), topic: topic.to_owned(), producer })
    }

    /// Reads a partition to its end.
    pub(super) fn restore(&self, partition: i32) -> Result<Restored, KafkaError> {
        let failed = |source| KafkaError::Client { doing: "reading the notifications topic", source };
        let consumer: BaseConsumer = client(&self.config, "notifications-restore")
            .set("group.id", format!("bellwether.{}.notify", self.config.cluster))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "10")
            .create()
            .map_err(failed)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Beginning).map_err(failed)?;
        consumer.assign(&list).map_err(failed)?;
        let mut newest: BTreeMap<Vec<u8>, NotifyEntry> = BTreeMap::new();
        let mut unreadable = 0;
        let deadline = clock::monotonic() + RESTORE_WITHIN;
        while clock::monotonic() < deadline {
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Err(ClientError::PartitionEOF(_))) => {
                    return Ok(Restored { entries: newest.into_values().collect(), unreadable });
                }
                Some(Err(fault)) => match fault.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownPartition) => {
                        return Err(KafkaError::NoTopic { topic: self.topic.clone() });
                    }
                    Some(_) | None => tracing::debug!(%fault, partition, "reading the notifications topic"),
                },
                Some(Ok(message)) => {
                    let key = message.key().unwrap_or_default();
                    match message.payload().map(NotifyEntry::read) {
                        None => drop(newest.remove(key)),
                        Some(Ok(entry)) => drop(newest.insert(key.to_vec(), entry)),
                        Some(Err(fault)) => {
                            unreadable += 1;
                            let offset = message.offset();
                            tracing::warn!(partition, offset, %fault, "an entry of the notifications topic is skipped");
                        }
                    }
                }
            }
        }
        Err(KafkaError::Unreachable {
            brokers: self.config.kafka.brokers.clone(),
            what: "the notifications topic",
            waited_ms: RESTORE_WITHIN.as_millis(),
        })
    }

    /// Writes an entry; without a value it ends its key.
    pub(super) fn write(&self, partition: i32, key: &str, entry: Option<&[u8]>) {
        let mut record = BaseRecord::to(&self.topic).partition(partition).key(key);
        if let Some(bytes) = entry {
            record = record.payload(bytes);
        }
        while let Err((fault, refused)) = self.producer.send(record) {
            if fault.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                tracing::error!(%fault, partition, "what was acknowledged could not be recorded");
                self.producer.context().0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition);
                return;
            }
            self.producer.poll(Duration::from_millis(50));
            record = refused;
        }
    }

    /// Serves the producer. Returns the partitions of which an entry was lost: they have to begin again.
    pub(super) fn poll(&self) -> BTreeSet<i32> {
        self.producer.poll(Duration::ZERO);
        std::mem::take(&mut *self.producer.context().0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until Kafka has everything.
    pub(super) fn flush(&self, within: Duration) {
        if let Err(fault) = self.producer.flush(within) {
            tracing::warn!(%fault, "some acknowledgements are not recorded: the next owner sends those again, by the same keys");
        }
    }
}
