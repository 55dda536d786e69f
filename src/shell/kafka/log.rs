//! Whole logs for one-shot commands: read partitions from their beginning, to their end or on and on, and write records
//! once. Each call has a deadline; a dead broker is [`KafkaError::Unreachable`].

use super::{KafkaError, client, is_away, writer};
use crate::config::Config;
use crate::shell::clock;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long one question to Kafka may take.
pub const ANSWER: Duration = Duration::from_secs(10);

/// A record of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time stamp, milliseconds since the epoch; 0 where it has none.
    pub append_ms: i64,
    /// Its value; empty where it has none.
    pub value: Vec<u8>,
}

/// What reading gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A record.
    Record(Record),
    /// A partition is read to its present end.
    End(i32),
    /// Nothing within the time asked for.
    Nothing,
}

/// A topic, for reading. Sees committed records only.
pub struct Log {
    consumer: BaseConsumer,
    topic: String,
    brokers: String,
}

impl Log {
    /// Makes the consumer. Does not wait for Kafka.
    pub fn open(config: &Config, topic: &str) -> Result<Self, KafkaError> {
        let consumer = client(config, "log")
            .set("isolation.level", "read_committed")
            // Never subscribed: the group only keeps librdkafka content.
            .set("group.id", format!("bellwether.{}.log", config.cluster))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("check.crcs", "true")
            .set("enable.partition.eof", "true")
            .set("fetch.queue.backoff.ms", "1")
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "16384")
            .create()
            .map_err(|source| KafkaError::Client { doing: "making a consumer", source })?;
        Ok(Self { consumer, topic: topic.to_owned(), brokers: config.kafka.brokers.clone() })
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> Result<i32, KafkaError> {
        let what = "how many partitions a topic has";
        let metadata = self
            .consumer
            .fetch_metadata(Some(&self.topic), ANSWER)
            .map_err(|source| refused(&self.brokers, what, source))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        match topic.map(|topic| topic.partitions().len()) {
            None | Some(0) => Err(KafkaError::NoTopic { topic: self.topic.clone() }),
            Some(count) => Ok(i32::try_from(count).unwrap_or(i32::MAX)),
        }
    }

    /// The offset after a partition's last record.
    pub fn end(&self, partition: i32) -> Result<i64, KafkaError> {
        self.consumer
            .fetch_watermarks(&self.topic, partition, ANSWER)
            .map(|(_, end)| end)
            .map_err(|source| refused(&self.brokers, "where a partition ends", source))
    }

    /// The last part of the name of each consumer group that begins with `prefix`: groups that live, and those whose
    /// committed offsets Kafka still keeps.
    pub fn groups(&self, prefix: &str) -> Result<Vec<String>, KafkaError> {
        let groups = self
            .consumer
            .fetch_group_list(None, ANSWER)
            .map_err(|source| refused(&self.brokers, "what consumer groups there are", source))?;
        let last = |name: &str| name.strip_prefix(prefix).map(str::to_owned);
        Ok(groups.groups().iter().filter_map(|group| last(group.name())).collect())
    }

    /// Begins at the beginning of these partitions.
    pub fn rewind(&self, partitions: impl IntoIterator<Item = i32>) -> Result<(), KafkaError> {
        self.begin(partitions, Offset::Beginning)
    }

    fn begin(&self, partitions: impl IntoIterator<Item = i32>, at: Offset) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        partitions
            .into_iter()
            .try_for_each(|partition| list.add_partition_offset(&self.topic, partition, at))
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|source| KafkaError::Client { doing: "assigning partitions", source })
    }

    /// The next thing, or [`Read::Nothing`] after `timeout`.
    pub fn next(&self, timeout: Duration) -> Result<Read, KafkaError> {
        match self.consumer.poll(timeout) {
            None => Ok(Read::Nothing),
            Some(Ok(message)) => Ok(Read::Record(Record {
                partition: message.partition(),
                offset: message.offset(),
                append_ms: message.timestamp().to_millis().unwrap_or_default(),
                value: message.payload().unwrap_or_default().to_vec(),
            })),
            Some(Err(ClientError::PartitionEOF(partition))) => Ok(Read::End(partition)),
            // A broker that is away: librdkafka tries on; the caller has the deadline.
            Some(Err(fault)) if is_away(&fault) => Ok(Read::Nothing),
            Some(Err(source)) => Err(KafkaError::Client { doing: "reading a log", source }),
        }
    }

    /// Reads partitions to their present ends.
    pub fn read_all(
        &self,
        partitions: impl IntoIterator<Item = i32>,
        each: impl FnMut(Record),
    ) -> Result<(), KafkaError> {
        self.read_from(partitions, Offset::Beginning, each)
    }

    /// Reads at most the last `count` records of each of these partitions.
    pub fn read_last(
        &self,
        partitions: impl IntoIterator<Item = i32>,
        count: i64,
        each: impl FnMut(Record),
    ) -> Result<(), KafkaError> {
        self.read_from(partitions, Offset::OffsetTail(count), each)
    }

    fn read_from(
        &self,
        partitions: impl IntoIterator<Item = i32>,
        at: Offset,
        mut each: impl FnMut(Record),
    ) -> Result<(), KafkaError> {
        let mut left: Vec<i32> = partitions.into_iter().collect();
        self.begin(left.iter().copied(), at)?;
        let mut deadline = clock::monotonic() + ANSWER;
        while !left.is_empty() {
            match self.next(Duration::from_millis(100))? {
                Read::Record(record) => each(record),
                Read::End(partition) => left.retain(|other| *other != partition),
                Read::Nothing if clock::monotonic() > deadline => {
                    return Err(unreachable(&self.brokers, "with the records of a log"));
                }
                Read::Nothing => continue,
            }
            deadline = clock::monotonic() + ANSWER;
        }
        Ok(())
    }
}

/// Where a record is to go.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Key, where it has one.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: &'a [u8],
}

/// Writes records, each once (idempotent, acknowledged by all replicas in sync). `Ok` means that all are written; an
/// error that any number may be.
pub fn write(config: &Config, records: &[Write<'_>]) -> Result<(), KafkaError> {
    let what = "that records are written";
    let receipts = Receipts::default();
    let producer: BaseProducer<Receipts> = writer(config, "write")
        .set("message.timeout.ms", ANSWER.as_millis().to_string())
        .set("message.max.bytes", "1200000")
        .create_with_context(receipts.clone())
        .map_err(|source| KafkaError::Client { doing: "making a producer", source })?;
    for record in records {
        let mut base = BaseRecord::to(record.topic).partition(record.partition).payload(record.value);
        if let Some(key) = record.key {
            base = base.key(key);
        }
        producer.send(base).map_err(|(source, _)| refused(&config.kafka.brokers, what, source))?;
    }
    producer.flush(ANSWER).map_err(|source| refused(&config.kafka.brokers, what, source))?;
    match receipts.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
        None => Ok(()),
        Some(source) => Err(refused(&config.kafka.brokers, what, source)),
    }
}

/// The first failed delivery.
#[derive(Clone, Default)]
struct Receipts(Arc<Mutex<Option<ClientError>>>);

impl ClientContext for Receipts {
    fn error(&self, fault: ClientError, reason: &str) {
        tracing::debug!(%fault, reason, "writing");
    }
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((fault, _)) = result {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| fault.clone());
        }
    }
}

/// A failed question, as the operator should hear of it. `what` ends the sentence "none of the brokers answered …".
pub(in crate::shell) fn refused(brokers: &str, what: &'static str, source: ClientError) -> KafkaError {
    if is_away(&source) { unreachable(brokers, what) } else { KafkaError::Client { doing: what, source } }
}

/// Nobody answered within [`ANSWER`].
pub(super) fn unreachable(brokers: &str, what: &'static str) -> KafkaError {
    KafkaError::Unreachable { brokers: brokers.to_owned(), what, waited_ms: ANSWER.as_millis() }
}
