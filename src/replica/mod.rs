//! PURE. Who may emit which transition, and when: promotion, fencing, read-back, takeover.
//!
//! One [`Replica`] a partition, in every worker that hosts it. It takes a closed [`Event`], gives closed [`Action`]s,
//! cannot fail and reads no clock. The emission thread (`shell::emitter`) executes the actions, one after the other,
//! and answers each with the next event.
//!
//! ```text
//!            lock is free              lock won          init_transactions        read-back done
//!  Standby ───────────────▶ Locking ────────────▶ Initialising ─────────▶ ReadingBack ─────────▶ Primary
//!    ▲  │                      │                    ▲   ▲                                          │   │
//!    │  └── primary's process proved dead, or ──────┘   └── a commit failed, or took over a second ┘   │
//!    │      own transition unseen for too long                                                         │
//!    │                                                                                                 │
//!    └─────────── after a back-off ─────────── Fenced ◀── fenced, no progress, or refused ─────────────┘
//! ```
//!
//! Why it is right, in four sentences. Both replicas derive the same transitions with the same dense `seq`, so it only
//! matters that each `seq` is committed once. `init_transactions` ends whatever the last primary had open and fences
//! it, so what is read back *after* it is final; emission then starts at the marker's `seq` + 1. The lock only avoids
//! duels: every takeover is safe without it. A commit whose outcome is unknown, or that was so slow that the client
//! may have sent its end twice, is never built upon: a new handle, a new fence, a new read-back. (A `worker --standalone`
//! is primary by an operator's word: `claim.rs`.)
//! (`reliability.md` H1 to H14 hold the reasons; the property test in `tests/model.rs` plays them against a log with fencing.)

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod backlog;
pub mod choice;
mod claim;
mod emission;
mod lock;
mod promotion;
mod state;
mod tail;
#[cfg(test)]
mod tests;

pub use backlog::{
    BACKLOG_BYTES_MAX, BACKLOG_TRANSITIONS_MAX, Bounds, CHUNK_BYTES_MAX, CHUNK_TRANSITIONS_MAX, Derived,
    chain,
};
pub use state::{Options, Replica};
pub use tail::Tail;

use crate::wire::Marker;

/// A commit that takes longer is not trusted with the next transaction, milliseconds.
pub const SLOW_COMMIT_MS: i64 = 1_000;
/// A primary writes a marker at least this often, so that retention never ages the last one out, milliseconds.
pub const HEARTBEAT_MS: i64 = 60_000;
/// How long a new primary that has nothing to tell waits for something before its first marker, milliseconds.
pub const FIRST_MARKER_MS: i64 = 100;
/// How long a primary that starts over waits for an answer whether the lock is still its own, milliseconds.
pub const VERIFY_MS: i64 = 300;
/// A promotion, or a primary that starts over, gives up when it has not got through in this time, milliseconds.
pub const GIVE_UP_MS: i64 = 5_000;
/// A planned stop waits this long for what is not out yet, milliseconds.
pub const STOP_MS: i64 = 2_000;
/// First back-off after being fenced, milliseconds; it doubles with each fence of the last minute.
pub const BACKOFF_MS: i64 = 1_000;
/// Longest back-off, milliseconds.
pub const BACKOFF_MS_MAX: i64 = 30_000;
/// A fenced replica comes back only with the lock until it sees a marker of a newer epoch, or this much time has passed
/// (so that a successor that died before its first marker, with ZooKeeper dead too, is succeeded all the same).
pub const LOCK_ONLY_MS: i64 = 30_000;

/// What happens to a replica, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Wall clock of this process, milliseconds since the epoch, made so that it never goes back.
    pub now_ms: i64,
    /// What happened.
    pub input: Input,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// From the machine thread: transitions, dense and in order, starting after the last that it gave.
    Derived(Vec<Derived>),
    /// From the machine thread, after the transitions of the records before `offset`.
    Progress {
        /// The partition's clock, milliseconds since the epoch.
        clock_ms: i64,
        /// Offset after the last record applied.
        offset: i64,
    },
    /// From the machine thread: it has reached the end of the log once since it started.
    CaughtUp,
    /// From the emission thread's timer, at least every 200 ms.
    Tick,
    /// From the follower: a marker of the alerts partition, committed.
    Seen(Box<Marker>),
    /// From the follower: it has reached the end of the alerts partition once.
    TailReached,
    /// From the lock door.
    Lock(LockEvent),
    /// From the door to the peers: the process of a worker is proved dead. It takes over if that is the primary, and
    /// forgets it otherwise.
    PrimaryDead {
        /// Which worker.
        worker: String,
    },
    /// Answer to [`Action::Initialise`]: every earlier primary is fenced, and what it left open is aborted.
    Initialised,
    /// Answer to [`Action::Initialise`].
    InitialiseFailed(Failure),
    /// Answer to [`Action::ReadBack`]: the last marker, none if the partition holds none.
    ReadBack(Option<Box<Marker>>),
    /// Answer to [`Action::ReadBack`]: there is no marker, and the partition has lost its first records. What is out is
    /// not known.
    MarkerMissing,
    /// Answer to [`Action::ReadBack`]: the end was not reached in time.
    ReadBackFailed,
    /// Answer to [`Action::Commit`]: it is out.
    Committed {
        /// From begin to committed, milliseconds.
        took_ms: i64,
    },
    /// Answer to [`Action::Commit`]: it may be out or not.
    CommitFailed(Failure),
    /// From the worker: finish, release, end.
    Stop,
}

/// What the lock door says about the partition's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockEvent {
    /// Nobody holds it.
    Free,
    /// Another worker holds it. Also the answer to an [`Action::Acquire`] that came too late.
    Held {
        /// Who, as its value says.
        worker: String,
    },
    /// This worker holds it.
    Acquired {
        /// ZooKeeper's transaction id of the node's creation.
        czxid: i64,
    },
    /// The session that held it, or that waited for it, is gone.
    Lost,
}

/// How a call of the producer failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A newer primary exists.
    Fenced,
    /// No answer in time: the same call may succeed later.
    TimedOut,
    /// Anything else: the handle is of no use any more.
    Broken,
}

/// What a replica wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The lock door tries to take the lock, and answers with [`LockEvent::Acquired`] or [`LockEvent::Held`].
    Acquire,
    /// The lock door gives the lock back, or stops trying.
    Release,
    /// The producer door drops its handle and connects a new one, not initialised.
    RenewProducer,
    /// The producer door calls `init_transactions`.
    Initialise,
    /// The tail door reads the alerts partition to its end and answers with its last marker.
    ReadBack,
    /// The producer door writes the transitions from `first` up to the marker's `seq`, as [`Replica::transitions`] has
    /// them, and then the marker, in one transaction.
    Commit {
        /// `seq` of the first; one more than the marker's for a heartbeat, which brings none.
        first: i64,
        /// The transaction's last record.
        marker: Box<Marker>,
    },
    /// The emission thread logs it, counts it and shows it in `status`.
    RoleChanged {
        /// Before.
        from: Role,
        /// After.
        to: Role,
        /// Why.
        reason: Reason,
    },
    /// The emission thread logs it at error level, and counts it: the two replicas do not agree. Once an epoch.
    Diverged {
        /// The transition up to which the histories were compared.
        seq: i64,
        /// This replica's running hash there.
        ours: [u8; 32],
        /// The marker's.
        theirs: [u8; 32],
        /// Worker that wrote the marker.
        worker: String,
    },
    /// The emission thread logs it and shows it: the observations topic has, or had, another number of partitions when
    /// that marker was written. Services whose key moved began anew on another partition.
    PartitionsChanged {
        /// The marker's.
        theirs: i32,
        /// This replica's.
        ours: i32,
    },
    /// The machine thread ends this replica, rebuilds the partition from a snapshot whose `seq` is at most `seq`, and makes
    /// a new one. This one has forgotten transitions that are not out, and does nothing more. Once.
    Rederive {
        /// The last transition that is known to be out.
        seq: i64,
    },
    /// The emission thread ends.
    Stopped,
}

/// Where a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Keeps what is not out yet.
    Standby,
    /// Tries to take the lock.
    Locking,
    /// Fences whoever was primary.
    Initialising,
    /// Reads what is out.
    ReadingBack,
    /// Emits.
    Primary,
    /// Was fenced, or could not get through; waits for its back-off to pass.
    Fenced,
    /// Finishes; the last role.
    Stopping,
}

impl Role {
    /// Stable word for status, metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Locking => "locking",
            Self::Initialising => "initialising",
            Self::ReadingBack => "reading_back",
            Self::Primary => "primary",
            Self::Fenced => "fenced",
            Self::Stopping => "stopping",
        }
    }
}

/// Every change of role there is. A replica asserts each change against this table.
pub const LEGAL: &[(Role, Role)] = &[
    (Role::Standby, Role::Locking),          // the lock is free
    (Role::Standby, Role::Initialising),     // takeover without the lock
    (Role::Standby, Role::Fenced),           // what is out cannot be built upon
    (Role::Standby, Role::Stopping),         //
    (Role::Locking, Role::Initialising),     // the lock is won, or takeover without it
    (Role::Locking, Role::Standby), // another worker was faster, has an operator's word, or something was forgotten
    (Role::Locking, Role::Fenced),  // what is out cannot be built upon
    (Role::Locking, Role::Stopping), //
    (Role::Initialising, Role::ReadingBack), // every earlier primary is fenced
    (Role::Initialising, Role::Fenced), // a newer primary fenced this one, the lock is gone, or no progress
    (Role::Initialising, Role::Stopping), //
    (Role::ReadingBack, Role::Primary), // what is out is known
    (Role::ReadingBack, Role::Fenced), // no progress, or the partition cannot be trusted
    (Role::ReadingBack, Role::Stopping), //
    (Role::Primary, Role::Initialising), // a commit failed or was slow: start over
    (Role::Primary, Role::Fenced),  // a newer primary exists
    (Role::Primary, Role::Stopping), //
    (Role::Fenced, Role::Standby),  // the back-off has passed
    (Role::Fenced, Role::Stopping), //
];

/// Why a role changed. Each word is used alike in logs, metrics and status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The process has just started.
    Started,
    /// Nobody held the lock.
    LockFree,
    /// Another worker took the lock first.
    LockHeld,
    /// The lock is ours.
    LockAcquired,
    /// The lock has gone to another worker, or with its session.
    LockLost,
    /// Another worker has the partition by an operator's word.
    Claimed,
    /// The primary's process is proved dead.
    ProcessGone,
    /// A transition of its own stayed unseen for longer than the takeover bound.
    TransitionUnseen,
    /// `init_transactions` came back.
    Initialised,
    /// The last marker is known.
    MarkerRead,
    /// A commit took longer than [`SLOW_COMMIT_MS`].
    CommitSlow,
    /// A commit failed: whether it is out, the read-back will tell.
    CommitFailed,
    /// The broker refused the producer for a newer one.
    ProducerFenced,
    /// The alerts partition holds a marker of a newer epoch.
    NewerEpoch,
    /// No way through to Kafka within [`GIVE_UP_MS`], or a handle that broke.
    NoProgress,
    /// The marker was written over another observations topic (deleted and created again?), or another partition count.
    ForeignMarker,
    /// The last marker is older than one that was seen before: the alerts partition lost records.
    MarkerWentBack,
    /// The alerts partition holds no marker and has lost its first records: what is out is not known.
    MarkerMissing,
    /// The last marker was written by an engine whose semantics this one does not know.
    NewerEngine,
    /// The machine is past the record that caused the marker's transition, and has derived fewer transitions.
    ShorterHistory,
    /// Transitions that are not out were forgotten: the partition is derived again from a snapshot.
    Forgotten,
    /// The back-off has passed.
    BackoffPassed,
    /// The worker stops, or gives the partition away.
    StopRequested,
}

impl Reason {
    /// Stable word for status, metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::LockFree => "lock_free",
            Self::LockHeld => "lock_held",
            Self::LockAcquired => "lock_acquired",
            Self::LockLost => "lock_lost",
            Self::Claimed => "claimed",
            Self::ProcessGone => "process_gone",
            Self::TransitionUnseen => "transition_unseen",
            Self::Initialised => "initialised",
            Self::MarkerRead => "marker_read",
            Self::CommitSlow => "commit_slow",
            Self::CommitFailed => "commit_failed",
            Self::ProducerFenced => "producer_fenced",
            Self::NewerEpoch => "newer_epoch",
            Self::NoProgress => "no_progress",
            Self::ForeignMarker => "foreign_marker",
            Self::MarkerWentBack => "marker_went_back",
            Self::MarkerMissing => "marker_missing",
            Self::NewerEngine => "newer_engine",
            Self::ShorterHistory => "shorter_history",
            Self::Forgotten => "forgotten",
            Self::BackoffPassed => "backoff_passed",
            Self::StopRequested => "stop_requested",
        }
    }
    /// What an operator can do where this reason keeps a replica from emitting; none for reasons that pass by themselves.
    #[must_use]
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::ForeignMarker => Some(
                "its last marker was written over another observations topic: was the topic deleted and created again? \
                 Point kafka.topic_prefix at a new set of topics, or delete and create the alerts topic, too",
            ),
            Self::MarkerWentBack => Some(
                "the alerts partition has lost records that this worker has seen (unclean election, truncation?): \
                 compare it with `bellwether verify`, then restart this worker to accept what is there",
            ),
            Self::MarkerMissing => Some(
                "the alerts partition has no marker left, so nobody knows what is out: was its retention shorter than a \
                 time without any primary? Delete and create the alerts topic to begin anew (what fires now is told again)",
            ),
            Self::NewerEngine => Some(
                "its last marker was written by a newer version of Bellwether: upgrade this worker, or let a newer one \
                 be primary",
            ),
            Self::ShorterHistory => Some(
                "this worker has derived fewer alerts from the same records than are out: its state is of a shorter \
                 history (a log that lost its beginning, a foreign snapshot?). Restart it, so that it restores a snapshot; \
                 `bellwether snapshots list` says which there are",
            ),
            Self::Started
            | Self::LockFree
            | Self::LockHeld
            | Self::LockAcquired
            | Self::LockLost
            | Self::Claimed
            | Self::ProcessGone
            | Self::TransitionUnseen
            | Self::Initialised
            | Self::MarkerRead
            | Self::CommitSlow
            | Self::CommitFailed
            | Self::ProducerFenced
            | Self::NewerEpoch
            | Self::NoProgress
            | Self::Forgotten
            | Self::BackoffPassed
            | Self::StopRequested => None,
        }
    }
}
