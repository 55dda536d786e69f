//! An alerts partition and the coordinators of the transactions that write it, as Kafka 4 treats a client of the first
//! transaction protocol (`kafka-facts.md`; `reliability.md` H3, H5, H9).
//!
//! ```text
//!            add partition              end                    markers written
//!  Idle ────────────────────▶ Ongoing ───────▶ Ending{commit} ─────────────────▶ Done{commit}
//!                               │ init, or ten seconds                              │ add partition
//!                               └──────────▶ Ending{abort, epoch + 1}               └─▶ Ongoing
//! ```
//!
//! `EndTxn` is judged by epoch and state alone: a late copy of an old one that still carries the current epoch ends
//! whatever transaction is open now. A produce request is verified: without an open transaction it is refused.

use super::super::planted::{Bug, planted};
use crate::replica::{Failure, Tail};
use crate::wire::Marker;
use std::rc::Rc;

/// A coordinator aborts what stays open for longer, milliseconds.
pub(in crate::sim) const TRANSACTION_TIMEOUT_MS: i64 = 10_000;

/// What a record of an alerts partition says.
#[derive(Debug, Clone)]
pub(in crate::sim) enum Entry {
    /// A transition, and its bytes.
    Transition { seq: i64, input_offset: i64, ordinal: i32, rule_set_version: i64, bytes: Rc<[u8]> },
    /// A marker.
    Marker(Rc<Marker>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug, Clone)]
struct Slot {
    /// Partition whose transactional id wrote it.
    writer: usize,
    epoch: i32,
    entry: Entry,
    fate: Fate,
}

/// One alerts partition. An index is an offset; control batches take one each.
#[derive(Debug, Default)]
pub(in crate::sim) struct AlertsLog {
    /// None for a control batch.
    slots: Vec<Option<Slot>>,
    /// Everything below is decided.
    stable: usize,
}

impl AlertsLog {
    fn append(&mut self, writer: usize, epoch: i32, entries: Vec<Entry>) {
        let slots = entries.into_iter().map(|entry| Some(Slot { writer, epoch, entry, fate: Fate::Open }));
        self.slots.extend(slots);
    }

    /// Writes the control batch that ends a transaction.
    fn decide(&mut self, writer: usize, commit: bool) {
        for slot in self.slots[self.stable..].iter_mut().flatten() {
            if slot.writer == writer && slot.fate == Fate::Open {
                slot.fate = if commit { Fate::Committed } else { Fate::Aborted };
            }
        }
        self.slots.push(None);
        let open = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.fate == Fate::Open);
        self.stable += self.slots[self.stable..].iter().take_while(|slot| !open(slot)).count();
    }

    /// The last stable offset.
    pub(in crate::sim) fn stable(&self) -> usize {
        self.stable
    }

    /// What a `read_committed` reader finds from `from` on: offset, writing partition, epoch, record.
    pub(in crate::sim) fn committed(
        &self,
        from: usize,
    ) -> impl DoubleEndedIterator<Item = (usize, usize, i32, &Entry)> {
        let from = from.min(self.stable);
        let slots = self.slots[from..self.stable].iter().enumerate();
        slots.filter_map(move |(at, slot)| match slot {
            Some(slot) if slot.fate == Fate::Committed => {
                Some((from + at, slot.writer, slot.epoch, &slot.entry))
            }
            Some(_) | None => None,
        })
    }

    /// Reads to the end as `shell/kafka/tail.rs` does: back from the end until a marker is among what is read.
    pub(in crate::sim) fn tail(&self) -> Option<Marker> {
        let mut back = 64;
        loop {
            let from = self.slots.len().saturating_sub(back);
            let mut tail = Tail::new(from == 0);
            for (_, _, _, entry) in self.committed(from) {
                match entry {
                    Entry::Marker(marker) => tail.marker(marker),
                    Entry::Transition { .. } if planted(Bug::MarkersOnly) => {}
                    Entry::Transition { seq, input_offset, ordinal, rule_set_version, bytes } => {
                        tail.transition(*seq, (*input_offset, *ordinal), *rule_set_version, bytes);
                    }
                }
            }
            let marker = tail.out();
            if marker.is_some() || from == 0 {
                return marker;
            }
            back *= 8;
        }
    }
}

/// Where the transaction of one transactional id stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Standing {
    /// Nothing was ever open in this epoch.
    Idle,
    Ongoing {
        since_ms: i64,
    },
    /// Decided; the control batches are on their way.
    Ending {
        commit: bool,
    },
    Done {
        commit: bool,
    },
}

/// What the coordinator answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Verdict {
    Ok,
    /// The previous transaction is still being ended: ask again.
    Concurrent,
    Failed(Failure),
}

/// One transactional id.
#[derive(Debug)]
pub(in crate::sim) struct Coordinator {
    pub(in crate::sim) epoch: i32,
    pub(in crate::sim) standing: Standing,
    /// The alerts partition that it writes.
    pub(in crate::sim) target: usize,
    /// For [`Bug::MarkerInGroupOffset`]: what a consumer group's offset says is out, and what the open transaction
    /// would make it.
    pub(in crate::sim) group_offset: Option<Rc<Marker>>,
    pub(in crate::sim) group_pending: Option<Rc<Marker>>,
}

impl Coordinator {
    pub(in crate::sim) fn new(target: usize) -> Self {
        Self { epoch: 0, standing: Standing::Idle, target, group_offset: None, group_pending: None }
    }

    /// `InitProducerId`: fences, and ends what is open. Concurrent until that is done. `bumped` for the asker's second
    /// and later requests of one call.
    pub(in crate::sim) fn initialise(&mut self) -> Verdict {
        match self.standing {
            Standing::Ongoing { .. } => {
                self.abort();
                Verdict::Concurrent
            }
            Standing::Ending { .. } => Verdict::Concurrent,
            Standing::Idle | Standing::Done { .. } => {
                self.epoch += 1;
                self.standing = Standing::Idle;
                Verdict::Ok
            }
        }
    }

    /// Ends what is open, and fences whoever opened it.
    pub(in crate::sim) fn abort(&mut self) {
        self.epoch += 1;
        self.group_pending = None;
        self.standing = Standing::Ending { commit: false };
    }

    /// `AddPartitionsToTxn`.
    pub(in crate::sim) fn add(&mut self, epoch: i32, now_ms: i64) -> Verdict {
        match self.standing {
            _ if epoch != self.epoch => Verdict::Failed(Failure::Fenced),
            Standing::Ending { .. } => Verdict::Concurrent,
            Standing::Ongoing { .. } => Verdict::Ok,
            Standing::Idle | Standing::Done { .. } => {
                self.standing = Standing::Ongoing { since_ms: now_ms };
                Verdict::Ok
            }
        }
    }

    /// A produce request: what is verified, then appended.
    pub(in crate::sim) fn produce(
        &self,
        writer: usize,
        epoch: i32,
        entries: Vec<Entry>,
        log: &mut AlertsLog,
    ) -> Verdict {
        match self.standing {
            _ if epoch != self.epoch => Verdict::Failed(Failure::Fenced),
            Standing::Ongoing { .. } => {
                log.append(writer, epoch, entries);
                Verdict::Ok
            }
            Standing::Idle | Standing::Ending { .. } | Standing::Done { .. } => {
                Verdict::Failed(Failure::Broken)
            }
        }
    }

    /// `EndTxn(commit)`. True with Ok if control batches are to be written now.
    pub(in crate::sim) fn end(&mut self, epoch: i32) -> (Verdict, bool) {
        match self.standing {
            _ if epoch != self.epoch => (Verdict::Failed(Failure::Fenced), false),
            Standing::Ongoing { .. } => {
                self.standing = Standing::Ending { commit: true };
                (Verdict::Ok, true)
            }
            Standing::Ending { commit: true } => (Verdict::Concurrent, false),
            Standing::Done { commit: true } => (Verdict::Ok, false),
            Standing::Idle | Standing::Ending { commit: false } | Standing::Done { commit: false } => {
                (Verdict::Failed(Failure::Broken), false)
            }
        }
    }

    /// The control batches are written.
    pub(in crate::sim) fn decided(&mut self, writer: usize, log: &mut AlertsLog) {
        if let Standing::Ending { commit } = self.standing {
            log.decide(writer, commit);
            self.standing = Standing::Done { commit };
            let pending = self.group_pending.take();
            if commit && pending.is_some() {
                self.group_offset = pending;
            }
        }
    }
}
