//! What was seen, as one row for each partition in each zone. Pure.

use super::WorkerReport;
use crate::wire::Marker;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

/// Digits of a digest that are shown to people.
const DIGEST_DIGITS: usize = 12;

/// What ZooKeeper and Kafka said.
#[derive(Debug)]
pub(super) struct Seen {
    /// The offset after each partition's last observation.
    pub(super) ends: BTreeMap<i32, i64>,
    /// The last marker of each partition's alerts.
    pub(super) markers: BTreeMap<i32, Marker>,
    /// Zones that have, or had lately, a consumer group.
    pub(super) zones: Vec<String>,
    /// Whether ZooKeeper answered.
    pub(super) zookeeper: bool,
    /// What workers said of themselves; nothing without ZooKeeper.
    pub(super) reports: Vec<WorkerReport>,
    /// This machine's wall clock, milliseconds since the epoch.
    pub(super) now_ms: i64,
}

/// One partition in one zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub(super) partition: i32,
    pub(super) zone: String,
    /// Empty where nobody hosts the partition in this zone.
    pub(super) worker: String,
    pub(super) role: String,
    pub(super) offset: Option<i64>,
    pub(super) lag_records: Option<i64>,
    pub(super) lag_s: Option<i64>,
    pub(super) epoch: Option<i64>,
    /// Last transition derived.
    pub(super) seq: Option<i64>,
    /// Last transition that is out, as the alerts topic says.
    pub(super) out_seq: Option<i64>,
    pub(super) rule_set_version: Option<i64>,
    /// Digest of the machine's state at `offset`.
    pub(super) digest: String,
    /// Why its worker has not begun it, or stopped.
    pub(super) trouble: String,
}

impl Row {
    pub(super) const HEADER: [&'static str; 11] =
        ["PARTITION", "ZONE", "WORKER", "ROLE", "LAG", "LAG-S", "EPOCH", "SEQ", "OUT", "RULES", "DIGEST"];

    /// For people.
    pub(super) fn cells(&self) -> Vec<String> {
        let number = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
        let text =
            |value: &str| if value.is_empty() { "-".to_owned() } else { value.escape_debug().to_string() };
        vec![
            self.partition.to_string(),
            text(&self.zone),
            text(&self.worker),
            text(&self.role),
            number(self.lag_records),
            number(self.lag_s),
            number(self.epoch),
            number(self.seq),
            number(self.out_seq),
            number(self.rule_set_version),
            text(&self.digest.chars().take(DIGEST_DIGITS).collect::<String>()),
        ]
    }
}

/// Every partition in every zone that a group, a worker or a marker names; one that nobody names has a row too.
pub(super) fn rows(seen: &Seen) -> Vec<Row> {
    let mut zones: BTreeSet<&str> = seen.reports.iter().map(|report| report.zone.as_str()).collect();
    zones.extend(seen.zones.iter().map(String::as_str));
    zones.extend(seen.markers.values().map(|marker| marker.zone.as_str()));
    if zones.is_empty() {
        zones.insert("");
    }
    let mut rows = Vec::new();
    for (partition, end) in &seen.ends {
        for zone in &zones {
            let hosts: Vec<&WorkerReport> = seen
                .reports
                .iter()
                .filter(|report| report.zone == *zone && report.partitions.contains_key(partition))
                .collect();
            // Two for a moment, while a partition moves from one worker of the zone to another.
            rows.extend(hosts.iter().map(|report| hosted(seen, *partition, *end, report)));
            if hosts.is_empty() {
                rows.push(unhosted(seen, *partition, zone));
            }
        }
    }
    rows
}

fn hosted(seen: &Seen, partition: i32, end: i64, report: &WorkerReport) -> Row {
    let mine = report.partitions.get(&partition).cloned().unwrap_or_default();
    let lag_records = (end - mine.offset).max(0);
    // The clock of the log stands still with the log: who has read it all is not behind.
    let lag_s = if lag_records == 0 { 0 } else { (seen.now_ms - mine.clock_ms).max(0) / 1000 };
    let marker = seen.markers.get(&partition);
    Row {
        partition,
        zone: report.zone.clone(),
        worker: report.worker.clone(),
        role: mine.role,
        offset: Some(mine.offset),
        lag_records: Some(lag_records),
        lag_s: (mine.clock_ms > 0 || lag_records == 0).then_some(lag_s),
        epoch: Some(marker.map_or(mine.epoch, |marker| marker.epoch)),
        seq: Some(mine.seq),
        out_seq: Some(marker.map_or(mine.out_seq, |marker| marker.seq)),
        rule_set_version: Some(mine.rule_set_version),
        // A digest says something about one offset only.
        digest: if mine.digest_offset == mine.offset { mine.digest } else { String::new() },
        trouble: mine.trouble,
    }
}

fn unhosted(seen: &Seen, partition: i32, zone: &str) -> Row {
    let marker = seen.markers.get(&partition);
    let by = marker.filter(|marker| marker.zone == zone && !seen.zookeeper);
    let role = match (by, seen.zookeeper) {
        (Some(_), _) => "wrote last marker",
        (None, true) => "nobody",
        (None, false) => "unknown",
    };
    Row {
        partition,
        zone: zone.to_owned(),
        worker: by.map_or_else(String::new, |marker| marker.worker.clone()),
        role: role.to_owned(),
        epoch: marker.map(|marker| marker.epoch),
        out_seq: marker.map(|marker| marker.seq),
        rule_set_version: by.map(|marker| marker.rule_set_version),
        ..Row::default()
    }
}

/// What an operator should look at, one line each.
pub(super) fn troubles(rows: &[Row]) -> Vec<String> {
    let mut troubles = Vec::new();
    let partitions: BTreeSet<i32> = rows.iter().map(|row| row.partition).collect();
    for partition in partitions {
        let here: Vec<&Row> = rows.iter().filter(|row| row.partition == partition).collect();
        for row in here.iter().filter(|row| row.role == "nobody") {
            let zone = if row.zone.is_empty() { "any zone" } else { &row.zone };
            troubles.push(format!("partition {partition}: no worker hosts it in {zone}"));
        }
        for row in here.iter().filter(|row| !row.trouble.is_empty()) {
            troubles.push(format!("partition {partition}: {} does not run it: {}", row.worker, row.trouble));
        }
        let primaries = here.iter().filter(|row| row.role == "primary").count();
        if primaries != 1 && here.iter().any(|row| row.offset.is_some()) {
            troubles
                .push(format!("partition {partition}: {primaries} workers say that they are its primary"));
        }
        for (at, row) in here.iter().enumerate() {
            let other = here[..at].iter().find(|other| {
                other.offset.is_some()
                    && other.offset == row.offset
                    && !other.digest.is_empty()
                    && !row.digest.is_empty()
                    && other.digest != row.digest
            });
            if let Some(other) = other {
                troubles.push(format!(
                    "partition {partition}: {} and {} differ in their state at offset {}: one of them is wrong",
                    other.worker,
                    row.worker,
                    row.offset.unwrap_or_default()
                ));
            }
        }
    }
    troubles
}
