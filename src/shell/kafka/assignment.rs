//! Who hosts what: the consumer group of a zone, `bellwether.<cluster>.<zone>`.
//!
//! Kafka's group coordinator gives each partition to one worker of every zone; this file joins the group and hands
//! the answer on as [`GroupEvent`]s. It fetches no records: what it is assigned it pauses at once, and
//! [`super::consumer`] reads the data by manual assignment, from offsets of the worker's own choosing. It does commit
//! the offsets that the machines have applied, so that every Kafka tool shows the lag of a zone.
//!
//! Membership is static (`group.instance.id` is the worker's id): a worker that is killed and comes back within
//! [`SESSION_TIMEOUT`] finds its partitions where they were, and nobody else has rebuilt them in between. A planned
//! stop leaves the group, so that the others take over at once.
//!
//! The assignor is `range`: members in the order of their ids, so that the same members always host the same partitions.
//! Not `cooperative-sticky`: that moves a partition in two rebalances, and the broker answers a static member who comes back
//! from the last one. Where everyone is killed between the two, a partition belongs to nobody for good (tests/chaos met it). `range`
//! asks every member to give up all it has at each rebalance, and [`Giving::WhenReplaced`] does not until the answer is there.

use super::{KafkaError, client, is_away};
use crate::config::Config;
use crate::shell::http::Readiness;
use crate::shell::{clock, thread};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError as ClientError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the group waits for a silent worker before it gives its partitions to others of the zone.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// How often applied offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How long a leaving worker waits for its goodbye to be sent.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// Fences within [`REJOIN_WINDOW`] that a worker answers by joining again; one more says that two processes share its id.
const REJOINS: usize = 5;
const REJOIN_WINDOW: Duration = Duration::from_secs(600);
/// Wait before the first of them; doubled for each.
const REJOIN_AFTER: Duration = Duration::from_secs(1);
/// The condition that stands in `/-/ready` until the group has spoken: whoever acts on [`GroupEvent::Assigned`] takes it away.
pub const CONDITION: &str = "group";

/// What the group decided. The worker's host thread acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// This worker hosts these partitions from now on, too. None where there are more workers than partitions.
    Assigned(Vec<i32>),
    /// This worker no longer hosts these partitions.
    Revoked(Vec<i32>),
    /// Another process joins with this worker's id, again and again: this one is out for good. Stop hosting.
    Fenced,
}

/// When a member lets go of what a rebalance may give to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Giving {
    /// As soon as the rebalance begins: for work that two must not do at a time.
    AtOnce,
    /// When the rebalance has given it to another: for work that a fence keeps apart, and that is dear to begin anew.
    WhenReplaced,
}

/// Name of the consumer group of a zone.
#[must_use]
pub fn group_id(config: &Config) -> String {
    format!("bellwether.{}.{}", config.cluster, config.zone)
}

/// The offsets that machines have applied: written by the machine threads once a batch, committed from here.
#[derive(Debug, Default)]
pub struct Applied(Mutex<BTreeMap<i32, i64>>);

impl Applied {
    /// `next` is the offset of the first record of `partition` that its machine has not seen.
    pub fn set(&self, partition: i32, next: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, next);
    }

    fn of(&self, partitions: impl Iterator<Item = i32>) -> Vec<(i32, i64)> {
        let applied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.filter_map(|partition| Some((partition, *applied.get(&partition)?))).collect()
    }
}

/// Membership of the zone's group. Dropped, it goes without a word, as a killed process would.
#[derive(Debug)]
pub struct Assignment {
    ending: Sender<()>,
    thread: JoinHandle<()>,
}

impl Assignment {
    /// Joins the group on a thread of its own. Kafka may be away: `/-/ready` then says so, and the group is joined
    /// when it comes back.
    pub fn start(
        config: &Config,
        topic: &str,
        giving: Giving,
        applied: Arc<Applied>,
        readiness: Arc<Readiness>,
        events: Sender<GroupEvent>,
    ) -> Result<Self, KafkaError> {
        readiness.not_ready(CONDITION, format!("joining consumer group {}", group_id(config)));
        let membership = Arc::new(Membership {
            topic: topic.to_owned(),
            giving,
            assigned: Mutex::default(),
            told: Mutex::default(),
            applied,
            events,
        });
        let first = join(config, &membership)?;
        let (ending, ended) = channel();
        let config = config.clone();
        let thread = thread::spawn("group", move || run(&config, &membership, first, &ended, &readiness))
            .map_err(|_| KafkaError::no_thread("starting the group's thread"))?;
        Ok(Self { ending, thread })
    }

    /// A planned stop: commits what is applied, leaves the group, and returns when that is done (at most three
    /// seconds; a group whose broker is away is left by time-out).
    pub fn leave(self) {
        if self.ending.send(()).is_ok() {
            let _ = self.thread.join();
        }
    }
}

fn join(config: &Config, membership: &Arc<Membership>) -> Result<Member, KafkaError> {
    let failed = |source| KafkaError::Client { doing: "making the group's consumer", source };
    let consumer: Member = client(config, "group")
        .set("group.id", group_id(config))
        .set("group.instance.id", &config.worker)
        .set("partition.assignment.strategy", "range")
        .set("session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string())
        .set("heartbeat.interval.ms", "2000")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // It never reads, so where it would begin is of no account; the end asks for least.
        .set("auto.offset.reset", "latest")
        .set("queued.min.messages", "1")
        .set("queued.max.messages.kbytes", "64")
        .create_with_context(GroupContext(Arc::clone(membership)))
        .map_err(failed)?;
    consumer.subscribe(&[&membership.topic]).map_err(failed)?;
    Ok(consumer)
}

/// Wait before a member that was fenced at `now` joins again; none where it was fenced too often. `fences`: when it was
/// before, which is brought up to date.
fn rejoin_after(fences: &mut Vec<Duration>, now: Duration) -> Option<Duration> {
    fences.retain(|at| now.saturating_sub(*at) < REJOIN_WINDOW);
    let times = fences.len();
    fences.push(now);
    (times < REJOINS).then(|| REJOIN_AFTER * (1 << times))
}

/// The thread: serves the group until told to leave (a word) or to go (the channel closes).
fn run(
    config: &Config,
    membership: &Arc<Membership>,
    first: Member,
    ended: &Receiver<()>,
    readiness: &Readiness,
) {
    let mut fences = Vec::new();
    let mut member = Ok(first);
    loop {
        match &member {
            Ok(consumer) if serve(consumer, ended, readiness) == Served::Ended => return,
            Ok(_) => {}
            // Settings that were good a moment ago: the next round tries again.
            Err(fault) => tracing::warn!("not joined: {fault}"),
        }
        let why = "a request of this worker's came twice, or another process joined the group with its id";
        let Some(wait) = rejoin_after(&mut fences, clock::monotonic()) else {
            tracing::error!(
                "put out of the group {} times: {why}; give each its own with --id",
                fences.len()
            );
            readiness.not_ready(CONDITION, why);
            let _ = membership.events.send(GroupEvent::Fenced);
            return;
        };
        tracing::warn!("put out of the group: {why}; joining again in {wait:?}");
        membership.fenced();
        match ended.recv_timeout(wait) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        member = join(config, membership);
    }
}

/// How a membership ended.
#[derive(PartialEq, Eq)]
enum Served {
    Ended,
    Fenced,
}

fn serve(consumer: &Member, ended: &Receiver<()>, readiness: &Readiness) -> Served {
    let mut next_commit = clock::monotonic() + COMMIT_EVERY;
    loop {
        match ended.try_recv() {
            Ok(()) => {
                leave(consumer);
                return Served::Ended;
            }
            Err(TryRecvError::Disconnected) => return Served::Ended,
            Err(TryRecvError::Empty) => {}
        }
        // A record that was on its way when its partition was paused is dropped here.
        if let Some(Err(fault)) = consumer.poll(Duration::from_millis(100)) {
            let code = fault.rdkafka_error_code();
            if matches!(code, Some(RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::Fatal)) {
                return Served::Fenced;
            }
            heed(consumer.context(), readiness, &fault);
        }
        if clock::monotonic() >= next_commit {
            next_commit = clock::monotonic() + COMMIT_EVERY;
            consumer.context().commit(consumer);
        }
    }
}

/// Says what a fault of the consumer means.
fn heed(membership: &Membership, readiness: &Readiness, fault: &ClientError) {
    if fault.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
        let why = KafkaError::NoTopic { topic: membership.topic.clone() }.to_string();
        // librdkafka says so again and again.
        if readiness.reasons().get(CONDITION) != Some(&why) {
            tracing::warn!("waiting: {why}");
        }
        readiness.not_ready(CONDITION, why);
    } else if is_away(fault) {
        // The host thread asks for metadata and reports Kafka's absence as its own condition.
        tracing::debug!(%fault, "group's consumer");
    } else {
        tracing::warn!(%fault, "group's consumer");
    }
}

fn leave(consumer: &Member) {
    consumer.context().commit(consumer);
    // A static member says goodbye on `unsubscribe`, not on close.
    consumer.unsubscribe();
    let deadline = clock::monotonic() + LEAVE_WITHIN;
    while !consumer.context().assigned().is_empty() && clock::monotonic() < deadline {
        let _ = consumer.poll(Duration::from_millis(20));
    }
    // The request is on its way when the last partition is unassigned; this lets it out before the client goes.
    let _ = consumer.poll(Duration::from_millis(200));
}

/// What outlives a fence.
struct Membership {
    topic: String,
    giving: Giving,
    /// By the group's last answer: partition to the offset that was committed last; `i64::MIN` where none was.
    assigned: Mutex<BTreeMap<i32, i64>>,
    /// What the host thread believes that it hosts.
    told: Mutex<BTreeSet<i32>>,
    applied: Arc<Applied>,
    events: Sender<GroupEvent>,
}

impl Membership {
    fn assigned(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the host thread to give up all but these.
    fn keep(&self, now: &BTreeSet<i32>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let revoked: Vec<i32> = told.difference(now).copied().collect();
        told.retain(|partition| now.contains(partition));
        if !revoked.is_empty() {
            let _ = self.events.send(GroupEvent::Revoked(revoked));
        }
    }

    /// Tells the host thread what it hosts from now on.
    fn host(&self, now: BTreeSet<i32>) {
        self.keep(&now);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let assigned = now.difference(&told).copied().collect();
        *told = now;
        let _ = self.events.send(GroupEvent::Assigned(assigned));
    }

    /// The group has given what was assigned to whoever fenced: itself, most likely, which gets it back by joining again.
    fn fenced(&self) {
        self.assigned().clear();
        if self.giving == Giving::AtOnce {
            self.keep(&BTreeSet::new());
        }
    }

    /// Commits what has been applied since the last time. Asynchronous: the answer comes to `commit_callback`.
    fn commit(&self, consumer: &Member) {
        let mut assigned = self.assigned();
        let applied = self.applied.of(assigned.keys().copied());
        let mut list = TopicPartitionList::new();
        for (partition, next) in applied {
            if assigned.insert(partition, next) != Some(next)
                && let Err(fault) = list.add_partition_offset(&self.topic, partition, Offset::Offset(next))
            {
                tracing::warn!(%fault, partition, next, "offset not committed");
            }
        }
        if list.count() > 0
            && let Err(fault) = consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%fault, "offsets not committed");
        }
    }
}

/// What librdkafka calls back into, on the group's thread.
struct GroupContext(Arc<Membership>);

type Member = BaseConsumer<GroupContext>;

impl Deref for GroupContext {
    type Target = Membership;

    fn deref(&self) -> &Membership {
        &self.0
    }
}

impl ClientContext for GroupContext {
    fn error(&self, fault: ClientError, reason: &str) {
        tracing::debug!(%fault, reason, "group's consumer");
    }
}

impl ConsumerContext for GroupContext {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            if !consumer.assignment_lost() {
                self.commit(consumer);
            }
            let revoked = partitions(list);
            self.assigned().retain(|partition, _| !revoked.contains(partition));
            if self.giving == Giving::AtOnce {
                self.keep(&self.assigned().keys().copied().collect());
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                if let Err(fault) = consumer.pause(list) {
                    tracing::warn!(%fault, "the group's own consumer could not be paused: it fetches in vain");
                }
                let assigned = partitions(list);
                self.assigned().extend(assigned.iter().map(|partition| (*partition, i64::MIN)));
                self.host(assigned);
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(fault) => tracing::warn!(%fault, "group's rebalance"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(fault) = result {
            // The next commit, a second later, carries these offsets too or later ones.
            self.assigned().values_mut().for_each(|committed| *committed = i64::MIN);
            tracing::debug!(%fault, "offsets not committed");
        }
    }
}

fn partitions(list: &TopicPartitionList) -> BTreeSet<i32> {
    list.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_member_joins_again_later_each_time_until_it_is_too_often() {
        let mut fences = Vec::new();
        let mut at =
            |seconds| rejoin_after(&mut fences, Duration::from_secs(seconds)).map(|wait| wait.as_secs());
        assert_eq!([at(0), at(10), at(20), at(30), at(40)], [Some(1), Some(2), Some(4), Some(8), Some(16)]);
        assert_eq!(at(50), None);
        // Fences of long ago do not count.
        assert_eq!(at(700), Some(1));
    }
}
