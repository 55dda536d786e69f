//! PURE. One partition's log in, transitions of its alerts out.
//!
//! [`Machine::step`] takes a closed [`Event`] and gives closed [`Action`]s. It cannot fail, it reads no clock (the time
//! is in the event), and its state after record *n* depends on records 0..=n alone: two machines fed the same log by
//! any two batch boundaries are equal, and their digests say so.
//!
//! ```text
//!  record ─▶ clock ─▶ schedule ─▶ evaluate ─▶ alert ─▶ journal ─▶ Action::Emit
//!              │          (every grid point that the clock has passed, over the state before this record)
//!              └─▶ then the record itself: intake (samples, checks), live (rules)
//! ```
//!
//! The files in reading order: `clock`, `schedule`, `live` (rules in force), `evaluate`, `judge` (what is
//! seen of an alert), `alert` (its life), `journal`
//! (seq and running hash), `intake`, [`snapshot`] (and the digest); [`rules`] and [`template`] read what operators write, [`series`] keeps
//! samples, [`baseline`] knows what is usual, [`promql`] evaluates. [`unittest`] drives a machine as promtool drives Prometheus.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod alert;
mod among;
pub mod baseline;
mod clock;
mod evaluate;
pub mod explain;
mod fit;
mod flaps;
pub mod index;
mod intake;
mod journal;
mod judge;
mod live;
mod notice;
mod output;
pub mod promql;
pub mod regression;
pub mod rehearse;
pub mod rules;
mod schedule;
pub mod series;
mod shareable;
pub mod snapshot;
mod summary;
mod suppress;
pub mod template;
#[cfg(test)]
pub(crate) mod tests;
pub mod unittest;

pub use summary::{AlertStatus, RuleStatus, Summary};

use crate::sim::planted::{Bug, planted};
use crate::wire::keyring::{Keyring, Sealed};
use crate::wire::{Batch, Control, Fault, Inbound, Labels, RuleSet, Transition};
use alert::Change;
use clock::Clock;
use evaluate::Turn;
use intake::Counters;
use journal::{Context, Journal, Told, annotations};
use live::{Firing, Live};
use notice::{Notice, Notices};
use output::Outputs;
use series::Store;
use std::sync::Arc;
use template::Asked;

/// Version of the engine's semantics: one more whenever the same log may give another digest or another transition.
pub const ENGINE_VERSION: i32 = 7;

/// Where in the partition's log an event stands. Every event has one: the log is the only source of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Kafka offset of the record.
    pub offset: i64,
    /// Time stamp of the record, milliseconds since the epoch.
    pub append_ms: i64,
    /// Whether the broker stamped it (LogAppendTime). A producer's stamp does not move the clock.
    pub log_append: bool,
}

/// What happens to a machine. Made from the bytes of one record, whoever feeds it: the worker's
/// machine thread, the naive replay, the simulator, a golden script.
#[derive(Debug)]
pub enum Event<'a> {
    /// Samples and check results of one service.
    Observations(Position, Batch<'a>),
    /// A word to the machine itself: a worker's tick, an operator's rules, or a forgery. [`Machine::step`] looks at
    /// the seal, so that nobody who feeds a machine can forget to.
    Control(Position, Sealed<'a>),
    /// A record that could not be read. It moves the clock and nothing else.
    Unreadable(Position, Fault),
    /// A record that made the engine panic. It moves the place in the log and nothing else, not even the clock: whoever
    /// feeds a machine looks into the quarantine first, and reads no such record.
    Quarantined(Position),
}

impl<'a> Event<'a> {
    /// Reads one record of the observations topic. Total: what cannot be read becomes [`Event::Unreadable`], a
    /// tombstone (no value) among it.
    #[must_use]
    pub fn read(position: Position, value: Option<&'a [u8]>) -> Self {
        match value.ok_or(Fault::Truncated { at: 0 }).and_then(Inbound::read) {
            Ok(Inbound::Observations(batch)) => Self::Observations(position, batch),
            Ok(Inbound::Control(sealed)) => Self::Control(position, sealed),
            Err(fault) => Self::Unreadable(position, fault),
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Observations(position, _)
            | Self::Control(position, _)
            | Self::Unreadable(position, _)
            | Self::Quarantined(position) => *position,
        }
    }
}

/// What a machine wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Goes to `replica/`: the primary emits it, a standby keeps it until it has seen it out.
    Emit(Box<Transition>),
    /// Goes to the worker's reject writer, which samples it into the rejected topic and counts it.
    Reject(Position, Fault),
    /// The worker logs it and reports the version in `status`. `faults` is empty if the set is in force; else the old set stays.
    RulesSwitched {
        /// Version of the set.
        version: i64,
        /// Why it was refused, one line each, with file, line and column.
        faults: Vec<String>,
    },
    /// The log's clock ran ahead further than ticks agree with. The worker writes a tick so that it is settled.
    ConfirmTime(Position),
    /// The last action of a step: the worker takes [`Machine::capture`] now, before the next record, and stores it.
    Cut,
}

/// A change that was decided and is not said yet.
struct Spoken {
    /// Its group and its rule.
    at: (usize, usize),
    change: Change,
    annotations: Labels,
    event_ms: i64,
}

/// What an event turned out to be once its seal was looked at.
enum Heard<'a> {
    Observations(Batch<'a>),
    Control(Control),
    Unreadable(Fault),
}

/// What a machine is told once, alike in both replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Partition of the observations topic.
    pub partition: i32,
    /// Whose control records count. Part of the digest: two machines with other keyrings are seen as different.
    pub keyring: Arc<Keyring>,
    /// Key of the look-up table's hash, a secret of the cluster: keeps producers from choosing colliding series.
    pub hash_key: u64,
    /// Lets a producer's stamp (CreateTime) move the clock. Only for a broker that knows no LogAppendTime, such as the
    /// demo's mock: a producer with a wrong clock then moves the partition's.
    pub producer_time: bool,
    /// Log time between two snapshots, milliseconds; 0 for none.
    pub snapshot_interval_ms: i64,
}

/// How often series and outputs that went silent are forgotten, milliseconds of the log's clock.
const EVICT_EVERY_MS: i64 = 300_000;

/// The state of one partition.
#[derive(Debug)]
pub struct Machine {
    options: Options,
    clock: Clock,
    store: Store,
    live: Live,
    outputs: Outputs,
    journal: Journal,
    counters: Counters,
    notices: Notices,
    firing: Firing,
    next_offset: i64,
    /// The multiple of [`EVICT_EVERY_MS`] at which silent series were forgotten last.
    evicted_ms: i64,
}

impl Machine {
    /// Before the first record.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            store: Store::new(options.hash_key),
            options,
            clock: Clock::default(),
            live: Live::default(),
            outputs: Outputs::default(),
            journal: Journal::default(),
            counters: Counters::default(),
            notices: Notices::default(),
            firing: Firing::default(),
            next_offset: 0,
            evicted_ms: 0,
        }
    }

    /// One record. Appends what is to be done to `out`, in order. Cannot fail.
    pub fn step(&mut self, event: Event<'_>, out: &mut Vec<Action>) {
        let position = event.position();
        self.next_offset = position.offset.saturating_add(1);
        self.journal.begin_record();
        let Some(heard) = self.authenticate(event) else { return };
        let wall_ms = match &heard {
            Heard::Control(Control::Tick(tick)) => Some(tick.wall_ms),
            Heard::Control(Control::Rules(_) | Control::Quarantine(_))
            | Heard::Observations(_)
            | Heard::Unreadable(_) => None,
        };
        let before_ms = self.clock.now_ms();
        let stamped = position.log_append || self.options.producer_time;
        if stamped && position.append_ms >= 0 && self.clock.advance(position.append_ms, wall_ms) {
            out.push(Action::ConfirmTime(position));
        }
        let now_ms = self.clock.now_ms().unwrap_or(0);
        self.evaluate_due(position, now_ms, out);
        self.evict(position, now_ms, out);
        match heard {
            Heard::Observations(batch) => {
                let latest_ms = if stamped { now_ms.max(position.append_ms) } else { now_ms };
                self.take_in(&batch, now_ms, latest_ms);
            }
            Heard::Control(Control::Tick(_)) => {}
            Heard::Control(Control::Rules(set)) => self.switch_rules(position, &set, now_ms, out),
            Heard::Control(Control::Quarantine(quarantine)) => {
                self.notice(Notice::Quarantined(quarantine.offset), position, now_ms, out);
            }
            Heard::Unreadable(fault) => out.push(Action::Reject(position, fault)),
        }
        for service in self.store.take_trimmed() {
            self.notice(Notice::Series(service), position, now_ms, out);
        }
        let Options { partition, snapshot_interval_ms, .. } = self.options;
        let at_offset = planted(Bug::SnapshotAtOffset);
        if at_offset && self.next_offset % 50 == 0 {
            out.push(Action::Cut);
        }
        if !at_offset && snapshot::crosses(partition, snapshot_interval_ms, before_ms, self.clock.now_ms()) {
            out.push(Action::Cut);
        }
    }

    /// Looks at the seal of a control record. One that does not hold is counted, and as good as unreadable: the record
    /// moves the clock by its stamp like any other and says nothing. None for a record in quarantine.
    fn authenticate<'a>(&mut self, event: Event<'a>) -> Option<Heard<'a>> {
        Some(match event {
            Event::Quarantined(_) => return None,
            Event::Observations(_, batch) => Heard::Observations(batch),
            Event::Unreadable(_, fault) => Heard::Unreadable(fault),
            Event::Control(_, sealed) => match self.options.keyring.open(self.options.partition, sealed) {
                Ok(control) => Heard::Control(control),
                Err(why) => {
                    self.counters.unauthentic(why.code());
                    Heard::Unreadable(why.into())
                }
            },
        })
    }

    /// Evaluates every grid point that the clock has passed, in the order in which it came due; groups due at one time
    /// in the order of the files, and what comes of them is said when all of them are done.
    fn evaluate_due(&mut self, cause: Position, now_ms: i64, out: &mut Vec<Action>) {
        for group in &mut self.live.groups {
            self.counters.evaluations_missed += group.grid.skip_missed(now_ms);
        }
        let (mut spoken, mut reached) = (Vec::new(), Vec::new());
        let mut last_ms = None;
        loop {
            let due = self.live.groups.iter().enumerate().map(|(at, group)| (group.grid.due_ms(), at)).min();
            let due = due.filter(|(due_ms, _)| *due_ms < now_ms);
            if last_ms.is_some() && last_ms != due.map(|(due_ms, _)| due_ms) {
                self.conclude(&mut spoken, &mut reached, cause, out);
            }
            let Some((due_ms, at)) = due else { return };
            last_ms = Some(due_ms);
            self.evaluate_group(at, due_ms, (&mut spoken, &mut reached));
        }
    }

    /// Says what came of the groups that were due at one time.
    fn conclude(
        &mut self,
        spoken: &mut Vec<Spoken>,
        reached: &mut Vec<Notice>,
        cause: Position,
        out: &mut Vec<Action>,
    ) {
        if self.live.may_suppress {
            let at_ms = self.live.groups.iter().flat_map(|group| &group.states);
            let at_ms = at_ms.filter_map(|state| state.evaluated_ms).max().unwrap_or(0);
            self.settle(spoken, at_ms);
        }
        self.speak(std::mem::take(spoken), cause, out);
        let now_ms = self.clock.now_ms().unwrap_or(0);
        for notice in reached.drain(..) {
            self.notice(notice, cause, now_ms, out);
        }
    }

    fn speak(&mut self, spoken: Vec<Spoken>, cause: Position, out: &mut Vec<Action>) {
        for Spoken { at: (group, rule), change, annotations, event_ms } in spoken {
            let group = &self.live.groups[group].group;
            let told = Told { group: &group.name, rule: &group.rules[rule].name, annotations };
            let context = Context::new(cause, &self.live, &self.outputs, event_ms);
            self.journal.put(change, told, &context, out);
        }
    }

    fn evaluate_group(
        &mut self,
        at: usize,
        due_ms: i64,
        (spoken, reached): (&mut Vec<Spoken>, &mut Vec<Notice>),
    ) {
        self.counters.evaluations += 1;
        let firing = self.firing.of(&self.live);
        let mut states = std::mem::take(&mut self.live.groups[at].states);
        let group = &self.live.groups[at];
        let at_ms = group.grid.next_ms();
        let mut turn = Turn {
            store: &mut self.store,
            counters: &mut self.counters,
            at_ms,
            due_ms,
            limit: group.group.limit,
            alerts_selected: self.live.alerts_selected,
            group: &group.group.name,
            service_label: &self.live.service_label,
            limits: self.live.limits,
            firing,
            reached,
        };
        for (rule_at, (rule, state)) in group.group.rules.iter().zip(&mut states).enumerate() {
            for change in turn.evaluate(rule, state) {
                let asked = Asked { store: &*turn.store, at_ms };
                let annotations = annotations(rule, &change.alert, Some(asked));
                spoken.push(Spoken { at: (at, rule_at), change, annotations, event_ms: at_ms });
            }
        }
        let group = &mut self.live.groups[at];
        group.states = states;
        group.grid.take();
    }

    /// Forgets what went silent, at agreed times of the log.
    fn evict(&mut self, cause: Position, now_ms: i64, out: &mut Vec<Action>) {
        let period_ms = now_ms.div_euclid(EVICT_EVERY_MS).saturating_mul(EVICT_EVERY_MS);
        if period_ms > self.evicted_ms {
            self.evicted_ms = period_ms;
            self.store.evict(now_ms);
            self.outputs.evict(now_ms);
            self.settle_notices(cause, now_ms, out);
        }
    }

    /// Puts a newer set in force from here on, or says why not.
    fn switch_rules(&mut self, cause: Position, set: &RuleSet, now_ms: i64, out: &mut Vec<Action>) {
        // A fan-out to every partition may be repeated, and may overtake another.
        if set.version <= self.live.version {
            return;
        }
        let faults = match rules::load(set) {
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
            Ok(compiled) => {
                let held_back = self.live.may_suppress;
                let removed =
                    self.live.switch(set, compiled, &mut self.store, (self.options.partition, now_ms));
                self.firing.forget();
                let context = Context::new(cause, &self.live, &self.outputs, now_ms);
                for live::Removed { group, rules } in removed {
                    for (at, changes) in rules {
                        for change in changes {
                            self.journal.emit(change, &group, &group.rules[at], None, &context, out);
                        }
                    }
                }
                if held_back || self.live.may_suppress {
                    self.settle_switch(cause, now_ms, out);
                }
                Vec::new()
            }
        };
        out.push(Action::RulesSwitched { version: set.version, faults });
    }
}
