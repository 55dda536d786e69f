//! What `bellwether notify` remembers: the records of the notifications topic, which mirror
//! `schemas/notification.avsc`.
//!
//! The topic is compacted and has one partition for each partition of alerts. The key of a record says what it is
//! about ([`NotifyEntry::key`]); the newest record of a key holds, and a record without a value ends it. Whoever reads
//! a partition to its end knows what is firing, who was told what, and from which offset of alerts to go on.

use super::schema::{self, Kind};
use super::{AlertId, Fault, Labels};
use serde::{Deserialize, Serialize};

/// One record of the notifications topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum NotifyEntry {
    /// How far the partition of alerts is accounted for.
    Position(NotifyPosition),
    /// An alert that some receiver has to hear about, or has heard about as firing.
    Alert(HeldAlert),
    /// What one receiver knows of one group.
    Delivery(Delivery),
}

/// Every transition before this place stands in the entries that were written before this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyPosition {
    /// Offset of the alerts partition to read next.
    pub offset: i64,
    /// `seq` of the last transition that is accounted for; 0 if none is.
    pub seq: i64,
}

/// The newest that is known of one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldAlert {
    /// Who.
    pub alert: AlertId,
    /// `seq` of its last transition.
    pub seq: i64,
    /// All its labels, `alertname` among them.
    pub labels: Labels,
    /// Its annotations, as the last transition rendered them.
    pub annotations: Labels,
    /// Output text of the check result behind it; empty where there is none.
    pub output: String,
    /// When it began to fire, event time, milliseconds since the epoch.
    pub fired_ms: i64,
    /// When it was resolved, event time, milliseconds since the epoch; none while it fires.
    pub resolved_ms: Option<i64>,
    /// LogAppendTime of its last transition's cause, milliseconds since the epoch.
    pub append_ms: i64,
}

impl HeldAlert {
    /// Whether it fires.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.resolved_ms.is_none()
    }
}

/// Why something is said to a receiver. Each word is used alike in logs, metrics, records and the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyReason {
    /// The receiver knows of nothing that fires in this group.
    NewGroup,
    /// An alert fires that the receiver has not been told about.
    GroupChanged,
    /// An alert that the receiver knows as firing is resolved.
    Resolved,
    /// Nothing changed for the repeat interval, and something fires.
    Repeat,
    /// A change is forwarded at once to a receiver that groups by itself.
    Forward,
    /// What fires is said again to a receiver that forgets what it is not told.
    Resend,
}

impl NotifyReason {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NewGroup => "new_group",
            Self::GroupChanged => "group_changed",
            Self::Resolved => "resolved",
            Self::Repeat => "repeat",
            Self::Forward => "forward",
            Self::Resend => "resend",
        }
    }
}

/// What one receiver knows of one group of alerts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Name of the receiver.
    pub receiver: String,
    /// Key of the group, as the webhook payload has it.
    pub group: String,
    /// Alerts that it knows as firing.
    pub firing: Vec<AlertId>,
    /// Alerts of which an attempt brought it news (firing or resolved) and no answer is known: it may know either.
    pub attempted: Vec<AlertId>,
    /// Highest `seq` that a notification to it covered; 0 if there was none.
    pub seq: i64,
    /// When it last acknowledged one, the notifier's wall clock, milliseconds since the epoch; none if it never was.
    pub acknowledged_ms: Option<i64>,
    /// How often this group was repeated to it: the suffix of the next repeat's idempotency key is one more.
    pub repeats: i32,
    /// Idempotency key of the last notification that brought it news, was acknowledged or was refused.
    pub idempotency_key: String,
    /// Why that notification was sent.
    pub reason: NotifyReason,
    /// Why that notification was refused for good; empty if it was not.
    pub failure: String,
}

/// `notification.avsc`: a record round the union, so that fields of its own can join it later.
#[derive(Deserialize)]
#[serde(rename = "Notification")]
struct EntryRecord {
    entry: NotifyEntry,
}

#[derive(Serialize)]
#[serde(rename = "Notification")]
struct EntryRef<'a> {
    entry: &'a NotifyEntry,
}

impl NotifyEntry {
    /// Reads one record of the notifications topic.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let framed = schema::open(bytes)?;
        if framed.kind() != Kind::Notification {
            return Err(framed.unexpected());
        }
        framed.decode::<EntryRecord>().map(|record| record.entry)
    }

    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        schema::encode(Kind::Notification, &EntryRef { entry: self })
    }

    /// Key of the record: what the entry is about.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Position(_) => "position".to_owned(),
            Self::Alert(held) => Self::alert_key(held.alert),
            Self::Delivery(delivery) => Self::delivery_key(&delivery.receiver, &delivery.group),
        }
    }

    /// Key of an alert's entry.
    #[must_use]
    pub fn alert_key(alert: AlertId) -> String {
        format!("alert/{alert}")
    }

    /// Key of the entry of one receiver and one group.
    #[must_use]
    pub fn delivery_key(receiver: &str, group: &str) -> String {
        format!("delivery/{receiver}/{group}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_read_as_it_was_written() {
        let held = HeldAlert {
            alert: AlertId([7; 16]),
            seq: 3,
            labels: Labels::new([("alertname", "Disk"), ("service", "db")]),
            annotations: Labels::new([("summary", "full")]),
            output: "DISK CRITICAL".to_owned(),
            fired_ms: 1,
            resolved_ms: None,
            append_ms: 2,
        };
        let delivery = Delivery {
            receiver: "pager".to_owned(),
            group: "{}:{service=\"db\"}".to_owned(),
            firing: vec![AlertId([7; 16])],
            attempted: Vec::new(),
            seq: 3,
            acknowledged_ms: Some(4),
            repeats: 1,
            idempotency_key: "c/0/1/3".to_owned(),
            reason: NotifyReason::NewGroup,
            failure: String::new(),
        };
        let entries = [
            NotifyEntry::Position(NotifyPosition { offset: 9, seq: 3 }),
            NotifyEntry::Alert(held.clone()),
            NotifyEntry::Alert(HeldAlert { resolved_ms: Some(5), ..held }),
            NotifyEntry::Delivery(delivery.clone()),
            NotifyEntry::Delivery(Delivery { acknowledged_ms: None, ..delivery }),
        ];
        for entry in entries {
            assert_eq!(NotifyEntry::read(&entry.encode()), Ok(entry));
        }
    }
}
