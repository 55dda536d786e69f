//! Samples and check results into the store. What no rule selects costs one look-up and is not kept.

use super::Machine;
use super::series::{SampleFault, check_ahead};
use crate::wire::{Batch, Labels};
use std::collections::BTreeMap;

/// Put before the key of a check's series, which may be equal to the key of a sample's: no name is encoded so.
const CHECK_KEY: u8 = 0xff;

/// What was counted, alike in both replicas.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    /// Samples that some rule selects and that were taken.
    pub(super) accepted: u64,
    /// Samples that were refused, by reason.
    pub(super) rejected: BTreeMap<&'static str, u64>,
    /// Evaluations of groups.
    pub(super) evaluations: u64,
    /// Grid points left out after a leap.
    pub(super) evaluations_missed: u64,
    /// Evaluations of rules that failed.
    pub(super) evaluation_failures: u64,
    /// Control records whose seal did not hold, by reason.
    pub(super) unauthentic: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// Counts a sample that was refused.
    pub(super) fn note(&mut self, taken: Result<(), SampleFault>) {
        if let Err(fault) = taken {
            *self.rejected.entry(fault.code()).or_default() += 1;
        }
    }

    /// Counts outputs of baselines that were refused.
    pub(super) fn note_collisions(&mut self, refused: u64) {
        if refused > 0 {
            *self.rejected.entry(SampleFault::COLLISION).or_default() += refused;
        }
    }

    pub(super) fn unauthentic(&mut self, reason: &'static str) {
        *self.unauthentic.entry(reason).or_default() += 1;
    }
}

impl Machine {
    /// Appends what some rule selects. `latest_ms` is the clock, or the record's stamp where the clock is held below it.
    pub(super) fn take_in(&mut self, batch: &Batch<'_>, now_ms: i64, latest_ms: i64) {
        let service = batch.service();
        let service_label = &self.live.service_label;
        let whole = |mut labels: Labels| {
            if labels.get(service_label).is_empty() {
                labels.set(service_label, service);
            }
            labels
        };
        for sample in batch.samples() {
            #[cfg(test)]
            assert!(!sample.key.ends_with(super::tests::POISON), "a planted panic");
            let Some(id) = self.store.lookup(service, sample.key, || whole(sample.labels())) else {
                continue;
            };
            let time_ms = sample.time_ms;
            let taken = check_ahead(time_ms, latest_ms)
                .and_then(|()| self.store.take(id, time_ms, sample.value, now_ms));
            self.counters.accepted += u64::from(taken.is_ok());
            self.counters.note(taken);
        }
        let mut key = Vec::new();
        for result in batch.checks() {
            key.clear();
            key.push(CHECK_KEY);
            key.extend_from_slice(result.key);
            let Some(id) = self.store.lookup(service, &key, || whole(result.labels())) else { continue };
            let taken = check_ahead(result.time_ms, latest_ms)
                .and_then(|()| self.store.take(id, result.time_ms, f64::from(result.status), now_ms));
            if taken.is_ok() {
                self.counters.accepted += 1;
                // Its series says of which service it is: a check may carry the label itself.
                let service = self.store.labels(id).get(&self.live.service_label);
                let (host, check) = (result.host, result.check);
                self.outputs.put(service, host, check, result.output, result.time_ms);
            }
            self.counters.note(taken);
        }
        let refused = self.store.judge(now_ms);
        self.counters.note_collisions(refused);
    }
}
