//! The series that rules select, and of each the samples that some rule still looks back to.
//!
//! A series is known by its label set and named inside by a dense [`SeriesId`], given out in first-seen order (the
//! smallest free number first, so that ids are as deterministic as the log). A series that no rule selects is not kept;
//! that it is not selected is remembered in the memo of the hot path, which is no state.
//!
//! ```text
//!  (service, key bytes) ──memo──▶ SeriesId ──▶ page ──▶ ring of samples
//!  Labels ──────────────index──▶ SeriesId
//!  SelectionId ──▶ ids of the series it selects, in first-seen order
//! ```
//!
//! How long a sample stays: the machine evaluates every grid point up to the log's clock (less the group's
//! `query_offset`, which it adds to the [`Interest`]s) before it appends what the record brought. So a sample is dead
//! once it is older than the clock by the longest lookback of the selections that its series is in.

mod cap;
mod go_regex;
mod loading;
mod page;
mod ring;
mod selector;
#[cfg(test)]
mod tests;
mod watch;

pub(super) use go_regex::translate;
pub(super) use loading::{Loading, Misfit};
pub use page::PAGE_SERIES;
pub(super) use page::{Pages, Series};
pub(super) use ring::Ring;
pub use ring::{Point, SAMPLES_MAX, STALE_NAN_BITS, Window};
pub use selector::{Matcher, Selector, anchored};

use super::baseline::{Baselines, Said, Watch};
use super::index::{Buckets, Memo};
use super::promql::{Blocks, Groups, Shared};
use crate::wire::{Labels, labels::METRIC_NAME};
use cap::Cap;
use siphasher::sip::SipHasher13;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use thiserror::Error;
use watch::Unjudged;

/// How far ahead of the log's clock a sample may be, milliseconds.
pub const FUTURE_MS_MAX: i64 = 10 * 60 * 1000;
/// How long a silent series is kept beyond its longest lookback before [`Store::evict`] forgets it, milliseconds.
pub const EVICT_SLACK_MS: i64 = 10 * 60 * 1000;

/// A series of the store. Valid until the series is evicted; then the number is given out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// What one [`Interest`] selects. Valid until the next [`Store::set_interests`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SelectionId(pub u32);

/// What an expression wants kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Interest {
    /// Which series.
    pub selector: Selector,
    /// How far before the time of evaluation its samples are needed, milliseconds. Samples at exactly that distance
    /// are not.
    pub lookback_ms: i64,
}

/// Why a sample was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SampleFault {
    /// The series has a newer sample.
    #[error("sample at {time_ms} ms is older than the newest of its series, {newest_ms} ms")]
    OutOfOrder {
        /// Event time seen.
        time_ms: i64,
        /// The bound.
        newest_ms: i64,
    },
    /// The series has a sample of this very time, equal or not.
    #[error("the series has a sample at {time_ms} ms already")]
    Duplicate {
        /// Event time seen.
        time_ms: i64,
    },
    /// The sample is too far ahead of the log's clock.
    #[error("sample at {time_ms} ms is more than {FUTURE_MS_MAX} ms ahead of the log, {latest_ms} ms")]
    FarFuture {
        /// Event time seen.
        time_ms: i64,
        /// The log's clock, or the record's stamp where that is later.
        latest_ms: i64,
    },
}

/// Refuses a sample that is too far ahead of `latest_ms`: the log's clock, or the stamp of the sample's record where the
/// clock is held below it. The stamp counts, because after an outage of every worker the clock stands until the next tick,
/// and what was produced meanwhile must not be lost.
pub fn check_ahead(time_ms: i64, latest_ms: i64) -> Result<(), SampleFault> {
    if time_ms > latest_ms.saturating_add(FUTURE_MS_MAX) {
        return Err(SampleFault::FarFuture { time_ms, latest_ms });
    }
    Ok(())
}

impl SampleFault {
    /// Every code there is.
    pub const CODES: [&'static str; 4] = ["out_of_order", "duplicate", "far_future", Self::COLLISION];
    /// Code of outputs of a baseline that two series would write alike: the second is refused.
    pub const COLLISION: &'static str = "baseline_collision";

    /// Stable code: label of the counter of rejected samples.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfOrder { .. } => "out_of_order",
            Self::Duplicate { .. } => "duplicate",
            Self::FarFuture { .. } => "far_future",
        }
    }

    /// A sample that came late does not come earlier by being sent again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// One distinct selector and what it selects.
#[derive(Debug)]
struct Selection {
    selector: Selector,
    lookback_ms: i64,
    series: Vec<SeriesId>,
    /// Baselines that look at what it selects.
    baselines: Vec<u32>,
}

/// Every series that some rule selects.
#[derive(Debug)]
pub struct Store {
    hash_key: u64,
    memo: Memo,
    index: Buckets,
    pages: Pages,
    free: BTreeSet<u32>,
    selections: Vec<Selection>,
    cap: Cap,
    baselines: Baselines,
    /// Samples of the record at hand that baselines have not judged yet.
    unjudged: Vec<Unjudged>,
    /// What baselines say of the sample at hand.
    said: Vec<Said>,
    /// Selections that pin a metric's name, by that name.
    named: BTreeMap<Box<str>, Vec<usize>>,
    unnamed: Vec<usize>,
    /// One more with every change.
    version: u64,
    /// What evaluations remember of the labels of series, and of values until the next change. No state.
    groups: RefCell<Groups>,
    shared: RefCell<Shared>,
    blocks: RefCell<Blocks>,
}

impl Store {
    /// An empty store that selects nothing. `hash_key` keeps writers of labels from choosing collisions; it has no
    /// influence on what the store answers.
    #[must_use]
    pub fn new(hash_key: u64) -> Self {
        Self {
            hash_key,
            memo: Memo::new(hash_key),
            index: Buckets::default(),
            pages: Pages::default(),
            free: BTreeSet::new(),
            selections: Vec::new(),
            cap: Cap::default(),
            baselines: Baselines::default(),
            unjudged: Vec::new(),
            said: Vec::new(),
            named: BTreeMap::new(),
            unnamed: Vec::new(),
            version: 0,
            groups: RefCell::default(),
            shared: RefCell::default(),
            blocks: RefCell::default(),
        }
    }

    /// What is selected from now on, without baselines. Gives one id per interest, in their order; equal selectors share
    /// one. Series that nobody selects any more are forgotten; a longer lookback starts with what is still there.
    pub fn set_interests(&mut self, interests: Vec<Interest>) -> Vec<SelectionId> {
        self.set_rules(interests, Vec::new())
    }

    fn clear_selections(&mut self) {
        self.selections.clear();
        self.named.clear();
        self.unnamed.clear();
        self.memo.clear();
        self.version += 1;
        *self.groups.get_mut() = Groups::default();
        *self.shared.get_mut() = Shared::default();
        *self.blocks.get_mut() = Blocks::default();
    }

    fn in_first_seen_order(&self) -> Vec<SeriesId> {
        let mut series: Vec<(u64, SeriesId)> = self.pages.iter().map(|(id, s)| (s.first_seen, id)).collect();
        series.sort_unstable();
        series.into_iter().map(|(_, id)| id).collect()
    }

    /// Enters a series into what is selected now, or forgets it.
    fn rejoin(&mut self, id: SeriesId) {
        let matched = self.matching(self.labels(id));
        if matched.is_empty() {
            self.forget(id);
        } else {
            self.join(id, &matched);
        }
    }

    fn add_selection(&mut self, interest: Interest) -> SelectionId {
        let Interest { selector, lookback_ms } = interest;
        let same = match selector.metric_name() {
            Some(name) => self.named.entry(name.into()).or_default(),
            None => &mut self.unnamed,
        };
        let at = match same.iter().find(|at| self.selections[**at].selector == selector) {
            Some(at) => *at,
            None => {
                same.push(self.selections.len());
                let (series, baselines) = (Vec::new(), Vec::new());
                self.selections.push(Selection { selector, lookback_ms, series, baselines });
                self.selections.len() - 1
            }
        };
        let selection = &mut self.selections[at];
        selection.lookback_ms = selection.lookback_ms.max(lookback_ms);
        SelectionId(number(at))
    }

    /// Which series the encoded bytes of a name and labels stand for; `None` if no rule selects it. `labels` gives the
    /// full label set, the service among them, and is called only for bytes that are not known.
    pub fn lookup(&mut self, service: &str, key: &[u8], labels: impl FnOnce() -> Labels) -> Option<SeriesId> {
        let digest = self.memo.digest(service, key);
        if let Some(found) = self.memo.get(digest) {
            return found;
        }
        let found = self.lookup_labels(&labels());
        self.memo.put(digest, found, self.pages.len());
        found
    }

    /// Which series has exactly these labels; `None` if no rule selects it. A series not seen yet begins here, and others
    /// may give way to it: ids from before are then not to be used.
    pub fn lookup_labels(&mut self, labels: &Labels) -> Option<SeriesId> {
        let labels_hash = self.hash(labels);
        if let Some(id) = self.index.find(labels_hash, |id| self.labels(SeriesId(id)) == labels) {
            return Some(SeriesId(id));
        }
        let matched = self.matching(labels);
        if matched.is_empty() {
            return None;
        }
        self.make_room_for(labels);
        let id = self.free.pop_first().map_or_else(|| self.pages.unused(), SeriesId);
        let series = Series {
            ring: Ring::default(),
            newest_ms: i64::MIN,
            lookback_ms: 0,
            first_seen: self.pages.seen,
            labels_hash,
            labels: Arc::new(labels.clone()),
            watch: Watch::Nobody,
        };
        self.pages.insert(id, series);
        self.pages.seen += 1;
        self.index.insert(labels_hash, id.0);
        self.join(id, &matched);
        Some(id)
    }

    /// Takes a sample. `clock_ms` is the log's clock, or the grid point that recorded it: what no evaluation after it can
    /// see is dropped. So every grid point up to `clock_ms` (less the
    /// query offset that the interests include) is evaluated before.
    pub fn append(
        &mut self,
        id: SeriesId,
        time_ms: i64,
        value: f64,
        clock_ms: i64,
    ) -> Result<(), SampleFault> {
        let series = self.pages.get_mut(id);
        let newest_ms = series.newest_ms;
        match time_ms.cmp(&newest_ms) {
            std::cmp::Ordering::Less => return Err(SampleFault::OutOfOrder { time_ms, newest_ms }),
            std::cmp::Ordering::Equal => return Err(SampleFault::Duplicate { time_ms }),
            std::cmp::Ordering::Greater => series.newest_ms = time_ms,
        }
        let stale = value.to_bits() == STALE_NAN_BITS;
        let value = if value.is_nan() && !stale { f64::NAN } else { value };
        self.version += 1;
        let cut_ms = clock_ms.saturating_sub(series.lookback_ms);
        let before = series.ring.bytes();
        series.ring.push(Point { time_ms, value }, cut_ms);
        let grown = series.ring.bytes().saturating_sub(before);
        self.pages.grew(grown);
        Ok(())
    }

    /// The labels of a series.
    #[must_use]
    pub fn labels(&self, id: SeriesId) -> &Labels {
        &self.pages.get(id).labels
    }

    /// The series that an interest selects, in first-seen order.
    #[must_use]
    pub fn selected(&self, selection: SelectionId) -> &[SeriesId] {
        &self.selections[selection.0 as usize].series
    }

    /// Whether a selector of the rules in force selects some series; none where no rule in force has that selector.
    pub(super) fn selects(&self, selector: &Selector) -> Option<bool> {
        let selection = self.selections.iter().find(|selection| selection.selector == *selector)?;
        Some(!selection.series.is_empty())
    }

    /// The samples of a series in `(after_ms, to_ms]`, stale markers among them.
    #[must_use]
    pub fn window(&self, id: SeriesId, after_ms: i64, to_ms: i64) -> Window<'_> {
        self.pages.get(id).ring.window(after_ms, to_ms)
    }

    /// The newest sample in `(after_ms, to_ms]`, which may be a stale marker.
    #[must_use]
    pub fn latest(&self, id: SeriesId, after_ms: i64, to_ms: i64) -> Option<Point> {
        self.pages.get(id).ring.latest(after_ms, to_ms)
    }

    /// Forgets every series that was silent for longer than its longest lookback, or than baselines remember it, and
    /// [`EVICT_SLACK_MS`]. Call it at times that the log decides.
    pub fn evict(&mut self, clock_ms: i64) {
        let silent = |series: &Series| {
            let keep_ms = series.lookback_ms.max(self.baselines.keep_ms(&series.watch));
            series.newest_ms <= clock_ms.saturating_sub(keep_ms).saturating_sub(EVICT_SLACK_MS)
        };
        let gone: BTreeSet<SeriesId> =
            self.pages.iter().filter(|(_, series)| silent(series)).map(|(id, _)| id).collect();
        self.forget_all(gone);
    }

    fn forget_all(&mut self, gone: BTreeSet<SeriesId>) {
        if gone.is_empty() {
            return;
        }
        self.memo.forget(|id| gone.contains(&id));
        for selection in &mut self.selections {
            selection.series.retain(|id| !gone.contains(id));
        }
        gone.into_iter().for_each(|id| self.forget(id));
    }

    /// How many series are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether no series is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.len() == 0
    }

    /// Memory taken, bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let selections: usize =
            self.selections.iter().map(|s| s.series.capacity() * size_of::<SeriesId>()).sum();
        let found = self.memo.bytes() + self.index.bytes();
        let remembered =
            self.groups.borrow().bytes() + self.shared.borrow().bytes() + self.blocks.borrow().bytes();
        self.pages.bytes() + selections + found + self.baselines.bytes() + remembered
    }

    /// The same series as they are now, for a snapshot.
    pub(super) fn lend(&mut self) -> Pages {
        self.pages.lend()
    }

    /// Every series.
    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// The key under which whoever groups by labels hashes them, too.
    #[must_use]
    pub fn hash_key(&self) -> u64 {
        self.hash_key
    }

    /// Another number whenever anything was another.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// What evaluations remember of the labels of series.
    pub(super) fn groups(&self) -> &RefCell<Groups> {
        &self.groups
    }

    /// What evaluations remember of values, until the next change.
    pub(super) fn shared(&self) -> &RefCell<Shared> {
        &self.shared
    }

    /// What evaluations remember of the samples in long windows.
    pub(super) fn blocks(&self) -> &RefCell<Blocks> {
        &self.blocks
    }

    /// Event time of the newest sample that a series ever took, milliseconds since the epoch.
    pub(super) fn newest_ms(&self, id: SeriesId) -> i64 {
        self.pages.get(id).newest_ms
    }

    /// Selections that a series with these labels is in.
    fn matching(&self, labels: &Labels) -> Vec<usize> {
        let named = self.named.get(labels.get(METRIC_NAME)).map_or(&[][..], Vec::as_slice);
        let candidates = named.iter().chain(&self.unnamed).copied();
        candidates.filter(|at| self.selections[*at].selector.matches(labels)).collect()
    }

    /// Enters a series into its selections.
    fn join(&mut self, id: SeriesId, matched: &[usize]) {
        let lookback_ms = matched.iter().map(|at| self.selections[*at].lookback_ms).max().unwrap_or(0);
        self.pages.get_mut(id).lookback_ms = lookback_ms;
        for at in matched {
            self.selections[*at].series.push(id);
        }
        self.version += 1;
        self.watch(id, matched);
    }

    /// Frees a series' id. Its selections and the memo are the caller's.
    fn forget(&mut self, id: SeriesId) {
        if let Some(series) = self.pages.remove(id) {
            series.watch.slots().iter().for_each(|slot| self.baselines.release(*slot));
            self.index.remove(series.labels_hash, id.0);
            self.free.insert(id.0);
            self.version += 1;
            self.groups.get_mut().forget(id);
            self.blocks.get_mut().forget(id);
        }
    }

    fn hash(&self, labels: &Labels) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.hash_key, 1);
        labels.hash(&mut hasher);
        hasher.finish()
    }
}

/// Series and selections are counted in 32 bits: four thousand million of them do not fit into memory.
fn number(at: usize) -> u32 {
    match u32::try_from(at) {
        Ok(at) => at,
        Err(_) => panic!("more than 2^32 series or selections"),
    }
}
