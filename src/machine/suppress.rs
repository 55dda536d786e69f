//! Which of the alerts that fire page, and which are held back by another: `priority` and `inhibit_rules`.
//!
//! - Of the alerts of one service whose rules have a `priority`, those of the highest page. The others are suppressed by
//!   one of those.
//! - An alert that a target's matchers match is inhibited by one that the source's match, where both have the same values
//!   of the labels `equal`. An alert that is both is not inhibited by another that is both: as in Alertmanager.
//!
//! Who fires is decided by each alert's own life; a suppressed alert goes on living it, and may suppress others. So
//! nothing depends on an order, and this is looked at once where several groups are due at one time: an alert that begins
//! together with a higher one never pages. A suppressed alert stays with the same suppressor for as long as that holds.

use super::alert::{Alert, Change};
use super::journal::annotations;
use super::live::Live;
use super::rules::inhibit::Inhibit;
use super::rules::{Kind, Rule};
use super::template::Asked;
use super::{Machine, Position, Spoken};
use crate::wire::{AlertId, AlertState, Labels, Reason, Suppression};
use std::collections::{BTreeMap, BTreeSet};

/// An alert that fires.
struct Fires<'a> {
    /// Its group and its rule.
    at: (usize, usize),
    id: AlertId,
    alert: &'a Alert,
    labels: Labels,
    priority: Option<i64>,
}

/// A suppressor, and why it is one.
type By = (Suppression, Reason);

impl Live {
    /// Every alert that fires, in the order of evaluation and of identities.
    fn fires(&self) -> Vec<Fires<'_>> {
        let mut fires = Vec::new();
        for (group_at, group) in self.groups.iter().enumerate() {
            for (rule_at, (rule, state)) in group.group.rules.iter().zip(&group.states).enumerate() {
                let firing = state.alerts.iter().filter(|(_, a)| a.timers.state == AlertState::Firing);
                fires.extend(firing.map(|(id, alert)| Fires {
                    at: (group_at, rule_at),
                    id: *id,
                    alert,
                    labels: alert.shown(),
                    priority: priority(rule),
                }));
            }
        }
        fires
    }

    /// Whose suppressor is another one than before: the alert, and who it is now.
    fn resettled(&self) -> Vec<((usize, usize), AlertId, Option<By>)> {
        let fires = self.fires();
        let highest = highest(&fires, &self.service_label);
        let inhibitors: Vec<Inhibitors<'_>> =
            self.inhibits.iter().map(|inhibit| Inhibitors::of(inhibit, &fires)).collect();
        let rule_of = |fire: &Fires<'_>| self.groups[fire.at.0].group.rules[fire.at.1].name.clone();
        let by_id: BTreeMap<AlertId, &Fires<'_>> = fires.iter().map(|fire| (fire.id, fire)).collect();
        let mut changed = Vec::new();
        for fire in &fires {
            let before = fire.alert.suppressed.as_ref().map(|by| by.alert);
            let higher = fire.priority.and_then(|own| {
                let service = fire.labels.get(&self.service_label);
                let known = before.and_then(|id| by_id.get(&id).copied());
                let same = known.filter(|other| {
                    other.priority > Some(own) && other.labels.get(&self.service_label) == service
                });
                let top = || highest.get(service).copied().filter(|top| top.priority > Some(own));
                same.or_else(top).map(|other| (other, Reason::Suppressed))
            });
            let inhibitor = || {
                let id = inhibitors.iter().find_map(|inhibitors| inhibitors.inhibitor(fire, before))?;
                Some((*by_id.get(&id)?, Reason::Inhibited))
            };
            let now = higher.or_else(inhibitor);
            if now.as_ref().map(|(other, _)| other.id) != before {
                let by = now
                    .map(|(other, reason)| (Suppression { alert: other.id, rule: rule_of(other) }, reason));
                changed.push((fire.at, fire.id, by));
            }
        }
        changed
    }
}

fn priority(rule: &Rule) -> Option<i64> {
    match &rule.kind {
        Kind::Alerting(alerting) => alerting.priority,
        Kind::Recording => None,
    }
}

/// Of each service the alert of the highest priority; of equals the first by identity.
fn highest<'a, 'b>(fires: &'b [Fires<'a>], service_label: &str) -> BTreeMap<&'b str, &'b Fires<'a>> {
    let mut highest: BTreeMap<&str, &Fires<'_>> = BTreeMap::new();
    for fire in fires.iter().filter(|fire| fire.priority.is_some()) {
        let rank = |fire: &Fires<'_>| (fire.priority, std::cmp::Reverse(fire.id));
        let top = highest.entry(fire.labels.get(service_label)).or_insert(fire);
        if rank(fire) > rank(top) {
            *top = fire;
        }
    }
    highest
}

/// The sources of one inhibit rule that fire, by their values of its labels `equal`: those that are no target, and those
/// that are one, too.
struct Inhibitors<'a> {
    rule: &'a Inhibit,
    pure: BTreeMap<Labels, BTreeSet<AlertId>>,
    both: BTreeMap<Labels, BTreeSet<AlertId>>,
}

impl<'a> Inhibitors<'a> {
    fn of(rule: &'a Inhibit, fires: &[Fires<'_>]) -> Self {
        let mut inhibitors = Self { rule, pure: BTreeMap::new(), both: BTreeMap::new() };
        for fire in fires.iter().filter(|fire| rule.source.matches(&fire.labels)) {
            let is_target = rule.target.matches(&fire.labels);
            let sources = if is_target { &mut inhibitors.both } else { &mut inhibitors.pure };
            sources.entry(rule.equal_of(&fire.labels)).or_default().insert(fire.id);
        }
        inhibitors
    }

    /// Who inhibits an alert; the same as `before` where it still does.
    fn inhibitor(&self, fire: &Fires<'_>, before: Option<AlertId>) -> Option<AlertId> {
        if !self.rule.target.matches(&fire.labels) {
            return None;
        }
        let equal = self.rule.equal_of(&fire.labels);
        let is_source = self.rule.source.matches(&fire.labels);
        let both = self.both.get(&equal).filter(|_| !is_source);
        let found = || self.pure.get(&equal).into_iter().chain(both);
        before.filter(|id| found().any(|ids| ids.contains(id))).or_else(|| found().flatten().next().copied())
    }
}

impl Machine {
    /// Looks who holds back whom, now that this was judged: what begins to fire says so itself, the others with a
    /// change of their own.
    pub(super) fn settle(&mut self, spoken: &mut Vec<Spoken>, at_ms: i64) {
        for ((group_at, rule_at), id, by) in self.live.resettled() {
            let group = &mut self.live.groups[group_at];
            let rule = &group.group.rules[rule_at];
            let Some(alert) = group.states[rule_at].alerts.to_mut().get_mut(&id) else { continue };
            let reason = by.as_ref().map_or(Reason::SuppressionEnded, |(_, reason)| *reason);
            alert.suppressed = by.map(|(by, _)| by);
            let firing = AlertState::Firing;
            let own = |spoken: &&mut Spoken| spoken.change.id == id && spoken.change.to == firing;
            if let Some(spoken) = spoken.iter_mut().find(own) {
                spoken.change.alert.suppressed.clone_from(&alert.suppressed);
                continue;
            }
            let alert = alert.clone();
            let annotations = annotations(rule, &alert, Some(Asked { store: &self.store, at_ms }));
            let change = Change::new(id, firing, firing, reason, alert);
            spoken.push(Spoken { at: (group_at, rule_at), change, annotations, event_ms: at_ms });
        }
    }

    /// Looks who holds back whom after a change of the rules.
    pub(super) fn settle_switch(&mut self, cause: Position, now_ms: i64, out: &mut Vec<super::Action>) {
        let mut spoken = Vec::new();
        self.settle(&mut spoken, now_ms);
        self.speak(spoken, cause, out);
    }
}
