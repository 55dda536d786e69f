//! The judge: a naive single-threaded replay of the observations log, one machine a partition, fed as the log grows.
//! What a `read_committed` reader finds in the alerts partition must be what it derives, record by record; checked at
//! every transaction that ends, so that a story stops where it went wrong.
//!
//! | | checked |
//! |---|---|
//! | I1, I2 | each `seq` once, without a gap, with the replay's bytes; markers say what precedes them |
//! | I3, I4 | at agreed offsets every replica's digest is the replay's, also after a restore |
//! | I5 | nothing of a producer epoch is committed after a later one has read back |
//! | I6 | when faults have stopped, everything is out within the bound (`world`) |
//! | H22 | no rules that the cluster did not sign are in force |
//! | I7 | the clock never goes back, and is never ahead of the true time by more than the ticks allow |
//!
//! The replay shares the machine's code, so what it could not see is judged by what the simulator knows and no
//! machine does: the true time, and who wrote what.

use super::kafka::alerts::{AlertsLog, Entry};
use super::load::FORGED_VERSION;
use super::store::INTERVAL_MS;
use super::world::START_MS;
use crate::machine::{Action, Event, Machine, Options, Position};
use crate::wire::keyring::Keyring;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// Digests are compared at offsets that are multiples of this.
pub(super) const DIGEST_EVERY: i64 = 16;
/// The clock may be ahead of the true time by the largest step that needs no tick, the tolerance over a tick, the
/// workers' own clocks, milliseconds.
const AHEAD_MS_MAX: i64 = 14_000;

/// The judge of one partition.
#[derive(Debug)]
pub(super) struct Oracle {
    partition: usize,
    machine: Machine,
    actions: Vec<Action>,
    /// Bytes of each transition, and the running hash after it.
    expected: Vec<(Rc<[u8]>, [u8; 32])>,
    digests: BTreeMap<i64, [u8; 32]>,
    clock_ms: i64,
    /// The clock at the last record at which a snapshot was due.
    cut_clock_ms: i64,
    /// How far the alerts partition is checked: offset, and the last `seq` found.
    checked: usize,
    found: i64,
    /// Highest producer epoch that has read back.
    read_epoch: i32,
}

impl Oracle {
    pub(super) fn new(partition: usize, keyring: &Arc<Keyring>) -> Self {
        Self {
            partition,
            machine: Machine::new(options(partition, keyring)),
            actions: Vec::new(),
            expected: Vec::new(),
            digests: BTreeMap::new(),
            clock_ms: 0,
            cut_clock_ms: 0,
            checked: 0,
            found: 0,
            read_epoch: 0,
        }
    }

    /// A record was appended to the observations log.
    pub(super) fn appended(
        &mut self,
        position: Position,
        value: Option<&[u8]>,
        now_ms: i64,
    ) -> Result<(), String> {
        self.machine.step(Event::read(position, value), &mut self.actions);
        for action in self.actions.drain(..) {
            if matches!(action, Action::Cut) {
                self.cut_clock_ms = self.machine.clock_ms();
            }
            if let Action::Emit(transition) = action {
                let bytes = transition.encode();
                let before = self.expected.last().map_or([0; 32], |(_, hash)| *hash);
                let hash = crate::replica::chain(&before, &bytes);
                self.expected.push((bytes.into(), hash));
            }
        }
        if position.offset % DIGEST_EVERY == 0 {
            let version = self.machine.head().rule_set_version;
            if version >= FORGED_VERSION {
                return Err(format!(
                    "H22: forged rules {version} are in force on partition {}",
                    self.partition
                ));
            }
            self.digests.insert(position.offset, self.machine.digest());
        }
        let clock_ms = self.machine.clock_ms();
        let before_ms = std::mem::replace(&mut self.clock_ms, clock_ms);
        self.cut_clock_ms = if before_ms == 0 { clock_ms } else { self.cut_clock_ms };
        if clock_ms - self.cut_clock_ms > 2 * INTERVAL_MS {
            return Err(format!("H20: no snapshot of partition {} for two intervals", self.partition));
        }
        if clock_ms < before_ms {
            return Err(format!(
                "I7: the clock of partition {} went back by {} ms",
                self.partition,
                before_ms - clock_ms
            ));
        }
        if clock_ms > now_ms + AHEAD_MS_MAX {
            return Err(format!(
                "I7: the clock of partition {} is {} ms ahead of the true time",
                self.partition,
                clock_ms - now_ms
            ));
        }
        Ok(())
    }

    /// Compares a replica that has applied the record at `offset`.
    pub(super) fn compare(&self, offset: i64, machine: &Machine, who: &str) -> Result<(), String> {
        match self.digests.get(&offset) {
            Some(digest) if *digest != machine.digest() => Err(format!(
                "I3: the state of {who} after offset {offset} of partition {} is not the replay's",
                self.partition
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// A primary has read back in this producer epoch.
    pub(super) fn read_back(&mut self, epoch: i32) {
        self.read_epoch = self.read_epoch.max(epoch);
    }

    /// Judges what has become visible of the alerts partition.
    pub(super) fn check(&mut self, log: &AlertsLog) -> Result<(), String> {
        let partition = self.partition;
        for (offset, writer, epoch, entry) in log.committed(self.checked) {
            let fault = |text: String| Err(format!("alerts {partition}, offset {offset}: {text}"));
            if writer != partition {
                return fault(format!("I1: written by the primary of partition {writer}"));
            }
            if epoch < self.read_epoch {
                return fault(format!(
                    "I5: of producer epoch {epoch}, committed after {} had read back",
                    self.read_epoch
                ));
            }
            match entry {
                Entry::Transition { seq, .. } if *seq <= self.found => {
                    return fault(format!("I1: seq {seq} once more, {} are out", self.found));
                }
                Entry::Transition { seq, .. } if *seq > self.found + 1 => {
                    return fault(format!("I2: seq {seq} after {}", self.found));
                }
                Entry::Transition { seq, bytes, .. } => match self.expected_at(*seq) {
                    Some((wanted, _)) if wanted == bytes => self.found = *seq,
                    Some(_) => return fault(format!("I1: seq {seq} says something else than the replay")),
                    None => return fault(format!("I1: seq {seq}, which the replay has not derived")),
                },
                Entry::Marker(marker) => {
                    let hash = self.expected_at(marker.seq).map_or([0; 32], |(_, hash)| *hash);
                    if marker.seq != self.found {
                        return fault(format!("a marker of seq {} where {} are out", marker.seq, self.found));
                    }
                    if marker.running_hash != hash {
                        return fault(format!(
                            "I3: the marker of seq {} has another running hash",
                            marker.seq
                        ));
                    }
                }
            }
        }
        self.checked = log.stable();
        Ok(())
    }

    fn expected_at(&self, seq: i64) -> Option<&(Rc<[u8]>, [u8; 32])> {
        self.expected.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// How many transitions the log causes, and how many of them are out.
    pub(super) fn score(&self) -> (i64, i64) {
        (i64::try_from(self.expected.len()).unwrap_or(i64::MAX), self.found)
    }
}

/// What every machine of a partition is told.
pub(super) fn options(partition: usize, keyring: &Arc<Keyring>) -> Options {
    Options {
        partition: i32::try_from(partition).unwrap_or_default(),
        keyring: Arc::clone(keyring),
        hash_key: START_MS.unsigned_abs(),
        producer_time: false,
        snapshot_interval_ms: INTERVAL_MS,
    }
}
