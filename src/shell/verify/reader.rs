//! A partition as the judge reads it: one record after the other, nothing of the worker's consumers.

use crate::config::Config;
use crate::machine::Position;
use crate::shell::clock;
use crate::shell::kafka::log::ANSWER;
use crate::shell::kafka::{self, KafkaError};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;

/// No answer from Kafka for this long ends the reading with an error.
const PATIENCE: Duration = Duration::from_secs(20);
/// One look at the consumer's queue.
const POLL: Duration = Duration::from_millis(100);

/// Which records a reader is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Every record, as the workers read observations: what a producer aborted, too.
    Uncommitted,
    /// What is committed, as every reader of alerts reads them.
    Committed,
}

/// One topic; reads one partition at a time.
pub(super) struct Reader {
    consumer: BaseConsumer,
    topic: String,
    brokers: String,
    partition: i32,
    /// Offset after the last record that was read.
    pub(super) position: i64,
    ended: bool,
}

impl Reader {
    /// Makes the consumer. Does not wait for Kafka.
    pub(super) fn open(config: &Config, topic: &str, isolation: Isolation) -> Result<Self, KafkaError> {
        let isolation = match isolation {
            Isolation::Uncommitted => "read_uncommitted",
            Isolation::Committed => "read_committed",
        };
        let consumer: BaseConsumer = kafka::client(config, "verify")
            // Never subscribed: the group only keeps librdkafka content.
            .set("group.id", format!("bellwether.{}.verify", config.cluster))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            .set("isolation.level", isolation)
            .set("fetch.queue.backoff.ms", "1")
            .set("fetch.wait.max.ms", "10")
            .set("queued.max.messages.kbytes", "16384")
            .create()
            .map_err(failed)?;
        let brokers = config.kafka.brokers.clone();
        Ok(Self { consumer, topic: topic.to_owned(), brokers, partition: 0, position: 0, ended: false })
    }

    /// How many partitions the topic has.
    pub(super) fn partitions(&self) -> Result<i32, KafkaError> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(&self.topic), ANSWER)
            .map_err(|source| self.refused("how many partitions a topic has", source))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        match topic.map(|topic| topic.partitions().len()) {
            None | Some(0) => Err(KafkaError::NoTopic { topic: self.topic.clone() }),
            Some(count) => Ok(i32::try_from(count).unwrap_or(i32::MAX)),
        }
    }

    /// Offset of the first record that is kept, and the offset after the last.
    pub(super) fn range(&self, partition: i32) -> Result<(i64, i64), KafkaError> {
        self.consumer
            .fetch_watermarks(&self.topic, partition, ANSWER)
            .map_err(|source| self.refused("where a partition begins and ends", source))
    }

    /// Offset of the first record that was stamped at `ms` or later; none where there is none.
    pub(super) fn at_time(&self, partition: i32, ms: i64) -> Result<Option<i64>, KafkaError> {
        let mut asked = TopicPartitionList::new();
        let time = Offset::Offset(ms.max(0));
        asked.add_partition_offset(&self.topic, partition, time).map_err(failed)?;
        let found = self
            .consumer
            .offsets_for_times(asked, ANSWER)
            .map_err(|source| self.refused("which record stands at a time", source))?;
        Ok(found
            .elements()
            .first()
            .and_then(|element| element.offset().to_raw())
            .filter(|offset| *offset >= 0))
    }

    /// Goes to an offset of a partition.
    pub(super) fn begin(&mut self, partition: i32, offset: i64) -> Result<(), KafkaError> {
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&self.topic, partition, Offset::Offset(offset)).map_err(failed)?;
        self.consumer.unassign().and_then(|()| self.consumer.assign(&assignment)).map_err(failed)?;
        (self.partition, self.position, self.ended) = (partition, offset, false);
        Ok(())
    }

    /// The next record; none at the present end of the partition. Asked again it looks for what came since, for as
    /// long as `wait`.
    pub(super) fn next(&mut self, wait: Duration) -> Result<Option<BorrowedMessage<'_>>, KafkaError> {
        let asked = clock::monotonic();
        loop {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    self.position = message.offset() + 1;
                    self.ended = false;
                    return Ok(Some(message));
                }
                Some(Err(ClientError::PartitionEOF(partition))) if partition == self.partition => {
                    self.ended = true;
                }
                Some(Err(source)) if !is_passing(&source) => {
                    return Err(failed(source));
                }
                Some(Err(_)) | None => {}
            }
            let waited = clock::monotonic() - asked;
            if self.ended && waited >= wait {
                return Ok(None);
            }
            if waited > PATIENCE {
                let (brokers, waited_ms) = (self.brokers.clone(), waited.as_millis());
                return Err(KafkaError::Unreachable { brokers, what: "a fetch", waited_ms });
            }
        }
    }

    fn refused(&self, what: &'static str, source: ClientError) -> KafkaError {
        match source.rdkafka_error_code() {
            Some(Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
                KafkaError::NoTopic { topic: self.topic.clone() }
            }
            _ => kafka::log::refused(&self.brokers, what, source),
        }
    }
}

/// Where a record of observations stands, as the machine is told.
pub(super) fn position_of(message: &BorrowedMessage<'_>) -> Position {
    let (append_ms, log_append) = match message.timestamp() {
        Timestamp::LogAppendTime(ms) => (ms, true),
        Timestamp::CreateTime(ms) => (ms, false),
        Timestamp::NotAvailable => (0, false),
    };
    Position { offset: message.offset(), append_ms, log_append }
}

fn failed(source: ClientError) -> KafkaError {
    KafkaError::Client { doing: "reading a partition to verify it", source }
}

/// Errors that librdkafka mends by itself.
fn is_passing(fault: &ClientError) -> bool {
    let moves = Some(Code::NotLeaderForPartition) == fault.rdkafka_error_code()
        || Some(Code::LeaderNotAvailable) == fault.rdkafka_error_code();
    moves || kafka::is_away(fault)
}
