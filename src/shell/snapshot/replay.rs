//! How long a replay would take: a little of it is done, on the worker's own path, and the rest is reckoned from that.

use crate::machine::{Event, Machine, Position};
use crate::shell::clock;
use crate::shell::kafka::consumer::{Data, Delivery};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How long the trial lasts at most.
const TRIAL: Duration = Duration::from_secs(2);

/// What is ahead of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// Offsets to go through: records, and the gaps that control batches leave.
    pub records: i64,
    /// Of those, gone through in the trial.
    pub tried: i64,
    /// What the trial took.
    pub took: Duration,
}

impl Replay {
    /// About how long all of it takes; none where the trial saw nothing.
    #[must_use]
    pub fn about(&self) -> Option<Duration> {
        if self.records == 0 {
            return Some(Duration::ZERO);
        }
        let tried = u32::try_from(self.tried).ok().filter(|tried| *tried > 0)?;
        Some((self.took / tried).saturating_mul(u32::try_from(self.records).unwrap_or(u32::MAX)))
            .filter(|_| self.tried < self.records)
            .or(Some(self.took))
    }

    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        match self.about() {
            Some(about) => format!("{} records, about {about:.1?}", self.records),
            None => format!("{} records (none came within {TRIAL:?})", self.records),
        }
    }
}

/// Replays from `from` towards `to`, for a moment, and drops the machine.
#[must_use]
pub fn replay(data: &Data, mut machine: Machine, partition: i32, from: i64, to: i64) -> Replay {
    let records = (to - from).max(0);
    let mut found = Replay { records, tried: 0, took: Duration::ZERO };
    if records == 0 {
        return found;
    }
    let (lane, deliveries) = sync_channel(4);
    data.assign(partition, from, lane);
    let deadline = clock::monotonic() + TRIAL;
    let (mut actions, mut began) = (Vec::new(), None);
    while found.tried < records {
        let left = deadline.saturating_sub(clock::monotonic());
        if left.is_zero() {
            break;
        }
        match deliveries.recv_timeout(left) {
            Ok(Delivery::Batch(batch)) => {
                // The first answer of a new consumer takes its time, once.
                began.get_or_insert_with(clock::monotonic);
                for record in batch.iter() {
                    let position = Position {
                        offset: record.offset,
                        append_ms: record.append_ms,
                        log_append: record.log_append,
                    };
                    machine.step(Event::read(position, record.value), &mut actions);
                    actions.clear();
                    found.tried = record.offset + 1 - from;
                }
            }
            Ok(Delivery::End | Delivery::Broken(_)) | Err(_) => break,
        }
    }
    data.unassign(partition);
    found.took = began.map_or(Duration::ZERO, |began| clock::monotonic().saturating_sub(began));
    found
}
