//! From the outbox to Kafka. The producer is idempotent, waits for all in-sync replicas, and puts a service where
//! Java's clients would (`murmur2_random` over the key). librdkafka retries on its own for as long as it takes; what it
//! gives back all the same (no such topic, not authorised) is tried again each second; only what can never be taken
//! (too large) is dropped at once. Every drop is counted by its reason.

use super::metrics::{Metrics, Why};
use super::outbox::{Outbox, Waiting};
use crate::config::Config;
use crate::shell::http::Readiness;
use crate::shell::kafka::{self, KafkaError};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Between two attempts at a record that Kafka gave back, and between two looks at whether Kafka is there.
const RETRY: Duration = Duration::from_secs(1);
/// How long a look at Kafka may take.
const LOOK: Duration = Duration::from_secs(2);
/// Largest record that librdkafka takes: the schema's bound, and room for key and headers.
const MESSAGE_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// What readiness says before the first look at Kafka.
pub(super) const NOT_YET: &str = "no broker has answered yet";

/// The way to Kafka that all checks share. It never blocks and never fails: it keeps, or drops and counts.
pub(super) struct Sender {
    client: ClientConfig,
    producer: Mutex<FutureProducer>,
    topic: String,
    outbox: Mutex<Outbox>,
    /// A lane was done, and perhaps all of them are.
    idle: Notify,
    refusing: AtomicBool,
    metrics: Metrics,
}

impl Sender {
    /// Does not connect yet: Kafka may be away at the start.
    pub(super) fn new(config: &Config, metrics: Metrics) -> Result<Self, KafkaError> {
        let mut client = kafka::writer(config, "monitor");
        for (property, default) in [("linger.ms", "5"), ("compression.type", "lz4")] {
            if !config.kafka.properties.contains_key(property) {
                client.set(property, default);
            }
        }
        client.set("partitioner", "murmur2_random");
        client.set("message.max.bytes", MESSAGE_BYTES_MAX.to_string());
        // The outbox bounds what is kept, and nothing in librdkafka gives up before it.
        client.set("message.timeout.ms", "0");
        client.set("queue.buffering.max.messages", "0");
        client.set("queue.buffering.max.kbytes", "2147483647");
        Ok(Self {
            producer: Mutex::new(connect(&client)?),
            client,
            topic: kafka::Topics::new(&config.kafka.topic_prefix).observations,
            outbox: Mutex::new(Outbox::new(config.monitor.buffer_bytes)),
            idle: Notify::new(),
            refusing: AtomicBool::new(false),
            metrics,
        })
    }

    /// Hands a record over. Call it on the monitor's runtime.
    pub(super) fn send(self: &Arc<Self>, service: &Arc<str>, payload: Vec<u8>) {
        let pushed = self.outbox(|outbox| outbox.push(service, payload));
        self.dropped("buffer_full", pushed.dropped);
        if pushed.start_pump {
            tokio::spawn(Arc::clone(self).pump(Arc::clone(service)));
        }
    }

    /// Waits until Kafka has all, for at most `within`. Returns the bytes that it has not.
    pub(super) async fn flush(&self, within: Duration) -> usize {
        let emptied = async {
            loop {
                let idle = self.idle.notified();
                if self.outbox(|outbox| outbox.is_empty()) {
                    return;
                }
                idle.await;
            }
        };
        let _ = tokio::time::timeout(within, emptied).await;
        self.outbox(|outbox| outbox.bytes())
    }

    /// Looks whether Kafka is there, each second until it is and seldom afterwards, and says so in `readiness`, where
    /// the caller has put [`NOT_YET`].
    pub(super) async fn look(self: Arc<Self>, readiness: Arc<Readiness>) {
        let mut last = String::from(NOT_YET);
        loop {
            let (producer, topic) = (self.producer().clone(), self.topic.clone());
            let looked = tokio::task::spawn_blocking(move || topic_fault(&producer, &topic)).await;
            let fault = looked.unwrap_or_else(|fault| Some(fault.to_string()));
            match &fault {
                None => readiness.ready("kafka"),
                Some(fault) => readiness.not_ready("kafka", fault.clone()),
            }
            match (&fault, last.is_empty()) {
                (Some(fault), _) if *fault != last => {
                    tracing::warn!(%fault, "kafka is away: results are kept")
                }
                (None, false) => tracing::info!("kafka is there"),
                (Some(_), _) | (None, true) => {}
            }
            let pause = if fault.is_some() { RETRY } else { 5 * RETRY };
            last = fault.unwrap_or_default();
            tokio::time::sleep(pause).await;
        }
    }

    async fn pump(self: Arc<Self>, service: Arc<str>) {
        loop {
            let chunk = self.outbox(|outbox| outbox.take(&service));
            if chunk.is_empty() {
                self.idle.notify_waiters();
                return;
            }
            let bytes = |chunk: &[Waiting]| chunk.iter().map(|waiting| waiting.payload.len()).sum::<usize>();
            let taken = bytes(&chunk);
            let back = self.deliver(&service, chunk).await;
            let refused = !back.is_empty();
            let dropped = self.outbox(|outbox| outbox.settle(&service, taken - bytes(&back), back));
            self.dropped("buffer_full", dropped);
            if refused {
                tokio::time::sleep(RETRY).await;
            } else if self.refusing.swap(false, Ordering::Relaxed) {
                tracing::info!("kafka takes records again");
            }
        }
    }

    /// Sends a chunk and waits for every answer. Returns what is to be tried again, in order.
    async fn deliver(&self, service: &str, chunk: Vec<Waiting>) -> Vec<Waiting> {
        let producer = self.producer().clone();
        let sent: Vec<_> = chunk
            .into_iter()
            .map(|waiting| {
                let record = FutureRecord::to(&self.topic).key(service).payload(&waiting.payload);
                let answer = producer.send_result(record).map_err(|(fault, _)| fault);
                (waiting, answer)
            })
            .collect();
        let mut back = Vec::new();
        for (waiting, answer) in sent {
            let fault = match answer {
                Err(fault) => fault,
                Ok(answer) => match answer.await {
                    Ok(Ok(_)) => {
                        self.metrics.produced.inc();
                        continue;
                    }
                    Ok(Err((fault, _))) => fault,
                    // The producer was replaced.
                    Err(_) => ClientError::Canceled,
                },
            };
            let code = fault.rdkafka_error_code().map_or("unknown".to_owned(), |code| format!("{code:?}"));
            self.metrics.produce_errors.get_or_create(&Why { reason: code }).inc();
            if is_permanent(&fault) {
                tracing::warn!(%fault, service, bytes = waiting.payload.len(), "kafka cannot take a record: dropped");
                self.dropped("refused", 1);
                continue;
            }
            if !self.refusing.swap(true, Ordering::Relaxed) {
                tracing::warn!(%fault, service, "kafka refuses records: they are kept and tried again");
            }
            back.push(waiting);
        }
        if producer.client().fatal_error().is_some() {
            self.reconnect();
        }
        back
    }

    /// After a fatal error (the broker has lost the producer's state) only a new producer helps.
    fn reconnect(&self) {
        let mut producer = self.producer();
        if producer.client().fatal_error().is_some() {
            match connect(&self.client) {
                Ok(fresh) => *producer = fresh,
                Err(fault) => tracing::error!(%fault, "no new producer"),
            }
        }
    }

    fn dropped(&self, reason: &str, count: u64) {
        if count > 0 {
            self.metrics.dropped.get_or_create(&Why { reason: reason.to_owned() }).inc_by(count);
        }
    }

    fn producer(&self) -> MutexGuard<'_, FutureProducer> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox<T>(&self, change: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut outbox);
        self.metrics.buffer_bytes.set(i64::try_from(outbox.bytes()).unwrap_or(i64::MAX));
        result
    }
}

fn connect(client: &ClientConfig) -> Result<FutureProducer, KafkaError> {
    client.create().map_err(|source| KafkaError::Client { doing: "making the producer", source })
}

/// Whether the record itself is at fault: it would be refused again.
fn is_permanent(fault: &ClientError) -> bool {
    matches!(
        fault.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidRecord
        )
    )
}

/// Why nothing can be produced to `topic`. Blocks for up to [`LOOK`].
fn topic_fault(producer: &FutureProducer, topic: &str) -> Option<String> {
    let metadata = match producer.client().fetch_metadata(Some(topic), LOOK) {
        Ok(metadata) => metadata,
        Err(fault) => return Some(format!("no broker answered within {} s: {fault}", LOOK.as_secs())),
    };
    let known =
        metadata.topics().iter().any(|known| known.error().is_none() && !known.partitions().is_empty());
    (!known).then(|| KafkaError::NoTopic { topic: topic.to_owned() }.to_string())
}
