//! Which snapshot a partition is restored from, which are kept, and why not the others.
//!
//! The one rule that must not be broken: a snapshot whose `seq` is past the marker has swallowed transitions that nobody
//! emitted, and a machine restored from it will never derive them again (H1). So the newest *usable* one is taken, not
//! the newest.
//!
//! ```text
//!   log      low ─────────────────────────────────────────────▶ high
//!   snapshots     A          B(2 signers)      C(1)      D(2)
//!   marker                                          ▲ seq
//!   choice        3rd        1st               2nd       refused: its seq is past the marker
//! ```
//!
//! Of the usable ones those that two workers have signed come first, newest first; then those that only their writer has
//! signed. Where none is left the log itself decides: one that still begins at its first record is replayed whole;
//! an installation that has never emitted begins where its log begins; everything else stops, loudly.

mod refusal;

pub use refusal::Refusal;

use crate::sim::planted::{Bug, planted};
use crate::wire::Marker;
use crate::wire::manifest::{Cosign, FORMAT_VERSION, Manifest, ManifestFault};
use std::collections::BTreeSet;
use thiserror::Error;

/// Generations that are kept behind the one that would be restored.
pub const GENERATIONS: usize = 2;
/// The same where no second worker signs (one zone, standalone): nothing else vouches for them, so more are kept.
pub const GENERATIONS_LONE: usize = 9;
/// The log should reach back this many times as far as the newest usable snapshot.
pub const RETENTION_MARGIN: i64 = 4;

/// Whose partition it is: what a snapshot must be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Name of the installation.
    pub cluster: String,
    /// Kafka's id of the observations topic; empty where the broker tells none.
    pub topic_id: String,
    /// Partition.
    pub partition: i32,
    /// Partitions of the topic now.
    pub partition_count: i32,
    /// Version of the engine's semantics.
    pub engine_version: i32,
    /// Version of the layout of a state's bytes.
    pub state_format: i32,
}

/// What a partition's log and alerts say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// First offset of the log.
    pub low: i64,
    /// Offset after the last.
    pub high: i64,
    /// The last marker of the alerts partition; none if it holds none.
    pub marker: Option<Marker>,
}

/// One snapshot of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where its objects are.
    pub folder: String,
    /// Its manifest, or why it cannot be read.
    pub manifest: Result<Manifest, ManifestFault>,
    /// What other workers signed, those of it that could be read.
    pub cosigns: Vec<Cosign>,
    /// Co-signatures that could not be read. They count for nothing.
    pub unreadable_cosigns: usize,
}

/// Who vouches for a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Two workers or more have the same digest, and they are more than those that have another.
    Cosigned,
    /// Its writer alone.
    Lone,
    /// As many or more have another digest.
    Disputed,
}

/// A snapshot that is not used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where its objects are.
    pub folder: String,
    /// Why.
    pub why: Refusal,
}

/// A snapshot that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usable {
    /// Where its objects are.
    pub folder: String,
    /// What it is.
    pub manifest: Manifest,
    /// Whether a second worker vouches for it.
    pub cosigned: bool,
}

/// Where a partition begins when no snapshot is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// The log still has its first record: replayed whole, it gives the same state.
    WholeLog,
    /// Nothing was ever emitted, and nothing was ever stored: the log's beginning is this installation's.
    NewInstallation {
        /// First offset of the log.
        low: i64,
    },
    /// It does not begin.
    Stop(Stop),
}

/// Why a partition stands still until an operator acts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Stop {
    /// The state cannot be had any more.
    #[error(
        "no snapshot of partition {partition} can be used, and its log begins at offset {low}: the state behind seq {marker} \
         cannot be rebuilt here. `bellwether snapshots list` says why each is refused. Bring back a snapshot (bucket \
         versioning, a copy), or let the other zone's worker run on; to give up the alerts' history instead, stop all \
         workers, delete the topic of alerts and this partition's snapshots, run `bellwether topics apply` and start"
    )]
    NothingReaches {
        /// Partition.
        partition: i32,
        /// First offset of the log.
        low: i64,
        /// The marker's `seq`.
        marker: i64,
    },
    /// The alerts partition has lost its last marker.
    #[error(
        "the alerts of partition {partition} hold no marker, but a snapshot has seq {seq}: the topic of alerts was emptied \
         or made anew, so nobody knows what has been emitted. Bring the topic back; to begin anew instead, stop all workers, \
         delete this partition's snapshots and start"
    )]
    MarkerLost {
        /// Partition.
        partition: i32,
        /// Highest `seq` of a snapshot.
        seq: i64,
    },
    /// The topic of observations is not the one that the alerts were derived from.
    #[error(
        "the observations topic has id {found:?}, and the alerts of partition {partition} were derived from the topic with id \
         {marker:?}: it was deleted and made again. Their seq cannot go on. To begin anew, stop all workers, delete the topic \
         of alerts, run `bellwether topics apply` and start"
    )]
    OtherTopic {
        /// Partition.
        partition: i32,
        /// The topic's id now.
        found: String,
        /// The id in the last marker.
        marker: String,
    },
}

impl Stop {
    /// Stable word for logs, metrics and JSON.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NothingReaches { .. } => "nothing_reaches",
            Self::MarkerLost { .. } => "marker_lost",
            Self::OtherTopic { .. } => "other_topic",
        }
    }
}

/// What to try, in order, and what if all of it fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Snapshots to try, the best first.
    pub usable: Vec<Usable>,
    /// Those that are not tried.
    pub refused: Vec<Refused>,
    /// Where to begin if none of `usable` turns out to be good.
    pub otherwise: Otherwise,
}

impl Candidate {
    /// Who vouches for it. A worker counts once, and its disagreement before its agreement.
    #[must_use]
    pub fn standing(&self, manifest: &Manifest) -> (Standing, usize, usize) {
        let (mut with, mut against) = (BTreeSet::from([manifest.worker.as_str()]), BTreeSet::new());
        for cosign in &self.cosigns {
            let same_cut = cosign.partition == manifest.partition
                && (cosign.seq, cosign.next_offset) == (manifest.seq, manifest.next_offset);
            if same_cut && cosign.digest == manifest.digest {
                with.insert(cosign.worker.as_str());
            } else {
                against.insert(cosign.worker.as_str());
            }
        }
        let with = with.difference(&against).count();
        let standing = match (with, against.len()) {
            (with, against) if with <= against => Standing::Disputed,
            (1, _) => Standing::Lone,
            _ => Standing::Cosigned,
        };
        (standing, with, against.len())
    }

    /// Whether it can be used, and who vouches for it.
    fn judge(&self, own: &Own, facts: &Facts) -> Result<Usable, Refusal> {
        let manifest = self.manifest.as_ref().map_err(|fault| Refusal::Manifest(fault.clone()))?;
        let usable = self.is_own(manifest, own)?;
        let marker_seq = facts.marker.as_ref().map_or(0, |marker| marker.seq);
        if manifest.seq > marker_seq && !planted(Bug::NewestSnapshot) {
            return Err(Refusal::PastMarker { seq: manifest.seq, marker: marker_seq });
        }
        if let Some(marker) = facts.marker.as_ref().filter(|marker| marker.seq == manifest.seq)
            && marker.running_hash != manifest.running_hash
        {
            return Err(Refusal::OtherHistory { seq: manifest.seq });
        }
        if manifest.next_offset < facts.low {
            return Err(Refusal::LogCut { offset: manifest.next_offset, low: facts.low });
        }
        if manifest.next_offset > facts.high {
            return Err(Refusal::LogShort { offset: manifest.next_offset, high: facts.high });
        }
        Ok(usable)
    }

    /// Whether it is a snapshot of this partition that this worker understands and that nobody disputes.
    fn is_own(&self, manifest: &Manifest, own: &Own) -> Result<Usable, Refusal> {
        if manifest.format_version != FORMAT_VERSION {
            let version = i64::from(manifest.format_version);
            return Err(Refusal::Manifest(ManifestFault::Newer { version }));
        }
        if manifest.cluster != own.cluster {
            return Err(Refusal::Cluster { found: manifest.cluster.clone(), own: own.cluster.clone() });
        }
        if manifest.topic_id != own.topic_id {
            return Err(Refusal::Topic { found: manifest.topic_id.clone(), own: own.topic_id.clone() });
        }
        if manifest.partition != own.partition {
            return Err(Refusal::Partition { found: manifest.partition, own: own.partition });
        }
        if manifest.engine_version != own.engine_version {
            return Err(Refusal::Engine { found: manifest.engine_version, own: own.engine_version });
        }
        if manifest.state_format != own.state_format {
            return Err(Refusal::StateFormat { found: manifest.state_format, own: own.state_format });
        }
        if !self.folder.ends_with(&manifest.folder()) {
            return Err(Refusal::Folder { found: self.folder.clone(), own: manifest.folder() });
        }
        let (standing, with, against) = self.standing(manifest);
        if standing == Standing::Disputed {
            return Err(Refusal::Disputed { against, signers: with + against });
        }
        let cosigned = standing == Standing::Cosigned;
        Ok(Usable { folder: self.folder.clone(), manifest: manifest.clone(), cosigned })
    }
}

/// Decides what to restore.
#[must_use]
pub fn choose(own: &Own, facts: &Facts, candidates: &[Candidate]) -> Choice {
    let (mut usable, mut refused) = (Vec::new(), Vec::new());
    for candidate in candidates {
        match candidate.judge(own, facts) {
            Ok(found) => usable.push(found),
            Err(why) => refused.push(Refused { folder: candidate.folder.clone(), why }),
        }
    }
    let rank = |usable: &Usable| (usable.cosigned, usable.manifest.seq, usable.manifest.next_offset);
    usable.sort_by_key(|usable| std::cmp::Reverse(rank(usable)));
    let otherwise = otherwise(own, facts, &refused);
    if matches!(otherwise, Otherwise::Stop(Stop::OtherTopic { .. })) {
        usable.clear();
    }
    Choice { usable, refused, otherwise }
}

fn otherwise(own: &Own, facts: &Facts, refused: &[Refused]) -> Otherwise {
    let partition = own.partition;
    let swallowed = |refused: &Refused| {
        if let Refusal::PastMarker { seq, .. } = refused.why { Some(seq) } else { None }
    };
    match &facts.marker {
        Some(marker)
            if !own.topic_id.is_empty() && !marker.topic_id.is_empty() && marker.topic_id != own.topic_id =>
        {
            let (found, marker) = (own.topic_id.clone(), marker.topic_id.clone());
            Otherwise::Stop(Stop::OtherTopic { partition, found, marker })
        }
        _ if facts.low == 0 => Otherwise::WholeLog,
        Some(marker) => {
            Otherwise::Stop(Stop::NothingReaches { partition, low: facts.low, marker: marker.seq })
        }
        None => match refused.iter().filter_map(swallowed).max() {
            Some(seq) => Otherwise::Stop(Stop::MarkerLost { partition, seq }),
            None => Otherwise::NewInstallation { low: facts.low },
        },
    }
}

/// Folders whose snapshots retention takes away, the oldest first. `marker_seq` is that of the last marker known.
///
/// Kept are the newest that could be restored and [`GENERATIONS`] behind it, and everything that is newer. What cannot
/// be read counts as nothing and goes when it is older than all of those.
#[must_use]
pub fn expired<'c>(own: &Own, marker_seq: i64, candidates: &'c [Candidate]) -> Vec<&'c str> {
    let mut own_ones: Vec<(i64, i64, bool)> = candidates
        .iter()
        .filter_map(|candidate| candidate.is_own(candidate.manifest.as_ref().ok()?, own).ok())
        .map(|usable| (usable.manifest.seq, usable.manifest.next_offset, usable.cosigned))
        .collect();
    own_ones.sort_unstable();
    let oldest_kept = |cosigned: bool, generations: usize| {
        let fitting = own_ones.iter().rev().filter(|(_, _, both)| *both || !cosigned);
        let mut fitting = fitting.skip_while(|(seq, ..)| *seq > marker_seq);
        // Fewer than that many: all are kept.
        fitting.nth(generations).map(|(seq, offset, _)| (*seq, *offset))
    };
    let restorable =
        |cosigned: bool| own_ones.iter().any(|(seq, _, both)| (*both || !cosigned) && *seq <= marker_seq);
    let kept =
        if restorable(true) { oldest_kept(true, GENERATIONS) } else { oldest_kept(false, GENERATIONS_LONE) };
    let Some(kept) = kept else { return Vec::new() };
    let mut older: Vec<((i64, i64), &str)> = candidates
        .iter()
        .filter_map(|candidate| Some((place(candidate)?, candidate.folder.as_str())))
        .filter(|(place, _)| *place < kept)
        .collect();
    older.sort_unstable();
    older.into_iter().map(|(_, folder)| folder).collect()
}

/// `seq` and offset as the folder's name says, which needs no readable manifest.
fn place(candidate: &Candidate) -> Option<(i64, i64)> {
    let name = candidate.folder.rsplit('/').next()?;
    crate::wire::manifest::read_folder(name)
}

/// Whether retention of the log comes close to a snapshot: the log reaches back less than [`RETENTION_MARGIN`] times as
/// far as the snapshot does. A log that was never cut is not close to anything.
#[must_use]
pub fn is_retention_close(low: i64, high: i64, snapshot_offset: i64) -> bool {
    let (reach, age) = (high.saturating_sub(low), high.saturating_sub(snapshot_offset));
    low > 0 && age.saturating_mul(RETENTION_MARGIN) > reach
}

#[cfg(test)]
mod tests;
