//! One hosted partition: a thread that owns the machine, from the first record of retention to the last word.
//!
//! ```text
//!  data thread ── batches ──▶ Event::read ─▶ Machine::step ─▶ Emit ───────▶ emission thread
//!                                                          ├▶ Reject ─────▶ counted; a sample to the outbox
//!                                                          ├▶ RulesSwitched ▶ the log
//!                                                          └▶ ConfirmTime ─▶ a tick to the outbox
//! ```
//!
//! Between batches it ticks where the log is quiet, tells the emission thread the log's clock, and shows how it stands.
//! A panic of the machine ends this partition, in the open, and no other.

use super::sampler::Sampler;
use super::standing::Standing;
use super::ticker::Ticker;
use super::{Ending, Shared};
use crate::machine::{Action, Event, Machine, Options, Position, Summary};
use crate::shell::emitter::{self, Closed, Emitter, EmitterOptions, FromMachine, Progress, Sender};
use crate::shell::kafka::KafkaError;
use crate::shell::kafka::consumer::{Batch, BrokenLog, Delivery, Record};
use crate::shell::{clock, thread};
use crate::wire::record::RECORD_BYTES_MAX;
use crate::wire::{Fault, Rejected, Tick, Transition};
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
/// How long to wait before Kafka is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Where the log begins and ends, and what an earlier run has applied.
struct Start {
    low: i64,
    high: i64,
    /// Unreadable records below have been sampled into the rejected topic by an earlier run.
    sampled_below: i64,
    partition_count: i32,
}

/// Why a thread ended.
enum End {
    /// Told to.
    Asked,
    /// The log cannot be read on.
    Broken(BrokenLog),
    /// The emission thread has ended, and nobody asked it to.
    Mute(Closed),
}

/// A partition's emission thread, where the host thread can reach it too: it may have to end one whose machine waits
/// for it.
pub(super) type Slot = Arc<Mutex<Option<Emitter>>>;

/// Takes the emission thread, to end it. Whoever comes second finds none.
pub(super) fn take(slot: &Slot) -> Option<Emitter> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

struct Hosting {
    shared: Arc<Shared>,
    partition: i32,
    machine: Machine,
    slot: Slot,
    emission: Sender,
    ticker: Ticker,
    sampler: Sampler,
    standing: Standing,
    start: Start,
    started: Duration,
    caught_up: bool,
    /// Offset of the record that is being applied.
    at: i64,
    actions: Vec<Action>,
    derived: Vec<Transition>,
    next_pulse: Duration,
}

/// The thread's body. Returns when told to end, or when the partition cannot go on; `/-/ready` then says why.
pub(super) fn host(shared: &Arc<Shared>, partition: i32, ending: &Ending, slot: Slot, standing: Standing) {
    let condition = condition(partition);
    let Some(start) = find_start(shared, partition, ending) else { return };
    let records = start.high - start.low;
    tracing::info!(
        partition,
        "hosting partition {partition}: replaying {records} records from the beginning of retention, offset {}, to {}",
        start.low,
        start.high
    );
    if start.low > 0 {
        // Until there are snapshots: what retention took is missing from the state and from the count of transitions.
        tracing::warn!(
            partition,
            "the log of partition {partition} begins at offset {}, not at 0: what was before is not in this worker's \
             state, and its seq may differ from that of a worker that saw it",
            start.low
        );
    }
    shared.readiness.not_ready(&condition, format!("replaying {records} records"));
    let emitter = match emitter::start(options(shared, partition, &start)) {
        Ok(emitter) => emitter,
        Err(fault) => {
            tracing::error!(partition, %fault, "partition {partition} cannot emit: it is not hosted");
            shared.readiness.not_ready(&condition, fault.to_string());
            return;
        }
    };
    let emission = emitter.sender();
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(emitter);
    let now = clock::monotonic();
    let options = Options {
        partition,
        keyring: Arc::clone(&shared.keyring),
        hash_key: shared.hash_key,
        producer_time: shared.producer_time,
        snapshot_interval_ms: 0,
    };
    let (lane, deliveries) = sync_channel(CHANNEL);
    shared.applied.set(partition, start.low);
    shared.data.assign(partition, start.low, lane);
    let mut hosting = Hosting {
        shared: Arc::clone(shared),
        partition,
        machine: Machine::new(options),
        slot,
        emission,
        ticker: Ticker::new(&shared.config.worker, partition, now),
        sampler: Sampler::default(),
        standing,
        at: start.low,
        start,
        started: now,
        caught_up: false,
        actions: Vec::new(),
        derived: Vec::new(),
        next_pulse: now,
    };
    let end = catch_unwind(AssertUnwindSafe(|| hosting.serve(&deliveries, ending)));
    drop(deliveries);
    shared.data.unassign(partition);
    hosting.finish(end.ok(), ending);
}

/// Asks Kafka until it answers, or the thread is told to end.
fn find_start(shared: &Shared, partition: i32, ending: &Ending) -> Option<Start> {
    let ask = || -> Result<Start, KafkaError> {
        let (low, high) = shared.data.range(partition)?;
        let committed = shared.data.committed(partition)?;
        let partition_count = shared.data.partition_count()?;
        Ok(Start { low, high, sampled_below: committed.unwrap_or(low), partition_count })
    };
    while ending.is_running() {
        match ask() {
            Ok(start) => return Some(start),
            Err(fault) => {
                shared.readiness.not_ready(&condition(partition), format!("not begun: {fault}"));
                tracing::debug!(partition, %fault, "the start of the log is not known yet");
                thread::pause(RETRY);
            }
        }
    }
    None
}

fn options(shared: &Shared, partition: i32, start: &Start) -> EmitterOptions {
    EmitterOptions {
        config: Arc::clone(&shared.config),
        partition,
        partition_count: start.partition_count,
        // librdkafka's binding does not tell it.
        topic_id: String::new(),
        lock: shared.lock.clone(),
        doors: shared.doors.clone(),
        derived: (0, [0; 32]),
    }
}

/// The name of a partition's condition in `/-/ready`.
pub(super) fn condition(partition: i32) -> String {
    format!("partition {partition}")
}

/// The name of the condition of its emission thread.
pub(super) fn emission_condition(partition: i32) -> String {
    format!("emission {partition}")
}

impl Hosting {
    fn serve(&mut self, deliveries: &Receiver<Delivery>, ending: &Ending) -> End {
        while ending.is_running() {
            let quiet = self.ticker.wait(clock::monotonic());
            let served = match deliveries.recv_timeout(quiet.min(PULSE)) {
                Ok(Delivery::Batch(batch)) => self.apply(&batch),
                Ok(Delivery::End) => self.reached_end(),
                Ok(Delivery::Broken(why)) => return End::Broken(why),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return End::Asked,
            };
            if let Err(closed) = served.and_then(|()| self.pulse()) {
                return if ending.is_running() { End::Mute(closed) } else { End::Asked };
            }
        }
        End::Asked
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
            self.machine.step(Event::read(position, record.value), &mut self.actions);
            if !self.actions.is_empty() {
                self.act(&record)?;
            }
        }
        let now = clock::monotonic();
        self.ticker.heard(now);
        self.shared.applied.set(self.partition, self.at + 1);
        self.standing.applied(batch, now.saturating_sub(before));
        self.hand_on()
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
                // The interval is 0 as long as no store is configured: nobody asks.
                Action::Cut => {}
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
        if record.offset < self.start.sampled_below || !self.sampler.take(clock::monotonic()) {
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
            let left = (self.start.high - summary.next_offset.max(self.start.low)).max(0);
            self.shared.readiness.not_ready(&condition(self.partition), format!("replaying {left} records"));
        }
        let status = self.slot.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Emitter::status);
        if let Some(status) = status {
            let condition = emission_condition(self.partition);
            match status.obstacle() {
                Some(trouble) => self.shared.readiness.not_ready(&condition, trouble),
                None => self.shared.readiness.ready(&condition),
            }
            self.standing.show(&summary, &self.machine, status, self.caught_up);
        }
        Ok(())
    }

    fn tick(&self) {
        let tick = Tick { worker: self.shared.config.worker.clone(), wall_ms: clock::wall_ms() };
        if self.shared.outbox.tick(self.partition, tick) {
            self.standing.ticked();
        }
    }

    /// `end` is none where the machine panicked.
    fn finish(self, end: Option<End>, ending: &Ending) {
        let partition = self.partition;
        if ending.is_killed() {
            return take(&self.slot).map_or((), Emitter::kill);
        }
        let why = match end {
            Some(End::Asked) => {
                tracing::info!(partition, "partition {partition}: handing over");
                None
            }
            Some(End::Broken(why)) => {
                tracing::error!(partition, code = why.code(), "partition {partition} stopped: {why}");
                Some(why.to_string())
            }
            Some(End::Mute(closed)) => {
                tracing::error!(partition, "partition {partition} stopped: {closed}");
                Some(closed.to_string())
            }
            None => {
                let why = format!(
                    "the machine panicked at offset {}: a fault of Bellwether. Please report it with that record",
                    self.at
                );
                tracing::error!(partition, offset = self.at, "partition {partition} stopped: {why}");
                Some(why)
            }
        };
        if let Some(why) = why {
            self.shared.readiness.not_ready(&condition(partition), why);
        }
        if let Some(emitter) = take(&self.slot) {
            emitter.stop();
        }
    }
}
