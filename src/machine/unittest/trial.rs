//! A machine driven by hand: samples in, groups evaluated when the test says so, questions asked.

use crate::machine::clock::Clock;
use crate::machine::live::LiveGroup;
use crate::machine::promql::{EvalFault, Plan, Value};
use crate::machine::rules::{self, Kind, RuleFault};
use crate::machine::schedule::Grid;
use crate::machine::template::Server;
use crate::machine::{Action, Machine, Options, Position};
use crate::wire::keyring::Keyring;
use crate::wire::{AlertState, Labels, RuleSet};
use std::sync::Arc;

/// When groups are evaluated, and in what order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pace {
    /// Time of the first evaluation, milliseconds since the epoch; from 0.
    pub start_ms: i64,
    /// Time between two evaluations, milliseconds; above 0. It stands in place of every group's `interval`, and is the
    /// step of subqueries that name none.
    pub interval_ms: i64,
    /// Names of groups: those that stand here are evaluated in this order.
    pub order: Vec<String>,
}

/// A rule set at work, one evaluation at a time.
#[derive(Debug)]
pub struct Trial {
    machine: Machine,
    questions: Vec<Plan>,
    /// What evaluations did: nobody emits it.
    done: Vec<Action>,
}

impl Trial {
    /// A machine with these rules in force. What `questions` select is kept for good, so that they may be asked when all
    /// is over.
    pub fn new(
        set: &RuleSet,
        pace: &Pace,
        server: &Server,
        mut questions: Vec<Plan>,
    ) -> Result<Self, Vec<RuleFault>> {
        let mut machine = Machine::new(Options {
            partition: 0,
            keyring: Arc::new(Keyring::new("", [])),
            hash_key: 0,
            producer_time: false,
            snapshot_interval_ms: 0,
        });
        let compiled = rules::load(set)?;
        let mut groups = machine.live.bind_beside(set, compiled, &mut machine.store, 0, &mut questions);
        let turn = |name: &str| pace.order.iter().position(|named| named == name).unwrap_or(0);
        groups.sort_by_key(|group| turn(&group.name));
        questions.iter_mut().for_each(|plan| plan.set_subquery_step(pace.interval_ms));
        for mut group in groups {
            group.interval_ms = pace.interval_ms;
            for rule in &mut group.rules {
                rule.plans_mut().for_each(|plan| plan.set_subquery_step(pace.interval_ms));
                let annotations = match &mut rule.kind {
                    Kind::Recording => &mut [],
                    Kind::Alerting(alerting) => alerting.annotations.as_mut_slice(),
                };
                let templates = rule.labels.iter_mut().chain(annotations);
                templates.for_each(|(_, template)| template.set_server(server));
            }
            let mut live = LiveGroup::new(group, 0);
            let first_ms = pace.start_ms.saturating_sub(live.group.query_offset_ms);
            let grid = Grid::new(pace.interval_ms, live.group.query_offset_ms, 0);
            live.grid = grid.at(first_ms).unwrap_or(grid);
            machine.live.groups.push(live);
        }
        Ok(Self { machine, questions, done: Vec::new() })
    }

    /// Takes a sample at or before `now_ms`, the time of the next evaluation. One that nobody selects, or that is older
    /// than the newest of its series, has no effect.
    pub fn take(&mut self, labels: &Labels, time_ms: i64, value: f64, now_ms: i64) {
        let store = &mut self.machine.store;
        if let Some(id) = store.lookup_labels(labels) {
            let taken = store.take(id, time_ms, value, now_ms);
            self.machine.counters.note(taken);
            _ = store.judge(now_ms);
        }
    }

    /// Evaluates every group once, in order. Names of the rules that failed, each with the reason.
    pub fn evaluate(&mut self, now_ms: i64) -> Vec<(String, String)> {
        let machine = &mut self.machine;
        machine.clock = Clock::from_memory([Some(now_ms), None, None]);
        machine.next_offset = machine.next_offset.saturating_add(1);
        let cause = Position { offset: machine.next_offset, append_ms: now_ms, log_append: true };
        let (mut spoken, mut reached) = (Vec::new(), Vec::new());
        for at in 0..machine.live.groups.len() {
            machine.evaluate_group(at, now_ms, (&mut spoken, &mut reached));
        }
        machine.conclude(&mut spoken, &mut reached, cause, &mut self.done);
        machine.evict(cause, now_ms, &mut self.done);
        self.done.clear();
        let failed = machine.rules().filter_map(|rule| Some((rule.name.to_owned(), rule.fault?.to_owned())));
        failed.collect()
    }

    /// Services whose series gave way since this was last asked, since there are more than the limits allow.
    pub fn trimmed(&mut self) -> Vec<String> {
        self.machine.store.take_trimmed().into_iter().collect()
    }

    /// Labels and annotations of the alerts of this name that fire, in order.
    #[must_use]
    pub fn firing(&self, alert: &str) -> Vec<(Labels, Labels)> {
        let firing = self.machine.alerts().filter(|a| a.rule == alert && a.state == AlertState::Firing);
        let mut firing: Vec<(Labels, Labels)> = firing.map(|a| (a.labels.clone(), a.annotations)).collect();
        firing.sort();
        firing
    }

    /// The answer to a question at a time, in order of labels. A scalar is an element without labels.
    pub fn answer(&self, question: usize, at_ms: i64) -> Result<Vec<(Labels, f64)>, EvalFault> {
        let mut answer = match self.questions[question].evaluate(&self.machine.store, at_ms)? {
            Value::Scalar(value) => vec![(Labels::default(), value)],
            Value::Vector(elements) => elements.into_iter().map(|e| (e.labels, e.value)).collect(),
            Value::Ranges(_) | Value::Text(_) => {
                unreachable!("such a question is refused when the test file is read")
            }
        };
        answer.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(answer)
    }
}
