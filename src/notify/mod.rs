//! PURE. Which transition becomes which notification, to whom and why: grouping, timers, repeats, retries.
//!
//! One [`Dispatcher`] decides for one partition of alerts, fed in the order of `seq`. A group never spans partitions:
//! whoever owns partition *p* decides for *p*, alone.
//!
//! ```text
//!  Restored ─▶ alerts, deliveries        Transition ─▶ alert ─▶ group ─┐ group_wait, group_interval
//!                                                                      ▼
//!  Record ◀── Delivered / Failed ◀── (shell) ◀── Send ◀── one lane per receiver: what does it know? (lane.rs)
//!                                         ▲── Send ◀── one feed per Alertmanager: everything, each minute (feed.rs)
//! ```
//!
//! The meaning of the four settings is Alertmanager's. A group is looked at `group_wait` after its first alert and then
//! each `group_interval`; a receiver is told when an alert fires that it does not know, when one that it knows is
//! resolved, or when `repeat_interval` has passed since it was last told; else nothing is said. Pending alerts are never
//! notified. Where this differs from Alertmanager, and why:
//!
//! - A resolved alert is told to those receivers, and to those alone, that may know it as firing. After an attempt
//!   without an answer (a timeout, a 5xx) a receiver may know either state, and is told the present one: nobody is left
//!   with an alert that never ends, nor believes in the end of one that fires again.
//! - What was sent and acknowledged is in Kafka, not in gossip: a restart neither forgets nor repeats.
//! - After a restart nothing is said before the partition has been read to its end, so a past that is over never pages.
//!
//! ## Order, repeats, and what "at least once" means
//!
//! For one group and receiver at most one notification is under way. While it fails, the next flush replaces it: the
//! newest state wins, an older one is never said after it. The order is deliver, then record: a crash between the two
//! sends the notification again, with the same idempotency key (cluster, partition, group, highest `seq` covered, and
//! `-rN` for the N-th repeat), and a receiver that honours the key shows it once.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod backoff;
mod dispatcher;
mod feed;
mod fingerprint;
mod group;
mod lane;
mod sequence;
#[cfg(test)]
mod tests;

pub use backoff::delay_ms;
pub use dispatcher::Dispatcher;
pub use fingerprint::fingerprint;
pub use sequence::{GAP_WAIT_MS, Gap, Sequence};

use crate::config::{self, Endpoint};
use crate::wire::{HeldAlert, Labels, NotifyEntry, NotifyPosition, NotifyReason, Transition};
use std::sync::Arc;
use std::time::Duration;

/// Notifications that one receiver may have under way for one partition. Everything else waits here, where the newest
/// state still wins, and not in a queue of the shell.
pub const IN_FLIGHT_MAX: usize = 2;
/// How often what fires is said again to an Alertmanager, as Prometheus does.
pub const RESEND_MS: i64 = 60_000;
/// How long an Alertmanager keeps an alert firing that it is not told about again: four resends, as Prometheus has it.
pub const RESEND_VALID_MS: i64 = 4 * RESEND_MS;
/// How long a resolved alert is said again to an Alertmanager. After [`RESEND_VALID_MS`] it has ended there by itself.
pub const RESOLVED_KEEP_MS: i64 = 5 * 60_000;
/// How long a receiver that refuses everything is told that an alert is resolved, before it is given up.
pub const GIVE_UP_MS: i64 = 24 * 3_600_000;

/// How a receiver wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One message a group, when there is news.
    Grouped,
    /// Every alert, at once, and again each minute: it groups by itself.
    Feed,
}

/// What a dispatcher is set to. Durations are milliseconds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the installation: part of every idempotency key.
    pub cluster: String,
    /// Partition of the alerts topic.
    pub partition: i32,
    /// Labels that make a group; `["..."]` for all of them.
    pub group_by: Vec<String>,
    /// How long a new group waits for company.
    pub group_wait_ms: i64,
    /// How long before news of a known group is sent.
    pub group_interval_ms: i64,
    /// When an unchanged firing group is sent again.
    pub repeat_interval_ms: i64,
    /// Name and style of each receiver. [`Ticket::receiver`] is an index into it.
    pub receivers: Vec<(Arc<str>, Style)>,
}

impl Settings {
    /// From the configuration, for one partition.
    #[must_use]
    pub fn new(cluster: &str, notify: &config::Notify, partition: i32) -> Self {
        let style = |endpoint: &Endpoint| match endpoint {
            Endpoint::Webhook(_) | Endpoint::Stdout => Style::Grouped,
            Endpoint::Alertmanager(_) => Style::Feed,
        };
        Self {
            cluster: cluster.to_owned(),
            partition,
            group_by: notify.group_by.clone(),
            group_wait_ms: millis(notify.group_wait),
            group_interval_ms: millis(notify.group_interval),
            repeat_interval_ms: millis(notify.repeat_interval),
            receivers: notify
                .receivers
                .iter()
                .map(|r| (r.name.as_str().into(), style(&r.endpoint)))
                .collect(),
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// What happens to a dispatcher.
#[derive(Debug, Clone)]
pub enum Event {
    /// First of all: the entries of the notifications partition, the newest of each key.
    Restored(Vec<NotifyEntry>),
    /// The next transition of the alerts partition.
    Transition {
        /// The transition. One whose `seq` is accounted for already changes nothing.
        transition: Box<Transition>,
        /// Offset of the record after it.
        next_offset: i64,
    },
    /// The alerts partition has been read to its end. Nothing is sent before the first of these.
    CaughtUp,
    /// The notifier's wall clock: delays of notifications are about people.
    Time {
        /// Milliseconds since the epoch.
        now_ms: i64,
    },
    /// The receiver took the notification.
    Delivered(Ticket),
    /// The receiver did not take it, or nobody knows.
    Failed {
        /// Which notification.
        ticket: Ticket,
        /// Stable word: `timeout`, `status_500` …
        reason: String,
        /// Whether the same notification may be taken later.
        retryable: bool,
        /// How long the receiver asked to be left alone, milliseconds.
        retry_after_ms: Option<i64>,
    },
}

/// What a dispatcher wants done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The receiver's task delivers it, then answers with [`Event::Delivered`] or [`Event::Failed`].
    Send(Box<Notification>),
    /// The shell writes it to the notifications partition.
    Record(NotifyEntry),
    /// The shell writes a record of this key without a value.
    Forget(String),
    /// Nothing is said. The shell counts it and logs it at debug level.
    Held {
        /// Name of the receiver.
        receiver: Arc<str>,
        /// Key of the group.
        group: Arc<str>,
        /// Why.
        reason: HoldReason,
    },
    /// The shell sends [`Event::Time`] no later than this. Replaces the last one.
    WakeAt {
        /// Milliseconds since the epoch.
        ms: i64,
    },
}

/// Why nothing is said to a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldReason {
    /// It knows all there is to know.
    Unchanged,
    /// Everything was resolved before it was told that anything fired.
    ResolvedBeforeNotified,
    /// A notification is under way; the group is looked at again when its answer is in.
    AwaitingReply,
    /// A newer state took the place of a notification that had not been taken.
    Superseded,
    /// It has refused for [`GIVE_UP_MS`] to hear that an alert is resolved.
    GaveUp,
}

impl HoldReason {
    /// Stable word: log field and counter label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::ResolvedBeforeNotified => "resolved_before_notified",
            Self::AwaitingReply => "awaiting_reply",
            Self::Superseded => "superseded",
            Self::GaveUp => "gave_up",
        }
    }
}

/// Which notification an answer belongs to: of one group and receiver at most one is under way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Index into [`Settings::receivers`].
    pub receiver: usize,
    /// Key of the group; empty for a feed, which knows no groups.
    pub group: Arc<str>,
}

/// One notification, whole: what a receiver is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// Goes into the answer.
    pub ticket: Ticket,
    /// Name of the receiver.
    pub receiver: Arc<str>,
    /// Labels that all alerts of the group share by `group_by`.
    pub group_labels: Labels,
    /// What it says, firing first, each in order of its id.
    pub alerts: Vec<Arc<HeldAlert>>,
    /// Highest `seq` of the group that it covers.
    pub seq: i64,
    /// Why it is sent.
    pub reason: NotifyReason,
    /// The same for each attempt, and after a restart.
    pub idempotency_key: String,
    /// From 1. Above 1 it is a retry.
    pub attempt: u32,
}

impl Notification {
    /// Whether anything in it fires.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.alerts.iter().any(|alert| alert.is_firing())
    }
}

/// What one receiver is owed, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owed {
    /// Notifications that wait or are under way.
    pub notifications: usize,
    /// When the oldest of them was decided, milliseconds since the epoch; none if nothing waits.
    pub oldest_ms: Option<i64>,
}

/// From where the shell reads the alerts partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// No position is recorded: from the beginning of retention.
    Beginning,
    /// From the recorded position.
    Position(NotifyPosition),
}
