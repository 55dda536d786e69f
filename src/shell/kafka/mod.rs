//! The door to Kafka: how every client of this process is set up, and what the topics are called.

pub mod admin;
pub mod assignment;
pub mod consumer;
pub mod log;
pub mod outbox;
pub mod producer;
pub mod spares;
pub mod tail;
pub mod topic_id;
pub mod topics;

use crate::config;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use thiserror::Error;

/// Names of the five topics under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Batches and control records.
    pub observations: String,
    /// Transitions and markers.
    pub alerts: String,
    /// Rule sets.
    pub rules: String,
    /// What could not be read.
    pub rejected: String,
    /// Notify's memory.
    pub notifications: String,
}

impl Topics {
    /// The names under `prefix`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let name = |topic: &str| format!("{prefix}.{topic}");
        Self {
            observations: name("observations"),
            alerts: name("alerts"),
            rules: name("rules"),
            rejected: name("rejected"),
            notifications: name("notifications"),
        }
    }
}

/// Whether Kafka is away for the moment and nobody was there to answer: the client comes back to it by itself.
#[must_use]
pub fn is_away(fault: &ClientError) -> bool {
    matches!(
        fault.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::MessageTimedOut
        )
    )
}

/// What every client shares: brokers, identity, security, and whatever librdkafka property the operator set.
/// `role` ends the `client.id`, so that a broker's log tells which part of which worker is talking.
#[must_use]
pub fn client(config: &config::Config, role: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.kafka.brokers);
    client.set("client.id", format!("bellwether-{}-{role}", config.worker));
    client.set("client.rack", &config.zone);
    // A dead broker is reported by the call that needed it; librdkafka's own lines would say it once a second.
    client.set("log_level", "3");
    client.set("socket.nagle.disable", "true");
    // A topic made or grown later, or unknown to a broker that has just started, is seen within this time: not five minutes.
    client.set("topic.metadata.refresh.interval.ms", "10000");
    for (property, value) in &config.kafka.properties {
        client.set(property, value);
    }
    if let Some(password) = &config.kafka.password {
        client.set("sasl.password", password.reveal());
    }
    client
}

/// A client whose producer writes each record once and in order.
///
/// One request of a connection at a time: where more records of a partition wait than idempotence lets out (five), librdkafka's
/// thread of that broker spins until one is acknowledged, on a whole core, just when the brokers are slow.
#[must_use]
pub fn writer(config: &config::Config, role: &str) -> ClientConfig {
    let mut client = client(config, role);
    client.set("enable.idempotence", "true");
    client.set("acks", "all");
    client.set("max.in.flight.requests.per.connection", "1");
    client
}

/// What a call to Kafka can answer.
#[derive(Debug, Error)]
pub enum KafkaError {
    /// No broker answered in time.
    #[error(
        "kafka.brokers: none of {brokers:?} answered {what} within {waited_ms} ms. Is Kafka up, and can this machine reach it?"
    )]
    Unreachable {
        /// As configured.
        brokers: String,
        /// What was asked.
        what: &'static str,
        /// How long was waited, milliseconds.
        waited_ms: u128,
    },
    /// A topic is not there.
    #[error("topic {topic:?} does not exist. `bellwether topics apply` creates it")]
    NoTopic {
        /// Its name.
        topic: String,
    },
    /// The producer was fenced: another worker is primary.
    #[error("fenced by a newer primary of partition {partition}")]
    Fenced {
        /// Partition of the alerts topic.
        partition: i32,
    },
    /// A transaction that is none of ours is open in the alerts topic.
    #[error(
        "another client's transaction is open on partition {partition} of the alerts topic: what stands behind it may be out, so \
         nothing is emitted before it ends. Find it with kafka-transactions.sh find-hanging, abort it, and let nobody but \
         workers write to this topic"
    )]
    OpenTransaction {
        /// Partition of the alerts topic.
        partition: i32,
    },
    /// librdkafka's own answer.
    #[error("kafka, while {doing}: {source}")]
    Client {
        /// What was being done.
        doing: &'static str,
        /// librdkafka's reason.
        source: ClientError,
    },
}

impl KafkaError {
    /// The system has no thread left.
    pub(super) fn no_thread(doing: &'static str) -> Self {
        Self::Client { doing, source: ClientError::Canceled }
    }

    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "kafka_unreachable",
            Self::NoTopic { .. } => "kafka_no_topic",
            Self::Fenced { .. } => "kafka_fenced",
            Self::OpenTransaction { .. } => "kafka_open_transaction",
            Self::Client { .. } => "kafka_client",
        }
    }

    /// Whether the same call may succeed later, with nothing changed by an operator.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::OpenTransaction { .. } | Self::Client { .. } => true,
            Self::NoTopic { .. } | Self::Fenced { .. } => false,
        }
    }
}
