//! Why bytes could not be read.

use super::keyring::Unauthentic;
use thiserror::Error;

/// Why a record was refused. The code is stable: it is the `reason` of a record in the rejected topic and the label
/// of the counter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// The record is larger than [`super::record::RECORD_BYTES_MAX`].
    #[error("record of {bytes} bytes is over the bound of {max}")]
    Oversize {
        /// Size seen, bytes.
        bytes: usize,
        /// The bound, bytes.
        max: usize,
    },
    /// The first bytes are neither `C3 01` (single-object) nor `00` (Confluent).
    #[error(
        "record starts with byte {first:#04x}: expected C3 01 (Avro single-object) or 00 (Confluent framing)"
    )]
    UnknownFraming {
        /// First byte seen.
        first: u8,
    },
    /// The fingerprint names no schema that was ever published.
    #[error("no published schema has the fingerprint {fingerprint:016x}")]
    UnknownSchema {
        /// CRC-64-AVRO fingerprint seen.
        fingerprint: u64,
    },
    /// The bytes end inside a value.
    #[error("record ends inside a value at byte {at}")]
    Truncated {
        /// Byte offset in the record's body.
        at: usize,
    },
    /// Bytes are left after the last value.
    #[error("{bytes} bytes are left over after the last value")]
    TrailingBytes {
        /// How many bytes are left.
        bytes: usize,
    },
    /// A value is outside of what the schema's doc string allows.
    #[error("{field} is {value}, allowed is {bound}")]
    OutOfBounds {
        /// Field of the schema.
        field: &'static str,
        /// Value seen.
        value: i64,
        /// The bound, in words.
        bound: &'static str,
    },
    /// A string is not UTF-8.
    #[error("{field} is not UTF-8")]
    NotUtf8 {
        /// Field of the schema.
        field: &'static str,
    },
    /// The same label name twice in one sample.
    #[error("a label name stands twice in one sample")]
    DuplicateLabel,
    /// The record is sound, but of a schema that does not belong on the topic that it was read from.
    #[error("a record of schema {schema} does not belong here")]
    UnexpectedSchema {
        /// Schema that the fingerprint named.
        schema: &'static str,
    },
    /// apache-avro could not resolve or read the datum.
    #[error("the datum does not match its schema {schema}")]
    Mismatch {
        /// Schema that the fingerprint named.
        schema: &'static str,
    },
    /// A control record that nobody signed who may.
    #[error("a control record is not accepted: {0}")]
    Unauthentic(Unauthentic),
}

impl Fault {
    /// Stable code: counter label and `reason` in the rejected topic.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Oversize { .. } => "oversize",
            Self::UnknownFraming { .. } => "unknown_framing",
            Self::UnknownSchema { .. } => "unknown_schema",
            Self::Truncated { .. } => "truncated",
            Self::TrailingBytes { .. } => "trailing_bytes",
            Self::OutOfBounds { .. } => "out_of_bounds",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::DuplicateLabel => "duplicate_label",
            Self::UnexpectedSchema { .. } => "unexpected_schema",
            Self::Mismatch { .. } => "schema_mismatch",
            Self::Unauthentic(why) => why.code(),
        }
    }

    /// Bytes do not get better by reading them again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }
}
