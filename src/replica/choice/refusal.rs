//! Why a snapshot is not restored: each reason with what was seen, and a stable word.

use crate::wire::manifest::ManifestFault;
use thiserror::Error;

/// Why a snapshot is not used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Its manifest cannot be read.
    #[error("its manifest: {0}")]
    Manifest(ManifestFault),
    /// It names another installation.
    #[error("it is of cluster {found:?}, not of {own:?}")]
    Cluster {
        /// What it says.
        found: String,
        /// What this is.
        own: String,
    },
    /// It was taken of another topic of the same name.
    #[error("it is of the topic with id {found:?}, not of {own:?}: was the topic deleted and made again?")]
    Topic {
        /// What it says.
        found: String,
        /// What this is.
        own: String,
    },
    /// It is of another partition.
    #[error("it is of partition {found}, not of {own}")]
    Partition {
        /// What it says.
        found: i32,
        /// What this is.
        own: i32,
    },
    /// It was written by another version of the engine's semantics.
    #[error("its engine version is {found}, this worker's is {own}")]
    Engine {
        /// What it says.
        found: i32,
        /// What this is.
        own: i32,
    },
    /// Its bytes are of a layout that this worker does not read.
    #[error("its state has format {found}, this worker reads {own}")]
    StateFormat {
        /// What it says.
        found: i32,
        /// What this worker reads.
        own: i32,
    },
    /// It is not what its name says.
    #[error("its folder is {found:?}, and its manifest makes it {own:?}: it was copied or renamed")]
    Folder {
        /// Where it is.
        found: String,
        /// Where it should be.
        own: String,
    },
    /// It has swallowed transitions that are not out.
    #[error("its seq {seq} is past the marker's {marker}: transitions between them would never be emitted")]
    PastMarker {
        /// Its own.
        seq: i64,
        /// The marker's; 0 if there is none.
        marker: i64,
    },
    /// At the marker's `seq` it has another history.
    #[error(
        "at seq {seq} its running hash is not the marker's: its writer had diverged, or the alerts are of another log"
    )]
    OtherHistory {
        /// The `seq` of both.
        seq: i64,
    },
    /// Other workers that cut at the same offset have another digest.
    #[error("{against} of {signers} signers have another digest: the replicas had diverged")]
    Disputed {
        /// Signers with another digest.
        against: usize,
        /// All signers.
        signers: usize,
    },
    /// Records between it and the log's beginning are gone.
    #[error("it ends at offset {offset}, but the log begins at {low}: the records between are gone")]
    LogCut {
        /// Where it would go on reading.
        offset: i64,
        /// First offset of the log.
        low: i64,
    },
    /// The log ends before it does.
    #[error(
        "it ends at offset {offset}, but the log ends at {high}: the log was cut back, or is another one"
    )]
    LogShort {
        /// Where it would go on reading.
        offset: i64,
        /// Offset after the last.
        high: i64,
    },
    /// An object of it is not there.
    #[error("{name} is not there")]
    Missing {
        /// Its name.
        name: String,
    },
    /// The store did not give an object of it, though it gave others.
    #[error("{name}: {why}")]
    Unavailable {
        /// Its name.
        name: String,
        /// The store's answer.
        why: String,
    },
    /// An object of it is not what the manifest says.
    #[error("{name} is damaged: {why}")]
    Damaged {
        /// Its name.
        name: String,
        /// In what way.
        why: String,
    },
    /// The state in it cannot be taken over: rules that this version does not know, or bytes that are no state.
    #[error("its state: {0}")]
    State(String),
}

impl Refusal {
    /// Stable word for logs, metrics and JSON.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Manifest(ManifestFault::Newer { .. }) | Self::StateFormat { .. } => "newer_format",
            Self::Manifest(ManifestFault::Missing) => "unfinished",
            Self::Manifest(ManifestFault::Unavailable(_)) | Self::Unavailable { .. } => "unavailable",
            Self::Manifest(
                ManifestFault::TooLong { .. }
                | ManifestFault::Footer
                | ManifestFault::Hash
                | ManifestFault::Json(_)
                | ManifestFault::Value { .. },
            ) => "manifest_damaged",
            Self::Cluster { .. } => "other_cluster",
            Self::Topic { .. } => "other_topic",
            Self::Partition { .. } => "other_partition",
            Self::Engine { .. } => "other_engine",
            Self::Folder { .. } => "other_folder",
            Self::PastMarker { .. } => "past_marker",
            Self::OtherHistory { .. } => "other_history",
            Self::Disputed { .. } => "disputed",
            Self::LogCut { .. } => "log_cut",
            Self::LogShort { .. } => "log_short",
            Self::Missing { .. } => "part_missing",
            Self::Damaged { .. } => "part_damaged",
            Self::State(_) => "state",
        }
    }

    /// Whether the object itself is bad, which someone should look at; the others are the ordinary course of things.
    #[must_use]
    pub fn is_alarming(&self) -> bool {
        match self {
            Self::PastMarker { .. }
            | Self::LogCut { .. }
            | Self::Engine { .. }
            | Self::Manifest(ManifestFault::Missing) => false,
            Self::Manifest(_)
            | Self::Cluster { .. }
            | Self::Topic { .. }
            | Self::Partition { .. }
            | Self::Folder { .. }
            | Self::OtherHistory { .. }
            | Self::Disputed { .. }
            | Self::LogShort { .. }
            | Self::StateFormat { .. }
            | Self::Missing { .. }
            | Self::Unavailable { .. }
            | Self::Damaged { .. }
            | Self::State(_) => true,
        }
    }
}
