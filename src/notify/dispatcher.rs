//! The state machine of one partition: which alerts there are, which group each belongs to, which timer runs.

use super::feed::{self, Feed};
use super::group::{self, Group, Members};
use super::lane::Lane;
use super::{
    Action, Event, IN_FLIGHT_MAX, Owed, RESOLVED_KEEP_MS, Settings, StartAt, Style, Ticket, delay_ms,
};
use crate::wire::{AlertId, Delivery, HeldAlert, NotifyEntry, NotifyPosition, Reason, Transition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The position is recorded no more often than this.
const POSITION_EVERY_MS: i64 = 1_000;

/// Decides for one partition of alerts. Feed it with [`Dispatcher::step`]; it cannot fail.
#[derive(Debug)]
pub struct Dispatcher {
    settings: Settings,
    now_ms: i64,
    /// Before the partition has been read to its end nothing is sent.
    live: bool,
    alerts: BTreeMap<AlertId, Arc<HeldAlert>>,
    groups: BTreeMap<Arc<str>, Group>,
    outlets: Vec<Outlet>,
    /// What is due when. A timer whose object has another due time by now is void.
    timers: BTreeSet<(i64, Timer)>,
    start_at: StartAt,
    position: NotifyPosition,
    recorded: NotifyPosition,
    recorded_ms: i64,
    wake_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Flush(Arc<str>),
    Retry(Arc<str>, usize),
    Outlet(usize),
    Forget(AlertId),
    Position,
}

/// One receiver, over all groups.
#[derive(Debug)]
struct Outlet {
    /// Groups with a notification to send, in order of their decision. Empty for a feed.
    queue: VecDeque<Arc<str>>,
    in_flight: usize,
    /// It asked to be left alone until then.
    blocked_until_ms: i64,
    feed: Option<Feed>,
}

impl Dispatcher {
    /// A dispatcher that knows nothing yet. [`Event::Restored`] comes first, then transitions from
    /// [`Dispatcher::start_at`] on.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let outlet = |style: &Style| Outlet {
            queue: VecDeque::new(),
            in_flight: 0,
            blocked_until_ms: i64::MIN,
            feed: (*style == Style::Feed).then(Feed::new),
        };
        Self {
            outlets: settings.receivers.iter().map(|(_, style)| outlet(style)).collect(),
            settings,
            now_ms: 0,
            live: false,
            alerts: BTreeMap::new(),
            groups: BTreeMap::new(),
            timers: BTreeSet::new(),
            start_at: StartAt::Beginning,
            position: NotifyPosition::default(),
            recorded: NotifyPosition::default(),
            recorded_ms: i64::MIN,
            wake_ms: None,
        }
    }

    /// From where the alerts partition has to be read. Valid after [`Event::Restored`].
    #[must_use]
    pub fn start_at(&self) -> StartAt {
        self.start_at
    }

    /// What each receiver is owed, by index.
    #[must_use]
    pub fn owed(&self) -> Vec<Owed> {
        let mut owed: Vec<Owed> = self.outlets.iter().map(|_| Owed::default()).collect();
        let lanes = self.groups.values().flat_map(|group| group.lanes.iter());
        let lanes = lanes.filter_map(|(receiver, lane)| Some((*receiver, lane.owed_since_ms()?)));
        let feeds = self.outlets.iter().enumerate();
        let feeds = feeds.filter_map(|(receiver, o)| Some((receiver, o.feed.as_ref()?.owed_since_ms?)));
        for (receiver, since_ms) in lanes.chain(feeds) {
            let entry = &mut owed[receiver];
            entry.notifications += 1;
            entry.oldest_ms = Some(entry.oldest_ms.map_or(since_ms, |oldest| oldest.min(since_ms)));
        }
        owed
    }

    /// One event in, actions appended to `out`.
    pub fn step(&mut self, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Restored(entries) => self.restore(entries, out),
            Event::Transition { transition, next_offset } => self.transition(&transition, next_offset, out),
            Event::CaughtUp => self.caught_up(out),
            Event::Time { now_ms } => self.now_ms = now_ms,
            Event::Delivered(ticket) => self.delivered(&ticket, out),
            Event::Failed { ticket, reason, retryable, retry_after_ms } => {
                self.failed(&ticket, &reason, retryable, retry_after_ms, out);
            }
        }
        if self.live {
            self.run_timers(out);
            self.wake(out);
        }
    }

    fn restore(&mut self, entries: Vec<NotifyEntry>, out: &mut Vec<Action>) {
        let mut deliveries: Vec<Delivery> = Vec::new();
        for entry in entries {
            match entry {
                NotifyEntry::Position(position) => {
                    self.position = position;
                    self.recorded = position;
                    self.start_at = StartAt::Position(position);
                }
                NotifyEntry::Alert(held) => self.hold(held),
                NotifyEntry::Delivery(delivery) => deliveries.push(delivery),
            }
        }
        for delivery in deliveries {
            let names = &mut self.settings.receivers.iter();
            let receiver =
                names.position(|(name, style)| **name == *delivery.receiver && *style == Style::Grouped);
            let group = self.groups.get_mut(delivery.group.as_str());
            match (receiver, group) {
                (Some(receiver), Some(group)) => {
                    group.lanes.insert(receiver, Lane::restored(delivery));
                }
                // The receiver, or the labels that made this group, are no longer configured.
                (None, _) | (_, None) => {
                    out.push(Action::Forget(NotifyEntry::delivery_key(&delivery.receiver, &delivery.group)));
                }
            }
        }
    }

    fn transition(&mut self, transition: &Transition, next_offset: i64, out: &mut Vec<Action>) {
        if transition.seq <= self.position.seq {
            return;
        }
        if self.position == self.recorded {
            self.timers.insert((self.recorded_ms.saturating_add(POSITION_EVERY_MS), Timer::Position));
        }
        self.position = NotifyPosition { offset: next_offset, seq: transition.seq };
        let before = self.alerts.get(&transition.alert).map(AsRef::as_ref);
        // What was recorded after the position was may be newer than what is read again.
        if before.is_some_and(|held| held.seq >= transition.seq) {
            return;
        }
        if let Some(held) = group::held(before, transition) {
            out.push(Action::Record(NotifyEntry::Alert(held.clone())));
            let left = before.and_then(|before| self.group_left(before, &held));
            if let Some((group, alert)) = left {
                let alert = HeldAlert { resolved_ms: Some(transition.event_ms), ..alert };
                self.leave(&group, alert);
            }
            self.hold(held);
            if transition.reason == Reason::SeverityChanged && transition.pages() {
                self.renew(transition.alert, out);
            }
        }
    }

    /// The group that an alert is no longer of with its new labels, and the alert as that group knows it.
    fn group_left(&self, before: &HeldAlert, now: &HeldAlert) -> Option<(Arc<str>, HeldAlert)> {
        let key =
            |held: &HeldAlert| group::group_key(&group::group_labels(&self.settings.group_by, &held.labels));
        let old = key(before);
        let alert = || HeldAlert { seq: now.seq, append_ms: now.append_ms, ..before.clone() };
        (old != key(now)).then(|| (old, alert()))
    }

    /// What goes on in another group is over in this one.
    fn leave(&mut self, group: &Arc<str>, alert: HeldAlert) {
        if let Some(group) = self.groups.get_mut(group) {
            group.members.alerts.insert(alert.alert, Arc::new(alert));
        }
    }

    /// Whoever knows that an alert fires is to hear of it again.
    fn renew(&mut self, alert: AlertId, out: &mut Vec<Action>) {
        let Some(held) = self.alerts.get(&alert) else { return };
        let key = group::group_key(&group::group_labels(&self.settings.group_by, &held.labels));
        let lanes = self.groups.get_mut(&key).into_iter().flat_map(|group| group.lanes.values_mut());
        lanes.for_each(|lane| out.extend(lane.renew(alert)));
    }

    /// Puts an alert where it belongs, and makes its group if it is the first.
    fn hold(&mut self, held: HeldAlert) {
        let labels = group::group_labels(&self.settings.group_by, &held.labels);
        let key = group::group_key(&labels);
        let held = Arc::new(held);
        self.alerts.insert(held.alert, Arc::clone(&held));
        let is_new = !self.groups.contains_key(&key);
        let settings = &self.settings;
        let group = self.groups.entry(Arc::clone(&key)).or_insert_with(|| Group {
            members: Members { key: Arc::clone(&key), labels, alerts: BTreeMap::new() },
            lanes: settings
                .receivers
                .iter()
                .enumerate()
                .filter(|(_, (_, style))| *style == Style::Grouped)
                .map(|(receiver, (name, _))| (receiver, Lane::new(name, &key)))
                .collect(),
            flush_ms: i64::MAX,
        });
        group.members.alerts.insert(held.alert, held);
        if is_new && self.live {
            group.flush_ms = group.first_flush_ms(settings, self.now_ms);
            self.timers.insert((group.flush_ms, Timer::Flush(key)));
        }
        if self.live {
            for receiver in 0..self.outlets.len() {
                self.timers.insert((self.now_ms, Timer::Outlet(receiver)));
            }
        }
    }

    fn caught_up(&mut self, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.live, true) {
            return;
        }
        let keys: Vec<Arc<str>> = self.groups.keys().map(Arc::clone).collect();
        for key in keys {
            self.prune(&key, out);
            if let Some(group) = self.groups.get_mut(&key) {
                group.flush_ms = group.first_flush_ms(&self.settings, self.now_ms);
                self.timers.insert((group.flush_ms, Timer::Flush(key)));
            }
        }
        for receiver in 0..self.outlets.len() {
            self.timers.insert((self.now_ms, Timer::Outlet(receiver)));
        }
    }

    fn run_timers(&mut self, out: &mut Vec<Action>) {
        while self.timers.first().is_some_and(|(due_ms, _)| *due_ms <= self.now_ms) {
            let Some((due_ms, timer)) = self.timers.pop_first() else { return };
            match timer {
                Timer::Flush(key) => self.flush(due_ms, &key, out),
                Timer::Retry(key, receiver) => {
                    let lane = self.groups.get_mut(&key).and_then(|group| group.lanes.get_mut(&receiver));
                    if lane.is_some_and(|lane| lane.retry(due_ms)) {
                        self.outlets[receiver].queue.push_back(key);
                        self.pump(receiver, out);
                    }
                }
                Timer::Outlet(receiver) => self.pump(receiver, out),
                Timer::Forget(alert) => self.forget(alert, out),
                Timer::Position => self.record_position(out),
            }
        }
    }

    fn flush(&mut self, due_ms: i64, key: &Arc<str>, out: &mut Vec<Action>) {
        let Some(group) = self.groups.get_mut(key).filter(|group| group.flush_ms == due_ms) else { return };
        // A flush and its successor are never at the same time: a group_interval of zero would not end.
        group.flush_ms = self.now_ms.saturating_add(self.settings.group_interval_ms.max(1));
        self.timers.insert((group.flush_ms, Timer::Flush(Arc::clone(key))));
        let receivers: Vec<usize> = group.lanes.keys().copied().collect();
        for receiver in receivers {
            self.consider(key, receiver, out);
        }
        self.prune(key, out);
    }

    fn consider(&mut self, key: &Arc<str>, receiver: usize, out: &mut Vec<Action>) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let Some(lane) = group.lanes.get_mut(&receiver) else { return };
        if lane.consider(&group.members, receiver, &self.settings, self.now_ms, out) {
            self.outlets[receiver].queue.push_back(Arc::clone(key));
            self.pump(receiver, out);
        }
    }

    /// Hands over what waits for a receiver, as far as it may have more under way.
    fn pump(&mut self, receiver: usize, out: &mut Vec<Action>) {
        let outlet = &mut self.outlets[receiver];
        if self.now_ms < outlet.blocked_until_ms {
            self.timers.insert((outlet.blocked_until_ms, Timer::Outlet(receiver)));
            return;
        }
        if let Some(feed) = &mut outlet.feed {
            let sent = feed.start(&self.alerts, receiver, &self.settings, self.now_ms);
            out.extend(sent.map(|notification| Action::Send(Box::new(notification))));
            return;
        }
        while outlet.in_flight < IN_FLIGHT_MAX {
            let Some(key) = outlet.queue.pop_front() else { return };
            let lane = self.groups.get_mut(&key).and_then(|group| group.lanes.get_mut(&receiver));
            if lane.is_some_and(|lane| lane.start(out)) {
                outlet.in_flight += 1;
            }
        }
    }

    fn delivered(&mut self, ticket: &Ticket, out: &mut Vec<Action>) {
        let receiver = ticket.receiver;
        let Some(outlet) = self.outlets.get_mut(receiver) else { return };
        if let Some(feed) = outlet.feed.as_mut() {
            if feed.is_in_flight() {
                let again_ms = feed.delivered();
                self.timers.insert((again_ms, Timer::Outlet(receiver)));
                self.pump(receiver, out);
            }
            return;
        }
        let Some(lane) = lane(&mut self.groups, ticket).filter(|lane| lane.in_flight().is_some()) else {
            return;
        };
        outlet.in_flight -= 1;
        if lane.delivered(self.now_ms, out) {
            self.consider(&ticket.group, receiver, out);
        }
        self.prune(&ticket.group, out);
        self.pump(receiver, out);
    }

    fn failed(
        &mut self,
        ticket: &Ticket,
        reason: &str,
        retryable: bool,
        retry_after_ms: Option<i64>,
        out: &mut Vec<Action>,
    ) {
        let (receiver, now_ms) = (ticket.receiver, self.now_ms);
        let Some(outlet) = self.outlets.get_mut(receiver) else { return };
        if let Some(after_ms) = retry_after_ms.filter(|_| retryable) {
            outlet.blocked_until_ms = outlet.blocked_until_ms.max(now_ms.saturating_add(after_ms));
        }
        let not_before_ms = outlet.blocked_until_ms;
        let retry_ms = |attempt: u32, key: &str| {
            retryable.then(|| now_ms.saturating_add(delay_ms(attempt, key)).max(not_before_ms))
        };
        if let Some(feed) = outlet.feed.as_mut() {
            if feed.is_in_flight() {
                let again_ms = feed.failed(retry_ms(feed.attempt(), &self.settings.receivers[receiver].0));
                self.timers.insert((again_ms, Timer::Outlet(receiver)));
            }
            return;
        }
        let Some(lane) = lane(&mut self.groups, ticket) else { return };
        let Some(retry_ms) = lane.in_flight().map(|(attempt, key)| retry_ms(attempt, key)) else { return };
        outlet.in_flight -= 1;
        if let Some(at_ms) = retry_ms {
            self.timers.insert((at_ms, Timer::Retry(Arc::clone(&ticket.group), receiver)));
        }
        if lane.failed(reason, retry_ms, out) {
            self.consider(&ticket.group, receiver, out);
        }
        self.prune(&ticket.group, out);
        self.pump(receiver, out);
    }

    /// Lets go of what nobody has to be told any more.
    fn prune(&mut self, key: &Arc<str>, out: &mut Vec<Action>) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let done = group.prune();
        if group.is_over() {
            for (receiver, _) in group.lanes.iter().filter(|(_, lane)| lane.is_recorded()) {
                let name = &self.settings.receivers[*receiver].0;
                out.push(Action::Forget(NotifyEntry::delivery_key(name, key)));
            }
            self.groups.remove(key);
        }
        for alert in done {
            self.forget(alert, out);
        }
    }

    /// Lets go of a resolved alert that no group holds, once no feed tells about it either.
    fn forget(&mut self, alert: AlertId, out: &mut Vec<Action>) {
        let Some(held) = self.alerts.get(&alert).filter(|held| !held.is_firing()) else { return };
        let key = group::group_key(&group::group_labels(&self.settings.group_by, &held.labels));
        if self.groups.get(&key).is_some_and(|group| group.members.alerts.contains_key(&alert)) {
            return;
        }
        let has_feed = self.outlets.iter().any(|outlet| outlet.feed.is_some());
        if has_feed && feed::is_wanted(held, self.now_ms) {
            let due_ms = held.append_ms.saturating_add(RESOLVED_KEEP_MS);
            self.timers.insert((due_ms, Timer::Forget(alert)));
            return;
        }
        self.alerts.remove(&alert);
        out.push(Action::Forget(NotifyEntry::alert_key(alert)));
    }

    fn record_position(&mut self, out: &mut Vec<Action>) {
        if self.position != self.recorded {
            self.recorded = self.position;
            self.recorded_ms = self.now_ms;
            out.push(Action::Record(NotifyEntry::Position(self.position)));
        }
    }

    fn wake(&mut self, out: &mut Vec<Action>) {
        let next_ms = self.timers.first().map(|(due_ms, _)| *due_ms);
        if next_ms != self.wake_ms {
            self.wake_ms = next_ms;
            out.extend(next_ms.map(|ms| Action::WakeAt { ms }));
        }
    }
}

fn lane<'a>(groups: &'a mut BTreeMap<Arc<str>, Group>, ticket: &Ticket) -> Option<&'a mut Lane> {
    groups.get_mut(&ticket.group)?.lanes.get_mut(&ticket.receiver)
}
