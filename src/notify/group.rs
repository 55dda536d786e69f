//! A group: the alerts that agree on the labels of `group_by`, when it is looked at next, and one lane a receiver.

use super::Settings;
use super::lane::Lane;
use crate::wire::{AlertId, AlertState, HeldAlert, Labels, Transition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One group of alerts.
#[derive(Debug)]
pub(super) struct Group {
    /// What every lane needs to know of it.
    pub(super) members: Members,
    /// By index of the receiver. Feeds have none.
    pub(super) lanes: BTreeMap<usize, Lane>,
    /// When it is looked at next, milliseconds since the epoch.
    pub(super) flush_ms: i64,
}

/// The alerts of one group, and what they share.
#[derive(Debug)]
pub(super) struct Members {
    /// [`group_key`] of its labels.
    pub(super) key: Arc<str>,
    /// The labels of `group_by`.
    pub(super) labels: Labels,
    /// Firing, or resolved and still owed to some lane.
    pub(super) alerts: BTreeMap<AlertId, Arc<HeldAlert>>,
}

impl Members {
    /// Highest `seq` among the alerts; 0 if there are none.
    pub(super) fn seq(&self) -> i64 {
        self.alerts.values().map(|alert| alert.seq).max().unwrap_or(0)
    }
}

impl Group {
    /// When a group that was restored, or that is new, is looked at first: `group_wait` after its oldest alert that
    /// fires; `group_interval` after it was last told to anybody; at once if an attempt has no known answer.
    pub(super) fn first_flush_ms(&self, settings: &Settings, now_ms: i64) -> i64 {
        let wait_until = |since_ms: i64, wait_ms: i64| {
            since_ms.saturating_add(wait_ms).clamp(now_ms, now_ms.saturating_add(wait_ms))
        };
        if self.lanes.values().any(Lane::is_unanswered) {
            return now_ms;
        }
        match self.lanes.values().filter_map(Lane::acknowledged_ms).max() {
            Some(told_ms) => wait_until(told_ms, settings.group_interval_ms),
            None => {
                let oldest = self.members.alerts.values().map(|alert| alert.append_ms).min();
                wait_until(oldest.unwrap_or(now_ms), settings.group_wait_ms)
            }
        }
    }

    /// Takes the resolved alerts out that no lane has to tell about any more, and returns them.
    pub(super) fn prune(&mut self) -> Vec<AlertId> {
        let done: Vec<AlertId> = self
            .members
            .alerts
            .values()
            .filter(|alert| !alert.is_firing() && !self.lanes.values().any(|lane| lane.needs(alert.alert)))
            .map(|alert| alert.alert)
            .collect();
        for alert in &done {
            self.members.alerts.remove(alert);
        }
        done
    }

    /// Whether there is nothing left to tell anybody.
    pub(super) fn is_over(&self) -> bool {
        self.members.alerts.is_empty() && self.lanes.values().all(Lane::is_idle)
    }
}

/// The labels of `labels` that make its group.
pub(super) fn group_labels(group_by: &[String], labels: &Labels) -> Labels {
    let mut group = labels.clone();
    if !group_by.iter().any(|name| name == "...") {
        group.retain(|name| group_by.iter().any(|by| by == name));
    }
    group
}

/// As Alertmanager writes it for its root route: `{}:{alertname="DiskFull", service="db"}`.
pub(super) fn group_key(labels: &Labels) -> Arc<str> {
    format!("{{}}:{labels}").into()
}

/// What a transition makes of an alert; none where it says nothing about firing (pending alerts are not notified). One
/// that another holds back is as good as resolved to whoever is told.
pub(super) fn held(before: Option<&HeldAlert>, transition: &Transition) -> Option<HeldAlert> {
    let fires = transition.pages();
    let fired = transition.from == AlertState::Firing;
    if !fires && !fired {
        return None;
    }
    let fired_ms = match before {
        Some(known) if fired => known.fired_ms,
        Some(_) | None if fires => transition.event_ms,
        // Its beginning has aged out of the topic: the condition's beginning is the best that is known.
        Some(_) | None => transition.active_since_ms,
    };
    Some(HeldAlert {
        alert: transition.alert,
        seq: transition.seq,
        labels: transition.labels.clone(),
        annotations: transition.annotations.clone(),
        output: transition.output.clone(),
        fired_ms,
        resolved_ms: (!fires).then_some(transition.event_ms),
        append_ms: transition.append_ms,
    })
}
