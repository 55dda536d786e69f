//! Why bytes are no snapshot that this machine goes on from.

use super::super::ENGINE_VERSION;
use super::FORMAT_VERSION;
use crate::machine::rules::RuleFault;
use thiserror::Error;

/// Where in a snapshot a reader stood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Error)]
#[error("part {part}, byte {byte}")]
pub struct Place {
    /// Number of the part, from 0.
    pub part: u64,
    /// Byte of its raw bytes.
    pub byte: usize,
}

/// Why a snapshot is refused. In every case an older one is to be tried; the message says what else helps.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SnapshotFault {
    /// The first bytes are another thing's.
    #[error(
        "it begins with {found:02x?}, no snapshot does: is this object a part of a snapshot, decompressed?"
    )]
    Foreign {
        /// The first bytes.
        found: [u8; 4],
    },
    /// Another layout.
    #[error(
        "its format is {found}, this program reads {FORMAT_VERSION}: restore it with the program that wrote it"
    )]
    Format {
        /// Version of the layout.
        found: u16,
    },
    /// Another engine may decide otherwise from the same state.
    #[error(
        "engine {found} wrote it, this is engine {ENGINE_VERSION}: use the program that wrote it, or an older snapshot \
         of this engine"
    )]
    Engine {
        /// Version of the engine.
        found: i32,
    },
    /// Other rules of the time zones may have put samples into another hour.
    #[error(
        "it was made with the time zones of {found}, this program has {own}: use the program that wrote it, or an older \
         snapshot of this one"
    )]
    Zones {
        /// Release of the time zones' rules that it was made with.
        found: String,
        /// This program's.
        own: &'static str,
    },
    /// The state of another partition.
    #[error("it is of partition {found}, this is partition {own}: look for one below this partition's key")]
    Partition {
        /// Whose it is.
        found: i32,
        /// Whose is wanted.
        own: i32,
    },
    /// A part ends in the middle.
    #[error("{place}: {what} takes {needed} bytes, {left} are left: the object is truncated or damaged")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that there are.
        left: u64,
        /// Where.
        place: Place,
    },
    /// A count that cannot be true.
    #[error("{place}: {count} {what}, at most {max} are possible here: the object is damaged")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many it says.
        count: u64,
        /// The bound: what the bytes left can hold, or what a machine can.
        max: u64,
        /// Where.
        place: Place,
    },
    /// A value that no encoder writes.
    #[error("{place}: {what} is {seen}, no snapshot holds that ({wanted}): the object is damaged")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// The value, as a number.
        seen: u64,
        /// What it may be.
        wanted: &'static str,
        /// Where.
        place: Place,
    },
    /// A text that is none.
    #[error("{place}: {what} is no UTF-8: the object is damaged")]
    NoText {
        /// What was being read.
        what: &'static str,
        /// Where.
        place: Place,
    },
    /// Keys out of order, or one twice.
    #[error("{place}: {what} out of order or twice, though a snapshot is sorted: the object is damaged")]
    Disorder {
        /// Of what.
        what: &'static str,
        /// Where.
        place: Place,
    },
    /// The rule set in it does not load.
    #[error(
        "its rule set, version {version}, does not load: {first}: an older snapshot may have other rules"
    )]
    Rules {
        /// Version of the set.
        version: i64,
        /// The first thing that is wrong with it.
        first: Box<RuleFault>,
    },
    /// A part that is cut where no encoder cuts.
    #[error(
        "{place}: the part ends or goes on where a snapshot does not ({bytes} bytes): the object is damaged"
    )]
    Split {
        /// Length of the part, bytes.
        bytes: usize,
        /// Where.
        place: Place,
    },
    /// More or fewer bytes than were declared.
    #[error("{seen} bytes were given, {declared} were declared: a part is missing, or one too many is there")]
    Length {
        /// Raw bytes of all parts so far.
        seen: u64,
        /// What [`super::Restore::new`] was told.
        declared: u64,
    },
    /// The parts end before the snapshot does.
    #[error("after {parts} parts the snapshot is not whole: a part is missing")]
    Incomplete {
        /// How many there were.
        parts: u64,
    },
    /// A part after one that was refused.
    #[error("a part before part {part} was refused: restore another snapshot")]
    Refused {
        /// Number of the part, from 0.
        part: u64,
    },
}

impl SnapshotFault {
    /// Stable code: label of the counter of refused snapshots.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "foreign",
            Self::Format { .. } => "format",
            Self::Engine { .. } => "engine",
            Self::Zones { .. } => "zones",
            Self::Partition { .. } => "partition",
            Self::Truncated { .. } => "truncated",
            Self::TooMany { .. } => "too_many",
            Self::Malformed { .. } => "malformed",
            Self::NoText { .. } => "no_text",
            Self::Disorder { .. } => "disorder",
            Self::Rules { .. } => "rules",
            Self::Split { .. } => "split",
            Self::Length { .. } => "length",
            Self::Incomplete { .. } => "incomplete",
            Self::Refused { .. } => "refused",
        }
    }

    /// The same bytes are refused again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }
}
