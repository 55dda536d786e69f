//! The transactional producer of one alerts partition: `transactional.id = <cluster>-<partition>`, so that whoever
//! initialises last fences everyone before.
//!
//! A handle is made and connected long before it is needed (`spares.rs`), and initialised only at promotion:
//! `init_transactions` of a connected handle takes about 5 ms when nothing is open, and 0.5 to 1 s when the last primary
//! died inside a transaction (librdkafka asks again after a fixed 500 ms).

use super::{KafkaError, Topics, client};
use crate::config::Config;
use crate::replica::Failure;
use crate::shell::clock;
use crate::shell::thread;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

/// The broker aborts what a primary left open after this time, if no successor does it before.
const TRANSACTION_TIMEOUT_MS: &str = "10000";
/// How long making a handle waits for its first metadata. Without it the handle is just colder.
const CONNECT: Duration = Duration::from_millis(500);
/// What `init_transactions` takes at a coordinator that has nothing to abort, besides the way there …
const INITIALISE: Duration = Duration::from_millis(15);
/// … which it goes so many times: find the coordinator, connect, agree on versions, initialise.
const WAYS: u32 = 4;
/// Between two looks for acknowledgements. The client's own `poll` would burn a core through a wait's last millisecond.
const LOOK: Duration = Duration::from_micros(500);
/// A way that took longer says that the broker was busy, not that it is far.
const WAY_MAX: Duration = Duration::from_millis(20);

/// One record of a transaction.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Kafka key.
    pub key: &'a [u8],
    /// Kafka value.
    pub value: &'a [u8],
}

/// A producer of one alerts partition.
pub struct AlertsProducer {
    // An option only so that drop can move it to a thread of its own.
    producer: Option<BaseProducer>,
    topic: String,
    partition: i32,
    /// One question and its answer, when the handle was made.
    way: Duration,
}

impl std::fmt::Debug for AlertsProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlertsProducer({}/{})", self.topic, self.partition)
    }
}

/// Destroying a handle may take half a second: the purge of what is in flight is waited for. Nobody else needs to.
impl Drop for AlertsProducer {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            let _ = thread::spawn("producer-drop", move || drop(producer));
        }
    }
}

impl AlertsProducer {
    /// Makes a handle and connects it. Fails only on settings that librdkafka refuses; a Kafka that does not answer
    /// is met at [`AlertsProducer::initialise`].
    pub fn connect(config: &Config, partition: i32) -> Result<Self, KafkaError> {
        let topic = Topics::new(&config.kafka.topic_prefix).alerts;
        let mut settings = client(config, &format!("alerts-{partition}"));
        settings.set("transactional.id", format!("{}-{partition}", config.cluster));
        settings.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
        settings.set("message.timeout.ms", TRANSACTION_TIMEOUT_MS);
        settings.set("enable.idempotence", "true");
        settings.set("acks", "all");
        settings.set("linger.ms", "0");
        settings.set("compression.type", "zstd");
        // Connects to every broker before anything is to be written, not to the leader when something is.
        settings.set("enable.sparse.connections", "false");
        let producer: BaseProducer = settings
            .create()
            .map_err(|source| KafkaError::Client { doing: "making the producer of alerts", source })?;
        let _ = producer.client().fetch_metadata(Some(&topic), CONNECT);
        let asked = clock::monotonic();
        let _ = producer.client().fetch_metadata(Some(&topic), CONNECT);
        let way = clock::monotonic().saturating_sub(asked).min(WAY_MAX);
        Ok(Self { producer: Some(producer), topic, partition, way })
    }

    /// How long [`AlertsProducer::initialise`] takes at most where no transaction is open.
    #[must_use]
    pub fn patience(&self) -> Duration {
        INITIALISE + self.way * WAYS
    }

    /// Fences every earlier producer of this partition and aborts what it left open. May be called again after
    /// [`Failure::TimedOut`].
    pub fn initialise(&self, timeout: Duration) -> Result<(), (Failure, KafkaError)> {
        self.handle()?
            .init_transactions(timeout)
            .map_err(|fault| self.failed("fencing earlier primaries", fault))
    }

    /// Writes records in one transaction, in order; tells how long it took. After any failure the handle is of no
    /// use, and whether the records are out is unknown.
    pub fn commit(
        &self,
        records: &[Outgoing<'_>],
        timeout: Duration,
    ) -> Result<Duration, (Failure, KafkaError)> {
        let producer = self.handle()?;
        let begun = clock::monotonic();
        let left = || timeout.saturating_sub(clock::monotonic() - begun);
        producer.begin_transaction().map_err(|fault| self.failed("beginning a transaction", fault))?;
        for record in records {
            let mut outgoing = BaseRecord::<[u8], [u8]>::to(&self.topic)
                .partition(self.partition)
                .key(record.key)
                .payload(record.value);
            while let Err((fault, refused)) = producer.send(outgoing) {
                if fault.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) || left().is_zero() {
                    return Err(self.failed("producing alerts", fault));
                }
                serve(producer);
                outgoing = refused;
            }
        }
        // Drained by hand first: the commit itself would wait in steps of 100 ms.
        while producer.in_flight_count() > 0 {
            if left().is_zero() {
                let fault = ClientError::Flush(RDKafkaErrorCode::OperationTimedOut);
                return Err(self.failed("waiting for alerts to be acknowledged", fault));
            }
            serve(producer);
        }
        producer
            .commit_transaction(left().max(Duration::from_millis(1)))
            .map_err(|fault| self.failed("committing alerts", fault))?;
        Ok(clock::monotonic() - begun)
    }

    /// What a call of a handle answers that is not there.
    #[must_use]
    pub fn dropped() -> (Failure, KafkaError) {
        let source = ClientError::Canceled;
        (Failure::Broken, KafkaError::Client { doing: "using a dropped producer", source })
    }

    fn handle(&self) -> Result<&BaseProducer, (Failure, KafkaError)> {
        self.producer.as_ref().ok_or_else(Self::dropped)
    }

    fn failed(&self, doing: &'static str, source: ClientError) -> (Failure, KafkaError) {
        // A fatal error hides the call's own reason: what made the handle fatal is what happened.
        let fatal = self.producer.as_ref().and_then(|producer| producer.client().fatal_error());
        let code = fatal.as_ref().map(|(code, _)| *code).or_else(|| source.rdkafka_error_code());
        let retriable = matches!(&source, ClientError::Transaction(fault) if fault.is_retriable());
        let fenced = [
            RDKafkaErrorCode::Fenced,
            RDKafkaErrorCode::ProducerFenced,
            RDKafkaErrorCode::InvalidProducerEpoch,
        ];
        if code.is_some_and(|code| fenced.contains(&code)) {
            return (Failure::Fenced, KafkaError::Fenced { partition: self.partition });
        }
        let failure = match (fatal, retriable) {
            (None, true) => Failure::TimedOut,
            (Some(_), _) | (None, false) => Failure::Broken,
        };
        (failure, KafkaError::Client { doing, source })
    }
}

/// Takes what the brokers acknowledged, and gives them a moment.
fn serve(producer: &BaseProducer) {
    producer.poll(Duration::ZERO);
    if producer.in_flight_count() > 0 {
        thread::pause(LOOK);
    }
}
