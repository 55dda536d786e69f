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
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the group waits for a silent worker before it gives its partitions to others of the zone.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// How often applied offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How long a leaving worker waits for its goodbye to be sent.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// The condition that stands in `/-/ready` until the group has spoken: whoever acts on [`GroupEvent::Assigned`] takes it away.
pub const CONDITION: &str = "group";

/// What the group decided. The worker's host thread acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// This worker hosts these partitions from now on, too. None where there are more workers than partitions.
    Assigned(Vec<i32>),
    /// This worker no longer hosts these partitions.
    Revoked(Vec<i32>),
    /// Another process has joined with this worker's id: this one is out for good. Stop hosting.
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
        let group = group_id(config);
        readiness.not_ready(CONDITION, format!("joining consumer group {group}"));
        let context = GroupContext {
            topic: topic.to_owned(),
            giving,
            assigned: Mutex::default(),
            told: Mutex::default(),
            applied,
            events,
        };
        let failed = |source| KafkaError::Client { doing: "making the group's consumer", source };
        let consumer: BaseConsumer<GroupContext> = client(config, "group")
            .set("group.id", &group)
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
            // A topic made or grown later is seen within this time.
            .set("topic.metadata.refresh.interval.ms", "10000")
            .create_with_context(context)
            .map_err(failed)?;
        consumer.subscribe(&[topic]).map_err(failed)?;
        let (ending, ended) = channel();
        let thread = thread::spawn("group", move || run(&consumer, &ended, &readiness))
            .map_err(|_| failed(ClientError::ClientCreation("no thread left".to_owned())))?;
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

/// The thread: serves the group until told to leave (a word) or to go (the channel closes).
fn run(consumer: &BaseConsumer<GroupContext>, ended: &Receiver<()>, readiness: &Readiness) {
    let mut next_commit = clock::monotonic() + COMMIT_EVERY;
    loop {
        match ended.try_recv() {
            Ok(()) => return leave(consumer),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {}
        }
        // A record that was on its way when its partition was paused is dropped here.
        if let Some(Err(fault)) = consumer.poll(Duration::from_millis(100)) {
            let is_out = heed(consumer.context(), readiness, &fault);
            if is_out {
                return;
            }
        }
        if clock::monotonic() >= next_commit {
            next_commit = clock::monotonic() + COMMIT_EVERY;
            consumer.context().commit(consumer);
        }
    }
}

/// Says what a fault of the consumer means. `true` where the consumer is of no more use.
fn heed(context: &GroupContext, readiness: &Readiness, fault: &ClientError) -> bool {
    let code = fault.rdkafka_error_code();
    if code == Some(RDKafkaErrorCode::FencedInstanceId) || code == Some(RDKafkaErrorCode::Fatal) {
        let why = "another process has joined the group with this worker's id; give each its own with --id";
        tracing::error!("put out of the group: {why}");
        readiness.not_ready(CONDITION, why);
        let _ = context.events.send(GroupEvent::Fenced);
        return true;
    }
    if code == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
        let why = KafkaError::NoTopic { topic: context.topic.clone() }.to_string();
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
    false
}

fn leave(consumer: &BaseConsumer<GroupContext>) {
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

/// What librdkafka calls back into, on the group's thread.
struct GroupContext {
    topic: String,
    giving: Giving,
    /// By the group's last answer: partition to the offset that was committed last; `i64::MIN` where none was.
    assigned: Mutex<BTreeMap<i32, i64>>,
    /// What the host thread believes that it hosts.
    told: Mutex<BTreeSet<i32>>,
    applied: Arc<Applied>,
    events: Sender<GroupEvent>,
}

impl GroupContext {
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

    /// Commits what has been applied since the last time. Asynchronous: the answer comes to `commit_callback`.
    fn commit(&self, consumer: &BaseConsumer<Self>) {
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
