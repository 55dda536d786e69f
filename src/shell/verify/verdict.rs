//! What a comparison can say: the counts, and the first difference with its place.

use crate::wire::Transition;
use serde::Serialize;

/// What was found on one partition.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// The partition.
    pub partition: i32,
    /// Offset of observations at which the replay began.
    pub from_offset: i64,
    /// Offset after the last record that was replayed.
    pub to_offset: i64,
    /// Records of the observations log that were replayed.
    pub records: u64,
    /// Transitions that the replay derived and that are due: those up to the last marker, or all at rest.
    pub expected: u64,
    /// Transitions that a `read_committed` reader finds in the alerts partition, among them what stands there twice.
    pub found: u64,
    /// Markers, each of which was compared.
    pub markers: u64,
    /// Promotions that left a marker.
    pub epochs: u64,
    /// `seq` of the last transition that is out.
    pub last_seq: i64,
    /// Transitions beyond the last marker: derived, and not due yet on a running cluster.
    pub not_due: u64,
    /// How long the oldest of them has waited, by the log's clock, milliseconds.
    pub not_due_ms: i64,
    /// Transitions of the replay that the topic skips.
    pub lost: u64,
    /// Transitions that stand in the topic more than once.
    pub doubled: u64,
    /// Transitions of the topic that differ from the replay's of the same `seq`, or that the replay does not have.
    pub changed: u64,
    /// The first difference; none if the two are equal record by record.
    pub difference: Option<Difference>,
}

impl Verdict {
    /// Whether the alerts partition holds each transition of the replay once, in order, unchanged, and no other, and
    /// every marker is right.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.difference.is_none()
    }

    pub(super) fn differs(&mut self, difference: Difference) {
        self.difference.get_or_insert(difference);
    }
}

/// A field that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name in the schema; `key` and `bytes` for the record's own.
    pub field: String,
    /// What the replay says.
    pub replay: String,
    /// What the topic says.
    pub topic: String,
}

/// How the topic differs from the replay. `at` is an offset of the alerts partition, `cause` the offset of the record
/// of observations behind the transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Difference {
    /// A record that is no transition and no marker.
    Unreadable {
        /// Where.
        at: i64,
        /// Why.
        fault: String,
    },
    /// A `seq` that stands before already.
    Duplicate {
        /// Where.
        at: i64,
        /// Which.
        seq: i64,
        /// Offset of observations that it names.
        cause: i64,
        /// Where it stood first, if that is still known.
        first_at: Option<i64>,
    },
    /// A `seq` that was skipped, and stands behind a later one.
    OutOfOrder {
        /// Where.
        at: i64,
        /// Which.
        seq: i64,
        /// Offset of observations that it names.
        cause: i64,
    },
    /// Transitions that the topic skips.
    Gap {
        /// The record behind the gap.
        at: i64,
        /// First that is missing.
        seq: i64,
        /// Last that is missing.
        last_seq: i64,
        /// Cause of the first, by the replay.
        cause: i64,
        /// Its rule and labels.
        what: String,
    },
    /// The right `seq` with other content.
    Changed {
        /// Where.
        at: i64,
        /// Which.
        seq: i64,
        /// Cause, by the replay.
        cause: i64,
        /// What differs.
        fields: Vec<Field>,
    },
    /// A transition that the replay, at the end of the log, does not have.
    Unfounded {
        /// Where.
        at: i64,
        /// Which.
        seq: i64,
        /// Offset of observations that it names.
        cause: i64,
        /// Its rule and labels.
        what: String,
    },
    /// A marker that claims something else than what is out.
    Marker {
        /// Where.
        at: i64,
        /// Transition up to which it says that all is out.
        seq: i64,
        /// Cause of the last transition before it, by the replay; -1 where there is none.
        cause: i64,
        /// What differs.
        fields: Vec<Field>,
    },
    /// A marker of an older epoch behind one of a newer, or one epoch of two workers: the fence leaked.
    Epoch {
        /// Where.
        at: i64,
        /// Its epoch.
        epoch: i64,
        /// Its writer.
        worker: String,
        /// The newest epoch before it.
        newest: i64,
        /// That one's writer.
        newest_worker: String,
    },
    /// At rest: transitions that nobody wrote.
    Missing {
        /// First that is missing.
        seq: i64,
        /// How many.
        count: u64,
        /// Cause of the first.
        cause: i64,
        /// Its rule and labels.
        what: String,
    },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |f: &mut std::fmt::Formatter<'_>, fields: &[Field]| {
            fields.iter().try_for_each(|Field { field, replay, topic }| {
                write!(f, "\n    {field}: the replay has {replay}, the topic has {topic}")
            })
        };
        match self {
            Self::Unreadable { at, fault } => write!(f, "alerts offset {at}: unreadable: {fault}"),
            Self::Duplicate { at, seq, cause, first_at } => {
                write!(
                    f,
                    "alerts offset {at}: seq {seq} (cause: observations offset {cause}) a second time"
                )?;
                first_at.map_or(Ok(()), |first| write!(f, "; it stood at alerts offset {first} first"))
            }
            Self::OutOfOrder { at, seq, cause } => {
                write!(
                    f,
                    "alerts offset {at}: seq {seq} (cause: observations offset {cause}) behind a later one"
                )
            }
            Self::Gap { at, seq, last_seq, cause, what } => write!(
                f,
                "alerts offset {at}: seq {seq} to {last_seq} missing before it; the first, by the replay: {what}, \
                 cause: observations offset {cause}"
            ),
            Self::Changed { at, seq, cause, fields } => {
                write!(f, "alerts offset {at}: seq {seq} (cause: observations offset {cause}) differs")?;
                list(f, fields)
            }
            Self::Unfounded { at, seq, cause, what } => write!(
                f,
                "alerts offset {at}: the replay has no seq {seq}: {what}, cause: observations offset {cause}, as it says"
            ),
            Self::Marker { at, seq, cause, fields } => {
                write!(
                    f,
                    "alerts offset {at}: a wrong marker of seq {seq} (cause of the last transition before it: \
                     observations offset {cause})"
                )?;
                list(f, fields)
            }
            Self::Epoch { at, epoch, worker, newest, newest_worker } => write!(
                f,
                "alerts offset {at}: a marker of epoch {epoch} by {worker} behind one of epoch {newest} by {newest_worker}"
            ),
            Self::Missing { seq, count, cause, what } => write!(
                f,
                "{count} transitions from seq {seq} on are not out; the first: {what}, cause: observations offset {cause}"
            ),
        }
    }
}

/// A transition in few words.
pub(super) fn describe(transition: &Transition) -> String {
    format!("{} {}, to {:?}", transition.rule.escape_debug(), transition.labels, transition.to).to_lowercase()
}
