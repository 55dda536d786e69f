//! The data: one consumer for all partitions that this worker hosts, polled by one thread, by manual assignment.
//!
//! ```text
//!              ┌ lane 0 ─ batch ─▶ bounded channel ─▶ machine thread 0
//!  poll ───────┼ lane 1 ─ batch ─▶ bounded channel ─▶ machine thread 1
//!  (one thread)└ …
//! ```
//!
//! Payloads are copied once, from librdkafka's buffer into the batch; machines read them in place there. A machine that
//! is slow fills its channel, then its lane's aside, and then its partition is paused: the others go on. Only when every
//! lane is full does the thread stop polling.
//!
//! Gaps between offsets are normal (control batches, aborted data). What is not normal stops the partition loudly, as a
//! [`BrokenLog`]: a position that the log no longer reaches, or a topic that is gone. Never a silent reset: a machine
//! that skipped records would no longer be its peer's equal.

mod batch;
mod lane;

pub use batch::{Batch, Record};
use lane::Lane;

use super::assignment::group_id;
use super::{KafkaError, client, is_away};
use crate::config::Config;
use crate::shell::{clock, thread};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset, Statistics, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;

/// Messages taken in one go before commands are looked at again.
const BURST: usize = 4096;
/// How long a poll waits where nothing is at hand: the upper bound of the delay of a command, not of a record.
const POLL: Duration = Duration::from_millis(10);
/// How long one question to Kafka may take.
const ASK: Duration = Duration::from_secs(2);

/// What comes down a partition's channel, in the order of the log.
#[derive(Debug)]
pub enum Delivery {
    /// Records.
    Batch(Batch),
    /// The end of the log, as it was just now: everything before has been delivered.
    End,
    /// The last word: this partition is no longer read.
    Broken(BrokenLog),
}

/// Why a partition can no longer be read from where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BrokenLog {
    /// Retention or an operator took records away that were not read yet, or the log was cut back.
    #[error(
        "the next record to read is offset {next}, but the log holds {low} to {high}: the partition goes on from a snapshot \
         that the log still reaches. If retention took the records, raise kafka.observations_retention"
    )]
    OutOfRange {
        /// Offset that was to be read next.
        next: i64,
        /// First offset of the log.
        low: i64,
        /// Offset after the last.
        high: i64,
    },
    /// The topic, or this partition of it, is not there any more.
    #[error("topic {topic:?} is gone. `bellwether topics apply` creates it; then restart this worker")]
    TopicGone {
        /// Name of the topic.
        topic: String,
    },
}

impl BrokenLog {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfRange { .. } => "log_out_of_range",
            Self::TopicGone { .. } => "log_gone",
        }
    }

    /// Lost records do not come back.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }
}

enum Command {
    Assign(i32, i64, SyncSender<Delivery>),
    Unassign(i32),
}

/// How the data consumer is set up; the bench's bare consumer takes the same.
#[must_use]
pub fn settings(config: &Config) -> ClientConfig {
    let mut settings = client(config, "data");
    settings
        // Manual assignment asks for a group's name; it neither joins nor commits.
        .set("group.id", group_id(config))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        // A transaction that some tenant leaves open must not stop everybody's alerts.
        .set("isolation.level", "read_uncommitted")
        // A default of 1000 ms here costs a factor of six when catching up; small queues are faster and bounded.
        .set("fetch.queue.backoff.ms", "1")
        .set("queued.min.messages", "20000")
        .set("queued.max.messages.kbytes", "16384")
        // How long a broker holds a question that it has nothing for: it answers as soon as it has, so a longer wait delays
        // no record, and ten times fewer questions leave the brokers their processors.
        .set("fetch.wait.max.ms", "100")
        .set("statistics.interval.ms", "1000");
    settings
}

/// The consumer and its thread. The thread ends when this is dropped.
pub struct Data {
    consumer: Arc<BaseConsumer<DataContext>>,
    topic: String,
    /// None only while it is being dropped.
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Data {
    /// Makes the consumer of `topic`. Kafka may be away.
    pub fn start(config: &Config, topic: &str) -> Result<Self, KafkaError> {
        let failed = |source| KafkaError::Client { doing: "making the data consumer", source };
        let consumer: BaseConsumer<DataContext> =
            settings(config).create_with_context(DataContext::default()).map_err(failed)?;
        let consumer = Arc::new(consumer);
        let (commands, orders) = channel();
        let mut reader = Reader {
            consumer: Arc::clone(&consumer),
            topic: topic.to_owned(),
            lanes: BTreeMap::new(),
            suspect_since: None,
        };
        let thread = thread::spawn("data", move || reader.run(&orders))
            .map_err(|_| failed(ClientError::ClientCreation("no thread left".to_owned())))?;
        Ok(Self { consumer, topic: topic.to_owned(), commands: Some(commands), thread: Some(thread) })
    }

    /// First offset of a partition's log, and the one after its last. Blocks for up to two seconds.
    pub fn range(&self, partition: i32) -> Result<(i64, i64), KafkaError> {
        let asked = self.consumer.fetch_watermarks(&self.topic, partition, ASK);
        asked.map_err(|source| KafkaError::Client { doing: "asking for the range of a partition", source })
    }

    /// The offset that this zone's group has committed on a partition: what an earlier run has applied. None where it
    /// has committed nothing. Blocks for up to two seconds.
    pub fn committed(&self, partition: i32) -> Result<Option<i64>, KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        let asked = self.consumer.committed_offsets(list, ASK);
        let asked =
            asked.map_err(|source| KafkaError::Client { doing: "asking for a committed offset", source })?;
        let found = asked.find_partition(&self.topic, partition);
        Ok(found.and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => {
                None
            }
        }))
    }

    /// How many partitions the topic has. Blocks for up to two seconds.
    pub fn partition_count(&self) -> Result<i32, KafkaError> {
        let asked = self.consumer.fetch_metadata(Some(&self.topic), ASK);
        let metadata = asked.map_err(|source| KafkaError::Client { doing: "asking for metadata", source })?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        match topic.map(|topic| topic.partitions().len()) {
            None | Some(0) => Err(KafkaError::NoTopic { topic: self.topic.clone() }),
            Some(count) => Ok(i32::try_from(count).unwrap_or(i32::MAX)),
        }
    }

    /// The offset after the last record of each partition that is read, as the last fetch told; once a second.
    #[must_use]
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        self.consumer.context().ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same of one partition.
    pub fn end(&self, partition: i32) -> Option<i64> {
        self.consumer.context().ends.lock().unwrap_or_else(PoisonError::into_inner).get(&partition).copied()
    }

    /// Reads a partition from `offset` on, into `lane`.
    pub fn assign(&self, partition: i32, offset: i64, lane: SyncSender<Delivery>) {
        self.order(Command::Assign(partition, offset, lane));
    }

    /// Stops reading a partition, and lets go of its channel.
    pub fn unassign(&self, partition: i32) {
        self.order(Command::Unassign(partition));
    }

    fn order(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The thread is gone only while the worker is being taken down.
            let _ = commands.send(command);
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        self.commands.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The polling thread's own state.
struct Reader {
    consumer: Arc<BaseConsumer<DataContext>>,
    topic: String,
    lanes: BTreeMap<i32, Lane>,
    /// Set while an error that names no partition waits to be looked into.
    suspect_since: Option<Duration>,
}

impl Reader {
    fn run(&mut self, orders: &Receiver<Command>) {
        loop {
            let all_full = !self.lanes.is_empty() && self.lanes.values().all(Lane::is_full);
            let order = if all_full {
                // Every machine has enough to do: wait a moment rather than fetch in vain.
                orders.recv_timeout(Duration::from_millis(1))
            } else {
                orders.try_recv().map_err(|fault| match fault {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            };
            match order {
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.balance(all_full);
            if !all_full {
                self.burst();
            }
            self.drop_done();
            self.look_into();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Assign(partition, offset, sender) => {
                self.lanes.insert(partition, Lane::new(offset, sender));
                self.call("assigning", partition, Some(offset), |consumer, list| {
                    consumer.incremental_assign(list)
                });
            }
            Command::Unassign(partition) => {
                if self.lanes.remove(&partition).is_some_and(|lane| !lane.is_broken()) {
                    self.unassign(partition);
                }
            }
        }
    }

    fn unassign(&self, partition: i32) {
        self.call("unassigning", partition, None, |consumer, list| consumer.incremental_unassign(list));
    }

    /// Hands on what waits, pauses lanes that are full and resumes those that are drained.
    fn balance(&mut self, all_full: bool) {
        for lane in self.lanes.values_mut() {
            lane.drain();
        }
        for (partition, lane) in &self.lanes {
            // A pause throws away what librdkafka has fetched ahead, so it is not done where all are full alike.
            if lane.is_full() && !lane.paused.get() && !all_full {
                lane.paused.set(true);
                self.call("pausing", *partition, None, |consumer, list| consumer.pause(list));
            } else if lane.paused.get() && lane.is_drained() && !lane.is_broken() {
                lane.paused.set(false);
                self.call("resuming", *partition, None, |consumer, list| consumer.resume(list));
            }
        }
    }

    fn call(
        &self,
        doing: &'static str,
        partition: i32,
        offset: Option<i64>,
        call: impl Fn(&BaseConsumer<DataContext>, &TopicPartitionList) -> Result<(), ClientError>,
    ) {
        let mut list = TopicPartitionList::new();
        let offset = offset.map_or(Offset::Invalid, Offset::Offset);
        let done = list
            .add_partition_offset(&self.topic, partition, offset)
            .and_then(|()| call(&self.consumer, &list));
        if let Err(fault) = done {
            tracing::error!(partition, %fault, "{doing} failed");
        }
    }

    /// Takes what is at hand, up to a bound, and hands it on.
    fn burst(&mut self) {
        let mut patience = POLL;
        let mut suspect = false;
        for _ in 0..BURST {
            match self.consumer.poll(patience) {
                None => break,
                Some(Ok(message)) => keep(&mut self.lanes, &message),
                Some(Err(ClientError::PartitionEOF(partition))) => {
                    if let Some(lane) = self.lanes.get_mut(&partition) {
                        lane.end();
                    }
                }
                Some(Err(fault)) => suspect |= is_suspect(&fault),
            }
            patience = Duration::ZERO;
        }
        for lane in self.lanes.values_mut() {
            lane.seal();
            lane.drain();
        }
        if suspect && self.suspect_since.is_none() {
            self.suspect_since = Some(clock::monotonic());
        }
    }

    /// A lane whose machine has gone is no longer read; one that was broken off no longer is already.
    fn drop_done(&mut self) {
        let done: Vec<i32> =
            self.lanes.iter().filter(|(_, lane)| lane.is_done()).map(|(partition, _)| *partition).collect();
        for partition in done {
            if self.lanes.remove(&partition).is_some_and(|lane| !lane.is_broken()) {
                self.unassign(partition);
            }
        }
    }

    /// An error of the client names no partition. So every lane is compared with the log: one that the log no longer
    /// reaches is broken; the others are assigned again at the very offset where they stand, which skips nothing.
    fn look_into(&mut self) {
        let Some(since) = self.suspect_since else { return };
        if clock::monotonic() < since + Duration::from_secs(1) {
            return;
        }
        // Asked again in a second where Kafka does not answer now.
        self.suspect_since = Some(clock::monotonic());
        let Ok(metadata) = self.consumer.fetch_metadata(Some(&self.topic), ASK) else { return };
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let exists = |partition: &i32| {
            topic.is_some_and(|topic| topic.partitions().iter().any(|known| known.id() == *partition))
        };
        let mut broken = Vec::new();
        for (partition, lane) in self.lanes.iter().filter(|(_, lane)| !lane.is_broken()) {
            if !exists(partition) {
                broken.push((*partition, BrokenLog::TopicGone { topic: self.topic.clone() }));
                continue;
            }
            match self.consumer.fetch_watermarks(&self.topic, *partition, ASK) {
                Ok((low, high)) if lane.next < low || lane.next > high => {
                    broken.push((*partition, BrokenLog::OutOfRange { next: lane.next, low, high }));
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
        self.suspect_since = None;
        for (partition, why) in broken {
            if let Some(lane) = self.lanes.get_mut(&partition) {
                lane.break_off(why);
            }
            self.unassign(partition);
        }
        for (partition, lane) in self.lanes.iter().filter(|(_, lane)| !lane.is_broken()) {
            lane.paused.set(false);
            self.unassign(*partition);
            self.call("assigning again", *partition, Some(lane.next), |consumer, list| {
                consumer.incremental_assign(list)
            });
        }
    }
}

/// Copies a message into its lane. One that comes after its partition was let go, or that was read already, is dropped.
fn keep(lanes: &mut BTreeMap<i32, Lane>, message: &BorrowedMessage<'_>) {
    if let Some(lane) = lanes.get_mut(&message.partition())
        && message.offset() >= lane.next
    {
        lane.push(message);
    }
}

/// Whether an error may mean that a partition is no longer read. A broker that is away is not: librdkafka comes back to it.
fn is_suspect(fault: &ClientError) -> bool {
    let passing = is_away(fault);
    if passing {
        tracing::debug!(%fault, "data consumer");
    } else {
        tracing::warn!(%fault, "data consumer: comparing every position with the log");
    }
    !passing
}

/// What librdkafka calls back into, on the polling thread.
#[derive(Default)]
struct DataContext {
    ends: Mutex<BTreeMap<i32, i64>>,
}

impl ClientContext for DataContext {
    fn error(&self, fault: ClientError, reason: &str) {
        tracing::debug!(%fault, reason, "data consumer");
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.into_values().flat_map(|topic| topic.partitions);
        let ends = partitions
            .filter(|(partition, state)| *partition >= 0 && state.hi_offset >= 0)
            .map(|(partition, state)| (partition, state.hi_offset))
            .collect();
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = ends;
    }
}

impl ConsumerContext for DataContext {}
