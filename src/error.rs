//! The one error of the binary: what a command answers when it could not do its work. Each boundary has an enum of
//! its own; this one only gathers them for `main`, which prints it and exits with 2.

use thiserror::Error;

/// Why a command could not do its work.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] crate::shell::kafka::KafkaError),
    /// ZooKeeper.
    #[error(transparent)]
    ZooKeeper(#[from] crate::shell::zookeeper::ZooKeeperError),
    /// Notifications.
    #[error(transparent)]
    Notify(#[from] crate::shell::notify::NotifyError),
    /// The HTTP port.
    #[error(transparent)]
    Http(#[from] crate::shell::http::HttpError),
    /// The operating system has no thread or no file descriptor left.
    #[error("cannot start: {0}")]
    System(std::io::Error),
    /// The snapshot store.
    #[error(transparent)]
    Store(#[from] crate::shell::store::StoreError),
    /// The bench of restores.
    #[error(transparent)]
    RestoreBench(#[from] crate::shell::bench::restore::RestoreBenchError),
    /// The monitor.
    #[error(transparent)]
    Monitor(#[from] crate::shell::monitor::MonitorError),
    /// The comparison of alerts with the log.
    #[error(transparent)]
    Verify(#[from] crate::shell::verify::VerifyError),
    /// Keys of control records.
    #[error(transparent)]
    Keys(#[from] crate::shell::keys::KeyError),
    /// A measurement in memory.
    #[error(transparent)]
    Bench(#[from] crate::shell::bench::snapshot::CostsFault),
    /// The bench's Prometheus.
    #[error(transparent)]
    BenchPeer(#[from] crate::shell::bench::prometheus::PeerFault),
    /// The bench of rules.
    #[error(transparent)]
    RulesBench(#[from] crate::shell::bench::rules::RulesFault),
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Path as given.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl Error {
    /// Stable code, printed in brackets after the message.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(fault) => fault.code(),
            Self::Kafka(fault) => fault.code(),
            Self::ZooKeeper(fault) => fault.code(),
            Self::Notify(fault) => fault.code(),
            Self::Http(fault) => fault.code(),
            Self::System(_) => "system",
            Self::Store(fault) => fault.code(),
            Self::RestoreBench(fault) => fault.code(),
            Self::Monitor(fault) => fault.code(),
            Self::Verify(fault) => fault.code(),
            Self::Keys(fault) => fault.code(),
            Self::Bench(fault) => fault.code(),
            Self::BenchPeer(fault) => fault.code(),
            Self::RulesBench(fault) => fault.code(),
            Self::File { .. } => "file",
        }
    }

    /// Whether the same command may succeed later, with nothing changed by an operator.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Config(fault) => fault.is_retryable(),
            Self::Kafka(fault) => fault.is_retryable(),
            Self::ZooKeeper(fault) => fault.is_retryable(),
            Self::Notify(fault) => fault.is_retryable(),
            Self::Http(fault) => fault.is_retryable(),
            Self::System(_) => true,
            Self::Store(fault) => fault.is_retryable(),
            Self::RestoreBench(fault) => fault.is_retryable(),
            Self::Monitor(fault) => fault.is_retryable(),
            Self::Verify(fault) => fault.is_retryable(),
            Self::Keys(fault) => fault.is_retryable(),
            Self::Bench(fault) => fault.is_retryable(),
            Self::BenchPeer(fault) => fault.is_retryable(),
            Self::RulesBench(fault) => fault.is_retryable(),
            Self::File { .. } => false,
        }
    }
}
