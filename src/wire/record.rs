//! The records of every topic but the observations batch, as Rust types. Field by field they mirror `schemas/*.avsc`,
//! whose doc strings are the contract with other writers and readers.

use super::keyring::Sealed;
use super::{Batch, Labels, hex};
use serde::{Deserialize, Serialize};

/// Largest record that is read, bytes. A larger one is refused unread.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Most labels one sample may carry, its name not counted.
pub const LABELS_MAX: usize = 64;
/// Longest label name, metric name, host, check or service, bytes.
pub const NAME_BYTES_MAX: usize = 1024;
/// Longest label value, bytes.
pub const VALUE_BYTES_MAX: usize = 8192;
/// Longest output text of a check result, bytes.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Latest time that is read, milliseconds since the epoch: the end of the year 9999. The earliest is 0.
pub const TIME_MS_MAX: i64 = 253_402_300_799_999;

/// In a marker's `lock_czxid`: written by `worker --standalone`, primary by an operator's word and no lock's.
pub const LOCK_CLAIMED: i64 = -1;

/// What one record of the observations topic holds.
#[derive(Debug)]
pub enum Inbound<'a> {
    /// Samples and check results of one service. Written by any producer.
    Observations(Batch<'a>),
    /// A word to the machine itself, sealed: written by workers and by operators, or by somebody who wants to be
    /// taken for one.
    Control(Sealed<'a>),
}

/// What a control record of the observations topic says. [`super::keyring`] is about who may say it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Control {
    /// Time passes, and no more. Written by every worker that hosts the partition.
    Tick(Tick),
    /// From this record on, these rules. Written by `bellwether rules apply`.
    Rules(RuleSet),
    /// A record is skipped for good. Written by a worker whose engine it made panic again.
    Quarantine(Quarantine),
}

/// A record that makes the engine panic (H24). It stands in the partition's own log, where it is told as an alert, and
/// in the rules topic, where every worker reads it before it replays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Offset of the record in its partition.
    pub offset: i64,
    /// Version of the engine that panicked. For people: every version skips it, so that all have one history.
    pub engine_version: i32,
    /// What was seen. For people.
    pub reason: String,
}

/// "Time passes." Carries no authority: two of them change nothing that one did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Worker that wrote it.
    pub worker: String,
    /// The writer's own wall clock, milliseconds since the epoch: what a forward jump of the log's clock is checked against.
    pub wall_ms: i64,
}

/// A versioned set of rule files: self-contained, so that a replay needs nothing but the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSet {
    /// From 1, one more with each `rules apply`. A version that is not above the current one is ignored.
    pub version: i64,
    /// When it was applied, the writer's wall clock, milliseconds since the epoch. For people; no rule reads it.
    pub applied_ms: i64,
    /// Who applied it. For people.
    pub author: String,
    /// Label that carries a batch's service on each of its series that has no such label itself.
    pub service_label: String,
    /// The files, in order of their names.
    pub files: Vec<RuleFile>,
    /// How much is kept and said at most.
    pub limits: Limits,
    /// Partitions of the observations topic when it was applied, which say where a service is at home; 0 where that is not
    /// known.
    pub partitions: i64,
}

impl RuleSet {
    /// Most partitions of a topic.
    pub const PARTITIONS_MAX: i64 = 1_000_000;
}

/// Caps that the machine holds itself to. They decide what is derived, so they stand in the log with the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Series of a partition; beyond, the longest silent ones of the services that have most give way.
    pub series: i64,
    /// Alerts, or recorded series, of one rule in one partition; beyond, new ones are not taken.
    pub alerts: i64,
    /// Alerts of one service that fire in one partition; beyond, others wait as pending.
    pub firing_per_service: i64,
}

impl Limits {
    /// The highest bound that there is.
    pub const MAX: i64 = 1_000_000_000;
}

/// Those of the commented defaults.
impl Default for Limits {
    fn default() -> Self {
        Self { series: 2_000_000, alerts: 10_000, firing_per_service: 1_000 }
    }
}

/// One rule file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFile {
    /// Path as the operator gave it; faults name it.
    pub name: String,
    /// The YAML, unchanged.
    pub content: String,
}

/// Identity of an alert: the first 16 bytes of BLAKE3 over the rule's name and the alert's label set
/// ([`AlertId::of`]). 32 hexadecimal digits in text and JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertId(#[serde(with = "hex")] pub [u8; 16]);

/// As 32 hexadecimal digits.
impl std::fmt::Display for AlertId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// State of an alert, in Prometheus's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// The condition does not hold.
    Inactive,
    /// The condition holds, for less than the rule's `for`.
    Pending,
    /// The condition has held for the rule's `for`, or is kept firing by `keep_firing_for`.
    Firing,
}

/// Why an alert changed its state. Each word is used alike in logs, metrics, templates and the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The expression returned the series.
    ConditionMet,
    /// The condition held for the rule's `for`.
    HeldFor,
    /// The expression no longer returns the series.
    ConditionCleared,
    /// The expression no longer returned the series, and `keep_firing_for` has run out since.
    KeepFiringElapsed,
    /// A rule change took the rule away, or changed it so that its state has no meaning any more.
    RuleRemoved,
    /// The rule returned more alerts than its group's `limit`. Of engines before version 5: now those that are there stay.
    LimitExceeded,
    /// The expression could not be evaluated on this data (many-to-many matching, duplicate label sets).
    EvaluationFailed,
    /// A cap of the machine was reached.
    LimitReached,
    /// It has not been reached for a while.
    LimitCleared,
    /// A record that made the engine panic is skipped.
    RecordQuarantined,
    /// That is a day ago.
    QuarantineElapsed,
    /// The condition was seen to hold on the rule's `for_samples`.
    HeldForSamples,
    /// The rule's `resolve_expr` returned the alert.
    ResolveConditionMet,
    /// The label set has no data, and the rule's `no_data_state` says what it is then.
    NoData,
    /// The label set has had no data for the rule's `missing_series_evals_to_resolve`, and is forgotten.
    MissingSeries,
    /// What had no data has some.
    DataReturned,
    /// Another step of the rule's ladder is the first that is true.
    SeverityChanged,
    /// The alert changes so often that it does not end before it has calmed down.
    FlappingStarted,
    /// It has calmed down.
    FlappingStopped,
    /// An alert of the same service whose rule has a higher priority fires.
    Suppressed,
    /// The source of an inhibit rule fires.
    Inhibited,
    /// Nobody holds the alert back any more.
    SuppressionEnded,
}

/// Who holds an alert back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// The alert that does.
    pub alert: AlertId,
    /// Name of its rule.
    pub rule: String,
}

/// One change of one alert's state. Equal bytes in both replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Dense per partition, from 1.
    pub seq: i64,
    /// Who.
    pub alert: AlertId,
    /// State before.
    pub from: AlertState,
    /// State after.
    pub to: AlertState,
    /// Why.
    pub reason: Reason,
    /// Name of the group that holds the rule.
    pub group: String,
    /// Name of the alerting rule.
    pub rule: String,
    /// Version of the rule set that decided.
    pub rule_set_version: i64,
    /// The service of the series; empty where the alert's labels name none.
    pub service: String,
    /// All labels of the alert, `alertname` among them.
    pub labels: Labels,
    /// Annotations, rendered.
    pub annotations: Labels,
    /// Value of the expression at `event_ms`; the last value it had where it returns none.
    pub value: f64,
    /// Output text of the check result behind the alert; empty where there is none.
    pub output: String,
    /// Grid point at which the rule was evaluated, event time, milliseconds since the epoch.
    pub event_ms: i64,
    /// When the condition began to hold, event time, milliseconds since the epoch.
    pub active_since_ms: i64,
    /// Offset of the record whose arrival moved the clock past the grid point: the cause.
    pub input_offset: i64,
    /// Position among the transitions that this record caused, from 0.
    pub ordinal: i32,
    /// LogAppendTime of that record, milliseconds since the epoch.
    pub append_ms: i64,
    /// Who holds the alert back while it fires: it is not to page.
    pub suppressed_by: Option<Suppression>,
}

impl Transition {
    /// Whether from now on the alert is to page: it fires, and nobody holds it back.
    #[must_use]
    pub fn pages(&self) -> bool {
        self.to == AlertState::Firing && self.suppressed_by.is_none()
    }
}

/// The last word of every transaction: how far this partition's alerts are out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// `seq` of the last transition that is out; 0 if none is.
    pub seq: i64,
    /// Its `input_offset`; -1 if none is out.
    pub input_offset: i64,
    /// Its `ordinal`.
    pub ordinal: i32,
    /// BLAKE3 chain over all transitions up to `seq`: `hash(previous hash, bytes of the transition)`.
    #[serde(with = "hex")]
    pub running_hash: [u8; 32],
    /// How often a primary was promoted on this partition, from 1. One more than the last marker's at each promotion.
    pub epoch: i64,
    /// ZooKeeper's transaction id of the lock node's creation; 0 without a lock; [`LOCK_CLAIMED`] where an operator gave
    /// the partition to this worker.
    pub lock_czxid: i64,
    /// Version of the rule set at `seq`.
    pub rule_set_version: i64,
    /// Version of the engine's semantics.
    pub engine_version: i32,
    /// Kafka's id of the observations topic; empty where the broker tells none.
    pub topic_id: String,
    /// Partitions of the observations topic when the primary was promoted.
    pub partition_count: i32,
    /// Worker that wrote it.
    pub worker: String,
    /// Its zone.
    pub zone: String,
    /// Its wall clock, milliseconds since the epoch. For people; no decision reads it.
    pub wall_ms: i64,
}

/// One record of the alerts topic.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertRecord {
    /// A change of an alert.
    Transition(Box<Transition>),
    /// The end of a transaction.
    Marker(Marker),
}

/// What could not be read, kept for its producer to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// [`super::Fault::code`].
    pub reason: String,
    /// The fault in words.
    pub detail: String,
    /// Topic that it was read from.
    pub topic: String,
    /// Partition that it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its LogAppendTime, milliseconds since the epoch.
    pub append_ms: i64,
    /// Its key.
    #[serde(with = "apache_avro::serde::bytes")]
    pub key: Vec<u8>,
    /// Its value, cut at [`RECORD_BYTES_MAX`] minus 16 KiB.
    #[serde(with = "apache_avro::serde::bytes")]
    pub value: Vec<u8>,
    /// Length of the value before it was cut, bytes.
    pub value_bytes: i64,
}
