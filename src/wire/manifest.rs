//! The small objects of a snapshot: the manifest, which is written last and makes the snapshot one, and the
//! co-signatures of the other workers that cut at the same offset.
//!
//! ```text
//!  <prefix>/<cluster>/<topic id>/<partition>/<engine>/<seq>-<offset>/part-00000-<hash>.zst   the state, compressed
//!                                                                   /part-00001-<hash>.zst
//!                                                                   /manifest.json           names and hashes of the parts
//!                                                                   /cosign-<worker>.json    "I have the same digest"
//! ```
//!
//! Each is one line of JSON and a footer line, `blake3 <hex>`, over that line: whichever byte of it flips, reading
//! fails. `seq` and offset are padded with zeros, so that names sort as numbers do. A part's name carries the beginning
//! of its hash: two workers whose bytes differ never meet under one name, and a name that exists holds the same bytes
//! or damaged ones.
//!
//! Reading is total and believes nothing: sizes are bounded, sums must add up, names must be the ones that the rest of
//! the manifest implies. Whether the snapshot is of the right partition, and of use, `replica::choice` decides.

use super::hex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Version of this layout: of the manifest, and of how parts are named and compressed.
pub const FORMAT_VERSION: i32 = 1;
/// Largest manifest or co-signature that is read, bytes.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// Most parts of a snapshot.
pub const PARTS_MAX: usize = 8192;
/// Largest part before compression, bytes.
pub const PART_RAW_BYTES_MAX: u64 = 64 << 20;
/// A part is never more than this many times longer than its compressed form …
pub const RATIO_MAX: u64 = 100;
/// … beyond this length, which a few compressed bytes may well hold.
pub const RATIO_FREE_BYTES: u64 = 64 << 10;
/// Name of the manifest within its snapshot's folder.
pub const MANIFEST_NAME: &str = "manifest.json";

/// One snapshot: of what, where in the log, and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of its writer.
    pub format_version: i32,
    /// Name of the installation.
    pub cluster: String,
    /// Name of the observations topic. For people.
    pub topic: String,
    /// Kafka's id of the observations topic; empty where the broker tells none.
    pub topic_id: String,
    /// Partition of it.
    pub partition: i32,
    /// Partitions of the observations topic then.
    pub partition_count: i32,
    /// Offset of the next record to apply.
    pub next_offset: i64,
    /// `seq` of the last transition derived; 0 if none was.
    pub seq: i64,
    /// Running hash there.
    #[serde(with = "hex")]
    pub running_hash: [u8; 32],
    /// The partition's clock, milliseconds since the epoch.
    pub clock_ms: i64,
    /// Version of the rule set in force; 0 if none.
    pub rule_set_version: i64,
    /// Version of the engine's semantics.
    pub engine_version: i32,
    /// Version of the layout of the state's own bytes.
    pub state_format: i32,
    /// BLAKE3 over all parts, uncompressed, in order: the machine's digest.
    #[serde(with = "hex")]
    pub digest: [u8; 32],
    /// Length of all parts before compression, bytes.
    pub raw_bytes: u64,
    /// Length of all parts as stored, bytes.
    pub stored_bytes: u64,
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// Worker that wrote it.
    pub worker: String,
    /// Its zone.
    pub zone: String,
    /// Its version of Bellwether. For people.
    pub version: String,
    /// Its wall clock, milliseconds since the epoch. For people.
    pub written_ms: i64,
}

/// One part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Length before compression, bytes.
    pub raw_bytes: u64,
    /// Length as stored, bytes.
    pub stored_bytes: u64,
    /// BLAKE3 before compression.
    #[serde(with = "hex")]
    pub raw_hash: [u8; 32],
    /// BLAKE3 as stored.
    #[serde(with = "hex")]
    pub stored_hash: [u8; 32],
}

/// "I cut at the same offset, and this is my digest." Written by each further worker; equal or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cosign {
    /// Partition.
    pub partition: i32,
    /// As the manifest's.
    pub next_offset: i64,
    /// As the manifest's.
    pub seq: i64,
    /// Running hash of this worker there.
    #[serde(with = "hex")]
    pub running_hash: [u8; 32],
    /// Digest of this worker there.
    #[serde(with = "hex")]
    pub digest: [u8; 32],
    /// Who signs.
    pub worker: String,
    /// Its zone.
    pub zone: String,
    /// Its wall clock, milliseconds since the epoch. For people.
    pub written_ms: i64,
}

/// Why a manifest or a co-signature cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestFault {
    /// There is none: its writer has not finished, or never will.
    #[error("it has none: its writer has not finished, or was stopped before")]
    Missing,
    /// The store lists it and does not give it.
    #[error("{0}")]
    Unavailable(String),
    /// Longer than [`MANIFEST_BYTES_MAX`].
    #[error("it is {bytes} bytes, at most {MANIFEST_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The footer is missing, or is none.
    #[error("its footer is missing or is none: it was cut off, padded or damaged")]
    Footer,
    /// The footer's hash is not that of the line above.
    #[error("its bytes do not agree with the hash in its footer")]
    Hash,
    /// Of a later layout than this version of Bellwether knows.
    #[error("it has format version {version}; this version of bellwether reads {FORMAT_VERSION}")]
    Newer {
        /// Its version.
        version: i64,
    },
    /// The line is not the JSON that it should be.
    #[error("it cannot be parsed: {0}")]
    Json(String),
    /// A number that cannot be.
    #[error("{what} is {value}, which cannot be")]
    Value {
        /// Of what.
        what: &'static str,
        /// The value seen.
        value: i128,
    },
}

/// Reads what every layout will have, to tell a newer one from a damaged one.
#[derive(Deserialize)]
struct AnyFormat {
    format_version: i64,
}

fn seal(value: &impl Serialize) -> Vec<u8> {
    // Writing to memory fails for no type here; an empty line would be refused by every reader.
    let mut out = serde_json::to_vec(value).unwrap_or_default();
    let hash = blake3::hash(&out).to_hex();
    out.extend_from_slice(b"\nblake3 ");
    out.extend_from_slice(hash.as_bytes());
    out.push(b'\n');
    out
}

/// The line above the footer, if the footer agrees with it byte by byte.
fn unseal(bytes: &[u8]) -> Result<&[u8], ManifestFault> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(ManifestFault::TooLong { bytes: bytes.len() });
    }
    let footer_at = bytes.iter().position(|byte| *byte == b'\n').ok_or(ManifestFault::Footer)?;
    let (line, footer) = bytes.split_at(footer_at);
    let hex = footer
        .strip_prefix(b"\nblake3 ")
        .and_then(|rest| rest.strip_suffix(b"\n"))
        .filter(|hex| hex.len() == 64)
        .ok_or(ManifestFault::Footer)?;
    // Compared as written: an upper-case digit is a flipped bit.
    if hex == blake3::hash(line).to_hex().as_bytes() { Ok(line) } else { Err(ManifestFault::Hash) }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, ManifestFault> {
    serde_json::from_slice(line).map_err(|fault| ManifestFault::Json(fault.to_string()))
}

fn check(what: &'static str, value: impl Into<i128>, holds: bool) -> Result<(), ManifestFault> {
    if holds { Ok(()) } else { Err(ManifestFault::Value { what, value: value.into() }) }
}

impl Manifest {
    /// As it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(self)
    }

    /// Reads and checks one.
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestFault> {
        let line = unseal(bytes)?;
        let AnyFormat { format_version } = parse(line)?;
        if format_version > i64::from(FORMAT_VERSION) {
            return Err(ManifestFault::Newer { version: format_version });
        }
        let manifest: Self = parse(line)?;
        manifest.validate()?;
        Ok(manifest)
    }

    fn validate(&self) -> Result<(), ManifestFault> {
        check("format_version", self.format_version, self.format_version >= 1)?;
        check("partition", self.partition, self.partition >= 0)?;
        check("next_offset", self.next_offset, self.next_offset >= 0)?;
        check("seq", self.seq, self.seq >= 0)?;
        check("the number of parts", self.parts.len() as i128, (1..=PARTS_MAX).contains(&self.parts.len()))?;
        let (mut raw, mut stored) = (0_u64, 0_u64);
        for part in &self.parts {
            let bound = part.stored_bytes.saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES);
            let most = PART_RAW_BYTES_MAX.min(bound);
            check("the length of a part", part.raw_bytes, (1..=most).contains(&part.raw_bytes))?;
            // zstd adds a few bytes to what it cannot compress.
            let most = PART_RAW_BYTES_MAX + (PART_RAW_BYTES_MAX >> 7);
            check("the stored length of a part", part.stored_bytes, part.stored_bytes <= most)?;
            raw = raw.saturating_add(part.raw_bytes);
            stored = stored.saturating_add(part.stored_bytes);
        }
        check("raw_bytes", self.raw_bytes, self.raw_bytes == raw)?;
        check("stored_bytes", self.stored_bytes, self.stored_bytes == stored)
    }

    /// Name of the folder that holds this snapshot's objects, below the engine's.
    #[must_use]
    pub fn folder(&self) -> String {
        folder(self.seq, self.next_offset)
    }
}

impl Part {
    /// Name of the object that holds this part, the `at`th, within its snapshot's folder.
    #[must_use]
    pub fn name(&self, at: usize) -> String {
        let hash = blake3::Hash::from_bytes(self.stored_hash).to_hex();
        format!("part-{at:05}-{}.zst", &hash[..16])
    }
}

impl Cosign {
    /// As it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        seal(self)
    }

    /// Reads one.
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestFault> {
        parse(unseal(bytes)?)
    }

    /// Name of the object that holds it, within its snapshot's folder. Workers' ids are of letters, digits, `.`, `_` and `-`.
    #[must_use]
    pub fn name(worker: &str) -> String {
        format!("cosign-{worker}.json")
    }

    /// Whether an object's name is a co-signature's.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        name.starts_with("cosign-") && name.ends_with(".json")
    }
}

/// Name of a snapshot's folder: sorts as the numbers do.
#[must_use]
pub fn folder(seq: i64, next_offset: i64) -> String {
    format!("{seq:020}-{next_offset:020}")
}

/// `seq` and offset of a folder's name.
#[must_use]
pub fn read_folder(name: &str) -> Option<(i64, i64)> {
    let (seq, offset) = name.split_once('-')?;
    let read = (seq.parse().ok()?, offset.parse().ok()?);
    (folder(read.0, read.1) == name).then_some(read)
}

#[cfg(test)]
mod tests;
