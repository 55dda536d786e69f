//! The configuration: one struct, one commented file of defaults (`config/bellwether.yaml`, embedded), unknown keys
//! refused with line, column and a suggestion, all faults reported at once.

mod load;
mod reader;

pub use load::{ConfigError, load};

use crate::wire::keyring::{PublicKey, SigningKey};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything an operator can set. Each field is a key of `config/bellwether.yaml`, which says what it means.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the installation.
    pub cluster: String,
    /// Availability zone of this process.
    pub zone: String,
    /// Identity of this worker; never empty once loaded.
    pub worker: String,
    /// Kafka.
    pub kafka: Kafka,
    /// ZooKeeper.
    pub zookeeper: ZooKeeper,
    /// Keys of control records.
    pub control: Control,
    /// Caps that `rules apply` writes into the log.
    pub limits: crate::wire::Limits,
    /// Listen address of the HTTP port.
    pub http_listen: String,
    /// Address under which other workers reach that port; empty: worked out.
    pub http_advertise: String,
    /// A standby takes over when a transition of its own stays unseen for longer.
    pub takeover_after: Duration,
    /// Producer handles that a standby partition keeps connected for its promotion, at most.
    pub warm_handles: usize,
    /// Checks.
    pub monitor: Monitor,
    /// Snapshots.
    pub snapshots: Snapshots,
    /// Notifications.
    pub notify: Notify,
    /// What a worker says of itself.
    pub meta: Meta,
}

/// Alerts about Bellwether itself, on a path that needs no Kafka.
#[derive(Debug, Clone)]
pub struct Meta {
    /// To whom.
    pub receivers: Vec<Receiver>,
    /// Gets a POST each minute while all is well.
    pub heartbeat: Option<Secret>,
}

/// Where snapshots go, and how often.
#[derive(Debug, Clone)]
pub struct Snapshots {
    /// `s3://bucket/prefix` or `file:///directory`; empty for none.
    pub url: String,
    /// How often a partition's state is cut, by the log's clock.
    pub interval: Duration,
    /// URL of the S3 server; empty for AWS.
    pub endpoint: String,
    /// Region; empty for what the machine's AWS configuration says.
    pub region: String,
    /// Key id; with none the machine's AWS credentials are used.
    pub access_key: Option<Secret>,
    /// Its secret.
    pub secret_key: Option<Secret>,
}

impl Snapshots {
    /// Milliseconds between two cuts of a partition; 0 where no snapshots are taken.
    #[must_use]
    pub fn interval_ms(&self) -> i64 {
        if self.url.is_empty() { 0 } else { i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX) }
    }
}

/// How to reach Kafka, and what `topics apply` creates.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// Bootstrap brokers, comma separated.
    pub brokers: String,
    /// First part of the topics' names.
    pub topic_prefix: String,
    /// Partitions of observations, alerts, rejected and notifications.
    pub partitions: i32,
    /// Replication factor of every topic.
    pub replication: i32,
    /// Retention of observations and rejected.
    pub observations_retention: Duration,
    /// Retention of alerts.
    pub alerts_retention: Duration,
    /// librdkafka properties.
    pub properties: BTreeMap<String, String>,
    /// `sasl.password`.
    pub password: Option<Secret>,
}

/// How to reach ZooKeeper.
#[derive(Debug, Clone)]
pub struct ZooKeeper {
    /// `host:port`, comma separated.
    pub hosts: String,
    /// Root node of this cluster.
    pub path: String,
    /// Session timeout.
    pub session_timeout: Duration,
}

/// Who signs control records, and whose signatures hold. `shell::keys` reads the files.
#[derive(Debug, Clone, Default)]
pub struct Control {
    /// Signs what this process writes; its public half is trusted.
    pub key: Option<PrivateKeySource>,
    /// Trusted beside it.
    pub trusted: Vec<PublicKeySource>,
}

/// Where a private key is.
#[derive(Debug, Clone)]
pub enum PrivateKeySource {
    /// In a PEM file.
    File(PathBuf),
    /// In this process: the demo's.
    Memory(SigningKey),
}

/// Where a public key is.
#[derive(Debug, Clone)]
pub enum PublicKeySource {
    /// In a PEM file.
    File(PathBuf),
    /// In the configuration itself.
    Inline(PublicKey),
}

/// What `bellwether monitor` does.
#[derive(Debug, Clone)]
pub struct Monitor {
    /// Bound of the buffer while Kafka is away, bytes.
    pub buffer_bytes: usize,
    /// The checks.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Name: the `check` label.
    pub name: String,
    /// Service: partition key and `service` label.
    pub service: String,
    /// Host: the `host` label.
    pub host: String,
    /// What is done.
    pub target: Target,
    /// Period.
    pub interval: Duration,
    /// Bound of one run; over it the result is UNKNOWN (plugin) or CRITICAL (http, tcp), and `up` 0 (scrape).
    pub timeout: Duration,
    /// Labels added to every series of this check.
    pub labels: BTreeMap<String, String>,
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// GET; OK on 2xx and 3xx.
    Http(String),
    /// Connect to `host:port`.
    Tcp(String),
    /// Nagios plugin: program and arguments.
    Plugin(Vec<String>),
    /// Prometheus scrape of a URL.
    Scrape(String),
}

/// What `bellwether notify` does.
#[derive(Debug, Clone)]
pub struct Notify {
    /// Labels that make a group; `["..."]` for all of them.
    pub group_by: Vec<String>,
    /// How long a new group waits.
    pub group_wait: Duration,
    /// How long before news of a known group is sent.
    pub group_interval: Duration,
    /// When an unchanged firing group is sent again.
    pub repeat_interval: Duration,
    /// To whom.
    pub receivers: Vec<Receiver>,
}

/// One receiver.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Its name, unique.
    pub name: String,
    /// Where to.
    pub endpoint: Endpoint,
    /// The `Authorization` header.
    pub authorization: Option<Secret>,
    /// Bound of one attempt.
    pub timeout: Duration,
}

/// Where a receiver's notifications go.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// POST of Alertmanager's version 4 payload. The URL often is the secret.
    Webhook(Secret),
    /// Every Alertmanager of a cluster, v2 API.
    Alertmanager(Vec<String>),
    /// One JSON line on standard output.
    Stdout,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// `<secret>`, whatever it is.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}
