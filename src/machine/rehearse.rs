//! What a rule set would do if it were in force from now on: the switch and one evaluation of every group, on a machine
//! that nobody needs any more.

use super::{Machine, Position};
use crate::wire::{AlertId, AlertState, Labels, RuleSet};
use std::collections::BTreeMap;

/// An alert before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Its rule.
    pub rule: String,
    /// Its labels.
    pub labels: Labels,
    /// Pending or firing now; none if it is neither.
    pub before: Option<AlertState>,
    /// Pending or firing then.
    pub after: Option<AlertState>,
}

impl Machine {
    /// Puts the set in force in place of the one that is, whatever its version, and evaluates every group at the clock's
    /// present time. Each alert that is pending or firing before or after, in order of rules and labels. A selector that no
    /// rule has had so far has no samples yet, so what it would find is not foreseen; a set with faults changes nothing.
    #[must_use]
    pub fn rehearse(mut self, set: &RuleSet) -> Vec<Outlook> {
        let before = self.states();
        let now_ms = self.clock_ms();
        let cause = Position { offset: self.next_offset, append_ms: now_ms, log_append: true };
        let set = RuleSet { version: self.live.version.saturating_add(1), ..set.clone() };
        let mut actions = Vec::new();
        self.switch_rules(cause, &set, now_ms, &mut actions);
        let (mut spoken, mut reached) = (Vec::new(), Vec::new());
        for at in 0..self.live.groups.len() {
            let group = &mut self.live.groups[at];
            if let Some(grid) = group.grid.at(now_ms) {
                group.grid = grid;
                self.evaluate_group(at, now_ms, (&mut spoken, &mut reached));
            }
        }
        self.conclude(&mut spoken, &mut reached, cause, &mut actions);
        let mut after = self.states();
        let mut outlooks: Vec<Outlook> = before
            .into_iter()
            .map(|(id, (rule, labels, state))| {
                let after = after.remove(&id).map(|(_, _, state)| state);
                Outlook { rule, labels, before: Some(state), after }
            })
            .collect();
        outlooks.extend(after.into_values().map(|(rule, labels, state)| Outlook {
            rule,
            labels,
            before: None,
            after: Some(state),
        }));
        outlooks.sort_by(|a, b| (&a.rule, &a.labels).cmp(&(&b.rule, &b.labels)));
        outlooks
    }

    fn states(&self) -> BTreeMap<AlertId, (String, Labels, AlertState)> {
        self.alerts()
            .map(|alert| (alert.alert, (alert.rule.to_owned(), alert.labels.clone(), alert.state)))
            .collect()
    }
}
