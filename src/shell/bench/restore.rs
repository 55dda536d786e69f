//! How fast a state of many series comes back from the snapshot store: written once, restored a few times, each pass
//! compared with the machine that it was taken of.

use super::load::{self, ROUND_MS, SERVICE_SERIES, START_MS, Shape};
use crate::config::Config;
use crate::machine::{Event, Machine, Options, Position};
use crate::replica::choice::{Refusal, Usable};
use crate::shell::clock;
use crate::shell::snapshot::Site;
use crate::shell::snapshot::read::{self, Spent};
use crate::shell::snapshot::write::{self, WriteFault};
use crate::shell::store::{Patience, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Why there is no figure.
#[derive(Debug, Error)]
pub enum RestoreBenchError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state could not be written.
    #[error(transparent)]
    Write(#[from] WriteFault),
    /// The state could not be restored.
    #[error("what was just written is refused: {0}")]
    Refused(#[from] Refusal),
    /// What was restored is not what was written.
    #[error("the restored state has another digest than the one that was written: a fault of Bellwether")]
    Digest,
}

impl RestoreBenchError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(fault) => fault.code(),
            Self::Write(_) => "bench_write",
            Self::Refused(why) => why.code(),
            Self::Digest => "bench_digest",
        }
    }

    /// Whether the same bench may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(fault) => fault.is_retryable(),
            Self::Write(fault) => fault.is_retryable(),
            Self::Refused(_) | Self::Digest => false,
        }
    }
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Series held.
    pub series: usize,
    /// Parts of the snapshot.
    pub parts: usize,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// Bytes as stored.
    pub stored_bytes: u64,
    /// How long the capture held the machine.
    pub capture: Duration,
    /// From the capture to the manifest: encoded, compressed, stored, read back.
    pub write: Duration,
    /// Each restore.
    pub passes: Vec<Spent>,
}

impl Measured {
    /// The stage that the pass of median length spent most of its time on, as the taking thread sees it.
    #[must_use]
    pub fn bound(&self) -> &'static str {
        let spent = self.median();
        if spent.wait >= spent.take.max(spent.hash) {
            if spent.download >= spent.unpack { "download" } else { "decompressing and hashing parts" }
        } else if spent.take >= spent.hash {
            "decoding and indexing"
        } else {
            "hashing the whole"
        }
    }

    /// The pass of median length.
    #[must_use]
    pub fn median(&self) -> Spent {
        let mut passes = self.passes.clone();
        passes.sort_by_key(|spent| spent.total);
        passes.get(passes.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    }

    /// The longest pass.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.passes.iter().map(|spent| spent.total).max().unwrap_or_default()
    }
}

/// Measures it, in a place of its own in the configured store, which is emptied at the end.
pub fn measure(
    config: &Config,
    series: usize,
    rounds: usize,
    passes: usize,
) -> Result<Measured, RestoreBenchError> {
    let url = config.snapshots.url.clone();
    let nowhere = StoreError::Url { url, why: "so there is nothing to restore from" };
    let store = Arc::new(Store::open(&config.snapshots, Patience::default())?.ok_or(nowhere)?);
    let cluster = format!("{}.bench-{}", config.cluster, clock::wall_ms());
    let site = Site::new(&Config { cluster, ..config.clone() }, "bench", "", 0, 1);
    let measured = in_place(&store, &site, series, rounds, passes);
    for object in store.list(&site.prefix())? {
        store.delete(&object.key)?;
    }
    measured
}

fn in_place(
    store: &Arc<Store>,
    site: &Site,
    series: usize,
    rounds: usize,
    passes: usize,
) -> Result<Measured, RestoreBenchError> {
    let options = Options {
        partition: 0,
        keyring: load::signer().keyring(),
        hash_key: 7,
        producer_time: true,
        snapshot_interval_ms: 0,
    };
    let mut machine = machine(options.clone(), series, rounds);
    let series = machine.summary().series;
    let before = clock::monotonic();
    let capture = machine.capture();
    let captured = clock::monotonic();
    write::write(store, site, &capture, &|| true)?;
    let written = clock::monotonic();
    drop((capture, machine));
    let candidates = read::candidates(store, site)?;
    let (folder, manifest) = candidates
        .into_iter()
        .find_map(|candidate| Some((candidate.folder, candidate.manifest.ok()?)))
        .ok_or_else(|| Refusal::Missing { name: site.prefix() })?;
    let (parts, raw_bytes, stored_bytes) = (manifest.parts.len(), manifest.raw_bytes, manifest.stored_bytes);
    let usable = Usable { folder, manifest, cosigned: false };
    let mut all = Vec::new();
    for pass in 0..passes.max(1) {
        let (machine, spent) = read::restore(store, &usable, options.clone())?;
        // Once is enough: it takes as long as the restore.
        if pass == 0 && machine.digest() != usable.manifest.digest {
            return Err(RestoreBenchError::Digest);
        }
        all.push(spent);
    }
    Ok(Measured {
        series,
        parts,
        raw_bytes,
        stored_bytes,
        capture: captured.saturating_sub(before),
        write: written.saturating_sub(captured),
        passes: all,
    })
}

/// A machine with the bench's ten rules over `series` series, after `rounds` rounds of samples.
fn machine(options: Options, series: usize, rounds: usize) -> Machine {
    let mut machine = Machine::new(options);
    let mut actions = Vec::new();
    let mut offset = 0;
    let mut step = |value: &[u8], append_ms: i64| {
        let position = Position { offset, append_ms, log_append: true };
        machine.step(Event::read(position, Some(value)), &mut actions);
        actions.clear();
        offset += 1;
    };
    step(&load::rules(), START_MS);
    for round in 0..rounds {
        let time_ms = START_MS + 1 + i64::try_from(round).unwrap_or(i64::MAX / ROUND_MS) * ROUND_MS;
        for service in 0..series.div_ceil(SERVICE_SERIES) {
            // The bench's own samples are within every bound.
            let values = load::records(Shape::Batches, service, round, time_ms).unwrap_or_default();
            values.iter().for_each(|value| step(value, time_ms));
        }
    }
    machine
}
