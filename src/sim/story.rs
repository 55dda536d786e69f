//! What happened in a run: each fact is folded into one number, by which two runs of a seed are compared, and, where a
//! story was asked for, written down for a person.

use super::fault::{Call, Fault, Moment};
use std::fmt;
use std::hash::{Hash, Hasher};

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Fault,
    Kafka,
    Keeper,
    Monitors,
    Oracle,
    Worker(usize),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault => f.pad("FAULT"),
            Self::Kafka => f.pad("kafka"),
            Self::Keeper => f.pad("zookeeper"),
            Self::Monitors => f.pad("monitors"),
            Self::Oracle => f.pad("ORACLE"),
            Self::Worker(worker) => f.pad(&super::worker::name(*worker)),
        }
    }
}

/// What was done. `p` is the partition.
#[derive(Debug, Clone, Hash)]
pub(super) enum Fact {
    Injected(Fault),
    Armed(Fault),
    Healed,
    Appended { p: usize, offset: i64, what: &'static str, stamp_ahead_ms: i64 },
    LogCut { p: usize, low: i64 },
    Truncated { p: usize, records: usize },
    OutOfRange { p: usize, next: i64 },
    Started { engine: i32 },
    Killed,
    Stopped,
    Paused { ms: i64 },
    Resumed,
    Hung { p: usize, ms: i64 },
    CaughtUp { p: usize, offset: i64, seq: i64 },
    Derived { p: usize, first: i64, last: i64, offset: i64 },
    Role { p: usize, from: &'static str, to: &'static str, reason: &'static str },
    Asked { p: usize, call: Call },
    Commits { p: usize, first: i64, last: i64, epoch: i64 },
    Committed { p: usize, seq: i64, took_ms: i64 },
    CommitFailed { p: usize, how: &'static str },
    ReadBack { p: usize, seq: Option<i64> },
    EndTxn { p: usize, epoch: i32, how: &'static str, stray: bool },
    Ended { p: usize, epoch: i32, commit: bool, stable: usize },
    Fenced { p: usize, epoch: i32 },
    Session { worker: usize, what: &'static str },
    Lock { p: usize, what: &'static str },
    Diverged { p: usize, seq: i64 },
    RulesSwitched { p: usize, version: i64, refused: bool },
    Snapshot { p: usize, seq: i64, offset: i64 },
    Restored { p: usize, seq: i64, offset: i64 },
    Rederives { p: usize, seq: i64 },
    Violation(String),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Injected(fault) => tell_fault(f, fault),
            Self::Armed(fault) => tell_fault(f, fault).and_then(|()| tell_moment(f, fault.moment)),
            Self::Healed => f.write_str("no more faults from here on"),
            Self::Appended { p, offset, what, stamp_ahead_ms: 0 } => {
                write!(f, "observations {p}: offset {offset}: {what}")
            }
            Self::Appended { p, offset, what, stamp_ahead_ms } => {
                write!(f, "observations {p}: offset {offset}: {what}, stamped {stamp_ahead_ms} ms off")
            }
            Self::LogCut { p, low } => write!(f, "observations {p}: retention cuts it to offset {low}"),
            Self::Truncated { p, records } => {
                write!(f, "observations {p}: the leader is gone, and {records} records with it")
            }
            Self::OutOfRange { p, next } => write!(f, "{p}: offset {next} is gone: begins again"),
            Self::Started { engine } => write!(f, "starts, engine version {engine}"),
            Self::Killed => f.write_str("is dead"),
            Self::Stopped => f.write_str("has stopped as told"),
            Self::Paused { ms } => write!(f, "stands still for {ms} ms"),
            Self::Resumed => f.write_str("goes on"),
            Self::Hung { p, ms } => write!(f, "emission thread {p} hangs for {ms} ms"),
            Self::CaughtUp { p, offset, seq } => write!(f, "{p}: caught up at offset {offset}, seq {seq}"),
            Self::Derived { p, first, last, offset } => {
                write!(f, "{p}: derives seq {first} to {last} up to offset {offset}")
            }
            Self::Role { p, from, to, reason } => write!(f, "{p}: {from} -> {to} ({reason})"),
            Self::Asked { p, call } => write!(f, "{p}: asks: {call:?}"),
            Self::Commits { p, first, last, epoch } if first > last => {
                write!(f, "{p}: writes a heartbeat, seq {last}, epoch {epoch}")
            }
            Self::Commits { p, first, last, epoch } => {
                write!(f, "{p}: writes seq {first} to {last}, epoch {epoch}")
            }
            Self::Committed { p, seq, took_ms } => write!(f, "{p}: committed up to {seq} in {took_ms} ms"),
            Self::CommitFailed { p, how } => write!(f, "{p}: the commit failed: {how}"),
            Self::ReadBack { p, seq: Some(seq) } => write!(f, "{p}: reads back: out up to {seq}"),
            Self::ReadBack { p, seq: None } => write!(f, "{p}: reads back: nothing is out"),
            Self::EndTxn { p, epoch, how, stray } => {
                let copy = if *stray { "a late copy of EndTxn" } else { "EndTxn" };
                write!(f, "alerts {p}: {copy} of producer epoch {epoch} arrives: {how}")
            }
            Self::Ended { p, epoch, commit, stable } => {
                let word = if *commit { "committed" } else { "aborted" };
                write!(
                    f,
                    "alerts {p}: the transaction is {word} (producer epoch now {epoch}), stable to {stable}"
                )
            }
            Self::Fenced { p, epoch } => write!(f, "alerts {p}: producer epoch {epoch} from here on"),
            Self::Session { worker, what } => {
                write!(f, "session of {} {what}", super::worker::name(*worker))
            }
            Self::Lock { p, what } => write!(f, "{p}: lock: {what}"),
            Self::Diverged { p, seq } => write!(f, "{p}: another history than the marker's at seq {seq}"),
            Self::RulesSwitched { p, version, refused } => {
                write!(f, "{p}: rules {version} {}", if *refused { "refused" } else { "in force" })
            }
            Self::Snapshot { p, seq, offset } => {
                write!(f, "{p}: has stored a snapshot: seq {seq}, next offset {offset}")
            }
            Self::Restored { p, seq, offset } => {
                write!(f, "{p}: restores a snapshot: seq {seq}, next offset {offset}")
            }
            Self::Rederives { p, seq } => {
                write!(f, "{p}: derives anew what is not out after seq {seq} and was forgotten")
            }
            Self::Violation(what) => f.write_str(what),
        }
    }
}

fn tell_moment(f: &mut fmt::Formatter<'_>, moment: Moment) -> fmt::Result {
    match moment {
        Moment::Now => Ok(()),
        Moment::PastMarker => f.write_str(", as soon as a snapshot past the marker is stored"),
        Moment::Before(call) => write!(f, ", as soon as {call:?} begins"),
        Moment::After(call) => write!(f, ", as soon as {call:?} is answered"),
    }
}

fn tell_fault(f: &mut fmt::Formatter<'_>, fault: &Fault) -> fmt::Result {
    write!(f, "{} (partition {}, {:?}", fault.kind.code(), fault.partition, fault.aim)?;
    if fault.span_ms > 0 { write!(f, ", {} ms)", fault.span_ms) } else { f.write_str(")") }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Story {
    fold: Fold,
    lines: Option<Vec<String>>,
}

impl Story {
    pub(super) fn new(written: bool) -> Self {
        Self { fold: Fold::default(), lines: written.then(Vec::new) }
    }

    /// `at_ms` from the start of the run.
    pub(super) fn tell(&mut self, at_ms: i64, who: Who, fact: &Fact) {
        (at_ms, who).hash(&mut self.fold);
        fact.hash(&mut self.fold);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>4}.{:03}  {who:<9}  {fact}", at_ms / 1000, at_ms % 1000));
        }
    }

    /// One number for all that was told.
    pub(super) fn fold(&self) -> u64 {
        self.fold.finish()
    }

    pub(super) fn lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

/// FNV-1a over words.
#[derive(Debug)]
struct Fold(u64);

impl Default for Fold {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Fold {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01B3).rotate_left(23);
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }
}
