//! From the store to a machine: the candidates of a partition, and one of them fetched, verified and taken in.
//!
//! Several threads fetch, check and decompress; the caller takes the parts in their order, so at most two parts a thread
//! are in memory, whatever the snapshot's length.

use super::{Site, pack};
use crate::machine::snapshot::Restore;
use crate::machine::{Machine, Options};
use crate::replica::choice::{Candidate, Refusal, Usable};
use crate::shell::store::{Listed, Store, StoreError};
use crate::shell::{clock, thread};
use crate::wire::manifest::{
    Cosign, MANIFEST_BYTES_MAX, MANIFEST_NAME, Manifest, ManifestFault, Part, read_folder,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Threads that fetch the parts of one snapshot.
const FETCHERS: usize = 4;
/// Snapshots of a listing whose manifests are read, the newest: retention keeps far fewer.
const CANDIDATES_MAX: usize = 64;
/// Co-signatures of a snapshot that are read.
const COSIGNS_MAX: usize = 16;

/// The objects of one snapshot, as the store lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    /// Their names within the folder, in order, and lengths.
    pub names: BTreeMap<String, u64>,
}

/// Groups a listing by snapshots. What is none of theirs is left out.
#[must_use]
pub fn folders(listed: &[Listed]) -> BTreeMap<String, Objects> {
    let mut folders: BTreeMap<String, Objects> = BTreeMap::new();
    for Listed { key, bytes } in listed {
        let Some((folder, name)) = key.rsplit_once('/') else { continue };
        let is_snapshot = folder.rsplit('/').next().and_then(read_folder).is_some();
        if is_snapshot {
            folders.entry(folder.to_owned()).or_default().names.insert(name.to_owned(), *bytes);
        }
    }
    folders
}

/// The newest snapshots of a partition, whatever their state. One object that cannot be had spoils its own snapshot and
/// no other; an error means that the store cannot be listed.
pub fn candidates(store: &Store, site: &Site) -> Result<Vec<Candidate>, StoreError> {
    let mut folders: Vec<(String, Objects)> = folders(&store.list(&site.prefix())?).into_iter().collect();
    folders.sort_by_key(|(folder, _)| folder.rsplit('/').next().and_then(read_folder));
    let newest = folders.split_off(folders.len().saturating_sub(CANDIDATES_MAX));
    Ok(newest.into_iter().map(|(folder, objects)| candidate(store, folder, &objects)).collect())
}

/// One snapshot's manifest and co-signatures.
#[must_use]
pub fn candidate(store: &Store, folder: String, objects: &Objects) -> Candidate {
    let manifest = if objects.names.contains_key(MANIFEST_NAME) {
        small(store, &format!("{folder}/{MANIFEST_NAME}")).and_then(|bytes| Manifest::read(&bytes))
    } else {
        Err(ManifestFault::Missing)
    };
    let (mut cosigns, mut unreadable_cosigns) = (Vec::new(), 0);
    for name in objects.names.keys().filter(|name| Cosign::is_name(name)).take(COSIGNS_MAX) {
        let read = small(store, &format!("{folder}/{name}")).and_then(|bytes| Cosign::read(&bytes));
        match read {
            // Signed under its own name, or it vouches for nobody.
            Ok(cosign) if Cosign::name(&cosign.worker) == *name => cosigns.push(cosign),
            Ok(_) | Err(_) => unreadable_cosigns += 1,
        }
    }
    Candidate { folder, manifest, cosigns, unreadable_cosigns }
}

/// Reads a manifest or a co-signature.
pub(super) fn small(store: &Store, key: &str) -> Result<Vec<u8>, ManifestFault> {
    store.get(key, MANIFEST_BYTES_MAX as u64).map_err(|fault| match fault {
        StoreError::NotFound { .. } => ManifestFault::Missing,
        StoreError::TooLong { .. } => ManifestFault::TooLong { bytes: MANIFEST_BYTES_MAX },
        StoreError::Url { .. }
        | StoreError::Unavailable { .. }
        | StoreError::Refused { .. }
        | StoreError::Overwrites { .. }
        | StoreError::TooMany { .. }
        | StoreError::System { .. } => ManifestFault::Unavailable(fault.to_string()),
    })
}

/// What a fetch took. Times of the fetching threads are added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// From the first request to the last part taken in.
    pub total: Duration,
    /// Waiting for the store, all threads.
    pub download: Duration,
    /// Hashing and decompressing, all threads.
    pub unpack: Duration,
    /// The caller's wait for the next part.
    pub wait: Duration,
    /// Hashing the whole.
    pub hash: Duration,
    /// Taking parts in.
    pub take: Duration,
    /// Bytes fetched.
    pub stored_bytes: u64,
    /// Bytes decompressed.
    pub raw_bytes: u64,
}

struct Fetched {
    raw: Result<Vec<u8>, Refusal>,
    download: Duration,
    unpack: Duration,
}

/// Fetches a snapshot and gives its parts to `take`, in order, each verified; at the end the whole is verified.
pub fn fetch(
    store: &Arc<Store>,
    usable: &Usable,
    mut take: impl FnMut(&[u8]) -> Result<(), Refusal>,
) -> Result<Spent, Refusal> {
    let began = clock::monotonic();
    let parts: Arc<[Part]> = Arc::from(usable.manifest.parts.as_slice());
    let lanes = spawn(store, &usable.folder, &parts)?;
    let mut spent = Spent { stored_bytes: usable.manifest.stored_bytes, ..Spent::default() };
    let mut whole = blake3::Hasher::new();
    for at in 0..parts.len() {
        let before = clock::monotonic();
        let lane = lanes.get(at % lanes.len().max(1));
        let Some(fetched) = lane.and_then(|lane| lane.recv().ok()) else {
            let name = format!("{}/{}", usable.folder, parts[at].name(at));
            return Err(Refusal::Unavailable { name, why: "its fetching thread has ended".to_owned() });
        };
        let came = clock::monotonic();
        let raw = fetched.raw?;
        whole.update(&raw);
        let hashed = clock::monotonic();
        take(&raw)?;
        spent.wait += came.saturating_sub(before);
        spent.hash += hashed.saturating_sub(came);
        spent.take += clock::monotonic().saturating_sub(hashed);
        spent.download += fetched.download;
        spent.unpack += fetched.unpack;
        spent.raw_bytes += raw.len() as u64;
    }
    if whole.finalize() != usable.manifest.digest {
        let why = "its parts do not add up to the digest that the manifest says".to_owned();
        return Err(Refusal::Damaged { name: usable.folder.clone(), why });
    }
    spent.total = clock::monotonic().saturating_sub(began);
    Ok(spent)
}

/// One channel a thread; thread *k* of *n* has the parts *k*, *k + n*, … in order.
fn spawn(store: &Arc<Store>, folder: &str, parts: &Arc<[Part]>) -> Result<Vec<Receiver<Fetched>>, Refusal> {
    let count = FETCHERS.min(parts.len());
    let mut lanes = Vec::with_capacity(count);
    for first in 0..count {
        let (sender, receiver) = sync_channel(1);
        let (store, folder, parts) = (Arc::clone(store), folder.to_owned(), Arc::clone(parts));
        let body = move || {
            for (at, part) in parts.iter().enumerate().skip(first).step_by(count) {
                let fetched = fetch_part(&store, &folder, at, part);
                let failed = fetched.raw.is_err();
                // Nobody listens any more where another part was bad.
                if sender.send(fetched).is_err() || failed {
                    return;
                }
            }
        };
        thread::spawn(format!("fetch-{first}"), body).map_err(|fault| Refusal::Unavailable {
            name: "a thread to fetch with".to_owned(),
            why: fault.to_string(),
        })?;
        lanes.push(receiver);
    }
    Ok(lanes)
}

fn fetch_part(store: &Store, folder: &str, at: usize, part: &Part) -> Fetched {
    let before = clock::monotonic();
    let key = format!("{folder}/{}", part.name(at));
    let stored = store.get(&key, part.stored_bytes).map_err(|fault| refused(&key, &fault));
    let got = clock::monotonic();
    let raw = stored.and_then(|stored| {
        pack::unpack(&stored, part).map_err(|fault| Refusal::Damaged { name: key, why: fault.to_string() })
    });
    let download = got.saturating_sub(before);
    Fetched { raw, download, unpack: clock::monotonic().saturating_sub(got) }
}

fn refused(key: &str, fault: &StoreError) -> Refusal {
    let name = key.to_owned();
    match fault {
        StoreError::NotFound { .. } => Refusal::Missing { name },
        StoreError::TooLong { .. } => Refusal::Damaged { name, why: fault.to_string() },
        StoreError::Url { .. }
        | StoreError::Unavailable { .. }
        | StoreError::Refused { .. }
        | StoreError::Overwrites { .. }
        | StoreError::TooMany { .. }
        | StoreError::System { .. } => Refusal::Unavailable { name, why: fault.to_string() },
    }
}

/// Fetches a snapshot and makes its machine.
pub fn restore(store: &Arc<Store>, usable: &Usable, options: Options) -> Result<(Machine, Spent), Refusal> {
    let manifest = &usable.manifest;
    let mut restore = Restore::new(options, manifest.raw_bytes);
    let state = |fault: crate::machine::snapshot::SnapshotFault| Refusal::State(fault.to_string());
    let mut spent = fetch(store, usable, |part| restore.part(part).map_err(state))?;
    let before = clock::monotonic();
    let machine = restore.finish().map_err(state)?;
    let took = clock::monotonic().saturating_sub(before);
    spent.take += took;
    spent.total += took;
    let head = machine.head();
    let found = (head.partition, head.next_offset, head.seq, head.running_hash, head.rule_set_version);
    let wanted = (
        manifest.partition,
        manifest.next_offset,
        manifest.seq,
        manifest.running_hash,
        manifest.rule_set_version,
    );
    if found != wanted {
        let why = format!("its state is at offset {} and seq {}", head.next_offset, head.seq);
        return Err(Refusal::Damaged { name: usable.folder.clone(), why });
    }
    Ok((machine, spent))
}
