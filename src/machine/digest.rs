//! The canonical logical state as bytes: what two machines that read the same log must agree on. Memory layout,
//! capacities, memos and what is not emitted yet are no part of it (H29).

use super::alert::Alert;
use super::{ENGINE_VERSION, Machine};
use crate::wire::{AlertState, Labels};

/// A text behind its length.
pub(super) fn hash_text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

fn hash_labels(hasher: &mut blake3::Hasher, labels: &Labels) {
    hasher.update(&(labels.len() as u64).to_le_bytes());
    for (name, value) in labels.iter() {
        hash_text(hasher, name);
        hash_text(hasher, value);
    }
}

/// A number, all NaNs alike.
fn hash_number(hasher: &mut blake3::Hasher, value: f64) {
    let value = if value.is_nan() { f64::NAN } else { value };
    hasher.update(&value.to_bits().to_le_bytes());
}

fn hash_alert(hasher: &mut blake3::Hasher, alert: &Alert) {
    hash_labels(hasher, &alert.labels);
    hash_labels(hasher, &alert.element);
    hash_number(hasher, alert.value);
    let state = match alert.timers.state {
        AlertState::Inactive => 0,
        AlertState::Pending => 1,
        AlertState::Firing => 2,
    };
    hasher.update(&[state, u8::from(alert.timers.kept_since_ms.is_some())]);
    hasher.update(&alert.timers.active_since_ms.to_le_bytes());
    hasher.update(&alert.timers.kept_since_ms.unwrap_or_default().to_le_bytes());
}

impl Machine {
    /// BLAKE3 over the canonical logical state: equal in two machines that were fed the same records. Reads the whole
    /// state, so it is for agreed points of the log and not for each record.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&ENGINE_VERSION.to_le_bytes());
        hasher.update(&self.options.partition.to_le_bytes());
        self.clock.hash_into(&mut hasher);
        let journal = &self.journal;
        for number in [self.next_offset, self.evicted_ms, journal.seq, self.live.version] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&journal.running_hash);
        hasher.update(&self.live.content_hash);
        for group in &self.live.groups {
            hasher.update(&group.grid.next_ms().to_le_bytes());
            for state in &group.states {
                hasher.update(&state.evaluated_ms.unwrap_or(i64::MIN).to_le_bytes());
                hash_text(&mut hasher, state.fault.as_deref().unwrap_or_default());
                hasher.update(&(state.alerts.len() as u64).to_le_bytes());
                for (id, alert) in &state.alerts {
                    hasher.update(&id.0);
                    hash_alert(&mut hasher, alert);
                }
                hasher.update(&(state.written.len() as u64).to_le_bytes());
                state.written.iter().for_each(|labels| hash_labels(&mut hasher, labels));
            }
        }
        self.counters.hash_into(&mut hasher);
        self.outputs.hash_into(&mut hasher);
        self.store.hash_into(&mut hasher);
        hasher.finalize().into()
    }
}
