//! Reading the alerts topic from its tail: what is out, and what comes out.
//!
//! - [`Follower::last_marker`] reads a partition to its end and gives its last marker. A promotion calls it *after*
//!   `init_transactions`: nothing of ours is open then, so the end that a `read_committed` reader sees is the end, unless
//!   somebody else's transaction is open before it ([`Tail::is_open`]: what stands behind that nobody can tell yet). Control
//!   batches make gaps in the offsets, so the end is the partition's end-of-file event of a fresh assignment and never
//!   "position equals high watermark". It uses a consumer of its own, kept warm between calls: no event of another
//!   assignment can be mistaken for this one's.
//! - [`Follower::follow`] tells each marker of a partition as it is committed: one consumer and one thread for all
//!   partitions that a worker hosts.

use super::{KafkaError, Topics, client};
use crate::config::Config;
use crate::replica::Tail as Out;
use crate::shell::{clock, thread};
use crate::wire::{AlertRecord, Marker};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// First step back from the end in search of a marker, offsets. The largest transaction takes a second step.
const STEP_BACK: i64 = 128;
/// Warm consumers kept for the next read-back.
const IDLE_MAX: usize = 4;
/// Wait of one poll of the follower: the bound of how long stopping takes, not of how late a marker is told.
const POLL: Duration = Duration::from_millis(100);

/// What following a partition tells.
#[derive(Debug, Clone, PartialEq)]
pub enum TailEvent {
    /// A committed marker.
    Marker(Box<Marker>),
    /// The place in the partition is lost (retention passed it, or the topic was made anew). Nothing more is told:
    /// read the last marker, and follow again.
    Lost,
}

/// Where a partition's tail events go. Called on the follower's thread; must not block.
pub type TailListener = Box<dyn Fn(TailEvent) + Send>;

/// The end of a partition, as a `read_committed` reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The last marker; none if the partition holds none.
    pub marker: Option<Marker>,
    /// Where to go on reading.
    pub next_offset: i64,
    /// Whether a transaction was open before the partition's very end.
    pub is_open: bool,
    /// Where the partition begins: above 0 it has lost its first records.
    pub low_offset: i64,
}

/// Reads the alerts topic for one worker process. Clones share it; the thread ends with the last of them.
#[derive(Debug, Clone)]
pub struct Follower {
    shared: Arc<Shared>,
    _thread: Arc<Thread>,
}

struct Shared {
    brokers: String,
    topic: String,
    settings: ClientConfig,
    consumer: BaseConsumer,
    /// Asked where partitions really end, whatever is open; made at the first question.
    ends: Mutex<Option<Arc<BaseConsumer>>>,
    ends_settings: ClientConfig,
    listeners: Mutex<BTreeMap<i32, TailListener>>,
    idle: Mutex<Vec<BaseConsumer>>,
    stop: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("topic", &self.topic).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Thread {
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

impl Follower {
    /// Makes the consumer and starts its thread. Does not wait for Kafka.
    pub fn start(config: &Config) -> Result<Self, KafkaError> {
        let mut settings = client(config, "tail");
        settings.set("isolation.level", "read_committed");
        // Never subscribed: the group only keeps librdkafka content.
        settings.set("group.id", format!("bellwether.{}.tail.{}", config.cluster, config.worker));
        settings.set("enable.auto.commit", "false");
        settings.set("auto.offset.reset", "error");
        settings.set("check.crcs", "true");
        settings.set("fetch.queue.backoff.ms", "1");
        settings.set("queued.max.messages.kbytes", "4096");
        let mut following = settings.clone();
        following.set("fetch.wait.max.ms", "100");
        let mut ends_settings = settings.clone();
        ends_settings.set("isolation.level", "read_uncommitted");
        // A read-back waits for an empty answer to know the end.
        settings.set("fetch.wait.max.ms", "1");
        settings.set("enable.partition.eof", "true");
        let doing = "making the consumer of alerts";
        let shared = Arc::new(Shared {
            brokers: config.kafka.brokers.clone(),
            topic: Topics::new(&config.kafka.topic_prefix).alerts,
            settings,
            consumer: following.create().map_err(|source| KafkaError::Client { doing, source })?,
            ends: Mutex::default(),
            ends_settings,
            listeners: Mutex::default(),
            idle: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let polled = Arc::clone(&shared);
        let handle = thread::spawn("alerts-tail", move || polled.run()).map_err(|_| KafkaError::Client {
            doing: "starting the thread of alerts",
            source: ClientError::Canceled,
        })?;
        let thread = Thread { shared: Arc::clone(&shared), handle: Some(handle) };
        Ok(Self { shared, _thread: Arc::new(thread) })
    }

    /// Tells every marker of `partition` that is committed at or after `offset`, until [`Follower::unfollow`].
    pub fn follow(&self, partition: i32, offset: i64, tell: TailListener) -> Result<(), KafkaError> {
        self.unfollow(partition);
        self.shared.listeners().insert(partition, tell);
        let consumer = &self.shared.consumer;
        self.shared
            .place(partition, Offset::Offset(offset))
            .and_then(|list| consumer.incremental_assign(&list))
            .map_err(|source| KafkaError::Client { doing: "following alerts", source })
    }

    /// Tells no more of `partition`.
    pub fn unfollow(&self, partition: i32) {
        if self.shared.listeners().remove(&partition).is_some()
            && let Ok(list) = self.shared.place(partition, Offset::Invalid)
        {
            let _ = self.shared.consumer.incremental_unassign(&list);
        }
    }

    /// Reads `partition` to its end.
    pub fn last_marker(&self, partition: i32, timeout: Duration) -> Result<Tail, KafkaError> {
        let deadline = clock::monotonic() + timeout;
        let idle = self.shared.idle().pop();
        let reader = match idle {
            Some(reader) => reader,
            None => self.shared.make(&self.shared.settings)?,
        };
        let tail = self.shared.read_tail(&reader, partition, deadline, timeout)?;
        // Back only when it is clean: a consumer that failed is dropped with whatever it still holds.
        let clean = reader.unassign().is_ok();
        let mut idle = self.shared.idle();
        if clean && idle.len() < IDLE_MAX {
            idle.push(reader);
        }
        Ok(tail)
    }
}

impl Shared {
    fn listeners(&self) -> MutexGuard<'_, BTreeMap<i32, TailListener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<BaseConsumer>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, settings: &ClientConfig) -> Result<BaseConsumer, KafkaError> {
        settings.create().map_err(|source| KafkaError::Client { doing: "making a reader of alerts", source })
    }

    fn place(&self, partition: i32, offset: Offset) -> Result<TopicPartitionList, ClientError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, offset)?;
        Ok(list)
    }

    fn unreachable(&self, timeout: Duration) -> KafkaError {
        KafkaError::Unreachable {
            brokers: self.brokers.clone(),
            what: "for the end of the alerts partition",
            waited_ms: timeout.as_millis(),
        }
    }

    /// The follower's thread.
    fn run(&self) {
        let mut complained = false;
        while !self.stop.load(Ordering::Relaxed) {
            match self.consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => {
                    complained = false;
                    if let Some(marker) = marker_of(&message)
                        && let Some(tell) = self.listeners().get(&message.partition())
                    {
                        tell(TailEvent::Marker(Box::new(marker)));
                    }
                }
                Some(Err(fault)) if is_lost(&fault) => {
                    // librdkafka does not say of which partition: all look again.
                    tracing::warn!(%fault, topic = self.topic, "lost the place in the alerts topic; reading its tail again");
                    self.listeners().values().for_each(|tell| tell(TailEvent::Lost));
                }
                Some(Err(fault)) => {
                    if !complained {
                        tracing::warn!(%fault, topic = self.topic, "cannot follow the alerts topic; trying on");
                    }
                    complained = true;
                }
            }
        }
    }

    /// Steps back from the end until a marker is found.
    fn read_tail(
        &self,
        reader: &BaseConsumer,
        partition: i32,
        deadline: Duration,
        timeout: Duration,
    ) -> Result<Tail, KafkaError> {
        let left = || deadline.saturating_sub(clock::monotonic());
        let ends = {
            let mut slot = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            match slot.as_ref() {
                Some(ends) => Arc::clone(ends),
                None => Arc::clone(slot.insert(Arc::new(self.make(&self.ends_settings)?))),
            }
        };
        let ask = |consumer: &BaseConsumer| {
            let doing = "asking for the end of the alerts partition";
            consumer.fetch_watermarks(&self.topic, partition, left()).map_err(|source| {
                match source.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownPartition) => {
                        KafkaError::NoTopic { topic: self.topic.clone() }
                    }
                    _ if left().is_zero() => self.unreachable(timeout),
                    _ => KafkaError::Client { doing, source },
                }
            })
        };
        // In this order: a transaction that ends between the two answers is not taken for an open one. A `read_committed`
        // client is told the last stable offset.
        let (_, end) = ask(&ends).inspect_err(|_| {
            // A client goes on believing what a broker that had just started told it: that there is no such topic.
            *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = None;
        })?;
        let (low, high) = ask(reader)?;
        let is_open = end > high;
        let mut back = STEP_BACK;
        loop {
            let from = low.max(high - back);
            let (marker, next_offset) = if from >= high {
                (None, high)
            } else {
                let out = Out::new(from == low);
                self.read_to_end(reader, (partition, from), out, deadline, timeout)?
            };
            if marker.is_some() || from == low {
                return Ok(Tail { marker, next_offset, is_open, low_offset: low });
            }
            back = back.saturating_mul(8);
        }
    }

    fn read_to_end(
        &self,
        reader: &BaseConsumer,
        (partition, from): (i32, i64),
        mut out: Out,
        deadline: Duration,
        timeout: Duration,
    ) -> Result<(Option<Marker>, i64), KafkaError> {
        let doing = "reading the end of the alerts partition";
        // A place of an earlier call would answer with its own end.
        reader
            .unassign()
            .and_then(|()| reader.assign(&self.place(partition, Offset::Offset(from))?))
            .map_err(|source| KafkaError::Client { doing, source })?;
        // Not the partition's end: a transaction that is open now may be committed, marker and all, before that.
        let mut next_offset = from;
        loop {
            let left = deadline.saturating_sub(clock::monotonic());
            if left.is_zero() {
                return Err(self.unreachable(timeout));
            }
            match reader.poll(left.min(POLL)) {
                None => {}
                Some(Ok(message)) => {
                    next_offset = message.offset() + 1;
                    match record_of(&message) {
                        Some(AlertRecord::Marker(marker)) => out.marker(&marker),
                        Some(AlertRecord::Transition(one)) => {
                            let place = (one.input_offset, one.ordinal);
                            let bytes = message.payload().unwrap_or_default();
                            out.transition(one.seq, place, one.rule_set_version, bytes);
                        }
                        None => {}
                    }
                }
                Some(Err(ClientError::PartitionEOF(at))) if at == partition => {
                    return Ok((out.out(), next_offset));
                }
                Some(Err(source)) if is_lost(&source) => return Err(KafkaError::Client { doing, source }),
                // A broker that is away: librdkafka tries on until the deadline.
                Some(Err(_)) => {}
            }
        }
    }
}

fn is_lost(fault: &ClientError) -> bool {
    matches!(
        fault.rdkafka_error_code(),
        Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset)
    )
}

/// The marker in a record of the alerts topic, if it is one. The follower needs no more: a transition that is out
/// without its marker waits for the next one, or for a takeover, and neither emits it again.
fn marker_of(message: &impl Message) -> Option<Marker> {
    match record_of(message)? {
        AlertRecord::Marker(marker) => Some(marker),
        AlertRecord::Transition(_) => None,
    }
}

fn record_of(message: &impl Message) -> Option<AlertRecord> {
    let read = AlertRecord::read(message.payload()?);
    if let Err(fault) = &read {
        let (partition, offset) = (message.partition(), message.offset());
        tracing::error!(partition, offset, %fault, "a record of the alerts topic cannot be read: who wrote it?");
    }
    read.ok()
}
