//! What a snapshot costs the apply loop, and what it takes to encode and to restore one. In memory: no store, no zstd.

use super::load;
use super::state::{Round, State};
use crate::machine::snapshot::{Capture, Restore, SnapshotFault};
use crate::machine::{Machine, Options};
use crate::shell::{clock, thread};
use std::time::Duration;

/// One run.
#[derive(Debug)]
pub struct Costs {
    /// Series in the state.
    pub series: usize,
    /// A round before the capture.
    pub before: Round,
    /// `Machine::capture`.
    pub capture: Duration,
    /// The round after it, while another thread encodes: its steps copy the pages that they write to.
    pub after: Round,
    /// The encoder's time beside that round.
    pub encode_beside: Duration,
    /// Encoding with the machine at rest.
    pub encode: Duration,
    /// `Machine::digest`: the same, hashed.
    pub digest: Duration,
    /// Raw bytes of all parts.
    pub bytes: u64,
    /// How many parts.
    pub parts: usize,
    /// From the first part to a machine.
    pub restore: Duration,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum CostsFault {
    /// The operating system gave no thread.
    #[error("no thread for the encoder: {0}")]
    Thread(#[from] std::io::Error),
    /// The encoder's thread panicked.
    #[error("the encoder stopped in the middle: this is a bug, please report it")]
    Encoder,
    /// A snapshot that its own machine does not take.
    #[error("the snapshot is refused by the program that made it: {0}")]
    Refused(#[from] SnapshotFault),
    /// The restored machine is another.
    #[error("the restored machine has another digest: this is a bug, please report it")]
    Differs,
}

impl CostsFault {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Thread(_) => "system",
            Self::Encoder => "bench_encoder",
            Self::Refused(fault) => fault.code(),
            Self::Differs => "bench_differs",
        }
    }

    /// Only for want of a thread.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Thread(_) => true,
            Self::Encoder | Self::Refused(_) | Self::Differs => false,
        }
    }
}

fn timed<T>(what: impl FnOnce() -> T) -> (Duration, T) {
    let began = clock::monotonic();
    let value = what();
    (clock::monotonic().saturating_sub(began), value)
}

/// Makes a state, and measures.
pub fn measure(series: usize, rounds: usize, scattered: bool) -> Result<Costs, CostsFault> {
    let options = Options {
        partition: 0,
        keyring: load::signer().keyring(),
        hash_key: 7,
        producer_time: false,
        snapshot_interval_ms: 0,
    };
    let mut state = State::new(options.clone(), series, rounds, scattered);
    let before = state.round();
    let (capture, captured) = timed(|| state.machine.capture());
    let encoder = thread::spawn("bench-encoder", move || timed(|| encoded(&captured)).0)?;
    let after = state.round();
    let encode_beside = encoder.join().map_err(|_| CostsFault::Encoder)?;
    let (digest, expected) = timed(|| state.machine.digest());
    let captured = state.machine.capture();
    let (encode, parts) = timed(|| encoded(&captured));
    drop((captured, state.machine));
    let bytes = parts.iter().map(|part| part.len() as u64).sum();
    let (restore, machine) = timed(|| restored(options, bytes, &parts));
    let machine = machine?;
    if machine.digest() != expected {
        return Err(CostsFault::Differs);
    }
    let series = machine.summary().series;
    let parts = parts.len();
    Ok(Costs { series, before, capture, after, encode_beside, encode, digest, bytes, parts, restore })
}

fn encoded(capture: &Capture) -> Vec<Vec<u8>> {
    capture.parts().collect()
}

fn restored(options: Options, bytes: u64, parts: &[Vec<u8>]) -> Result<Machine, SnapshotFault> {
    let mut restore = Restore::new(options, bytes);
    parts.iter().try_for_each(|part| restore.part(part))?;
    restore.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_are_captured_beside_the_apply_loop_and_restored() {
        for scattered in [false, true] {
            let costs = measure(3_000, 2, scattered).expect("a small run");
            assert_eq!(costs.series, 3_000, "{scattered}");
            assert!(costs.bytes > 3_000 * 20 && costs.parts == 1, "{costs:?}");
        }
    }
}
