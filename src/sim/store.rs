//! A store of snapshots: real bytes of real captures, a manifest that comes last and is put once, co-signatures, and what
//! a store does wrong: a put that fails, a byte that flips.
//!
//! Writing and restoring follow `shell/snapshot/` and `shell/worker/begin.rs`: what is restored is `replica::choice`'s to say.

use super::fault::Moment;
use super::oracle;
use super::story::{Fact, Who};
use super::world::{What, World};
use crate::machine::Machine;
use crate::machine::snapshot::{self, Capture, Restore};
use crate::replica::choice::{self, Candidate, Facts, Otherwise, Own};
use crate::wire::manifest::{Cosign, FORMAT_VERSION, Manifest, Part};

/// Log time between two snapshots, milliseconds.
pub(super) const INTERVAL_MS: i64 = 8_000;

/// One snapshot: its objects.
#[derive(Debug)]
pub(super) struct Stored {
    manifest: Manifest,
    parts: Vec<Vec<u8>>,
    cosigns: Vec<Cosign>,
}

impl Stored {
    fn is_whole(&self) -> bool {
        let declared = self.manifest.parts.iter().map(|part| part.stored_hash);
        self.parts.iter().map(|part| *blake3::hash(part).as_bytes()).eq(declared)
    }
}

/// The snapshots of every partition, in the order in which they were finished.
#[derive(Debug, Default)]
pub(super) struct Store {
    snapshots: Vec<Vec<Stored>>,
    /// So many puts fail from here on.
    pub(super) failing: u64,
}

impl Store {
    pub(super) fn new(partitions: usize) -> Self {
        Self { snapshots: (0..partitions).map(|_| Vec::new()).collect(), failing: 0 }
    }

    /// Where the log of a partition must begin at the latest: at the newest snapshot but the last that is whole and not
    /// past `out_seq`. (The last may yet be damaged.)
    pub(super) fn reach(&self, p: usize, out_seq: i64) -> Option<i64> {
        let (_, older) = self.snapshots[p].split_last()?;
        let usable = older.iter().filter(|stored| stored.manifest.seq <= out_seq && stored.is_whole());
        usable.map(|stored| stored.manifest.next_offset).max()
    }

    /// A bit of the newest snapshot of a partition flips.
    pub(super) fn flip(&mut self, p: usize, detail: u64) {
        let part = self.snapshots[p].last_mut().and_then(|stored| stored.parts.first_mut());
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            let at = usize::try_from(detail % part.len() as u64).unwrap_or_default();
            part[at] ^= 1 << ((detail >> 32) % 8);
        }
    }
}

/// Where a partition of a worker begins.
pub(super) struct Beginning {
    pub(super) machine: Machine,
    pub(super) next: i64,
    pub(super) derived: (i64, [u8; 32]),
}

impl World {
    fn own(&self, p: usize, engine_version: i32) -> Own {
        Own {
            cluster: "sim".to_owned(),
            topic_id: "observations-1".to_owned(),
            partition: i32::try_from(p).unwrap_or_default(),
            partition_count: i32::try_from(self.plan.partitions).unwrap_or(1),
            engine_version,
            state_format: i32::from(snapshot::FORMAT_VERSION),
        }
    }

    /// A worker has cut: the writer's thread encodes and puts, and is done after a while if the process still lives.
    pub(super) fn write_snapshot(&mut self, worker: usize, p: usize, capture: &Capture) {
        let engine = self.workers[worker].engine();
        let (own, head) = (self.own(p, engine), capture.head());
        let mut hasher = blake3::Hasher::new();
        let raw: Vec<Vec<u8>> = capture.parts().collect();
        raw.iter().for_each(|part| _ = hasher.update(part));
        let parts: Vec<Part> = raw
            .iter()
            .map(|part| {
                let (bytes, hash) = (part.len() as u64, *blake3::hash(part).as_bytes());
                Part { raw_bytes: bytes, stored_bytes: bytes, raw_hash: hash, stored_hash: hash }
            })
            .collect();
        let raw_bytes = parts.iter().map(|part| part.raw_bytes).sum();
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            cluster: own.cluster,
            topic: "observations".to_owned(),
            topic_id: own.topic_id,
            partition: own.partition,
            partition_count: own.partition_count,
            next_offset: head.next_offset,
            seq: head.seq,
            running_hash: head.running_hash,
            clock_ms: head.clock_ms.unwrap_or(0),
            rule_set_version: head.rule_set_version,
            engine_version: engine,
            state_format: own.state_format,
            digest: *hasher.finalize().as_bytes(),
            raw_bytes,
            stored_bytes: raw_bytes,
            parts,
            worker: super::worker::name(worker),
            zone: format!("zone-{worker}"),
            version: String::new(),
            written_ms: self.now_ms,
        };
        let in_ms = self.random.between(5, 400);
        let stored = Stored { manifest, parts: raw, cosigns: Vec::new() };
        self.to(worker, p, in_ms, What::Put(Box::new(stored)));
    }

    /// The manifest's put: the first makes the snapshot, the second signs it with its own digest.
    pub(super) fn put_snapshot(&mut self, worker: usize, p: usize, stored: Stored) {
        if self.store.failing > 0 {
            self.store.failing -= 1;
            return;
        }
        let ours = &stored.manifest;
        let (seq, offset) = (ours.seq, ours.next_offset);
        let same = |other: &&mut Stored| {
            other.manifest.folder() == ours.folder() && other.manifest.engine_version == ours.engine_version
        };
        let Some(first) = self.store.snapshots[p].iter_mut().find(same) else {
            self.store.snapshots[p].push(stored);
            self.tell(Who::Worker(worker), &Fact::Snapshot { p, seq, offset });
            if seq > self.oracles[p].score().1 {
                self.moment(worker, p, Moment::PastMarker);
            }
            return;
        };
        let differs = first.manifest.digest != ours.digest;
        if first.manifest.worker != ours.worker {
            first.cosigns.push(Cosign {
                partition: ours.partition,
                next_offset: offset,
                seq,
                running_hash: ours.running_hash,
                digest: ours.digest,
                worker: ours.worker.clone(),
                zone: ours.zone.clone(),
                written_ms: ours.written_ms,
            });
        }
        if differs {
            self.judge(Err(format!("I3: two snapshots of partition {p} at offset {offset} differ")));
        }
    }

    /// What a worker restores, or the log's beginning.
    pub(super) fn begin(&mut self, worker: usize, p: usize) -> Beginning {
        let own = self.own(p, self.workers[worker].engine());
        let log = &self.kafka.observations[p];
        let facts = Facts { low: log.low, high: log.high, marker: self.kafka.alerts[p].tail() };
        let candidates: Vec<Candidate> = self.store.snapshots[p]
            .iter()
            .map(|stored| Candidate {
                folder: stored.manifest.folder(),
                manifest: Ok(stored.manifest.clone()),
                cosigns: stored.cosigns.clone(),
                unreadable_cosigns: 0,
            })
            .collect();
        let choice = choice::choose(&own, &facts, &candidates);
        for usable in &choice.usable {
            if let Some(beginning) = self.restore(p, &usable.manifest) {
                let (seq, offset) = (beginning.derived.0, beginning.next);
                self.tell(Who::Worker(worker), &Fact::Restored { p, seq, offset });
                return beginning;
            }
        }
        match choice.otherwise {
            Otherwise::WholeLog | Otherwise::NewInstallation { .. } => {}
            Otherwise::Stop(stop) => self.judge(Err(format!("a snapshot reaches the log, and yet: {stop}"))),
        }
        let machine = Machine::new(oracle::options(p, &self.keyring));
        Beginning { machine, next: facts.low, derived: (0, [0; 32]) }
    }

    fn restore(&self, p: usize, manifest: &Manifest) -> Option<Beginning> {
        let stored = self.store.snapshots[p].iter().find(|stored| stored.manifest == *manifest)?;
        if !stored.is_whole() {
            return None;
        }
        let mut restore = Restore::new(oracle::options(p, &self.keyring), manifest.raw_bytes);
        stored.parts.iter().try_for_each(|part| restore.part(part)).ok()?;
        let head = restore.head();
        let machine = restore.finish().ok()?;
        Some(Beginning { machine, next: head.next_offset, derived: (head.seq, head.running_hash) })
    }
}
