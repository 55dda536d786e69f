//! Parts to a machine. One part after the other, in order; each is read whole or refused.

use super::fault::SnapshotFault;
use super::reader::Reader;
use super::{Head, PART_BYTES, baselines, head, outputs, rules, samples};
use crate::machine::alert::Alert;
use crate::machine::series::Loading;
use crate::machine::{Machine, Options};
use crate::wire::{AlertId, Labels};

#[cfg(test)]
mod tests;

/// A machine in the making. Total: any bytes in, an error out; memory is taken for what bytes are there.
#[derive(Debug)]
pub struct Restore {
    machine: Machine,
    loading: Loading,
    stage: Stage,
    /// Raw bytes of all parts.
    declared: u64,
    /// Raw bytes of those that came.
    taken: u64,
    parts: u64,
    part_bytes: usize,
}

/// What comes next.
#[derive(Debug, Clone)]
enum Stage {
    Head,
    RuleSet,
    Group(usize),
    Rule(RuleAt),
    Alerts(RuleAt, Vec<(AlertId, Alert)>, Left),
    Written(RuleAt, Vec<Labels>, usize),
    Outputs,
    Output(usize),
    Store,
    Series { left: usize, next_id: u64, seen: u64 },
    Whole { seen: u64 },
    Refused,
}

/// A rule by its group's place and its own.
#[derive(Debug, Clone, Copy)]
struct RuleAt {
    group: usize,
    rule: usize,
}

/// What of a rule is to come yet.
#[derive(Debug, Clone, Copy)]
struct Left {
    alerts: usize,
    written: usize,
}

impl Machine {
    /// Another machine in the same state, by way of its snapshot.
    pub(in crate::machine) fn twin(&mut self) -> Result<Self, SnapshotFault> {
        let parts: Vec<Vec<u8>> = self.capture().parts().collect();
        let bytes: usize = parts.iter().map(Vec::len).sum();
        let mut restore = Restore::new(self.options.clone(), bytes as u64);
        parts.iter().try_for_each(|part| restore.part(part))?;
        restore.finish()
    }
}

impl Restore {
    /// Before the first part. `options` are those of the machine to be; `raw_bytes` is the length of all parts, as the
    /// manifest declares it: no count in the parts can claim more.
    #[must_use]
    pub fn new(options: Options, raw_bytes: u64) -> Self {
        Self::with_parts_of(options, raw_bytes, PART_BYTES)
    }

    pub(super) fn with_parts_of(options: Options, raw_bytes: u64, part_bytes: usize) -> Self {
        Self {
            machine: Machine::new(options),
            loading: Loading::default(),
            stage: Stage::Head,
            declared: raw_bytes,
            taken: 0,
            parts: 0,
            part_bytes,
        }
    }

    /// The next part's raw bytes. After an error there is no next.
    pub fn part(&mut self, bytes: &[u8]) -> Result<(), SnapshotFault> {
        let part = self.parts;
        let seen = self.taken.saturating_add(bytes.len() as u64);
        let stage = std::mem::replace(&mut self.stage, Stage::Refused);
        if seen > self.declared {
            return Err(SnapshotFault::Length { seen, declared: self.declared });
        }
        (self.taken, self.parts) = (seen, part + 1);
        let mut from = Reader::new(bytes, part, self.declared - seen);
        self.stage = self.items(&mut from, stage)?;
        Ok(())
    }

    /// What the parts so far say of the state; meaningful once the first was taken.
    #[must_use]
    pub fn head(&self) -> Head {
        self.machine.head()
    }

    /// The machine, if the parts were all there.
    pub fn finish(mut self) -> Result<Machine, SnapshotFault> {
        if self.taken != self.declared {
            return Err(SnapshotFault::Length { seen: self.taken, declared: self.declared });
        }
        let Stage::Whole { seen } = self.stage else {
            return Err(SnapshotFault::Incomplete { parts: self.parts });
        };
        let done = self.loading.finish(&mut self.machine.store, seen);
        done.map_err(|misfit| samples::refused(misfit, &Reader::new(&[], self.parts, 0)))?;
        Ok(self.machine)
    }

    /// Every item of a part.
    fn items(&mut self, from: &mut Reader<'_>, mut stage: Stage) -> Result<Stage, SnapshotFault> {
        let split = |from: &Reader<'_>| SnapshotFault::Split { bytes: from.position(), place: from.place() };
        loop {
            stage = self.item(from, stage)?;
            let (full, ended) = (from.position() >= self.part_bytes, from.is_at_end());
            match (&stage, ended) {
                (Stage::Whole { .. }, true) => return Ok(stage),
                (Stage::Whole { .. }, false) => return Err(split(from)),
                (_, true) if full => return Ok(stage),
                (_, ended) if full || ended => return Err(split(from)),
                (_, _) => {}
            }
        }
    }

    /// The next item, and what comes after it.
    fn item(&mut self, from: &mut Reader<'_>, stage: Stage) -> Result<Stage, SnapshotFault> {
        let machine = &mut self.machine;
        Ok(match stage {
            Stage::Head => {
                head::read(from, machine)?;
                Stage::RuleSet
            }
            Stage::RuleSet => {
                rules::read_set(from, machine)?;
                self.group(0)
            }
            Stage::Group(group) => {
                rules::read_grid(from, &mut machine.live.groups[group])?;
                self.rule(RuleAt { group, rule: 0 })
            }
            Stage::Rule(at) => {
                let (state, alerts, written) = rules::read_state(from)?;
                machine.live.groups[at.group].states[at.rule] = state;
                self.alerts(at, Vec::new(), Left { alerts, written })
            }
            Stage::Alerts(at, mut alerts, left) => {
                let rule = &machine.live.groups[at.group].group.rules[at.rule].name;
                alerts.push(rules::read_alert(from, rule, &alerts)?);
                self.alerts(at, alerts, Left { alerts: left.alerts - 1, ..left })
            }
            Stage::Written(at, mut written, left) => {
                written.push(rules::read_written(from, &written)?);
                self.written(at, written, left - 1)
            }
            Stage::Outputs => {
                let left = from.count_over_parts("outputs of checks", outputs::OUTPUT_BYTES_MIN)?;
                if left == 0 { Stage::Store } else { Stage::Output(left) }
            }
            Stage::Output(left) => {
                outputs::read(from, &mut machine.outputs)?;
                if left == 1 { Stage::Store } else { Stage::Output(left - 1) }
            }
            Stage::Store => {
                let seen = from.counter("series ever seen")?;
                let left = from.count_over_parts("series", samples::SERIES_BYTES_MIN)?;
                self.loading.expect(&mut machine.store, left);
                series(left, 0, seen)
            }
            Stage::Series { left, mut next_id, seen } => {
                let base_ms = machine.clock.now_ms().unwrap_or(0);
                let (store, loading) = (&mut machine.store, &mut self.loading);
                let (id, newest_ms) = samples::read(from, store, loading, base_ms, (&mut next_id, seen))?;
                baselines::read(from, store, id, newest_ms)?;
                series(left - 1, next_id, seen)
            }
            Stage::Whole { .. } | Stage::Refused => {
                return Err(SnapshotFault::Refused { part: from.place().part });
            }
        })
    }

    /// A group, or what comes after the last.
    fn group(&self, group: usize) -> Stage {
        if group == self.machine.live.groups.len() { Stage::Outputs } else { Stage::Group(group) }
    }

    /// A rule, or what comes after the last of its group.
    fn rule(&self, at: RuleAt) -> Stage {
        let rules = self.machine.live.groups[at.group].states.len();
        if at.rule == rules { self.group(at.group + 1) } else { Stage::Rule(at) }
    }

    /// A rule's next alert, or what comes after the last.
    fn alerts(&mut self, at: RuleAt, alerts: Vec<(AlertId, Alert)>, left: Left) -> Stage {
        if left.alerts > 0 {
            return Stage::Alerts(at, alerts, left);
        }
        let map: std::collections::BTreeMap<AlertId, Alert> = alerts.into_iter().collect();
        self.machine.live.groups[at.group].states[at.rule].alerts = map.into();
        self.written(at, Vec::new(), left.written)
    }

    /// The next series that a rule wrote, or what comes after the last.
    fn written(&mut self, at: RuleAt, written: Vec<Labels>, left: usize) -> Stage {
        if left > 0 {
            return Stage::Written(at, written, left);
        }
        let set: std::collections::BTreeSet<Labels> = written.into_iter().collect();
        self.machine.live.groups[at.group].states[at.rule].written = set.into();
        self.rule(RuleAt { rule: at.rule + 1, ..at })
    }
}

/// The next series, or the end.
fn series(left: usize, next_id: u64, seen: u64) -> Stage {
    if left == 0 { Stage::Whole { seen } } else { Stage::Series { left, next_id, seen } }
}
