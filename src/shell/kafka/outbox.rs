//! What a worker writes beside its alerts: ticks into observations, samples of unreadable records into rejected.
//!
//! One idempotent producer per worker, on a thread of its own behind a bounded queue. Nobody waits for it: where Kafka
//! is away the queue fills, what does not fit is dropped and counted. A tick carries no authority and a reject is a
//! sample, so neither is worth a machine's time.

use super::{KafkaError, Topics, writer};
use crate::config::Config;
use crate::shell::thread;
use crate::wire::keyring::Signer;
use crate::wire::{Control, Rejected, Tick};
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Records that wait for the producer at most. A reject is at most a mebibyte, so this bounds memory too.
const QUEUE: usize = 64;
/// How long a record may wait for a broker. An old tick says nothing that a new one does not.
const MESSAGE_TIMEOUT_MS: &str = "5000";

/// The writer's handle. Cheap to clone; the producer ends with the last clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    queue: SyncSender<Outgoing>,
    counts: Arc<OutboxCounts>,
}

/// What became of the records, since the start.
#[derive(Debug, Default)]
pub struct OutboxCounts {
    /// Acknowledged by Kafka.
    pub delivered: AtomicU64,
    /// Dropped: the queue was full, or no broker took them in time.
    pub dropped: AtomicU64,
}

enum Outgoing {
    Tick { partition: i32, tick: Tick },
    Reject(Box<Rejected>),
}

impl Outbox {
    /// Starts the producer. Kafka may be away. The thread ends when the last handle is dropped. `signer` signs the ticks.
    pub fn start(
        config: &Config,
        topics: &Topics,
        signer: Signer,
    ) -> Result<(Self, JoinHandle<()>), KafkaError> {
        let counts = Arc::new(OutboxCounts::default());
        let config = config.clone();
        let topics = topics.clone();
        let producer = producer(&config, &counts)?;
        let (queue, waiting) = sync_channel(QUEUE);
        let thread = {
            let counts = Arc::clone(&counts);
            thread::spawn("outbox", move || run(&config, &(topics, signer), producer, &counts, &waiting))
        };
        let thread = thread.map_err(|_| KafkaError::Client {
            doing: "starting the outbox",
            source: ClientError::ClientCreation("no thread left".to_owned()),
        })?;
        Ok((Self { queue, counts }, thread))
    }

    /// Writes a tick into a partition of observations. `true` if it was queued.
    pub fn tick(&self, partition: i32, tick: Tick) -> bool {
        self.push(Outgoing::Tick { partition, tick })
    }

    /// Writes a sample of what could not be read into the rejected topic, the same partition. `true` if it was queued.
    pub fn reject(&self, rejected: Rejected) -> bool {
        self.push(Outgoing::Reject(Box::new(rejected)))
    }

    /// What became of the records.
    #[must_use]
    pub fn counts(&self) -> &OutboxCounts {
        &self.counts
    }

    fn push(&self, outgoing: Outgoing) -> bool {
        let queued = self.queue.try_send(outgoing).is_ok();
        if !queued {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }
}

fn producer(config: &Config, counts: &Arc<OutboxCounts>) -> Result<BaseProducer<Receipts>, KafkaError> {
    writer(config, "outbox")
        .set("linger.ms", "5")
        .set("compression.type", "zstd")
        .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
        .set("queue.buffering.max.kbytes", "16384")
        // A reject holds up to a mebibyte of somebody's record and its envelope.
        .set("message.max.bytes", "1200000")
        .create_with_context(Receipts(Arc::clone(counts)))
        .map_err(|source| KafkaError::Client { doing: "making the outbox's producer", source })
}

fn run(
    config: &Config,
    what: &(Topics, Signer),
    mut producer: BaseProducer<Receipts>,
    counts: &Arc<OutboxCounts>,
    waiting: &Receiver<Outgoing>,
) {
    loop {
        // While deliveries are awaited, their receipts are looked for often.
        let patience = if producer.in_flight_count() > 0 { 10 } else { 100 };
        match waiting.recv_timeout(Duration::from_millis(patience)) {
            Ok(outgoing) => write(what, &producer, counts, &outgoing),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let _ = producer.flush(Duration::from_millis(500));
                return;
            }
        }
        producer.poll(Duration::ZERO);
        if let Some((code, reason)) = producer.client().fatal_error() {
            tracing::warn!(%code, reason, "the outbox's producer is of no more use; making another");
            match self::producer(config, counts) {
                Ok(another) => producer = another,
                Err(fault) => {
                    tracing::warn!(%fault, "no producer for the outbox");
                    thread::pause(Duration::from_secs(1));
                }
            }
        }
    }
}

fn write(
    (topics, signer): &(Topics, Signer),
    producer: &BaseProducer<Receipts>,
    counts: &OutboxCounts,
    outgoing: &Outgoing,
) {
    let (topic, partition, value) = match outgoing {
        Outgoing::Tick { partition, tick } => {
            (&topics.observations, *partition, signer.seal(*partition, &Control::Tick(tick.clone())))
        }
        Outgoing::Reject(rejected) => (&topics.rejected, rejected.partition, rejected.encode()),
    };
    let record: BaseRecord<'_, (), Vec<u8>> = BaseRecord::to(topic).partition(partition).payload(&value);
    if let Err((fault, _)) = producer.send(record) {
        counts.dropped.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%fault, topic, partition, "dropped");
    }
}

/// Counts receipts.
struct Receipts(Arc<OutboxCounts>);

impl ClientContext for Receipts {
    fn error(&self, fault: ClientError, reason: &str) {
        tracing::debug!(%fault, reason, "outbox");
    }
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.0.delivered } else { &self.0.dropped };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
