//! The thread that owns every dispatcher: what the group decided, what the alerts topic holds, what receivers answered,
//! and what time it is, one after the other.

use super::NotifyError;
use super::metrics::Metrics;
use super::open::Open;
use super::partition::{Hands, Partition};
use super::store::Store;
use crate::config::Config;
use crate::notify::{Dispatcher, Event, Sequence, Settings, StartAt};
use crate::shell::clock;
use crate::shell::http::Readiness;
use crate::shell::kafka::assignment::{self, Applied, Assignment, GroupEvent};
use crate::shell::kafka::{KafkaError, Topics, client};
use crate::shell::receiver::{Answer, Origin, Receivers};
use crate::wire::NotifyEntry;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

/// Records taken in one go before the other inputs are looked at again.
const BURST: usize = 1_000;
/// How long a poll waits where nothing is at hand: bounds the delay of a timer and of an answer.
const POLL: Duration = Duration::from_millis(20);
/// How long a partition that could not be taken over waits.
const RETRY: Duration = Duration::from_secs(1);
/// How long a stopping notifier waits for what is under way, and for Kafka.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long one question to Kafka may take.
const ASK: Duration = Duration::from_secs(5);
/// The condition that stands in `/-/ready` while a partition is not taken over, or waits at a gap.
const CONDITION: &str = "notify";

/// What the thread listens to.
pub(super) struct Inputs {
    /// Keeps `answered` open.
    pub(super) answers: Sender<Answer>,
    pub(super) answered: Receiver<Answer>,
    pub(super) group: Receiver<GroupEvent>,
}

/// A consumer of the alerts topic.
fn reader(config: &Config, isolation: &str) -> Result<BaseConsumer, KafkaError> {
    client(config, "notify-alerts")
        .set("group.id", format!("bellwether.{}.notify", config.cluster))
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", "4096")
        .create()
        .map_err(|source| KafkaError::Client { doing: "making the alerts consumer", source })
}

/// All partitions of this process.
pub(super) struct Host {
    config: Config,
    alerts_topic: String,
    inputs: Inputs,
    receivers: Receivers,
    metrics: Metrics,
    store: Store,
    alerts: BaseConsumer,
    /// Reads the partitions that a transaction holds up.
    raw: BaseConsumer,
    held: BTreeSet<i32>,
    open: Open,
    partitions: BTreeMap<i32, Partition>,
    /// Partitions to take over: when, and whether their recorded position holds.
    waiting: BTreeMap<i32, (Duration, bool)>,
    stays: u64,
    report_at: Duration,
}

impl Host {
    pub(super) fn new(
        config: &Config,
        topics: &Topics,
        inputs: Inputs,
        receivers: Receivers,
        metrics: Metrics,
    ) -> Result<Self, NotifyError> {
        let (committed, raw) = ("read_committed", "read_uncommitted");
        let open = Open::start(reader(config, committed)?, reader(config, raw)?, &topics.alerts);
        Ok(Self {
            open: open.map_err(NotifyError::Threads)?,
            held: BTreeSet::new(),
            raw: reader(config, raw)?,
            alerts: reader(config, committed)?,
            config: config.clone(),
            alerts_topic: topics.alerts.clone(),
            inputs,
            receivers,
            metrics,
            store: Store::new(config, &topics.notifications)?,
            partitions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            stays: 0,
            report_at: Duration::ZERO,
        })
    }

    /// Runs until told to stop (a word) or to go (the channel closes).
    pub(super) fn run(
        mut self,
        stopped: &Receiver<()>,
        assignment: Assignment,
        applied: &Applied,
        readiness: &Readiness,
    ) {
        loop {
            match stopped.try_recv() {
                Ok(()) => break,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            self.round(readiness);
            for (partition, state) in &self.partitions {
                applied.set(*partition, state.next);
            }
        }
        self.drain();
        self.store.flush(STOP_WITHIN);
        assignment.leave();
    }

    fn round(&mut self, readiness: &Readiness) {
        while let Ok(event) = self.inputs.group.try_recv() {
            self.obey(event, readiness);
        }
        self.take_over(readiness);
        while let Ok((partition, held)) = self.open.changes.try_recv() {
            self.hold_up(partition, held);
        }
        self.read();
        self.hear();
        let now_ms = clock::wall_ms();
        let hands = Hands { store: &self.store, receivers: &self.receivers, metrics: &self.metrics };
        for (partition, state) in &mut self.partitions {
            if let Some(gap) = state.tick(now_ms, &hands) {
                let (first, last) = (gap.first, gap.last);
                self.metrics.missing.inc_by(u64::try_from(last - first + 1).unwrap_or(0));
                tracing::error!(
                    partition,
                    first,
                    last,
                    "transitions are missing in the alerts topic: going on without"
                );
            }
        }
        for partition in self.store.poll() {
            // What is recorded of it has a hole: everything before is read again, and positions are not believed.
            self.close(partition);
            self.waiting.insert(partition, (clock::monotonic() + RETRY, false));
        }
        self.report(readiness);
    }

    fn obey(&mut self, event: GroupEvent, readiness: &Readiness) {
        match event {
            GroupEvent::Assigned(partitions) => {
                for partition in partitions {
                    self.waiting.insert(partition, (Duration::ZERO, true));
                }
                readiness.ready(assignment::CONDITION);
            }
            GroupEvent::Revoked(partitions) => {
                for partition in partitions {
                    self.waiting.remove(&partition);
                    self.close(partition);
                }
            }
            GroupEvent::Fenced => {
                let all: Vec<i32> = self.partitions.keys().copied().collect();
                self.waiting.clear();
                for partition in all {
                    self.close(partition);
                }
            }
        }
    }

    fn close(&mut self, partition: i32) {
        if self.partitions.remove(&partition).is_some() {
            self.assign(partition, None);
            self.open.forget(partition);
            self.held.remove(&partition);
            tracing::info!(partition, "no longer decides who is told");
        }
    }

    /// Takes over one partition that waits for it; one a round, so that the others go on.
    fn take_over(&mut self, readiness: &Readiness) {
        let now = clock::monotonic();
        let Some((&partition, &(_, trusted))) = self.waiting.iter().find(|(_, (at, _))| *at <= now) else {
            return;
        };
        match self.open(partition, trusted) {
            Ok(()) => {
                self.waiting.remove(&partition);
                if self.waiting.is_empty() {
                    readiness.ready(CONDITION);
                }
            }
            Err(fault) => {
                tracing::warn!(partition, %fault, "cannot take the partition over yet");
                readiness.not_ready(CONDITION, format!("partition {partition}: {fault}"));
                self.waiting.insert(partition, (clock::monotonic() + RETRY, trusted));
            }
        }
    }

    fn open(&mut self, partition: i32, trusted: bool) -> Result<(), KafkaError> {
        let mut restored = self.store.restore(partition)?;
        self.metrics.unreadable.inc_by(restored.unreadable);
        if !trusted {
            restored.entries.retain(|entry| !matches!(entry, NotifyEntry::Position(_)));
        }
        let (low, high) =
            self.alerts.fetch_watermarks(&self.alerts_topic, partition, ASK).map_err(|source| {
                KafkaError::Client { doing: "asking for the ends of the alerts topic", source }
            })?;
        let mut dispatcher =
            Dispatcher::new(Settings::new(&self.config.cluster, &self.config.notify, partition));
        let mut actions = Vec::new();
        let known = restored.entries.len();
        dispatcher.step(Event::Time { now_ms: clock::wall_ms() }, &mut actions);
        dispatcher.step(Event::Restored(restored.entries), &mut actions);
        let (from, sequence) = match dispatcher.start_at() {
            StartAt::Position(at) if (low..=high).contains(&at.offset) => {
                (at.offset, Sequence::after(Some(at.seq)))
            }
            StartAt::Position(at) => {
                tracing::warn!(
                    partition,
                    offset = at.offset,
                    low,
                    high,
                    "the alerts topic no longer has the recorded position: read from its beginning"
                );
                (low, Sequence::after(None))
            }
            StartAt::Beginning => (low, Sequence::after(None)),
        };
        self.stays += 1;
        let origin = Origin { partition, stay: self.stays };
        let mut state = Partition::new(dispatcher, sequence, origin, from);
        let hands = Hands { store: &self.store, receivers: &self.receivers, metrics: &self.metrics };
        state.act(actions, &hands);
        self.partitions.insert(partition, state);
        self.assign(partition, Some(from));
        self.open.watch(partition);
        tracing::info!(partition, entries = known, from, end = high, "decides who is told");
        Ok(())
    }

    /// A transaction that nobody ends holds a partition up, or no longer does.
    fn hold_up(&mut self, partition: i32, held: bool) {
        let Some(next) = self.partitions.get(&partition).map(|state| state.next) else { return };
        self.assign(partition, None);
        if held {
            self.held.insert(partition);
            tracing::error!(
                partition,
                offset = next,
                "a transaction is open in the alerts topic that nobody ends: reading past it. Find it with \
                 kafka-transactions.sh find-hanging, and abort it"
            );
        } else {
            self.held.remove(&partition);
            tracing::info!(partition, "the open transaction has ended");
        }
        self.assign(partition, Some(next));
    }

    /// Reads a partition of alerts from an offset, or no longer.
    fn assign(&self, partition: i32, from: Option<i64>) {
        let mut list = TopicPartitionList::new();
        let offset = from.map_or(Offset::Invalid, Offset::Offset);
        let consumer = if self.held.contains(&partition) { &self.raw } else { &self.alerts };
        let done =
            list.add_partition_offset(&self.alerts_topic, partition, offset).and_then(|()| match from {
                Some(_) => consumer.incremental_assign(&list),
                None => consumer.incremental_unassign(&list),
            });
        if let Err(fault) = done {
            tracing::error!(partition, %fault, "cannot change what is read of the alerts topic");
        }
    }

    fn read(&mut self) {
        let hands = Hands { store: &self.store, receivers: &self.receivers, metrics: &self.metrics };
        let mut patience = POLL;
        for _ in 0..BURST {
            let raw = if self.held.is_empty() { None } else { self.raw.poll(Duration::ZERO) };
            match raw.or_else(|| self.alerts.poll(patience)) {
                None => return,
                Some(Err(ClientError::PartitionEOF(partition))) => {
                    if let Some(state) = self.partitions.get_mut(&partition) {
                        state.caught_up(clock::wall_ms(), &hands);
                    }
                }
                Some(Err(fault)) => tracing::debug!(%fault, "alerts consumer"),
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(state) =
                        self.partitions.get_mut(&partition).filter(|state| offset >= state.next)
                    else {
                        continue;
                    };
                    let bytes = message.payload().unwrap_or_default();
                    if let Err(fault) = state.record(offset, bytes, clock::wall_ms(), &hands) {
                        self.metrics.unreadable.inc();
                        tracing::error!(partition, offset, %fault, "a record of the alerts topic is skipped");
                    }
                }
            }
            patience = Duration::ZERO;
        }
    }

    fn hear(&mut self) {
        let hands = Hands { store: &self.store, receivers: &self.receivers, metrics: &self.metrics };
        while let Ok(answer) = self.inputs.answered.try_recv() {
            let state = self.partitions.get_mut(&answer.origin.partition);
            if let Some(state) = state.filter(|state| state.origin == answer.origin) {
                state.answer(answer, clock::wall_ms(), &hands);
            }
        }
    }

    /// Waits for what is under way, so that a planned stop leaves nothing to be sent again.
    fn drain(&mut self) {
        let deadline = clock::monotonic() + STOP_WITHIN;
        while self.partitions.values().any(|state| state.under_way() > 0) && clock::monotonic() < deadline {
            let Ok(answer) = self.inputs.answered.recv_timeout(Duration::from_millis(100)) else { continue };
            let _ = self.inputs.answers.send(answer);
            self.hear();
        }
    }

    fn report(&mut self, readiness: &Readiness) {
        let now = clock::monotonic();
        if now < self.report_at {
            return;
        }
        self.report_at = now + Duration::from_secs(1);
        self.metrics.partitions.set(i64::try_from(self.partitions.len()).unwrap_or(i64::MAX));
        self.metrics.owed(self.partitions.values().map(Partition::owed));
        match self.partitions.iter().find(|(_, state)| state.has_gap()) {
            Some((partition, _)) => {
                readiness.not_ready(
                    "gap",
                    format!("partition {partition}: a transition is missing, waiting for it"),
                );
            }
            None => readiness.ready("gap"),
        }
    }
}
