//! What goes wrong in a run, and when: drawn from the seed before the run begins, so that a run can be told again
//! with fewer of its faults.
//!
//! Each run turns some kinds on and others off (swarm testing: a run with everything in it hides what only a long
//! series of one thing would show).

use super::random::Random;
use std::collections::BTreeSet;

/// How long faults go on, milliseconds of simulated time.
pub const SAFETY_MS: i64 = 60_000;
/// Session timeout of the simulated ZooKeeper, milliseconds.
pub const SESSION_MS: i64 = 1_000;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A process is killed, and starts again later.
    Crash,
    /// The machine under a process is gone: as a crash, but connections to it hang and are not refused.
    MachineGone,
    /// All processes are killed at once.
    CrashAll,
    /// A process stands still (SIGSTOP), for half to twenty times the session timeout.
    Pause,
    /// The emission thread hangs; everything else of the process goes on.
    Hang,
    /// A worker is stopped as an operator would, and started again.
    Stop,
    /// A worker is stopped and started with another version of the engine.
    Upgrade,
    /// ZooKeeper ends a session.
    SessionLost,
    /// ZooKeeper has no quorum.
    KeeperDown,
    /// A worker cannot reach ZooKeeper.
    KeeperCut,
    /// A worker cannot reach Kafka.
    KafkaCut,
    /// Kafka answers nobody.
    KafkaStall,
    /// The first copy of an EndTxn is late; a retry is sent a second or more later.
    EndTxnLate,
    /// A connection breaks under an EndTxn: the retry is quick, the first copy arrives long after it.
    EndTxnTwice,
    /// An EndTxn is carried out, its answer is lost.
    EndTxnUnanswered,
    /// An EndTxn never arrives.
    EndTxnLost,
    /// The leader of observations moves to a broker whose clock differs by up to an hour.
    LeaderMoves,
    /// Offsets of the log that hold nothing: control batches, aborted data.
    Gaps,
    /// A record that nobody can read.
    Garbage,
    /// A control record that the cluster has not signed.
    Forgery,
    /// The store fails a few puts.
    StoreFails,
    /// A bit of the newest snapshot flips.
    StoreFlips,
    /// New rules.
    Rules,
    /// Many alerts begin with one record, and end with another.
    Storm,
    /// Nothing is produced for a while.
    Quiet,
    /// Retention takes the beginning of the log.
    Retention,
    /// The followers of a leader fall behind, then it dies: what only it had is truncated, and some of it sent again.
    Truncation,
    /// The follower of the alerts partition is far behind, or loses its place.
    TailLost,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 28] = [
        Self::Crash,
        Self::MachineGone,
        Self::CrashAll,
        Self::Pause,
        Self::Hang,
        Self::Stop,
        Self::Upgrade,
        Self::SessionLost,
        Self::KeeperDown,
        Self::KeeperCut,
        Self::KafkaCut,
        Self::KafkaStall,
        Self::EndTxnLate,
        Self::EndTxnTwice,
        Self::EndTxnUnanswered,
        Self::EndTxnLost,
        Self::LeaderMoves,
        Self::Gaps,
        Self::Garbage,
        Self::Forgery,
        Self::StoreFails,
        Self::StoreFlips,
        Self::Rules,
        Self::Storm,
        Self::Quiet,
        Self::Retention,
        Self::Truncation,
        Self::TailLost,
    ];

    /// Stable word for the summary and the story.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::MachineGone => "machine_gone",
            Self::CrashAll => "crash_all",
            Self::Pause => "pause",
            Self::Hang => "hang",
            Self::Stop => "stop",
            Self::Upgrade => "upgrade",
            Self::SessionLost => "session_lost",
            Self::KeeperDown => "zookeeper_down",
            Self::KeeperCut => "zookeeper_cut",
            Self::KafkaCut => "kafka_cut",
            Self::KafkaStall => "kafka_stall",
            Self::EndTxnLate => "end_txn_late",
            Self::EndTxnTwice => "end_txn_twice",
            Self::EndTxnUnanswered => "end_txn_unanswered",
            Self::EndTxnLost => "end_txn_lost",
            Self::LeaderMoves => "leader_moves",
            Self::Gaps => "gaps",
            Self::Garbage => "garbage",
            Self::Forgery => "forgery",
            Self::StoreFails => "store_fails",
            Self::StoreFlips => "store_flips",
            Self::Rules => "rules",
            Self::Storm => "storm",
            Self::Quiet => "quiet",
            Self::Retention => "retention",
            Self::Truncation => "truncation",
            Self::TailLost => "tail_lost",
        }
    }

    /// Whether it befalls a worker, and may wait for a moment of what that does.
    pub(super) fn meets_a_worker(self) -> bool {
        match self {
            Self::Crash
            | Self::MachineGone
            | Self::Pause
            | Self::Hang
            | Self::Stop
            | Self::Upgrade
            | Self::SessionLost
            | Self::KeeperCut
            | Self::KafkaCut => true,
            Self::CrashAll
            | Self::KeeperDown
            | Self::KafkaStall
            | Self::EndTxnLate
            | Self::EndTxnTwice
            | Self::EndTxnUnanswered
            | Self::EndTxnLost
            | Self::LeaderMoves
            | Self::Gaps
            | Self::Garbage
            | Self::Forgery
            | Self::StoreFails
            | Self::StoreFlips
            | Self::Rules
            | Self::Storm
            | Self::Quiet
            | Self::Retention
            | Self::Truncation
            | Self::TailLost => false,
        }
    }

    /// How often it is drawn where it is on, compared with the others: what moves the primary comes more often.
    fn weight(self) -> u64 {
        match self {
            Self::Crash => 8,
            Self::Pause | Self::SessionLost => 5,
            Self::Storm | Self::Quiet => 4,
            Self::MachineGone
            | Self::Stop
            | Self::KafkaCut
            | Self::EndTxnLate
            | Self::EndTxnTwice
            | Self::EndTxnUnanswered
            | Self::EndTxnLost => 3,
            Self::Hang
            | Self::Upgrade
            | Self::KeeperCut
            | Self::LeaderMoves
            | Self::Gaps
            | Self::Forgery
            | Self::StoreFails
            | Self::StoreFlips
            | Self::CrashAll
            | Self::KeeperDown
            | Self::Rules
            | Self::Retention
            | Self::Truncation
            | Self::TailLost => 2,
            Self::KafkaStall | Self::Garbage => 1,
        }
    }

    /// How long it lasts, milliseconds: bounds.
    fn span_ms(self) -> (i64, i64) {
        match self {
            Self::Crash | Self::Stop | Self::Upgrade | Self::CrashAll => (200, 6_000),
            Self::MachineGone => (1_000, 8_000),
            Self::Pause => (SESSION_MS / 2, 20 * SESSION_MS),
            Self::Hang => (500, 12_000),
            Self::KeeperDown => (2_000, 20_000),
            Self::KeeperCut | Self::KafkaCut => (500, 10_000),
            Self::KafkaStall => (200, 4_000),
            Self::Truncation => (20, 3_000),
            Self::EndTxnLate | Self::EndTxnTwice => (100, 20_000),
            Self::Quiet => (4_000, 15_000),
            Self::TailLost => (100, 4_000),
            Self::SessionLost
            | Self::EndTxnUnanswered
            | Self::EndTxnLost
            | Self::LeaderMoves
            | Self::Gaps
            | Self::Garbage
            | Self::Forgery
            | Self::StoreFails
            | Self::StoreFlips
            | Self::Rules
            | Self::Retention
            | Self::Storm => (0, 0),
        }
    }
}

/// Whom a fault of a worker meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aim {
    /// The primary of the fault's partition; else the first worker.
    Primary,
    /// A worker that is not primary of the fault's partition.
    Standby,
    /// Whoever it is.
    Worker(usize),
}

/// When within what a worker does a fault meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// At its time.
    Now,
    /// At the next time that a call of this sort begins …
    Before(Call),
    /// … or has been answered, before anything is made of the answer.
    After(Call),
    /// As soon as a snapshot is stored that is past the marker: for a death of all (H1).
    PastMarker,
}

/// The calls of an emission thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `init_transactions`.
    Initialise,
    /// The read-back.
    ReadBack,
    /// The partition joins the transaction.
    Add,
    /// A produce request.
    Produce,
    /// The commit.
    End,
}

impl Call {
    const ALL: [Self; 5] = [Self::Initialise, Self::ReadBack, Self::Add, Self::Produce, Self::End];
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fault {
    /// From the start of the run, milliseconds.
    pub at_ms: i64,
    /// What.
    pub kind: Kind,
    /// Partition that it is about.
    pub partition: usize,
    /// Whom it meets, where it meets a worker.
    pub aim: Aim,
    /// At which moment, from `at_ms` on.
    pub moment: Moment,
    /// How long it lasts, milliseconds.
    pub span_ms: i64,
    /// For what else is to be drawn when it happens.
    pub detail: u64,
}

/// Everything that a seed decides before the run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Workers, each in a zone of its own.
    pub workers: usize,
    /// Partitions.
    pub partitions: usize,
    /// Kinds that are on.
    pub kinds: BTreeSet<Kind>,
    /// Faults, in order of their times.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let workers = if random.one_in(4) { 3 } else { 2 };
        let partitions = if random.one_in(6) { 2 } else { 1 };
        // A third of the kinds, or most of them, or few.
        let share = [8, 5, 2][random.index(3)];
        let kinds: BTreeSet<Kind> =
            Kind::ALL.into_iter().filter(|_| random.below(10) < share).chain([Kind::Crash]).collect();
        let total: u64 = kinds.iter().map(|kind| kind.weight()).sum();
        let pace_ms = random.between(1_200, 6_000);
        let (mut faults, mut at_ms) = (Vec::new(), 2_000);
        while at_ms < SAFETY_MS {
            let mut ticket = random.below(total);
            let drawn = kinds.iter().find(|kind| {
                let found = ticket < kind.weight();
                ticket = ticket.saturating_sub(kind.weight());
                found
            });
            let kind = drawn.copied().unwrap_or(Kind::Crash);
            faults.push(Fault::draw(kind, at_ms, workers, partitions, &mut random));
            at_ms += random.between(pace_ms / 8, pace_ms * 2);
        }
        Self { seed, workers, partitions, kinds, faults }
    }
}

impl Fault {
    fn draw(kind: Kind, at_ms: i64, workers: usize, partitions: usize, random: &mut Random) -> Self {
        let aim = match random.below(8) {
            0..=4 => Aim::Primary,
            5 => Aim::Standby,
            _ => Aim::Worker(random.index(workers)),
        };
        let call = Call::ALL[random.index(Call::ALL.len())];
        let moment = match random.below(6) {
            0..=3 if kind == Kind::CrashAll => Moment::PastMarker,
            0 | 1 => Moment::Now,
            2 | 3 => Moment::Before(call),
            _ => Moment::After(call),
        };
        let (low, high) = kind.span_ms();
        // Short ones come as often as long ones.
        let share = [1, 4, 16][random.index(3)];
        let span_ms = random.between(low, low + (high - low) / share);
        Self { at_ms, kind, partition: random.index(partitions), aim, moment, span_ms, detail: random.draw() }
    }
}
