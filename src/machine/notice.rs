//! What the machine has to say of itself: a cap was reached, a record was skipped. Each is an alert of the group
//! `bellwether`, one transition when it begins and one when it ends, on the same way as every other alert.
//!
//! | alert | fires | ends |
//! |---|---|---|
//! | `BellwetherSeriesLimit{service}` | series of the service gave way to newer ones | see below |
//! | `BellwetherAlertLimit{rule_group, rule}` | a rule had more label sets than are taken | see below |
//! | `BellwetherGroupLimit{rule_group, rule}` | a rule had more alerts than its group's `limit` | see below |
//! | `BellwetherFiringLimit{service}` | an alert of the service waits as pending for another to end | see below |
//! | `BellwetherRecordQuarantined{partition, offset}` | a record is skipped for good | after a day |
//!
//! The first four end at the first multiple of five minutes of the log's clock that has a whole such period without
//! another breach behind it: five to ten minutes after the last one. However many services there are, at most
//! [`ACTIVE_MAX`] of one name are told apart; the rest are one alert whose labels are empty.

use super::alert::{Alert, Change, Timers};
use super::flaps::Flaps;
use super::journal::{Context, Told};
use super::{Action, Machine, Position};
use crate::wire::{AlertId, AlertState, Labels, Limits, Reason};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Name of the group that these alerts say they are of.
pub(super) const GROUP: &str = "bellwether";
/// Most alerts of one name at once.
const ACTIVE_MAX: usize = 64;
/// How long a quarantine is shown, milliseconds of the log's clock.
const QUARANTINE_MS: i64 = 24 * 3_600_000;

/// What there is to say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Notice {
    /// Series of this service gave way.
    Series(String),
    /// This rule, by its group and name, had more label sets than are taken.
    Alerts(String, String),
    /// Alerts of this service wait for others to end.
    Firing(String),
    /// The record at this offset is skipped.
    Quarantined(i64),
    /// This rule, by its group and name, had more alerts than its group takes of a rule.
    Limit(String, String),
}

impl Notice {
    fn alert(&self) -> &'static str {
        match self {
            Self::Series(_) => "BellwetherSeriesLimit",
            Self::Alerts(..) => "BellwetherAlertLimit",
            Self::Firing(_) => "BellwetherFiringLimit",
            Self::Quarantined(_) => "BellwetherRecordQuarantined",
            Self::Limit(..) => "BellwetherGroupLimit",
        }
    }

    /// The same where too many are told apart already.
    fn rest(&self) -> Self {
        match self {
            Self::Series(_) => Self::Series(String::new()),
            Self::Alerts(..) => Self::Alerts(String::new(), String::new()),
            Self::Firing(_) => Self::Firing(String::new()),
            Self::Quarantined(offset) => Self::Quarantined(*offset),
            Self::Limit(..) => Self::Limit(String::new(), String::new()),
        }
    }

    fn labels(&self, partition: i32, service_label: &str) -> Labels {
        let mut labels = Labels::new([("alertname", self.alert())]);
        match self {
            Self::Series(service) | Self::Firing(service) => labels.set(service_label, service),
            Self::Alerts(group, rule) | Self::Limit(group, rule) => {
                labels.set("rule_group", group);
                labels.set("rule", rule);
            }
            Self::Quarantined(offset) => {
                labels.set("partition", &partition.to_string());
                labels.set("offset", &offset.to_string());
            }
        }
        labels
    }

    /// What a person is told.
    fn summary(&self, limits: Limits) -> String {
        match self {
            Self::Series(service) => format!(
                "{} series are kept in a partition (limits.series): the longest silent ones of service {service:?} gave \
                 way to newer ones",
                limits.series
            ),
            Self::Alerts(_, rule) => format!(
                "rule {rule:?} had more than {} label sets (limits.alerts): the newest are not taken",
                limits.alerts
            ),
            Self::Limit(group, rule) => format!(
                "rule {rule:?} has more alerts than the limit of its group {group:?}: those that are there stay, new \
                 ones are not taken"
            ),
            Self::Firing(service) => format!(
                "{} alerts of service {service:?} fire (limits.firing_per_service): others wait as pending",
                limits.firing_per_service
            ),
            Self::Quarantined(offset) => format!(
                "the record at offset {offset} made the engine panic and is skipped by every worker: please report it"
            ),
        }
    }
}

/// Since when something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Log time at which it began, milliseconds since the epoch.
    pub(super) since_ms: i64,
    /// Whether it happened again since the last multiple of five minutes.
    pub(super) again: bool,
    /// A quarantine that is no longer shown. It is remembered, so that its record, written again, says nothing new.
    pub(super) ended: bool,
}

/// What is being said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Notices(pub(super) BTreeMap<Notice, Standing>);

impl Notices {
    /// Something happened. What begins with it, if that is not being said already.
    fn raise(&mut self, notice: Notice, now_ms: i64) -> Option<Notice> {
        let known = self.0.contains_key(&notice);
        let alike = self.0.keys().filter(|other| other.alert() == notice.alert()).count();
        let notice = if known || alike < ACTIVE_MAX { notice } else { notice.rest() };
        match self.0.entry(notice) {
            Entry::Occupied(mut standing) => {
                standing.get_mut().again = true;
                None
            }
            Entry::Vacant(place) => {
                let notice = place.key().clone();
                place.insert(Standing { since_ms: now_ms, again: true, ended: false });
                Some(notice)
            }
        }
    }

    /// A multiple of five minutes has passed: what ends, and since when it was said.
    fn settle(&mut self, now_ms: i64) -> Vec<(Notice, i64)> {
        let mut ended = Vec::new();
        self.0.retain(|notice, standing| {
            let quarantine = matches!(notice, Notice::Quarantined(_));
            let over = if quarantine {
                !standing.ended && now_ms.saturating_sub(standing.since_ms) >= QUARANTINE_MS
            } else {
                !standing.again
            };
            if over {
                ended.push((notice.clone(), standing.since_ms));
            }
            standing.again = false;
            standing.ended |= over;
            quarantine || !over
        });
        ended
    }
}

impl Machine {
    /// Says that something happened, if that is not being said already.
    pub(super) fn notice(&mut self, notice: Notice, cause: Position, now_ms: i64, out: &mut Vec<Action>) {
        if let Some(notice) = self.notices.raise(notice, now_ms) {
            self.say(&notice, now_ms, AlertState::Firing, (cause, now_ms), out);
        }
    }

    /// Ends what has not happened for a while.
    pub(super) fn settle_notices(&mut self, cause: Position, now_ms: i64, out: &mut Vec<Action>) {
        for (notice, since_ms) in self.notices.settle(now_ms) {
            self.say(&notice, since_ms, AlertState::Inactive, (cause, now_ms), out);
        }
    }

    fn say(
        &mut self,
        notice: &Notice,
        active_since_ms: i64,
        to: AlertState,
        (cause, now_ms): (Position, i64),
        out: &mut Vec<Action>,
    ) {
        let labels = notice.labels(self.options.partition, &self.live.service_label);
        let quarantine = matches!(notice, Notice::Quarantined(_));
        let (from, reason) = match (to, quarantine) {
            (AlertState::Firing, false) => (AlertState::Inactive, Reason::LimitReached),
            (AlertState::Firing, true) => (AlertState::Inactive, Reason::RecordQuarantined),
            (AlertState::Inactive | AlertState::Pending, false) => (AlertState::Firing, Reason::LimitCleared),
            (AlertState::Inactive | AlertState::Pending, true) => {
                (AlertState::Firing, Reason::QuarantineElapsed)
            }
        };
        let timers = Timers { state: to, ..Timers::inactive(active_since_ms) };
        let id = AlertId::of(notice.alert(), &labels);
        let (element, severity, flaps) = (Labels::default(), String::new(), Flaps::default());
        let alert = Alert { labels, element, value: 1.0, severity, timers, flaps, suppressed: None };
        let annotations = Labels::new([("summary", notice.summary(self.live.limits))]);
        let told = Told { group: GROUP, rule: notice.alert(), annotations };
        let context = Context::new(cause, &self.live, &self.outputs, now_ms);
        self.journal.put(Change::new(id, from, to, reason, alert), told, &context, out);
    }
}
