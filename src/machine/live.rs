//! The rules in force and what they remember; how one set takes over from another.
//!
//! A rule's memory follows its identity, its name and labels, across a change: into the rule of the same identity in
//! the group of the same name, else in any group. An alert keeps when its condition began, and the new rule goes on
//! from there: a longer `for` makes a pending alert wait longer and leaves a firing one firing; an expression that no
//! longer returns the alert ends it at the next evaluation. Alerts of a rule that is gone are withdrawn at once.

use super::alert::{Alert, Change, Timers};
use super::promql::{Plan, share};
use super::rules::{Compiled, Group, Inhibit, Kind, Rule};
use super::schedule::Grid;
use super::series::{Interest, STALE_NAN_BITS, Store};
use super::shareable::Shareable;
use crate::wire::{AlertId, AlertState, Labels, Limits, Reason, RuleSet, partition_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A lookback beyond all samples, far from where times overflow.
const KEPT_MS: i64 = i64::MAX / 4;

/// The rule set in force.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Its version; 0 before the first.
    pub(super) version: i64,
    /// The set itself; none before the first. A snapshot carries it, and a restore compiles it again.
    pub(super) set: Option<Arc<RuleSet>>,
    pub(super) service_label: String,
    pub(super) limits: Limits,
    /// Whether some rule may select `ALERTS` or `ALERTS_FOR_STATE`: else nobody works out their labels.
    pub(super) alerts_selected: bool,
    pub(super) groups: Vec<LiveGroup>,
    pub(super) inhibits: Vec<Inhibit>,
    /// Whether any rule may hold back the alerts of another.
    pub(super) may_suppress: bool,
}

/// A group and what it remembers.
#[derive(Debug)]
pub(super) struct LiveGroup {
    pub(super) group: Group,
    pub(super) grid: Grid,
    /// One for each of its rules.
    pub(super) states: Vec<RuleState>,
}

/// What a rule remembers. What may be large is shared with a snapshot; an evaluation puts something new in its place.
#[derive(Debug, Default)]
pub(super) struct RuleState {
    /// Alerts pending and firing.
    pub(super) alerts: Shareable<BTreeMap<AlertId, Alert>>,
    /// Series that its last evaluation wrote: those that the next one does not write end with a stale marker. Labels
    /// and not ids, since a series may be evicted between two evaluations.
    pub(super) written: Shareable<BTreeSet<Labels>>,
    /// First grid point at which this expression of an alerting rule was evaluated.
    pub(super) since_ms: Option<i64>,
    /// Last grid point at which it was evaluated.
    pub(super) evaluated_ms: Option<i64>,
    /// Why that failed.
    pub(super) fault: Option<String>,
}

/// A rule that a change took away, with the alerts it had.
pub(super) struct Removed {
    pub(super) group: Group,
    /// Which rules of the group went, and how their alerts end.
    pub(super) rules: Vec<(usize, Vec<Change>)>,
}

impl Live {
    /// Puts a set in force at `now_ms`: tells the store what is selected and carries the rules' memory over. What went.
    pub(super) fn switch(
        &mut self,
        set: &RuleSet,
        compiled: Compiled,
        store: &mut Store,
        (partition, now_ms): (i32, i64),
    ) -> Vec<Removed> {
        let groups = self.bind(set, compiled, store, partition);
        let mut old = std::mem::take(&mut self.groups);
        self.groups = groups.into_iter().map(|group| LiveGroup::new(group, now_ms)).collect();
        for same_group in [true, false] {
            for new in &mut self.groups {
                new.adopt(&mut old, same_group);
            }
        }
        old.into_iter().map(|group| group.withdraw(store, now_ms)).collect()
    }

    /// Makes a set the one in force, as far as it follows from its text alone: tells the store what is selected, and the
    /// expressions what that is called. Its groups.
    pub(super) fn bind(
        &mut self,
        set: &RuleSet,
        compiled: Compiled,
        store: &mut Store,
        partition: i32,
    ) -> Vec<Group> {
        self.bind_beside(set, compiled, store, partition, &mut [])
    }

    /// The same beside questions that are no rules: what they select is kept for good.
    pub(super) fn bind_beside(
        &mut self,
        set: &RuleSet,
        compiled: Compiled,
        store: &mut Store,
        partition: i32,
        questions: &mut [Plan],
    ) -> Vec<Group> {
        let mut groups = compiled.groups;
        // Each label set is missed where its service is at home, and nowhere else.
        let is_at_home = |labels: &Labels| {
            let service = labels.get(&set.service_label).as_bytes();
            set.partitions == 0 || i64::from(partition) == partition_of(service, set.partitions)
        };
        for rule in groups.iter_mut().flat_map(|group| &mut group.rules) {
            if let Kind::Alerting(alerting) = &mut rule.kind {
                alerting.expected.retain(is_at_home);
            }
        }
        let mut interests = Vec::new();
        for group in &groups {
            for interest in group.rules.iter().flat_map(Rule::plans).flat_map(|plan| plan.interests()) {
                let lookback_ms = interest.lookback_ms.saturating_add(group.query_offset_ms);
                interests.push(Interest { lookback_ms, ..interest });
            }
        }
        for interest in questions.iter().flat_map(Plan::interests) {
            interests.push(Interest { lookback_ms: KEPT_MS, ..interest });
        }
        self.alerts_selected = interests.iter().any(|interest| {
            interest.selector.metric_name().is_none_or(|name| name == ALERTS || name == ALERTS_FOR_STATE)
        });
        let selections = store.set_rules(interests, compiled.baselines);
        let mut rest = selections.as_slice();
        let of_rules = groups.iter_mut().flat_map(|group| &mut group.rules).flat_map(Rule::plans_mut);
        for plan in of_rules.chain(questions) {
            let (own, others) = rest.split_at(plan.interests().len());
            plan.bind(own);
            rest = others;
        }
        share(groups.iter_mut().flat_map(|group| &mut group.rules).flat_map(Rule::plans_mut));
        self.inhibits = compiled.inhibits;
        let ranked =
            |rule: &Rule| matches!(&rule.kind, Kind::Alerting(alerting) if alerting.priority.is_some());
        self.may_suppress =
            !self.inhibits.is_empty() || groups.iter().flat_map(|group| &group.rules).any(ranked);
        self.version = set.version;
        self.service_label.clone_from(&set.service_label);
        self.limits = set.limits;
        store.set_cap(bound(set.limits.series), &set.service_label);
        self.set = Some(Arc::new(set.clone()));
        groups
    }
}

/// A limit as a count. Readers refuse what is below 1.
pub(super) fn bound(limit: i64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// How many alerts fire, by service. Follows from the rules' states, so it is no part of a snapshot: it is counted anew
/// where it is not known, and kept up to date by every change.
#[derive(Debug, Default)]
pub(super) struct Firing(Option<BTreeMap<String, usize>>);

impl Firing {
    /// Forgets the count: many states have changed at once.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// The count, made if need be.
    pub(super) fn of(&mut self, live: &Live) -> &mut BTreeMap<String, usize> {
        self.0.get_or_insert_with(|| {
            let mut count = BTreeMap::new();
            let alerts =
                live.groups.iter().flat_map(|group| &group.states).flat_map(|state| state.alerts.values());
            for alert in alerts.filter(|alert| alert.timers.state == AlertState::Firing) {
                *count.entry(alert.labels.get(&live.service_label).to_owned()).or_default() += 1;
            }
            count
        })
    }
}

/// Name of the series that say which alerts are pending and firing, as Prometheus writes them.
pub(super) const ALERTS: &str = "ALERTS";
/// Name of the series that say since when.
pub(super) const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

impl RuleState {
    /// The same as it is now, for a snapshot.
    pub(super) fn lend(&mut self) -> Self {
        Self {
            alerts: self.alerts.lend(),
            written: self.written.lend(),
            since_ms: self.since_ms,
            evaluated_ms: self.evaluated_ms,
            fault: self.fault.clone(),
        }
    }
}

impl RuleState {
    /// Another expression may have other label sets: nobody is missed before it has reported anew, and an alert goes on
    /// for as long as it may.
    fn expect_other_labels(&mut self) {
        self.since_ms = None;
        for alert in self.alerts.to_mut().values_mut() {
            alert.timers = Timers { missing: 0, reported: false, ..alert.timers };
        }
    }
}

impl LiveGroup {
    pub(super) fn new(group: Group, now_ms: i64) -> Self {
        let grid = Grid::new(group.interval_ms, group.query_offset_ms, now_ms);
        let states = group.rules.iter().map(|_| RuleState::default()).collect();
        Self { group, grid, states }
    }

    /// Takes what rules of the same identity remember out of `old`.
    fn adopt(&mut self, old: &mut [LiveGroup], same_group: bool) {
        for (rule, state) in self.group.rules.iter().zip(&mut self.states) {
            if state.evaluated_ms.is_some() {
                continue;
            }
            let candidates =
                old.iter_mut().filter(|group| !same_group || group.group.name == self.group.name);
            let mut states = candidates.flat_map(|group| group.group.rules.iter().zip(&mut group.states));
            let same = |(other, state): &(&Rule, &mut RuleState)| {
                state.evaluated_ms.is_some() && is_same(rule, other)
            };
            if let Some((other, found)) = states.find(same) {
                *state = std::mem::take(found);
                if rule.expression != other.expression {
                    state.expect_other_labels();
                }
            }
        }
    }

    /// Ends what nobody adopted.
    fn withdraw(self, store: &mut Store, now_ms: i64) -> Removed {
        let mut rules = Vec::new();
        for (at, state) in self.states.into_iter().enumerate() {
            for labels in state.written.iter() {
                // A series that has a newer sample already has ended by itself: nothing to say.
                if let Some(id) = store.lookup_labels(labels) {
                    _ = store.take(id, now_ms, f64::from_bits(STALE_NAN_BITS), now_ms);
                    _ = store.judge(now_ms);
                }
            }
            let end = |(id, alert)| Change::withdrawn(id, alert, Reason::RuleRemoved);
            rules.push((at, state.alerts.into_inner().into_iter().filter_map(end).collect()));
        }
        Removed { group: self.group, rules }
    }
}

fn is_same(rule: &Rule, other: &Rule) -> bool {
    let alerts = |rule: &Rule| matches!(rule.kind, Kind::Alerting(_));
    rule.name == other.name && rule.labels_text == other.labels_text && alerts(rule) == alerts(other)
}
