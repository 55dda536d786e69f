//! What of an installation would cost alerts later: what was seen goes in, findings come out, each with its remedy. Pure.

use crate::shell::kafka::topics::Found;
use serde::Serialize;
use std::collections::BTreeMap;

/// A worker's clock further from the broker's than this is a finding, milliseconds.
pub const CLOCK_OFFSET_MS_MAX: i64 = 2_000;
/// Retention of observations that is under so many snapshot intervals is a finding.
pub const RETENTION_INTERVALS: i64 = 4;

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The five topics that are there, by the last part of their names.
    pub topics: BTreeMap<String, Found>,
    /// Whether the brokers verify the partitions of a transaction (Kafka 3.6 and newer); none where they do not say.
    pub verifies_transactions: Option<bool>,
    /// Time between two snapshots of a partition, milliseconds; 0 where none are taken.
    pub snapshot_interval_ms: i64,
    /// The live workers: id, zone, HTTP address; none where ZooKeeper does not answer.
    pub workers: Option<Vec<LiveWorker>>,
    /// Zones that have, or had, a consumer group.
    pub zones: Vec<String>,
    /// By worker: the broker's stamp of its last tick, less its own clock then, milliseconds.
    pub clock_offsets_ms: BTreeMap<String, i64>,
}

/// One live worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveWorker {
    /// Identity.
    pub id: String,
    /// Zone.
    pub zone: String,
    /// Address of its HTTP port.
    pub http: String,
    /// Time between two of its snapshots, milliseconds; 0 where it takes none.
    pub snapshot_interval_ms: i64,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Alerts work now, and some failure will cost more than it should.
    Warning,
    /// Alerts are, or will be, wrong or missing.
    Error,
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable word: label of the metric.
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What was seen, and what is wanted.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// Everything that is to be mended, the worst first.
#[must_use]
pub fn judge(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    missing(seen, &mut findings);
    for (name, found) in &seen.topics {
        copies(name, found, &mut findings);
    }
    time_and_partitions(seen, &mut findings);
    retention(seen, &mut findings);
    brokers(seen, &mut findings);
    workers(seen, &mut findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn finding(code: &'static str, severity: Severity, what: String, remedy: &str) -> Finding {
    Finding { code, severity, what, remedy: remedy.to_owned() }
}

fn missing(seen: &Seen, findings: &mut Vec<Finding>) {
    for topic in ["observations", "alerts", "rules", "rejected", "notifications"] {
        if !seen.topics.contains_key(topic) {
            let what = format!("topic {topic} does not exist");
            findings.push(finding(
                "topic_missing",
                Severity::Error,
                what,
                "`bellwether topics apply` creates it",
            ));
        }
    }
}

/// What keeps a record through the loss of a broker.
fn copies(name: &str, found: &Found, findings: &mut Vec<Finding>) {
    let setting = |key: &str| found.settings.get(key).map_or("", String::as_str);
    if found.replication < 3 {
        findings.push(finding(
            "replication",
            Severity::Warning,
            format!("topic {name} has {} copies of a partition, 3 are wanted", found.replication),
            "add copies with kafka-reassign-partitions, one partition after the other: the loss of one broker stops \
             this topic, or loses records",
        ));
    }
    if setting("min.insync.replicas").parse().is_ok_and(|in_sync: i32| in_sync < 2) {
        findings.push(finding(
            "min_insync",
            Severity::Warning,
            format!("topic {name} has min.insync.replicas=1, 2 is wanted"),
            "`bellwether topics apply` with kafka.replication: 3 sets it: with 1, a record that was acknowledged can be \
             lost with one broker, and an alert with it",
        ));
    }
    if setting("unclean.leader.election.enable") == "true" {
        findings.push(finding(
            "unclean_election",
            Severity::Error,
            format!("topic {name} has unclean.leader.election.enable=true, false is wanted"),
            "`bellwether topics apply` sets it: an unclean election cuts the log after alerts that were derived from it",
        ));
    }
}

fn time_and_partitions(seen: &Seen, findings: &mut Vec<Finding>) {
    let Some(observations) = seen.topics.get("observations") else { return };
    let setting = |key: &str| observations.settings.get(key).map_or("", String::as_str);
    let stamps = setting("message.timestamp.type");
    if stamps != "LogAppendTime" {
        findings.push(finding(
            "timestamp_type",
            Severity::Error,
            format!("topic observations has message.timestamp.type={stamps}, LogAppendTime is wanted"),
            "an empty topic: `bellwether topics apply` sets it. One with records: use another kafka.topic_prefix. A \
             producer's stamp does not move the partition's clock, so no rule is ever due",
        ));
    }
    if setting("cleanup.policy") != "delete" {
        findings.push(finding(
            "cleanup_policy",
            Severity::Error,
            format!("topic observations has cleanup.policy={}, delete is wanted", setting("cleanup.policy")),
            "set it with kafka-configs: compaction takes records out of the middle of the log, and a replay derives \
             other alerts",
        ));
    }
    for topic in ["alerts", "rejected", "notifications"] {
        let Some(found) = seen.topics.get(topic).filter(|found| found.partitions != observations.partitions)
        else {
            continue;
        };
        findings.push(finding(
            "partition_counts",
            Severity::Error,
            format!(
                "topic {topic} has {} partitions, observations has {}",
                found.partitions, observations.partitions
            ),
            "they belong one to one: `bellwether topics apply --add-partitions` with kafka.partitions at the larger \
             number, while nothing fires",
        ));
    }
}

fn retention(seen: &Seen, findings: &mut Vec<Finding>) {
    let kept_ms = |topic: &str| -> Option<i64> {
        let kept = seen.topics.get(topic)?.settings.get("retention.ms")?.parse().ok()?;
        // -1 is for ever.
        (kept >= 0).then_some(kept)
    };
    let wanted_ms = seen.snapshot_interval_ms.saturating_mul(RETENTION_INTERVALS);
    if let Some(kept) = kept_ms("observations").filter(|kept| *kept < wanted_ms) {
        findings.push(finding(
            "retention",
            if kept < seen.snapshot_interval_ms { Severity::Error } else { Severity::Warning },
            format!(
                "topic observations keeps {}, snapshots are taken every {}: at least {RETENTION_INTERVALS} intervals are \
                 wanted",
                minutes(kept),
                minutes(seen.snapshot_interval_ms)
            ),
            "raise kafka.observations_retention (`bellwether topics apply` sets it), or take snapshots more often: a \
             worker replays from its snapshot, and must find the log from there on",
        ));
    }
    if seen.snapshot_interval_ms == 0 {
        findings.push(finding(
            "no_snapshots",
            Severity::Warning,
            "no snapshots are taken: a worker replays the whole log, and stops where retention has cut it"
                .to_owned(),
            "set snapshots.url",
        ));
    }
    let minute_ms = 60_000;
    if let Some(kept) = kept_ms("alerts").filter(|kept| *kept < 60 * minute_ms) {
        findings.push(finding(
            "alerts_retention",
            Severity::Error,
            format!("topic alerts keeps {}, at least 60 min are wanted", minutes(kept)),
            "raise kafka.alerts_retention (`bellwether topics apply` sets it): the last marker, written once a minute, \
             must never age out",
        ));
    }
}

fn minutes(ms: i64) -> String {
    if ms % 60_000 == 0 { format!("{} min", ms / 60_000) } else { format!("{} s", ms / 1000) }
}

fn brokers(seen: &Seen, findings: &mut Vec<Finding>) {
    if seen.verifies_transactions == Some(false) {
        findings.push(finding(
            "broker_version",
            Severity::Warning,
            "the brokers do not verify the partitions of a transaction".to_owned(),
            "use Kafka 3.6 or newer, with transaction.partition.verification.enable=true: a late record of a dead primary \
             can otherwise leave a transaction open that hides alerts from every reader",
        ));
    }
    for (worker, offset_ms) in &seen.clock_offsets_ms {
        if offset_ms.abs() <= CLOCK_OFFSET_MS_MAX {
            continue;
        }
        let (seconds, side) = (offset_ms.abs() / 1000, if *offset_ms > 0 { "behind" } else { "ahead of" });
        findings.push(finding(
            "clock_offset",
            Severity::Warning,
            format!(
                "the clock of worker {worker} is {seconds} s {side} the broker's, at most {} s are wanted",
                CLOCK_OFFSET_MS_MAX / 1000
            ),
            "mend time synchronisation on both machines: after a silence the log's clock goes on only as far as the \
             workers' clocks agree",
        ));
    }
}

fn workers(seen: &Seen, findings: &mut Vec<Finding>) {
    let Some(workers) = &seen.workers else {
        findings.push(finding(
            "zookeeper",
            Severity::Warning,
            "ZooKeeper does not answer".to_owned(),
            "alerts go on, and a takeover takes seconds: see that zookeeper.hosts names every member and a majority of \
             them is up",
        ));
        return;
    };
    for zone in &seen.zones {
        if !workers.iter().any(|worker| worker.zone == *zone) {
            findings.push(finding(
                "zone_empty",
                Severity::Error,
                format!("zone {zone} has no live worker"),
                "start one there: until then the loss of the other zone stops alerts. A zone that was given up is \
                 forgotten when its consumer group is deleted",
            ));
        }
    }
    let mut zones: Vec<&str> = workers.iter().map(|worker| worker.zone.as_str()).collect();
    zones.sort_unstable();
    zones.dedup();
    if let ([zone], true) = (zones.as_slice(), workers.len() > 1) {
        findings.push(finding(
            "zones_equal",
            Severity::Error,
            format!("all {} live workers say that they are in zone {zone}", workers.len()),
            "give each its own `zone` (or --zone): workers of one zone share the partitions, and none has a standby",
        ));
    }
    if let Some((first, other)) = workers.first().and_then(|first| {
        let differs = |other: &&LiveWorker| other.snapshot_interval_ms != first.snapshot_interval_ms;
        Some((first, workers.iter().find(differs)?))
    }) {
        let of =
            |worker: &LiveWorker| format!("{} each {} min", worker.id, worker.snapshot_interval_ms / 60_000);
        findings.push(finding(
            "settings_differ",
            Severity::Warning,
            format!("workers cut snapshots at different times: {}, {}", of(first), of(other)),
            "set snapshots.url and snapshots.interval alike in all of them: a snapshot counts that two have signed",
        ));
    }
    for (at, worker) in workers.iter().enumerate() {
        if let Some(other) = workers[..at].iter().find(|other| other.id == worker.id) {
            findings.push(finding(
                "worker_id",
                Severity::Error,
                format!("two live workers are called {}: {} and {}", worker.id, other.http, worker.http),
                "give each its own `worker` (or --id)",
            ));
        }
    }
}
