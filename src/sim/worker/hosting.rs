//! The data and machine threads of one partition: `shell/worker/partition.rs`.

use super::super::oracle::DIGEST_EVERY;
use super::super::planted::{Bug, planted};
use super::super::story::{Fact, Who};
use super::super::world::{START_MS, What, World};
use crate::machine::{Action, Event, Position};
use crate::replica::{Derived, Role};
use crate::sim::load;

/// The emission thread hears the log's clock at least this often, milliseconds.
const PULSE_MS: i64 = 250;
/// Kafka that cannot be reached is asked again after this, milliseconds.
const RETRY_MS: i64 = 100;

impl World {
    /// The data thread hears of new records.
    pub(in crate::sim) fn fetch_soon(&mut self, worker: usize, p: usize) {
        let in_ms = self.latency_ms();
        if let Some(hosted) = self.workers[worker].hosted.get_mut(p)
            && !hosted.fetching
        {
            hosted.fetching = true;
            self.to(worker, p, in_ms, What::Fetch);
        }
    }

    /// A batch arrives: some of what there is, or all.
    pub(in crate::sim) fn fetch(&mut self, worker: usize, p: usize) {
        if !self.reaches_kafka(worker) || self.now_ms < self.kafka.stalled_until_ms {
            return self.to(worker, p, RETRY_MS, What::Fetch);
        }
        self.workers[worker].hosted[p].fetching = false;
        let next = self.workers[worker].hosted[p].next;
        let log = &self.kafka.observations[p];
        if next < log.low {
            self.tell(Who::Worker(worker), &Fact::OutOfRange { p, next });
            return self.rederive(worker, p);
        }
        let (from, end) = (log.find(next), log.records.len());
        let most = [3, 20, 1000][self.random.index(3)];
        let to = end.min(from + most);
        let monotonic = self.monotonic();
        let mut derived = Vec::new();
        for at in from..to {
            self.apply(worker, p, at, &mut derived);
        }
        let hosted = &mut self.workers[worker].hosted[p];
        if to > from {
            hosted.ticker.heard(monotonic);
        }
        let offset = hosted.next - 1;
        if let (Some(first), Some(last)) = (derived.first(), derived.last()) {
            let (first, last): (&Derived, &Derived) = (first, last);
            let fact = Fact::Derived { p, first: first.seq, last: last.seq, offset };
            hosted.emission.derived.append(&mut derived);
            self.tell(Who::Worker(worker), &fact);
            self.wake_soon(worker, p);
        }
        if to < end {
            self.fetch_soon(worker, p);
        } else {
            self.reached_end(worker, p);
        }
    }

    fn apply(&mut self, worker: usize, p: usize, at: usize, derived: &mut Vec<Derived>) {
        let record = self.kafka.observations[p].records[at].clone();
        let monotonic = self.monotonic();
        let hosted = &mut self.workers[worker].hosted[p];
        let position = Position { offset: record.offset, append_ms: record.append_ms, log_append: true };
        let mut actions = std::mem::take(&mut self.actions);
        hosted.machine.step(Event::read(position, record.value.as_deref()), &mut actions);
        hosted.next = record.offset + 1;
        let mut confirm = false;
        let mut cut = None;
        for action in actions.drain(..) {
            match action {
                Action::Emit(transition) => derived.push(Derived::of(&transition)),
                Action::ConfirmTime(_) => confirm |= hosted.caught_up && hosted.ticker.may_confirm(monotonic),
                Action::RulesSwitched { version, faults } => {
                    let refused = !faults.is_empty();
                    let at_ms = self.now_ms - START_MS;
                    self.story.tell(at_ms, Who::Worker(worker), &Fact::RulesSwitched { p, version, refused });
                }
                Action::Cut => cut = Some(hosted.machine.capture()),
                Action::Reject(..) => {}
            }
        }
        self.actions = actions;
        if let Some(capture) = cut {
            self.write_snapshot(worker, p, &capture);
        }
        if record.offset % DIGEST_EVERY == 0 {
            let machine = &self.workers[worker].hosted[p].machine;
            let judged = self.oracles[p].compare(record.offset, machine, &super::name(worker));
            self.judge(judged);
        }
        if confirm {
            self.tick(worker, p);
        }
    }

    fn reached_end(&mut self, worker: usize, p: usize) {
        let (now_ms, monotonic) = (self.now_ms, self.monotonic());
        let hosted = &mut self.workers[worker].hosted[p];
        if hosted.caught_up {
            return;
        }
        hosted.caught_up = true;
        hosted.ticker.heard(monotonic);
        hosted.emission.progress = Some((hosted.machine.clock_ms(), hosted.next));
        hosted.emission.caught_up = true;
        let seq = hosted.machine.seq();
        let offset = hosted.next - 1;
        let me = &mut self.workers[worker];
        if me.hosted.iter().all(|hosted| hosted.caught_up) {
            me.well_since_ms = Some(now_ms);
        }
        self.tell(Who::Worker(worker), &Fact::CaughtUp { p, offset, seq });
        self.wake_soon(worker, p);
    }

    /// What is done between batches: a tick where the log is quiet, and the clock to the emission thread.
    pub(in crate::sim) fn pulse(&mut self, worker: usize, p: usize) {
        let (now_ms, monotonic) = (self.now_ms, self.monotonic());
        let hosted = &mut self.workers[worker].hosted[p];
        let mute = planted(Bug::OnlyPrimaryTicks) && hosted.emission.replica.role() != Role::Primary;
        let ticks = hosted.caught_up && hosted.ticker.is_due(monotonic) && !mute;
        if now_ms >= hosted.next_pulse_ms {
            hosted.next_pulse_ms = now_ms + PULSE_MS;
            hosted.emission.progress = Some((hosted.machine.clock_ms(), hosted.next));
        }
        let wait = i64::try_from(hosted.ticker.wait(monotonic).as_millis()).unwrap_or(PULSE_MS);
        self.to(worker, p, wait.clamp(10, PULSE_MS), What::Pulse);
        if ticks {
            self.tick(worker, p);
        }
    }

    fn tick(&mut self, worker: usize, p: usize) {
        if self.reaches_kafka(worker) {
            let wall_ms = self.now_ms + self.workers[worker].skew_ms;
            let value = self.sealed(p, &load::tick(&super::name(worker), wall_ms));
            self.produce(p, "tick", value);
        }
    }
}
