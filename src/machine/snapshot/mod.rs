//! The whole state of a machine as bytes, and back: what a worker starts from when its peers are gone.
//!
//! ```text
//!  step ─▶ Action::Cut ─▶ Machine::capture ─▶ Capture ──(another thread)──▶ parts ─▶ the store
//!                          (pointers only)                                   │
//!  Machine::digest = BLAKE3 over the very same bytes ◀───────────────────────┘
//!  parts ─▶ Restore ─▶ Machine that goes on as if it had never stopped
//! ```
//!
//! The bytes are canonical: same state, same bytes, whatever the capacities, hash keys, memos and earlier captures. And
//! only these bytes: [`Restore`] refuses whatever it would not have written itself, so that one digest means one state.
//!
//! ```text
//!  head            format, engine, partition, clock, journal, next offset, counters, notices
//!  rule set        the files' texts, to be compiled again
//!  each group      its grid; each rule: last evaluation, fault, alerts, written series
//!  outputs         what each check said last
//!  series          in order of ids: first-seen number, labels, samples
//! ```
//!
//! What follows from these is not written: selections and lookbacks (from the rules), free ids (the gaps), identities of
//! alerts (from their labels). Neither are transitions that are not emitted yet: the replay derives them again.
//!
//! A part ends behind the first item that takes it to [`PART_BYTES`]; an item is never cut, and each part can be read
//! without the others' texts. To add an area of state: a file here with its `write` and `read`, an `Item`, a stage of
//! [`Restore`], and one more in [`FORMAT_VERSION`] once there has been a release.

mod baselines;
mod cut;
mod fault;
mod head;
mod notices;
mod outputs;
mod reader;
mod restore;
mod rules;
mod samples;
#[cfg(test)]
mod tests;
mod writer;

pub use cut::crosses;
pub use fault::{Place, SnapshotFault};
pub use head::Head;
pub use restore::Restore;

use super::alert::Alert;
use super::baseline::Baselines;
use super::clock::Clock;
use super::intake::Counters;
use super::journal::Journal;
use super::live::RuleState;
use super::notice::Notices;
use super::output::{Output, Outputs};
use super::schedule::Grid;
use super::series::{Pages, Series, SeriesId};
use super::{ENGINE_VERSION, Machine};
use crate::wire::{Labels, RuleSet};
use std::iter::once;
use std::sync::Arc;
use writer::Writer;

/// Version of the layout of the bytes.
pub const FORMAT_VERSION: u16 = 3;
/// A part ends behind the item that takes it to so many bytes.
pub const PART_BYTES: usize = 4 << 20;
/// No part is longer, bytes: one item is a series with 2^20 samples, or a rule set, at most. Whoever fetches a part
/// refuses a longer one before taking memory for it.
pub const PART_BYTES_MAX: usize = 64 << 20;
/// The first bytes of the first part.
const MAGIC: [u8; 4] = *b"BWsn";

/// The state of one machine at one point of the log. Shares the machine's pages until the machine writes to them; can
/// go to another thread.
#[derive(Debug)]
pub struct Capture {
    partition: i32,
    keyring_hash: [u8; 32],
    next_offset: i64,
    evicted_ms: i64,
    clock: Clock,
    journal: Journal,
    counters: Counters,
    notices: Notices,
    rule_set: Option<Arc<RuleSet>>,
    groups: Vec<(Grid, Vec<RuleState>)>,
    outputs: Outputs,
    pages: Pages,
    baselines: Baselines,
}

impl Machine {
    /// The state as it is now, for an encoder on another thread. Takes pointers, one for each page of a thousand series
    /// and a few for each rule; what is written afterwards is copied page by page. `&mut`: see
    /// `super::shareable`.
    pub fn capture(&mut self) -> Capture {
        let groups = self.live.groups.iter_mut();
        Capture {
            partition: self.options.partition,
            keyring_hash: self.options.keyring.hash(),
            next_offset: self.next_offset,
            evicted_ms: self.evicted_ms,
            clock: self.clock.clone(),
            journal: self.journal.clone(),
            counters: self.counters.clone(),
            notices: self.notices.clone(),
            rule_set: self.live.set.clone(),
            groups: groups
                .map(|group| (group.grid, group.states.iter_mut().map(RuleState::lend).collect()))
                .collect(),
            outputs: self.outputs.lend(),
            pages: self.store.lend(),
            baselines: self.store.lend_baselines(),
        }
    }

    /// What a manifest says of this state.
    #[must_use]
    pub fn head(&self) -> Head {
        self.image().head()
    }

    /// BLAKE3 over the bytes of a snapshot of this state: equal in two machines that were fed the same records. Reads
    /// the whole state, so it is for agreed points of the log and not for each record.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(&self.image())
    }

    fn image(&self) -> Image<'_> {
        Image {
            partition: self.options.partition,
            keyring_hash: self.options.keyring.hash(),
            next_offset: self.next_offset,
            evicted_ms: self.evicted_ms,
            clock: &self.clock,
            journal: &self.journal,
            counters: &self.counters,
            notices: &self.notices,
            rule_set: self.live.set.as_deref(),
            groups: self.live.groups.iter().map(|group| (group.grid, &group.states[..])).collect(),
            outputs: &self.outputs,
            pages: self.store.pages(),
            baselines: self.store.baselines(),
        }
    }
}

impl Capture {
    /// What a manifest says of it.
    #[must_use]
    pub fn head(&self) -> Head {
        self.image().head()
    }

    /// Its bytes, part by part, each made when it is asked for.
    pub fn parts(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.image().parts(PART_BYTES)
    }

    /// What [`Machine::digest`] was when it was taken: BLAKE3 over its parts, one behind the other.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(&self.image())
    }

    fn image(&self) -> Image<'_> {
        Image {
            partition: self.partition,
            keyring_hash: self.keyring_hash,
            next_offset: self.next_offset,
            evicted_ms: self.evicted_ms,
            clock: &self.clock,
            journal: &self.journal,
            counters: &self.counters,
            notices: &self.notices,
            rule_set: self.rule_set.as_deref(),
            groups: self.groups.iter().map(|(grid, states)| (*grid, &states[..])).collect(),
            outputs: &self.outputs,
            pages: &self.pages,
            baselines: &self.baselines,
        }
    }
}

/// What is encoded, of a machine or of a capture.
#[derive(Debug, Clone)]
struct Image<'a> {
    partition: i32,
    keyring_hash: [u8; 32],
    next_offset: i64,
    evicted_ms: i64,
    clock: &'a Clock,
    journal: &'a Journal,
    counters: &'a Counters,
    notices: &'a Notices,
    rule_set: Option<&'a RuleSet>,
    groups: Vec<(Grid, &'a [RuleState])>,
    outputs: &'a Outputs,
    pages: &'a Pages,
    baselines: &'a Baselines,
}

/// What is never cut.
#[derive(Debug)]
enum Item<'a> {
    Head,
    RuleSet,
    Group(Grid, usize),
    Rule(&'a RuleState),
    Alert(&'a Alert),
    Written(&'a Labels),
    Outputs,
    Output(&'a Output),
    Store,
    Series(SeriesId, &'a Series),
}

impl<'a> Image<'a> {
    fn head(&self) -> Head {
        Head {
            format_version: FORMAT_VERSION,
            engine_version: ENGINE_VERSION,
            partition: self.partition,
            next_offset: self.next_offset,
            seq: self.journal.seq,
            running_hash: self.journal.running_hash,
            clock_ms: self.clock.now_ms(),
            rule_set_version: self.rule_set.map_or(0, |set| set.version),
        }
    }

    /// In the order of the bytes.
    fn items(&self) -> impl Iterator<Item = Item<'a>> + use<'a> {
        let rule = |state: &'a RuleState| {
            let alerts = state.alerts.values().map(Item::Alert);
            once(Item::Rule(state)).chain(alerts).chain(state.written.iter().map(Item::Written))
        };
        let groups = self.groups.clone().into_iter().flat_map(move |(grid, states)| {
            once(Item::Group(grid, states.len())).chain(states.iter().flat_map(rule))
        });
        once(Item::Head)
            .chain(once(Item::RuleSet))
            .chain(groups)
            .chain(once(Item::Outputs))
            .chain(self.outputs.iter().map(Item::Output))
            .chain(once(Item::Store))
            .chain(self.pages.iter().map(|(id, series)| Item::Series(id, series)))
    }

    fn write(&self, item: &Item<'a>, to: &mut Writer<'a>) {
        match item {
            Item::Head => head::write(self, to),
            Item::RuleSet => rules::write_set(self.rule_set, self.baselines.zones(), to),
            Item::Group(grid, rules) => rules::write_grid(*grid, *rules, to),
            Item::Rule(state) => rules::write_state(state, to),
            Item::Alert(alert) => rules::write_alert(alert, to),
            Item::Written(labels) => to.labels(writer::Kin::Whole, labels),
            Item::Outputs => to.count(self.outputs.len()),
            Item::Output(output) => outputs::write(output, to),
            Item::Store => {
                to.number(self.pages.seen);
                to.count(self.pages.len());
            }
            Item::Series(id, series) => {
                samples::write(*id, series, self.base_ms(), to);
                baselines::write(self.baselines, &series.watch, series.newest_ms, to);
            }
        }
    }

    /// What the first sample of each series is written against.
    fn base_ms(&self) -> i64 {
        self.clock.now_ms().unwrap_or(0)
    }

    fn parts(self, part_bytes: usize) -> impl Iterator<Item = Vec<u8>> + use<'a> {
        let mut items = self.items();
        let mut last = 0;
        std::iter::from_fn(move || {
            let mut part = Writer::default();
            // The parts are about alike; a small state takes no buffer of a large one's size.
            part.bytes.reserve(last);
            for item in items.by_ref() {
                self.write(&item, &mut part);
                if part.bytes.len() >= part_bytes {
                    break;
                }
            }
            last = part.bytes.len();
            (!part.bytes.is_empty()).then_some(part.bytes)
        })
    }
}

fn digest(image: &Image<'_>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    image.clone().parts(PART_BYTES).for_each(|part| _ = hasher.update(&part));
    hasher.finalize().into()
}
