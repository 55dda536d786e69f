//! What an emission thread tells about itself: for `/metrics`, `/-/ready`, the registry and the demo.

use super::Progress;
use crate::replica::{Reason, Role};
use std::collections::BTreeMap;
use std::time::Duration;

/// Upper bounds of the buckets of [`Latency`], milliseconds; one more bucket holds what is above.
pub const LATENCY_BUCKETS_MS: [u64; 11] = [5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 3_000, 5_000];

/// A histogram of durations since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many fell into each bucket of [`LATENCY_BUCKETS_MS`] and above the last; not cumulative.
    pub buckets: [u64; LATENCY_BUCKETS_MS.len() + 1],
    /// Their sum.
    pub sum: Duration,
}

impl Latency {
    pub(super) fn record(&mut self, took: Duration) {
        let bucket = LATENCY_BUCKETS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        self.buckets[bucket.unwrap_or(LATENCY_BUCKETS_MS.len())] += 1;
        self.sum += took;
    }
}

/// Where one partition's emission stands, and its counters since the process started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmitterStatus {
    /// Partition.
    pub partition: i32,
    /// Role.
    pub role: Role,
    /// Why it has that role.
    pub reason: Reason,
    /// Newest epoch known; its own while primary.
    pub epoch: i64,
    /// `seq` of the last transition that is known to be out.
    pub marker_seq: i64,
    /// Transitions that wait to be seen out.
    pub unsent: usize,
    /// ZooKeeper's transaction id of the lock node, while it is ours.
    pub czxid: Option<i64>,
    /// What stands between this partition and its lock service or its alerts partition; none if nothing does.
    pub trouble: Option<String>,
    /// Whether a marker showed another history than ours: this worker must write no snapshot of the partition.
    pub diverged: bool,
    /// Why it may not emit until an operator acts; [`Reason::remedy`] says how.
    pub refusal: Option<Reason>,
    /// Whether transitions that are not out were forgotten. Markers may still pass them; else the partition is derived
    /// again.
    pub forgotten: bool,
    /// Partitions that the observations topic had when the last marker was written, where it is another number now.
    pub partitions_before: Option<i32>,
    /// The machine's last word.
    pub progress: Option<Progress>,
    /// Whether the machine has reached the end of the log once.
    pub caught_up: bool,
    /// Transactions committed.
    pub commits: u64,
    /// Transitions committed.
    pub transitions: u64,
    /// Transactions whose commit failed.
    pub commit_failures: u64,
    /// From begin to committed.
    pub commit_latency: Latency,
    /// From the decision to promote until emission was possible, of the last promotion.
    pub promotion: Option<Duration>,
    /// Changes of role, by what they led to and why: promotions, takeovers by reason, fences.
    pub role_changes: BTreeMap<(Role, Reason), u64>,
    /// Markers that did not agree with our running hash, at most one an epoch.
    pub divergences: u64,
}

impl EmitterStatus {
    pub(super) fn new(partition: i32) -> Self {
        Self {
            partition,
            role: Role::Standby,
            reason: Reason::Started,
            epoch: 0,
            marker_seq: 0,
            unsent: 0,
            czxid: None,
            trouble: None,
            diverged: false,
            refusal: None,
            forgotten: false,
            partitions_before: None,
            progress: None,
            caught_up: false,
            commits: 0,
            transitions: 0,
            commit_failures: 0,
            commit_latency: Latency::default(),
            promotion: None,
            role_changes: BTreeMap::new(),
            divergences: 0,
        }
    }

    /// What keeps this partition from emitting, for `/-/ready`: with what an operator can do, where one must.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        let refusal = self.refusal.map(|reason| {
            format!("does not emit [{}]: {}", reason.code(), reason.remedy().unwrap_or_default())
        });
        refusal.or_else(|| self.trouble.clone())
    }

    /// How often this replica became primary.
    #[must_use]
    pub fn promotions(&self) -> u64 {
        let primary = self.role_changes.iter().filter(|((role, _), _)| *role == Role::Primary);
        primary.map(|(_, count)| count).sum()
    }

    /// How often another primary fenced this replica, or it found no way to Kafka.
    #[must_use]
    pub fn fences(&self) -> u64 {
        let fenced = self.role_changes.iter().filter(|((role, _), _)| *role == Role::Fenced);
        fenced.map(|(_, count)| count).sum()
    }
}
