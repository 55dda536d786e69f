//! Alerts about Bellwether itself, on a path that needs no Kafka (H14): what emits may be what is broken.
//!
//! Each worker tells receivers of its own (`meta.receivers`, the same kinds as `notify.receivers`) what it finds wrong with
//! itself: two histories that differ, a partition that stopped, alerts that do not go out. One notification for each kind
//! and partition until it is over, retried and, for an Alertmanager, repeated as [`crate::notify`] does it for everything
//! else: its dispatcher decides here, too, with nothing behind it but this process's memory. What was open when the
//! process died is found and told anew.
//!
//! The opposite way to notice: while `/-/ready` says that all is well, `meta.heartbeat` gets a POST each minute. What
//! watches over it raises the alarm when the beats stop, for instance because this machine is off.

use super::http::Readiness;
use super::receiver::{Answer, Job, Origin, Receivers};
use super::{clock, thread};
use crate::config::{self, Config};
use crate::notify::{Action, Dispatcher, Event, Settings};
use crate::wire::{AlertId, AlertState, Labels, Reason, Transition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

/// Messages that wait for the thread. What does not fit is raised again by whoever still finds it wrong.
const QUEUE_MAX: usize = 1_024;
/// Between two heartbeats.
const BEAT_EVERY: Duration = Duration::from_secs(60);
/// Longest wait for an answer or a timer.
const TURN: Duration = Duration::from_millis(250);

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The replicas' histories differ.
    Diverged,
    /// A hosted partition has stopped and waits for an operator.
    PartitionStopped,
    /// A replica may not emit until an operator acts.
    EmissionRefused,
    /// Alerts have waited for long and nobody emits them: no way to Kafka, or too few replicas in sync.
    NotEmitting,
    /// Primary again and again without the lock: its holder lives and does not emit.
    Usurping,
    /// A record was quarantined: the engine panics at it.
    Quarantined,
    /// Snapshots cannot be written, or not be verified.
    SnapshotsFailing,
    /// A live worker of the cluster decides by other settings: this one may not stand by.
    SettingsDiffer,
}

/// In place of a partition: the worker as a whole.
pub const WHOLE: i32 = -1;

impl Kind {
    /// The alert's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Diverged => "BellwetherReplicasDiverged",
            Self::PartitionStopped => "BellwetherPartitionStopped",
            Self::EmissionRefused => "BellwetherEmissionRefused",
            Self::NotEmitting => "BellwetherAlertsNotGoingOut",
            Self::Usurping => "BellwetherPrimaryWithoutLock",
            Self::Quarantined => "BellwetherRecordQuarantined",
            Self::SnapshotsFailing => "BellwetherSnapshotsFailing",
            Self::SettingsDiffer => "BellwetherSettingsDiffer",
        }
    }
}

#[derive(Debug)]
enum Message {
    /// Something is wrong, or, without a text, no longer.
    Is(Kind, i32, Option<String>),
}

/// Where a worker says what is wrong with itself. Clones share it; says it to nobody where no receiver is configured.
#[derive(Debug, Clone, Default)]
pub struct Meta(Option<SyncSender<Message>>);

impl Meta {
    /// Starts the thread, if there is anybody to tell. Fails only where the system has no thread left.
    pub fn start(config: &Config) -> std::io::Result<Self> {
        if config.meta.receivers.is_empty() {
            return Ok(Self::default());
        }
        let (answers, answered) = channel();
        let receivers = Receivers::start(&config.meta.receivers, &answers)?;
        let (say, said) = sync_channel(QUEUE_MAX);
        let teller = Teller::new(config, receivers);
        thread::spawn("meta", move || teller.run(&said, &answered, answers))?;
        Ok(Self(Some(say)))
    }

    /// Says that something is wrong with a partition. Saying it again changes nothing. False where it was not heard:
    /// say it again later.
    pub fn raise(&self, kind: Kind, partition: i32, text: impl Into<String>) -> bool {
        self.say(Message::Is(kind, partition, Some(text.into())))
    }

    /// Says that it is over. Saying it of what was never wrong changes nothing. False where it was not heard.
    pub fn resolve(&self, kind: Kind, partition: i32) -> bool {
        self.say(Message::Is(kind, partition, None))
    }

    /// Never waits: whoever speaks has better things to do.
    fn say(&self, message: Message) -> bool {
        self.0.as_ref().is_none_or(|say| say.try_send(message).is_ok())
    }

    /// Sends the heartbeat, if one is configured, for as long as the process lives.
    pub fn beat(config: &Config, readiness: Arc<Readiness>) -> std::io::Result<()> {
        let Some(url) = config.meta.heartbeat.clone() else { return Ok(()) };
        let beats = config::Receiver {
            name: "heartbeat".to_owned(),
            endpoint: config::Endpoint::Webhook(url),
            authorization: None,
            timeout: Duration::from_secs(10),
        };
        Receivers::beat(beats, BEAT_EVERY, move || readiness.reasons().is_empty())
    }
}

/// The thread's state.
struct Teller {
    worker: String,
    zone: String,
    cluster: String,
    receivers: Receivers,
    dispatcher: Dispatcher,
    open: BTreeMap<(Kind, i32), String>,
    seq: i64,
    wake_ms: i64,
}

impl Teller {
    fn new(config: &Config, receivers: Receivers) -> Self {
        let notify = config::Notify {
            group_by: vec!["...".to_owned()],
            group_wait: Duration::ZERO,
            group_interval: Duration::from_secs(1),
            repeat_interval: config.notify.repeat_interval,
            receivers: config.meta.receivers.clone(),
        };
        // The worker's name in idempotency keys, too; and a seq that no earlier process of it has used.
        let name = format!("{}/{}/meta", config.cluster, config.worker);
        let mut dispatcher = Dispatcher::new(Settings::new(&name, &notify, 0));
        let now_ms = clock::wall_ms();
        for event in [Event::Time { now_ms }, Event::Restored(Vec::new()), Event::CaughtUp] {
            dispatcher.step(event, &mut Vec::new());
        }
        Self {
            worker: config.worker.clone(),
            zone: config.zone.clone(),
            cluster: config.cluster.clone(),
            receivers,
            dispatcher,
            open: BTreeMap::new(),
            seq: now_ms,
            wake_ms: i64::MAX,
        }
    }

    /// Until the last [`Meta`] is gone. `answers` only keeps `answered` open.
    fn run(mut self, said: &Receiver<Message>, answered: &Receiver<Answer>, answers: Sender<Answer>) {
        loop {
            match said.recv_timeout(TURN) {
                Ok(Message::Is(kind, partition, text)) => self.heard(kind, partition, text),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(answer) = answered.try_recv() {
                self.answered(answer);
            }
            self.step(Event::Time { now_ms: clock::wall_ms() });
        }
        drop(answers);
    }

    fn heard(&mut self, kind: Kind, partition: i32, text: Option<String>) {
        let transition = match text {
            Some(text) if !self.open.contains_key(&(kind, partition)) => {
                tracing::warn!(partition, alert = kind.name(), "{text}");
                self.open.insert((kind, partition), text.clone());
                self.transition(kind, partition, text, AlertState::Firing)
            }
            None if self.open.contains_key(&(kind, partition)) => {
                let text = self.open.remove(&(kind, partition)).unwrap_or_default();
                tracing::info!(partition, alert = kind.name(), "over: {text}");
                self.transition(kind, partition, text, AlertState::Inactive)
            }
            Some(_) | None => return,
        };
        self.step(Event::Time { now_ms: clock::wall_ms() });
        self.step(Event::Transition { transition: Box::new(transition), next_offset: 0 });
    }

    fn transition(&mut self, kind: Kind, partition: i32, text: String, to: AlertState) -> Transition {
        let now_ms = clock::wall_ms();
        self.seq = now_ms.max(self.seq + 1);
        let labels = Labels::new([
            ("alertname", kind.name().to_owned()),
            ("cluster", self.cluster.clone()),
            ("partition", if partition == WHOLE { "all".to_owned() } else { partition.to_string() }),
            ("severity", "critical".to_owned()),
            ("worker", self.worker.clone()),
            ("zone", self.zone.clone()),
        ]);
        let fires = to == AlertState::Firing;
        Transition {
            seq: self.seq,
            alert: AlertId::of(kind.name(), &labels),
            from: if fires { AlertState::Inactive } else { AlertState::Firing },
            to,
            reason: if fires { Reason::ConditionMet } else { Reason::ConditionCleared },
            group: "bellwether".to_owned(),
            rule: kind.name().to_owned(),
            rule_set_version: 0,
            service: "bellwether".to_owned(),
            labels,
            annotations: Labels::new([("summary", text)]),
            value: 1.0,
            output: String::new(),
            event_ms: now_ms,
            active_since_ms: now_ms,
            input_offset: 0,
            ordinal: 0,
            append_ms: now_ms,
            suppressed_by: None,
        }
    }

    fn answered(&mut self, answer: Answer) {
        let ticket = answer.ticket;
        self.step(match answer.outcome {
            Ok(()) => Event::Delivered(ticket),
            Err(failure) => {
                let receiver = &answer.notification.receiver;
                tracing::warn!(
                    %receiver,
                    reason = failure.reason,
                    detail = failure.detail,
                    "meta.receivers: not told"
                );
                let wait = |wait: Duration| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                Event::Failed {
                    ticket,
                    reason: failure.reason,
                    retryable: failure.retryable,
                    retry_after_ms: failure.retry_after.map(wait),
                }
            }
        });
    }

    /// One event of the dispatcher; its memory is this process, so nothing is recorded.
    fn step(&mut self, event: Event) {
        if matches!(event, Event::Time { now_ms } if now_ms < self.wake_ms && self.open.is_empty()) {
            return;
        }
        let mut actions = Vec::new();
        self.dispatcher.step(event, &mut actions);
        for action in actions {
            match action {
                Action::Send(notification) => {
                    let origin = Origin { partition: 0, stay: 0 };
                    if let Err(refused) = self.receivers.send(Job { origin, notification }) {
                        self.answered(*refused);
                    }
                }
                Action::WakeAt { ms } => self.wake_ms = ms,
                Action::Record(_) | Action::Forget(_) | Action::Held { .. } => {}
            }
        }
    }
}
