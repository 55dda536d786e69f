//! A partition of alerts, a compacted topic, and receivers that do as they are told: all that a dispatcher meets.

use crate::notify::{Action, Dispatcher, Event, Notification, Settings, StartAt, Style, Ticket};
use crate::wire::{AlertId, AlertState, HeldAlert, Labels, NotifyEntry, Reason, Transition};
use std::collections::BTreeMap;

pub(super) const SECOND: i64 = 1_000;
pub(super) const MINUTE: i64 = 60_000;

pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) dispatcher: Dispatcher,
    pub(super) now_ms: i64,
    /// What was written to the notifications partition, the newest of each key.
    pub(super) store: BTreeMap<String, NotifyEntry>,
    /// The alerts partition.
    pub(super) alerts: Vec<Transition>,
    /// What was handed over and not answered.
    pub(super) under_way: Vec<Notification>,
    pub(super) wake_ms: Option<i64>,
    story: String,
}

pub(super) fn settings(receivers: &[(&str, Style)]) -> Settings {
    Settings {
        cluster: "c".to_owned(),
        partition: 0,
        group_by: vec!["alertname".to_owned()],
        group_wait_ms: 10 * SECOND,
        group_interval_ms: 5 * MINUTE,
        repeat_interval_ms: 60 * MINUTE,
        receivers: receivers.iter().map(|(name, style)| ((*name).into(), *style)).collect(),
    }
}

pub(super) fn alert_id(instance: &str) -> AlertId {
    let mut id = [0; 16];
    id[..instance.len()].copy_from_slice(instance.as_bytes());
    AlertId(id)
}

fn name(alert: &HeldAlert) -> &str {
    alert.labels.get("instance")
}

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        let mut world = Self {
            dispatcher: Dispatcher::new(settings.clone()),
            settings,
            now_ms: 0,
            store: BTreeMap::new(),
            alerts: Vec::new(),
            under_way: Vec::new(),
            wake_ms: None,
            story: String::new(),
        };
        world.start();
        world
    }

    /// A new process takes the partition over: it knows the two topics and nothing else.
    pub(super) fn restart(&mut self) {
        self.story.push_str(&format!("{:>7} restart\n", self.clock()));
        self.dispatcher = Dispatcher::new(self.settings.clone());
        self.under_way.clear();
        self.start();
    }

    fn start(&mut self) {
        self.step(Event::Time { now_ms: self.now_ms });
        let entries: Vec<NotifyEntry> = self.store.values().cloned().collect();
        self.step(Event::Restored(entries));
        let from = match self.dispatcher.start_at() {
            StartAt::Beginning => 0,
            StartAt::Position(position) => usize::try_from(position.offset).expect("an offset"),
        };
        for offset in from..self.alerts.len() {
            self.feed(offset);
        }
        self.step(Event::CaughtUp);
    }

    pub(super) fn feed(&mut self, offset: usize) {
        let transition = Box::new(self.alerts[offset].clone());
        self.step(Event::Transition { transition, next_offset: i64::try_from(offset).expect("small") + 1 });
    }

    fn write(&mut self, rule: &str, instance: &str, from: AlertState, to: AlertState) {
        let seq = i64::try_from(self.alerts.len()).expect("small") + 1;
        self.alerts.push(Transition {
            seq,
            alert: alert_id(instance),
            from,
            to,
            reason: Reason::ConditionMet,
            group: "g".to_owned(),
            rule: rule.to_owned(),
            rule_set_version: 1,
            service: "db".to_owned(),
            labels: Labels::new([("alertname", rule), ("instance", instance), ("service", "db")]),
            annotations: Labels::default(),
            value: 1.0,
            output: String::new(),
            event_ms: self.now_ms,
            active_since_ms: self.now_ms,
            input_offset: seq,
            ordinal: 0,
            append_ms: self.now_ms,
            suppressed_by: None,
        });
    }

    pub(super) fn transition(&mut self, rule: &str, instance: &str, from: AlertState, to: AlertState) {
        self.write(rule, instance, from, to);
        self.feed(self.alerts.len() - 1);
        self.at(self.now_ms);
    }

    /// It fires, and goes on firing with another severity.
    pub(super) fn changes(&mut self, rule: &str, instance: &str, severity: &str) {
        self.write(rule, instance, AlertState::Firing, AlertState::Firing);
        let Some(last) = self.alerts.last_mut() else { return };
        last.reason = Reason::SeverityChanged;
        last.labels.set("severity", severity);
        self.feed(self.alerts.len() - 1);
        self.at(self.now_ms);
    }

    pub(super) fn fires(&mut self, rule: &str, instance: &str) {
        self.transition(rule, instance, AlertState::Inactive, AlertState::Firing);
    }

    pub(super) fn resolves(&mut self, rule: &str, instance: &str) {
        self.transition(rule, instance, AlertState::Firing, AlertState::Inactive);
    }

    /// While nobody runs: the alerts partition grows, and no dispatcher sees it.
    pub(super) fn unseen(&mut self, rule: &str, instance: &str, from: AlertState, to: AlertState) {
        self.write(rule, instance, from, to);
    }

    /// Time passes, with a stop at each moment that the dispatcher asked for.
    pub(super) fn at(&mut self, now_ms: i64) {
        while let Some(wake_ms) = self.wake_ms.filter(|wake_ms| *wake_ms < now_ms) {
            self.wake_ms = None;
            self.now_ms = self.now_ms.max(wake_ms);
            self.step(Event::Time { now_ms: self.now_ms });
        }
        self.now_ms = now_ms;
        self.step(Event::Time { now_ms });
    }

    pub(super) fn take(&mut self, receiver: &str) -> Notification {
        let at = self.under_way.iter().position(|sent| &*sent.receiver == receiver);
        self.under_way
            .remove(at.unwrap_or_else(|| panic!("{receiver} has nothing under way\n{}", self.story)))
    }

    pub(super) fn answers_ok(&mut self, receiver: &str) {
        let ticket = self.take(receiver).ticket;
        self.story.push_str(&format!("{:>7} {receiver} took it\n", self.clock()));
        self.step(Event::Delivered(ticket));
    }

    pub(super) fn fails(&mut self, receiver: &str, reason: &str, retry_after_ms: Option<i64>) {
        let ticket = self.take(receiver).ticket;
        self.story.push_str(&format!("{:>7} {receiver} {reason}\n", self.clock()));
        self.step(failure(ticket, reason, retry_after_ms));
    }

    fn step(&mut self, event: Event) {
        let actions = self.decide(event);
        for action in actions {
            self.act(action);
        }
    }

    /// The actions of one event, none of them done yet.
    pub(super) fn decide(&mut self, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        self.dispatcher.step(event, &mut out);
        out
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Send(sent) => {
                let list = |firing: bool| {
                    let names: Vec<&str> =
                        sent.alerts.iter().filter(|a| a.is_firing() == firing).map(|a| name(a)).collect();
                    if names.is_empty() { "-".to_owned() } else { names.join(",") }
                };
                let key = sent.idempotency_key.rsplit('/').next().unwrap_or_default();
                self.story.push_str(&format!(
                    "{:>7} -> {} {} key={key} try={} firing={} resolved={}\n",
                    self.clock(),
                    sent.receiver,
                    sent.reason.word(),
                    sent.attempt,
                    list(true),
                    list(false),
                ));
                self.under_way.push(*sent);
            }
            Action::Record(entry) => drop(self.store.insert(entry.key(), entry)),
            Action::Forget(key) => drop(self.store.remove(&key)),
            Action::Held { receiver, reason, .. } => {
                self.story.push_str(&format!("{:>7} {receiver} {}\n", self.clock(), reason.word()));
            }
            Action::WakeAt { ms } => self.wake_ms = Some(ms),
        }
    }

    fn clock(&self) -> String {
        format!("{}:{:02}", self.now_ms / MINUTE, self.now_ms % MINUTE / SECOND)
    }

    /// What happened since the last look, one line each.
    pub(super) fn story(&mut self) -> String {
        std::mem::take(&mut self.story)
    }
}

pub(super) fn failure(ticket: Ticket, reason: &str, retry_after_ms: Option<i64>) -> Event {
    Event::Failed { ticket, reason: reason.to_owned(), retryable: reason != "status_400", retry_after_ms }
}
