//! One snapshot to the store: written, or co-signed where another worker has written it.

use super::{Site, pack, read};
use crate::machine::snapshot::Capture;
use crate::shell::clock;
use crate::shell::store::{Put, Store, StoreError};
use crate::wire::manifest::{
    Cosign, FORMAT_VERSION, MANIFEST_NAME, Manifest, ManifestFault, PARTS_MAX, folder,
};
use thiserror::Error;

/// What became of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored, verified, under this worker's name.
    Written {
        /// Bytes of its parts, as stored.
        stored_bytes: u64,
        /// Bytes of its parts, uncompressed.
        raw_bytes: u64,
    },
    /// Another worker had written it, with the same digest: this worker has signed.
    Cosigned {
        /// Who had written it.
        worker: String,
    },
    /// Another worker had written it, with another digest: this worker has said so beside it.
    Disputed {
        /// Who had written it.
        worker: String,
        /// Its digest.
        theirs: [u8; 32],
        /// This worker's.
        ours: [u8; 32],
    },
}

/// Why a capture was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WriteFault {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was read back is not what was written.
    #[error("{key} was written, and other bytes are read back")]
    ReadBack {
        /// Its name.
        key: String,
    },
    /// Damaged bytes are in the way: names are never written twice.
    #[error("{key} exists and is damaged ({why}); the next snapshot has another name")]
    InTheWay {
        /// Its name.
        key: String,
        /// In what way.
        why: String,
    },
    /// The state cannot be packed.
    #[error("the state cannot be packed: {0}")]
    Pack(#[from] pack::PartFault),
    /// More parts than a manifest may name.
    #[error("the state has more than {PARTS_MAX} parts")]
    TooManyParts,
    /// The worker is stopping.
    #[error("given up: the worker stops")]
    Stopping,
}

impl WriteFault {
    /// Whether the same capture may be stored later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(fault) => fault.is_retryable(),
            Self::ReadBack { .. } => true,
            Self::InTheWay { .. } | Self::Pack(_) | Self::TooManyParts | Self::Stopping => false,
        }
    }
}

/// Folder of the snapshot that a capture makes.
#[must_use]
pub fn folder_of(site: &Site, capture: &Capture) -> String {
    let head = capture.head();
    site.folder(&folder(head.seq, head.next_offset))
}

/// The manifest that another worker has written for the same cut, if one has.
pub fn find(store: &Store, site: &Site, capture: &Capture) -> Result<Option<Manifest>, WriteFault> {
    let key = format!("{}/{MANIFEST_NAME}", folder_of(site, capture));
    match read::small(store, &key).and_then(|bytes| Manifest::read(&bytes)) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(ManifestFault::Missing) => Ok(None),
        Err(ManifestFault::Unavailable(why)) => {
            let url = store.url().to_owned();
            Err(StoreError::Unavailable { url, doing: format!("the read of {key}"), attempts: 1, why }.into())
        }
        Err(fault) => Err(WriteFault::InTheWay { key, why: fault.to_string() }),
    }
}

/// Writes a snapshot: each part read back as it is stored, the manifest last. Where another worker was faster, signs its.
pub fn write(
    store: &Store,
    site: &Site,
    capture: &Capture,
    may_go_on: &dyn Fn() -> bool,
) -> Result<Outcome, WriteFault> {
    if let Some(manifest) = find(store, site, capture)?.filter(|manifest| manifest.worker != site.worker) {
        return cosign(store, site, capture, &manifest);
    }
    let head = capture.head();
    let folder = folder_of(site, capture);
    let (mut parts, mut whole) = (Vec::new(), blake3::Hasher::new());
    for raw in capture.parts() {
        if !may_go_on() {
            return Err(WriteFault::Stopping);
        }
        if parts.len() == PARTS_MAX {
            return Err(WriteFault::TooManyParts);
        }
        whole.update(&raw);
        let (stored, part) = pack::pack(&raw)?;
        let key = format!("{folder}/{}", part.name(parts.len()));
        match store.put(&key, &stored)? {
            Put::Stored => check(store, &key, &stored)?,
            // Compared just now.
            Put::Same => {}
            Put::Other(_) => {
                let why = "its name says other bytes than it holds".to_owned();
                return Err(WriteFault::InTheWay { key, why });
            }
        }
        parts.push(part);
    }
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        cluster: site.own.cluster.clone(),
        topic: site.topic.clone(),
        topic_id: site.own.topic_id.clone(),
        partition: site.own.partition,
        partition_count: site.own.partition_count,
        next_offset: head.next_offset,
        seq: head.seq,
        running_hash: head.running_hash,
        clock_ms: head.clock_ms.unwrap_or(0),
        rule_set_version: head.rule_set_version,
        engine_version: head.engine_version,
        state_format: i32::from(head.format_version),
        digest: whole.finalize().into(),
        raw_bytes: parts.iter().map(|part| part.raw_bytes).sum(),
        stored_bytes: parts.iter().map(|part| part.stored_bytes).sum(),
        parts,
        worker: site.worker.clone(),
        zone: site.zone.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        written_ms: clock::wall_ms(),
    };
    seal(store, site, capture, &folder, &manifest)
}

/// Puts the manifest, unless another worker's is there by now.
fn seal(
    store: &Store,
    site: &Site,
    capture: &Capture,
    folder: &str,
    manifest: &Manifest,
) -> Result<Outcome, WriteFault> {
    let key = format!("{folder}/{MANIFEST_NAME}");
    let bytes = manifest.encode();
    let (stored_bytes, raw_bytes) = (manifest.stored_bytes, manifest.raw_bytes);
    let there = match store.put(&key, &bytes)? {
        Put::Stored => {
            check(store, &key, &bytes)?;
            return Ok(Outcome::Written { stored_bytes, raw_bytes });
        }
        Put::Same => return Ok(Outcome::Written { stored_bytes, raw_bytes }),
        Put::Other(there) => there,
    };
    let in_the_way = |why: String| WriteFault::InTheWay { key: key.clone(), why };
    let there = match there {
        Some(there) => there,
        None => read::small(store, &key).map_err(|fault| in_the_way(fault.to_string()))?,
    };
    let there = Manifest::read(&there).map_err(|fault| in_the_way(fault.to_string()))?;
    if there.worker == site.worker && there.digest == manifest.digest {
        // Our own, of an attempt whose answer was lost, or from before a restart.
        return Ok(Outcome::Written { stored_bytes, raw_bytes });
    }
    sign(store, site, capture, &there, manifest.digest)
}

/// Compares with the manifest of another worker, and says beside it what this one has.
pub fn cosign(
    store: &Store,
    site: &Site,
    capture: &Capture,
    manifest: &Manifest,
) -> Result<Outcome, WriteFault> {
    sign(store, site, capture, manifest, capture.digest())
}

fn sign(
    store: &Store,
    site: &Site,
    capture: &Capture,
    manifest: &Manifest,
    digest: [u8; 32],
) -> Result<Outcome, WriteFault> {
    let head = capture.head();
    let cosign = Cosign {
        partition: head.partition,
        next_offset: head.next_offset,
        seq: head.seq,
        running_hash: head.running_hash,
        digest,
        worker: site.worker.clone(),
        zone: site.zone.clone(),
        written_ms: clock::wall_ms(),
    };
    let key = format!("{}/{}", folder_of(site, capture), Cosign::name(&site.worker));
    let bytes = cosign.encode();
    match store.put(&key, &bytes)? {
        Put::Stored => check(store, &key, &bytes)?,
        Put::Same => {}
        Put::Other(there) => {
            // Our own of an earlier run says the same at another time; anything else is in the way.
            let earlier = there.and_then(|bytes| Cosign::read(&bytes).ok());
            if !earlier.is_some_and(|earlier| earlier.worker == cosign.worker && earlier.digest == digest) {
                let why = "it is not what this worker signs".to_owned();
                return Err(WriteFault::InTheWay { key, why });
            }
        }
    }
    let worker = manifest.worker.clone();
    if manifest.digest == digest {
        Ok(Outcome::Cosigned { worker })
    } else {
        Ok(Outcome::Disputed { worker, theirs: manifest.digest, ours: digest })
    }
}

/// Reads back what was just written.
fn check(store: &Store, key: &str, bytes: &[u8]) -> Result<(), WriteFault> {
    match store.get(key, bytes.len() as u64) {
        Ok(found) if found == bytes => Ok(()),
        Ok(_) | Err(StoreError::TooLong { .. } | StoreError::NotFound { .. }) => {
            Err(WriteFault::ReadBack { key: key.to_owned() })
        }
        Err(fault) => Err(fault.into()),
    }
}
