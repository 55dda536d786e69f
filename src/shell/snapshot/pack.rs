//! One part: compressed and hashed, and back. Nothing is taken for granted on the way back: lengths are those of the
//! manifest, the window is bounded, hashes are compared before and after.

use crate::wire::manifest::{PART_RAW_BYTES_MAX, Part, RATIO_FREE_BYTES, RATIO_MAX};
use std::io::Read;
use thiserror::Error;

/// zstd's level: states compress well at any, and a worker has other things to do.
const LEVEL: i32 = 1;
/// Largest window that a part may ask for, 2^23 bytes: eight times what [`LEVEL`] uses.
const WINDOW_LOG_MAX: u32 = 23;

/// Why the bytes of a part are not what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PartFault {
    /// As stored, of another length.
    #[error("{found} bytes are stored, the manifest says {wanted}")]
    StoredLength {
        /// What there is.
        found: u64,
        /// What there should be.
        wanted: u64,
    },
    /// As stored, other bytes.
    #[error("its bytes do not have the hash that the manifest says")]
    StoredHash,
    /// They cannot be decompressed within the bounds.
    #[error("it cannot be decompressed: {why}")]
    Zstd {
        /// zstd's reason.
        why: String,
    },
    /// Decompressed, of another length.
    #[error("it decompresses to other than the {wanted} bytes that the manifest says")]
    RawLength {
        /// What there should be.
        wanted: u64,
    },
    /// Decompressed, other bytes.
    #[error("decompressed, its bytes do not have the hash that the manifest says")]
    RawHash,
    /// Too long to be stored.
    #[error("it is {bytes} bytes long, at most {PART_RAW_BYTES_MAX} are stored as one part")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// Compresses a part. Gives what is stored, and what the manifest says of it.
pub fn pack(raw: &[u8]) -> Result<(Vec<u8>, Part), PartFault> {
    if raw.len() as u64 > PART_RAW_BYTES_MAX {
        return Err(PartFault::TooLong { bytes: raw.len() });
    }
    let failed = |fault: std::io::Error| PartFault::Zstd { why: fault.to_string() };
    let mut stored = zstd::bulk::compress(raw, LEVEL).map_err(failed)?;
    // A state of nothing but zeros: less compressed rather than not restorable.
    if raw.len() as u64 > (stored.len() as u64 * RATIO_MAX).max(RATIO_FREE_BYTES) {
        stored = uncompressed(raw).map_err(failed)?;
    }
    let part = Part {
        raw_bytes: raw.len() as u64,
        stored_bytes: stored.len() as u64,
        raw_hash: blake3::hash(raw).into(),
        stored_hash: blake3::hash(&stored).into(),
    };
    Ok((stored, part))
}

/// Frames so short that each compresses by less than [`RATIO_MAX`].
fn uncompressed(raw: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stored = Vec::new();
    for piece in raw.chunks(1024) {
        stored.extend(zstd::bulk::compress(piece, LEVEL)?);
    }
    Ok(stored)
}

/// Checks and decompresses a part.
pub fn unpack(stored: &[u8], part: &Part) -> Result<Vec<u8>, PartFault> {
    if stored.len() as u64 != part.stored_bytes {
        return Err(PartFault::StoredLength { found: stored.len() as u64, wanted: part.stored_bytes });
    }
    if blake3::hash(stored) != part.stored_hash {
        return Err(PartFault::StoredHash);
    }
    let most = part.stored_bytes.saturating_mul(RATIO_MAX).clamp(RATIO_FREE_BYTES, PART_RAW_BYTES_MAX);
    let wanted = part.raw_bytes;
    if wanted > most {
        return Err(PartFault::RawLength { wanted });
    }
    let failed = |fault: std::io::Error| PartFault::Zstd { why: fault.to_string() };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(failed)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(failed)?;
    let mut raw = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
    // One byte more than declared would come out if there were more.
    decoder.take(wanted + 1).read_to_end(&mut raw).map_err(failed)?;
    if raw.len() as u64 != wanted {
        return Err(PartFault::RawLength { wanted });
    }
    if blake3::hash(&raw) != part.raw_hash {
        return Err(PartFault::RawHash);
    }
    Ok(raw)
}
