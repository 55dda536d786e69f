//! What a rule set would do if it were in force from now on: the switch and one evaluation of every group, on a machine
//! that nobody needs any more, beside the same evaluation without the switch.

use super::rules::{self, Kind, Rule};
use super::snapshot::SnapshotFault;
use super::{Machine, Position};
use crate::wire::{AlertId, AlertState, Labels, RuleSet};
use std::collections::{BTreeMap, BTreeSet};

/// What a rehearsal found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rehearsal {
    /// Each alert that would be pending or firing now with the set or without it, in order of rules and labels.
    pub outlooks: Vec<Outlook>,
    /// Rules with a selector that no rule in force has: its series have not been kept so far, so that what the rule
    /// would find is not foreseen.
    pub unforeseen: BTreeSet<String>,
    /// Rules whose evaluation failed, and why.
    pub failing: BTreeMap<String, String>,
}

/// How an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Pending or firing.
    pub state: AlertState,
    /// When its condition began to hold, event time, milliseconds since the epoch.
    pub since_ms: i64,
}

/// An alert without the set and with it, both now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Its rule.
    pub rule: String,
    /// Its labels.
    pub labels: Labels,
    /// With the rules in force; none if it would be neither pending nor firing.
    pub before: Option<Standing>,
    /// With the set.
    pub after: Option<Standing>,
}

/// What becomes of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is there and was not.
    Starts,
    /// It was there and is not.
    Stops,
    /// It was pending and fires.
    Fires,
    /// It is there, and waits or counts anew.
    Restarts,
    /// Its state and since when are as they were.
    Keeps,
}

impl Outlook {
    /// What becomes of it.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match (self.before, self.after) {
            (None, _) => Fate::Starts,
            (Some(_), None) => Fate::Stops,
            (Some(before), Some(after)) if before == after => Fate::Keeps,
            (Some(before), Some(after)) => match (before.state, after.state) {
                (AlertState::Pending, AlertState::Firing) => Fate::Fires,
                _ => Fate::Restarts,
            },
        }
    }
}

impl Machine {
    /// Puts the set in force in place of the one that is, whatever its version, and evaluates every group at the clock's
    /// present time; likewise the rules in force, so that what would happen anyway is not told as the set's doing. A set
    /// with faults changes nothing. The fault is one of this program: the machine's own snapshot is not read back.
    pub fn rehearse(mut self, set: &RuleSet) -> Result<Rehearsal, SnapshotFault> {
        let unforeseen = self.unforeseen(set);
        let mut without = self.twin()?;
        without.play_now(None);
        let before = without.standings();
        self.play_now(Some(set));
        let mut after = self.standings();
        let mut outlooks: Vec<Outlook> = before
            .into_iter()
            .map(|(id, (rule, labels, standing))| {
                let after = after.remove(&id).map(|(_, _, standing)| standing);
                Outlook { rule, labels, before: Some(standing), after }
            })
            .collect();
        outlooks.extend(after.into_values().map(|(rule, labels, standing)| Outlook {
            rule,
            labels,
            before: None,
            after: Some(standing),
        }));
        outlooks.sort_by(|a, b| (&a.rule, &a.labels).cmp(&(&b.rule, &b.labels)));
        let failing =
            self.rules().filter_map(|rule| Some((rule.name.to_owned(), rule.fault?.to_owned()))).collect();
        Ok(Rehearsal { outlooks, unforeseen, failing })
    }

    /// Switches to a set, if there is one, and evaluates every group at the clock's present time.
    fn play_now(&mut self, set: Option<&RuleSet>) {
        let now_ms = self.clock_ms();
        let cause = Position { offset: self.next_offset, append_ms: now_ms, log_append: true };
        let mut actions = Vec::new();
        if let Some(set) = set {
            let set = RuleSet { version: self.live.version.saturating_add(1), ..set.clone() };
            self.switch_rules(cause, &set, now_ms, &mut actions);
        }
        let (mut spoken, mut reached) = (Vec::new(), Vec::new());
        for at in 0..self.live.groups.len() {
            let group = &mut self.live.groups[at];
            if let Some(grid) = group.grid.at(now_ms) {
                group.grid = grid;
                self.evaluate_group(at, now_ms, (&mut spoken, &mut reached));
            }
        }
        self.conclude(&mut spoken, &mut reached, cause, &mut actions);
    }

    /// Rules of a set that look at what nobody has kept so far. What the set itself records is made as the rules run.
    fn unforeseen(&self, set: &RuleSet) -> BTreeSet<String> {
        let Ok(compiled) = rules::load(set) else { return BTreeSet::new() };
        let rules = || compiled.groups.iter().flat_map(|group| &group.rules);
        let recorded: BTreeSet<&str> = rules()
            .filter(|rule| !matches!(rule.kind, Kind::Alerting(_)))
            .map(|rule| rule.name.as_str())
            .collect();
        let is_unknown = |rule: &&Rule| {
            rule.plans().flat_map(|plan| plan.interests()).any(|interest| {
                let is_recorded = interest.selector.metric_name().is_some_and(|name| recorded.contains(name));
                !is_recorded && self.selects(&interest.selector).is_none()
            })
        };
        rules().filter(is_unknown).map(|rule| rule.name.clone()).collect()
    }

    fn standings(&self) -> BTreeMap<AlertId, (String, Labels, Standing)> {
        let standing = |alert: super::AlertStatus<'_>| {
            let standing = Standing { state: alert.state, since_ms: alert.active_since_ms };
            (alert.alert, (alert.rule.to_owned(), alert.labels, standing))
        };
        self.alerts().map(standing).collect()
    }
}
