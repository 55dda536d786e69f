//! Where a hosted partition begins: from a snapshot, from the log's first record, or, loudly, not at all.
//!
//! ```text
//!  Kafka: the log's range, the topic's id, the last marker ─┐
//!  store: manifests and co-signatures ──────────────────────┴─▶ replica::choice ─▶ fetch, verify ─▶ machine
//!                                                                     │   a bad one: the next older one
//!                                                                     └─▶ the whole log, or stop
//! ```
//!
//! Nothing here gives up: a partition that cannot begin says why in `/-/ready`, `status` and the log, and looks again,
//! soon where something did not answer, and each half minute where only an operator can help. The log is never begun in
//! its middle where alerts have been emitted before.

use super::standing::Line;
use super::{Ending, Shared};
use crate::machine::Machine;
use crate::replica::choice::{self, Choice, Facts, Otherwise, Refusal, Refused};
use crate::shell::kafka::KafkaError;
use crate::shell::meta::Kind;
use crate::shell::snapshot::ask::{Asked, ask};
use crate::shell::snapshot::{Site, read};
use crate::shell::store::StoreError;
use crate::shell::{clock, quarantine, thread};
use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

/// How long to wait before something that did not answer is asked again.
const RETRY: Duration = Duration::from_millis(500);
/// The same where only an operator can help.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// A store that does not answer is waited for so long, where the whole log could be replayed instead.
const STORE_PATIENCE: Duration = Duration::from_secs(15);

/// A machine, and where it goes on.
pub(super) struct Begin {
    pub(super) machine: Machine,
    /// Offset of the first record to apply.
    pub(super) from: i64,
    /// Offset after the log's last record, just now.
    pub(super) high: i64,
    /// Unreadable records below have been sampled into the rejected topic by an earlier run.
    pub(super) sampled_below: i64,
    pub(super) partition_count: i32,
    /// Kafka's id of the observations topic; empty where the broker tells none.
    pub(super) topic_id: String,
    /// Offsets that are skipped.
    pub(super) skips: BTreeSet<i64>,
}

/// Why a partition cannot begin now.
struct Held {
    why: String,
    /// Stable word for the log.
    code: &'static str,
    /// When to look again.
    after: Duration,
    /// Whether an operator has to act.
    is_stop: bool,
}

/// Looks until it can begin, or is told to end.
pub(super) fn begin(shared: &Shared, partition: i32, ending: &Ending, line: &Line) -> Option<Begin> {
    let condition = super::partition::condition(partition);
    let began = clock::monotonic();
    let mut said = String::new();
    while ending.is_running() {
        let waited = clock::monotonic().saturating_sub(began);
        let attempted = attempt(shared, partition, waited);
        // It took a while; who was told to end meanwhile says nothing any more.
        if !ending.is_running() {
            return None;
        }
        let held = match attempted {
            Ok(begin) => {
                line.lock().unwrap_or_else(PoisonError::into_inner).trouble.clear();
                return Some(begin);
            }
            Err(held) => held,
        };
        let word = if held.is_stop { "stopped" } else { "not begun" };
        shared.readiness.not_ready(&condition, format!("{word}: {}", held.why));
        line.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone_from(&held.why);
        if said != held.why {
            if held.is_stop {
                tracing::error!(partition, code = held.code, "partition {partition} stopped: {}", held.why);
                shared.doors.meta.raise(Kind::PartitionStopped, partition, held.why.as_str());
            } else {
                tracing::debug!(
                    partition,
                    code = held.code,
                    "partition {partition} has not begun: {}",
                    held.why
                );
            }
            said.clone_from(&held.why);
        }
        ending.wait(held.after);
    }
    None
}

fn attempt(shared: &Shared, partition: i32, waited: Duration) -> Result<Begin, Held> {
    let (config, topic) = (&shared.config, &shared.topics.observations);
    let unanswered =
        |fault: KafkaError| Held { why: fault.to_string(), code: fault.code(), after: RETRY, is_stop: false };
    let asked = ask(config, topic, &shared.data, &shared.doors.follower, partition).map_err(unanswered)?;
    let Asked { facts, committed, partition_count, topic_id } = asked;
    let skips = quarantine::read(config, partition, &shared.keyring).map_err(unanswered)?;
    shared.topic.set(&topic_id);
    let site = Site::new(&shared.config, &shared.topics.observations, &topic_id, partition, partition_count);
    let options = shared.machine_options(partition);
    let begun = |machine: Machine, from: i64| Begin {
        machine,
        from,
        high: facts.high,
        sampled_below: committed.unwrap_or(from),
        partition_count,
        topic_id: topic_id.clone(),
        skips: skips.clone(),
    };
    let candidates = match &shared.store {
        None => Vec::new(),
        Some(store) => match read::candidates(store, &site) {
            Ok(candidates) => candidates,
            Err(fault) => without_store(partition, &facts, &fault, waited)?,
        },
    };
    let mut choice = choice::choose(&site.own, &facts, &candidates);
    choice.refused.iter().for_each(|refused| report(shared, partition, refused));
    let mut unavailable = false;
    for usable in std::mem::take(&mut choice.usable) {
        let Some(store) = &shared.store else { break };
        match read::restore(store, &usable, options.clone()) {
            Ok((machine, spent)) => {
                shared.metrics.snapshots.restored(partition, &spent);
                let manifest = &usable.manifest;
                if let Some(writer) = &shared.snapshots {
                    writer.found(partition, manifest.next_offset);
                }
                let signers = if usable.cosigned { "two signers" } else { "its writer alone vouches for it" };
                tracing::info!(
                    partition,
                    seq = manifest.seq,
                    offset = manifest.next_offset,
                    "partition {partition}: restored from {} ({signers}, {} MB) in {:.1?}",
                    usable.folder,
                    spent.raw_bytes / 1_000_000,
                    spent.total
                );
                return Ok(begun(machine, manifest.next_offset));
            }
            Err(why) => {
                unavailable |= matches!(why, Refusal::Unavailable { .. });
                report(shared, partition, &Refused { folder: usable.folder, why });
            }
        }
    }
    from_log(shared, partition, &facts, &choice, unavailable).map(|from| begun(Machine::new(options), from))
}

/// A store that cannot be listed: waited for, unless the log is whole.
fn without_store(
    partition: i32,
    facts: &Facts,
    fault: &StoreError,
    waited: Duration,
) -> Result<Vec<choice::Candidate>, Held> {
    if facts.low == 0 && (waited >= STORE_PATIENCE || !fault.is_retryable()) {
        tracing::warn!(
            partition,
            code = fault.code(),
            "partition {partition}: the whole log is replayed instead: {fault}"
        );
        return Ok(Vec::new());
    }
    Err(Held { why: fault.to_string(), code: fault.code(), after: RETRY, is_stop: !fault.is_retryable() })
}

/// Where the log itself is begun.
fn from_log(
    shared: &Shared,
    partition: i32,
    facts: &Facts,
    choice: &Choice,
    unavailable: bool,
) -> Result<i64, Held> {
    match &choice.otherwise {
        Otherwise::WholeLog => {
            let records = facts.high;
            tracing::info!(
                partition,
                "partition {partition}: no snapshot to begin from; replaying the whole log, {records} records"
            );
            Ok(0)
        }
        Otherwise::NewInstallation { low } => {
            tracing::warn!(
                partition,
                "partition {partition} has never emitted, and its log begins at offset {low}, not at 0: what was before \
                 is not in its state"
            );
            Ok(*low)
        }
        // Something could not be had that may be there again in a moment.
        Otherwise::Stop(_) if unavailable => Err(Held {
            why: "the snapshot store lists snapshots and does not give them".to_owned(),
            code: "store_unavailable",
            after: RETRY,
            is_stop: false,
        }),
        Otherwise::Stop(stop) => {
            let mut why = stop.to_string();
            if shared.store.is_none() {
                why += ". No snapshots are configured here: set snapshots.url as the other workers have it";
            }
            Err(Held { why, code: stop.code(), after: LOOK_AGAIN, is_stop: true })
        }
    }
}

fn report(shared: &Shared, partition: i32, refused: &Refused) {
    let (folder, why, code) = (&refused.folder, &refused.why, refused.why.code());
    shared.metrics.snapshots.refused(partition, code);
    if why.is_alarming() {
        tracing::warn!(partition, code, "partition {partition}: snapshot {folder} is not used: {why}");
    } else {
        tracing::info!(partition, code, "partition {partition}: snapshot {folder} is not used: {why}");
    }
}

/// Pauses that end early when the thread is told to end.
impl Ending {
    pub(super) fn wait(&self, duration: Duration) {
        let until = clock::monotonic() + duration;
        while self.is_running() {
            let left = until.saturating_sub(clock::monotonic());
            if left.is_zero() {
                return;
            }
            thread::pause(left.min(Duration::from_millis(50)));
        }
    }
}
