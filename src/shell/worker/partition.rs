//! One hosted partition: a thread that owns the machine, from where it begins to its last word.
//!
//! ```text
//!  data thread ── batches ──▶ Event::read ─▶ Machine::step ─▶ Emit ───────▶ emission thread
//!                                                          ├▶ Reject ─────▶ counted; a sample to the outbox
//!                                                          ├▶ RulesSwitched ▶ the log
//!                                                          ├▶ ConfirmTime ─▶ a tick to the outbox
//!                                                          └▶ Cut ─────────▶ a capture to the snapshot thread
//! ```
//!
//! Between batches it ticks where the log is quiet, tells the emission thread the log's clock, and shows how it stands.
//! Where it can go on no longer it is built anew: a fresh emission thread, and a machine from a snapshot (`begin`); the
//! pauses between two attempts grow. A panic of the machine ends no other partition.

use super::begin::{self, Begin};
use super::poison;
use super::rebuild::{Cause, Pace};
use super::sampler::Sampler;
use super::standing::Standing;
use super::ticker::Ticker;
use super::{Ending, Shared};
use crate::machine::{Action, Event, Machine, Position, Summary};
use crate::replica::Role;
use crate::shell::clock;
use crate::shell::emitter::{self, Closed, Emitter, EmitterOptions, FromMachine, Progress, Sender};
use crate::shell::kafka::consumer::{Batch, Delivery, Record};
use crate::shell::meta::Kind;
use crate::shell::snapshot::{Cut, Site};
use crate::wire::record::RECORD_BYTES_MAX;
use crate::wire::{Fault, Rejected, Tick, Transition};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Batches that wait in the channel: enough to keep the machine busy while the data thread fetches.
const CHANNEL: usize = 4;
/// The emission thread hears the log's clock at least this often.
const PULSE: Duration = Duration::from_millis(250);
/// Transitions of one batch are handed on in parts of this size, so that memory stays bounded where Kafka is away.
const PART: usize = 500;

/// A partition's emission thread, where the host thread can reach it too: it may have to end one whose machine waits
/// for it.
pub(super) type Slot = Arc<Mutex<Option<Emitter>>>;

/// Takes the emission thread, to end it. Whoever comes second finds none.
pub(super) fn take(slot: &Slot) -> Option<Emitter> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

struct Hosting<'h> {
    shared: &'h Shared,
    partition: i32,
    machine: Machine,
    slot: &'h Slot,
    emission: Sender,
    ticker: Ticker,
    sampler: Sampler,
    standing: &'h mut Standing,
    site: Site,
    sampled_below: i64,
    high: i64,
    from: i64,
    started: Duration,
    caught_up: bool,
    /// Offset of the record that is being applied.
    at: i64,
    /// Whether the machine has it at this moment: a panic then is the record's.
    stepping: bool,
    /// Offsets in quarantine.
    skips: BTreeSet<i64>,
    actions: Vec<Action>,
    derived: Vec<Transition>,
    next_pulse: Duration,
}

/// The thread's body: builds the partition, serves it, and builds it anew, until it is told to end.
pub(super) fn host(
    shared: &Arc<Shared>,
    partition: i32,
    ending: &Ending,
    slot: &Slot,
    standing: &mut Standing,
) {
    let mut pace = Pace::default();
    while ending.is_running() {
        let Some(begin) = begin::begin(shared, partition, ending, standing.line()) else { return };
        let began = clock::monotonic();
        let (cause, at) = run(shared, begin, ending, slot, standing);
        if ending.is_killed() {
            return take(slot).map_or((), Emitter::kill);
        }
        let ran = clock::monotonic().saturating_sub(began);
        let pause = pace.after(ran);
        cause.report(shared, partition, at, pause);
        if let Some(emitter) = take(slot) {
            emitter.stop();
        }
        if cause.is_final() {
            return;
        }
        if let Some(writer) = &shared.snapshots {
            writer.rebuilt(partition);
        }
        ending.wait(pause);
    }
}

/// One life of the partition. Gives why it ended, and the offset that it was at.
fn run(
    shared: &Arc<Shared>,
    begin: Begin,
    ending: &Ending,
    slot: &Slot,
    standing: &mut Standing,
) -> (Cause, i64) {
    let Begin { machine, from, high, sampled_below, partition_count, topic_id, skips } = begin;
    let partition = machine.head().partition;
    let summary = machine.summary();
    let records = (high - from).max(0);
    tracing::info!(
        partition,
        "hosting partition {partition}: replaying {records} records, from offset {from} to {high}"
    );
    shared.readiness.not_ready(&condition(partition), format!("replaying {records} records"));
    let options = EmitterOptions {
        config: Arc::clone(&shared.config),
        partition,
        partition_count,
        topic_id: topic_id.clone(),
        lock: shared.lock.clone(),
        doors: shared.doors.clone(),
        derived: (summary.seq, summary.running_hash),
    };
    let emitter = match emitter::start(options) {
        Ok(emitter) => emitter,
        Err(fault) => return (Cause::NoThread(fault.to_string()), from),
    };
    let emission = emitter.sender();
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(emitter);
    let now = clock::monotonic();
    let (lane, deliveries) = sync_channel(CHANNEL);
    shared.applied.set(partition, from);
    shared.data.assign(partition, from, lane);
    standing.begin(&summary);
    let mut hosting = Hosting {
        shared,
        partition,
        machine,
        slot,
        emission,
        ticker: Ticker::new(&shared.config.worker, partition, now),
        sampler: Sampler::default(),
        standing,
        site: Site::new(&shared.config, &shared.topics.observations, &topic_id, partition, partition_count),
        sampled_below,
        high,
        from,
        at: from,
        stepping: false,
        skips,
        started: now,
        caught_up: false,
        actions: Vec::new(),
        derived: Vec::new(),
        next_pulse: now,
    };
    let cause = catch_unwind(AssertUnwindSafe(|| hosting.serve(&deliveries, ending)));
    let (at, stepping) = (hosting.at, hosting.stepping);
    drop(deliveries);
    shared.data.unassign(partition);
    if cause.is_err() && stepping {
        poison::noted(shared, partition, at);
    }
    (cause.unwrap_or(Cause::Panicked), at)
}

/// The name of a partition's condition in `/-/ready`.
pub(super) fn condition(partition: i32) -> String {
    format!("partition {partition}")
}

/// The name of the condition of its emission thread.
pub(super) fn emission_condition(partition: i32) -> String {
    format!("emission {partition}")
}

impl Hosting<'_> {
    fn serve(&mut self, deliveries: &Receiver<Delivery>, ending: &Ending) -> Cause {
        while ending.is_running() {
            let quiet = self.ticker.wait(clock::monotonic());
            let served = match deliveries.recv_timeout(quiet.min(PULSE)) {
                Ok(Delivery::Batch(batch)) => self.apply(&batch),
                Ok(Delivery::End) => self.reached_end(),
                Ok(Delivery::Broken(why)) => return Cause::Broken(why),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Cause::Asked,
            };
            if let Err(closed) = served.and_then(|()| self.pulse()) {
                return if ending.is_running() { Cause::Mute(closed) } else { Cause::Asked };
            }
            if let Some(now) = self.shared.topic.other_than(&self.site.own.topic_id) {
                return Cause::OtherTopic { now };
            }
        }
        Cause::Asked
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), Closed> {
        let before = clock::monotonic();
        for record in batch.iter() {
            self.at = record.offset;
            let position = Position {
                offset: record.offset,
                append_ms: record.append_ms,
                log_append: record.log_append,
            };
            self.stepping = true;
            let event = if self.skips.contains(&record.offset) {
                Event::Quarantined(position)
            } else {
                Event::read(position, record.value)
            };
            self.machine.step(event, &mut self.actions);
            self.stepping = false;
            if !self.actions.is_empty() {
                self.act(&record)?;
            }
        }
        let now = clock::monotonic();
        self.ticker.heard(now);
        self.shared.applied.set(self.partition, self.at + 1);
        self.standing.applied(batch, now.saturating_sub(before));
        self.hand_on()?;
        if self.caught_up {
            return Ok(());
        }
        // Where records never cease no fetch comes back empty, which is how the end of the log is told: then it is what was
        // the end a moment ago.
        let end = self.shared.data.end(self.partition).unwrap_or(self.high).max(self.high);
        if self.at + 1 >= end { self.reached_end() } else { Ok(()) }
    }

    fn act(&mut self, record: &Record<'_>) -> Result<(), Closed> {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Emit(transition) => {
                    self.standing.derived(transition.to);
                    self.derived.push(*transition);
                }
                Action::Reject(_, fault) => self.reject(record, &fault),
                Action::RulesSwitched { version, faults } => self.rules_switched(version, &faults),
                Action::ConfirmTime(_) => {
                    if self.caught_up && self.ticker.may_confirm(clock::monotonic()) {
                        self.tick();
                    }
                }
                Action::Cut => self.cut(),
            }
        }
        // The vector is kept for its memory.
        self.actions = actions;
        if self.derived.len() >= PART { self.hand_on() } else { Ok(()) }
    }

    /// Gives what was derived to the emission thread. Waits where that one is full.
    fn hand_on(&mut self) -> Result<(), Closed> {
        if self.derived.is_empty() {
            return Ok(());
        }
        self.emission.send(FromMachine::Derived(std::mem::take(&mut self.derived)))
    }

    fn reject(&mut self, record: &Record<'_>, fault: &Fault) {
        self.standing.rejected(fault.code());
        // Every zone writes its own sample; what an earlier run of this zone has been through is not written again.
        if record.offset < self.sampled_below || !self.sampler.take(clock::monotonic()) {
            return;
        }
        let value = record.value.unwrap_or_default();
        let kept = value.len().min(RECORD_BYTES_MAX - (16 << 10));
        self.shared.outbox.reject(Rejected {
            reason: fault.code().to_owned(),
            detail: fault.to_string(),
            topic: self.shared.topics.observations.clone(),
            partition: self.partition,
            offset: record.offset,
            append_ms: record.append_ms,
            key: record.key[..record.key.len().min(8 << 10)].to_vec(),
            value: value[..kept].to_vec(),
            value_bytes: i64::try_from(value.len()).unwrap_or(i64::MAX),
        });
    }

    fn rules_switched(&self, version: i64, faults: &[String]) {
        let (partition, at) = (self.partition, self.at);
        if faults.is_empty() {
            tracing::info!(partition, version, offset = at, "rules version {version} in force");
            return;
        }
        let why = faults.join("; ");
        tracing::warn!(
            partition,
            version,
            offset = at,
            "rules version {version} refused, the old set stays: {why}"
        );
    }

    fn reached_end(&mut self) -> Result<(), Closed> {
        if self.caught_up {
            return Ok(());
        }
        self.caught_up = true;
        let now = clock::monotonic();
        self.ticker.heard(now);
        self.shared.readiness.ready(&condition(self.partition));
        self.shared.doors.meta.resolve(Kind::PartitionStopped, self.partition);
        let (partition, seq) = (self.partition, self.machine.summary().seq);
        let took = now.saturating_sub(self.started);
        tracing::info!(
            partition,
            "partition {partition} caught up at offset {} after {took:.1?}, seq {seq}",
            self.at
        );
        self.tell_progress(&self.machine.summary())?;
        self.emission.send(FromMachine::CaughtUp)
    }

    fn tell_progress(&self, summary: &Summary) -> Result<(), Closed> {
        self.emission.send(FromMachine::Progress(Progress {
            offset: summary.next_offset,
            clock_ms: summary.clock_ms,
            rule_set_version: summary.rule_set_version,
            seq: summary.seq,
            running_hash: summary.running_hash,
        }))
    }

    /// What is done between batches, whether records come or not.
    fn pulse(&mut self) -> Result<(), Closed> {
        let now = clock::monotonic();
        if self.caught_up && self.ticker.is_due(now) {
            self.tick();
        }
        if now < self.next_pulse {
            return Ok(());
        }
        self.next_pulse = now + PULSE;
        let summary = self.machine.summary();
        self.tell_progress(&summary)?;
        if !self.caught_up {
            let left = (self.high - summary.next_offset.max(self.from)).max(0);
            self.shared.readiness.not_ready(&condition(self.partition), format!("replaying {left} records"));
        }
        let status = self.slot.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Emitter::status);
        if let Some(status) = status {
            let condition = emission_condition(self.partition);
            match status.obstacle() {
                Some(trouble) => self.shared.readiness.not_ready(&condition, trouble),
                None => self.shared.readiness.ready(&condition),
            }
            self.standing.show(&summary, &mut self.machine, status, self.caught_up);
        }
        Ok(())
    }

    fn tick(&self) {
        let tick = Tick { worker: self.shared.config.worker.clone(), wall_ms: clock::wall_ms() };
        if self.shared.outbox.tick(self.partition, tick) {
            self.standing.ticked();
        }
    }

    /// Captures the state behind the record that was just applied.
    fn cut(&mut self) {
        let Some(writer) = &self.shared.snapshots else { return };
        let metrics = &self.shared.metrics.snapshots;
        let status = self.slot.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Emitter::status);
        let Some(status) = status.filter(|_| self.caught_up) else {
            // What is replayed was cut when it was new.
            return metrics.skipped(self.partition, "replaying");
        };
        if status.diverged {
            return metrics.skipped(self.partition, "diverged");
        }
        let before = clock::monotonic();
        let capture = self.machine.capture();
        metrics.captured(self.partition, clock::monotonic().saturating_sub(before));
        writer.offer(Cut {
            site: self.site.clone(),
            capture,
            is_primary: status.role == Role::Primary,
            marker_seq: status.marker_seq,
        });
    }
}
