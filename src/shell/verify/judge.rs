//! The comparison itself: records of the alerts partition go in one by one, the replay is drawn on as far as they need
//! it. No I/O: the real topics, a simulated log and a test feed it alike.

use super::replay::Replay;
use super::verdict::{Difference, Field, Verdict, describe};
use crate::machine::{ENGINE_VERSION, Options};
use crate::wire::{AlertRecord, Marker, Transition, hex};
use std::collections::{BTreeMap, BTreeSet};

/// Newest transitions whose place is remembered, to say where a duplicate stood first.
const PLACES_MAX: usize = 4096;
/// Missing transitions that are remembered, to tell one that comes late from one that comes twice.
const MISSED_MAX: u64 = 65_536;

/// The alerts were decided by another engine than this binary's: it cannot say what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherEngine {
    /// Offset of the marker that says so.
    pub at: i64,
    /// Version of the engine that wrote it.
    pub theirs: i32,
}

/// The last transition of the replay that the topic has been held against.
#[derive(Debug, Clone, Copy)]
struct Reached {
    seq: i64,
    input_offset: i64,
    ordinal: i32,
    rule_set_version: i64,
    hash: [u8; 32],
}

/// Compares one partition.
#[derive(Debug)]
pub struct Judge {
    replay: Replay,
    reached: Reached,
    /// Whether a record at or behind `reached` was seen. Until then the topic may begin anywhere behind it: its own
    /// retention, or a snapshot, took the rest.
    begun: bool,
    /// `seq` of the last transition before `reached`, of which no more can be said than that they are dense.
    before: Option<i64>,
    /// Whether retention took the beginning of the topic.
    cut: bool,
    places: BTreeMap<i64, i64>,
    missed: BTreeSet<i64>,
    newest: Option<(i64, String)>,
    verdict: Verdict,
}

impl Judge {
    /// Replays from the first record of the log. `cut`: the first record of the alerts partition is not its first any
    /// more, retention took it.
    #[must_use]
    pub fn new(options: Options, cut: bool) -> Self {
        let partition = options.partition;
        Self::from_replay(partition, Replay::new(options), 0, cut)
    }

    /// Replays from where `replay` stands. `from_offset`: of the first record that it will be given.
    #[must_use]
    pub fn from_replay(partition: i32, replay: Replay, from_offset: i64, cut: bool) -> Self {
        let (seq, hash) = replay.head();
        Self {
            replay,
            reached: Reached { seq, input_offset: -1, ordinal: 0, rule_set_version: 0, hash },
            begun: false,
            before: None,
            cut,
            places: BTreeMap::new(),
            missed: BTreeSet::new(),
            newest: None,
            verdict: Verdict { partition, from_offset, ..Verdict::default() },
        }
    }

    /// The next committed record of the alerts partition.
    ///
    /// `feed` gives the replay one more record of observations and says whether there was one; its number is an offset
    /// that the topic claims the log reaches: it should wait for that one rather than take the log for ended.
    pub fn alert<E: From<OtherEngine>>(
        &mut self,
        at: i64,
        key: Option<&[u8]>,
        value: &[u8],
        feed: &mut impl FnMut(&mut Replay, i64) -> Result<bool, E>,
    ) -> Result<(), E> {
        match AlertRecord::read(value) {
            Ok(AlertRecord::Transition(transition)) => self.transition(at, key, value, &transition, feed),
            Ok(AlertRecord::Marker(marker)) => self.marker(at, &marker, feed),
            Err(fault) => {
                self.verdict.differs(Difference::Unreadable { at, fault: fault.to_string() });
                Ok(())
            }
        }
    }

    /// The end of the alerts partition. Replays the rest of the log, of which nothing has to be out yet; `at_rest`, all
    /// of it.
    pub fn finish<E>(
        mut self,
        at_rest: bool,
        feed: &mut impl FnMut(&mut Replay, i64) -> Result<bool, E>,
    ) -> Result<Verdict, E> {
        let mut first: Option<Transition> = None;
        while let Some(transition) = self.derive(-1, feed)? {
            self.verdict.not_due += 1;
            first.get_or_insert(transition);
        }
        self.verdict.records = self.replay.records();
        self.verdict.to_offset = self.replay.next_offset().max(self.verdict.from_offset);
        if let Some(first) = first {
            self.verdict.not_due_ms = (self.replay.clock_ms() - first.append_ms).max(0);
            if at_rest {
                let count = std::mem::take(&mut self.verdict.not_due);
                self.verdict.expected += count;
                self.verdict.lost += count;
                let (seq, cause, what) = (first.seq, first.input_offset, describe(&first));
                self.verdict.differs(Difference::Missing { seq, count, cause, what });
            }
        }
        Ok(self.verdict)
    }

    fn transition<E>(
        &mut self,
        at: i64,
        key: Option<&[u8]>,
        value: &[u8],
        found: &Transition,
        feed: &mut impl FnMut(&mut Replay, i64) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (seq, cause) = (found.seq, found.input_offset);
        self.verdict.found += 1;
        if seq <= self.reached.seq {
            self.passed(at, seq, cause);
            return Ok(());
        }
        self.skip_to(at, seq - 1, cause, feed)?;
        self.begun = true;
        match self.take(cause, feed)? {
            Some(wanted) => {
                if wanted.encode() != value || key != Some(wanted.alert.to_string().as_bytes()) {
                    self.verdict.changed += 1;
                    let (cause, fields) = (wanted.input_offset, differing(&wanted, found, key));
                    self.verdict.differs(Difference::Changed { at, seq, cause, fields });
                }
            }
            None => {
                self.verdict.changed += 1;
                let what = describe(found);
                self.verdict.differs(Difference::Unfounded { at, seq, cause, what });
            }
        }
        self.places.insert(seq, at);
        if self.places.len() > PLACES_MAX {
            self.places.pop_first();
        }
        self.verdict.last_seq = self.verdict.last_seq.max(seq);
        Ok(())
    }

    /// A `seq` that the comparison has passed: from before a snapshot, late, or twice.
    fn passed(&mut self, at: i64, seq: i64, cause: i64) {
        if !self.begun {
            // The range begins behind it: no content to compare with, but it must be dense.
            if self.before.is_some_and(|before| seq <= before) {
                self.verdict.doubled += 1;
                self.verdict.differs(Difference::Duplicate { at, seq, cause, first_at: None });
            }
            self.before = self.before.max(Some(seq));
            self.verdict.found -= 1;
        } else if self.missed.remove(&seq) {
            self.verdict.lost -= 1;
            self.verdict.differs(Difference::OutOfOrder { at, seq, cause });
        } else {
            self.verdict.doubled += 1;
            let first_at = self.places.get(&seq).copied();
            self.verdict.differs(Difference::Duplicate { at, seq, cause, first_at });
        }
    }

    /// Goes on to `seq`: nothing before the topic's first record is missing, everything after it is.
    fn skip_to<E>(
        &mut self,
        at: i64,
        seq: i64,
        cause: i64,
        feed: &mut impl FnMut(&mut Replay, i64) -> Result<bool, E>,
    ) -> Result<(), E> {
        let cut = self.cut && !self.begun && self.before.is_none();
        let mut first: Option<Transition> = None;
        let from = self.reached.seq + 1;
        while self.reached.seq < seq {
            let Some(skipped) = self.take(cause, feed)? else { break };
            if cut {
                self.verdict.expected -= 1;
                continue;
            }
            self.verdict.lost += 1;
            if self.verdict.lost <= MISSED_MAX {
                self.missed.insert(skipped.seq);
            }
            first.get_or_insert(skipped);
        }
        if let Some(first) = first {
            let (cause, what) = (first.input_offset, describe(&first));
            let last_seq = self.reached.seq;
            self.verdict.differs(Difference::Gap { at, seq: from, last_seq, cause, what });
        }
        Ok(())
    }

    fn marker<E: From<OtherEngine>>(
        &mut self,
        at: i64,
        marker: &Marker,
        feed: &mut impl FnMut(&mut Replay, i64) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.verdict.markers += 1;
        if marker.engine_version != ENGINE_VERSION {
            return Err(OtherEngine { at, theirs: marker.engine_version }.into());
        }
        self.epoch(at, marker);
        if !self.begun && marker.seq < self.reached.seq {
            return Ok(());
        }
        self.skip_to(at, marker.seq, marker.input_offset, feed)?;
        self.begun = true;
        let reached = &mut self.reached;
        if reached.input_offset < 0 && reached.seq == marker.seq && marker.seq > 0 {
            // A replay from a snapshot knows nothing of its last transition but the hash: the first marker tells the rest.
            reached.input_offset = marker.input_offset;
            reached.ordinal = marker.ordinal;
            reached.rule_set_version = marker.rule_set_version;
        }
        let mut fields = Vec::new();
        let mut compare = |field: &str, replay: String, topic: String| {
            if replay != topic {
                fields.push(Field { field: field.to_owned(), replay, topic });
            }
        };
        compare("seq", reached.seq.to_string(), marker.seq.to_string());
        if reached.seq == marker.seq {
            compare("running_hash", hex::digits(&reached.hash), hex::digits(&marker.running_hash));
            compare("input_offset", reached.input_offset.to_string(), marker.input_offset.to_string());
            compare("ordinal", reached.ordinal.to_string(), marker.ordinal.to_string());
            let (ours, theirs) = (reached.rule_set_version, marker.rule_set_version);
            compare("rule_set_version", ours.to_string(), theirs.to_string());
        }
        if !fields.is_empty() {
            let (seq, cause) = (marker.seq, reached.input_offset);
            self.verdict.differs(Difference::Marker { at, seq, cause, fields });
        }
        Ok(())
    }

    fn epoch(&mut self, at: i64, marker: &Marker) {
        match &self.newest {
            Some((newest, worker)) if marker.epoch <= *newest => {
                if marker.epoch < *newest || marker.worker != *worker {
                    self.verdict.differs(Difference::Epoch {
                        at,
                        epoch: marker.epoch,
                        worker: marker.worker.clone(),
                        newest: *newest,
                        newest_worker: worker.clone(),
                    });
                }
            }
            None | Some(_) => {
                self.verdict.epochs += 1;
                self.newest = Some((marker.epoch, marker.worker.clone()));
            }
        }
    }

    /// The replay's next transition, which the topic is now held against.
    fn take<E>(
        &mut self,
        needed: i64,
        feed: &mut impl FnMut(&mut Replay, i64) -> Result<bool, E>,
    ) -> Result<Option<Transition>, E> {
        let Some(transition) = self.derive(needed, feed)? else { return Ok(None) };
        self.verdict.expected += 1;
        self.reached = Reached {
            seq: transition.seq,
            input_offset: transition.input_offset,
            ordinal: transition.ordinal,
            rule_set_version: transition.rule_set_version,
            hash: transition.chain(&self.reached.hash),
        };
        Ok(Some(transition))
    }

    /// The replay's next transition; none at the end of the log.
    fn derive<E>(
        &mut self,
        needed: i64,
        feed: &mut impl FnMut(&mut Replay, i64) -> Result<bool, E>,
    ) -> Result<Option<Transition>, E> {
        loop {
            let next = self.replay.next();
            if next.is_some() || !feed(&mut self.replay, needed)? {
                return Ok(next);
            }
        }
    }
}

/// The fields in which two transitions differ; `bytes` where only the encoding does.
fn differing(wanted: &Transition, found: &Transition, key: Option<&[u8]>) -> Vec<Field> {
    let json = |transition: &Transition| {
        let mut value = serde_json::to_value(transition).unwrap_or_default();
        // JSON knows no NaN and no infinity, and two NaNs may differ.
        let number = transition.value;
        value["value"] = if number.is_finite() {
            format!("{number:?}").into()
        } else {
            format!("{number} (bits {:016x})", number.to_bits()).into()
        };
        value
    };
    let (ours, theirs) = (json(wanted), json(found));
    let mut fields = Vec::new();
    if let (Some(ours), Some(theirs)) = (ours.as_object(), theirs.as_object()) {
        for (field, replay) in ours {
            let topic = theirs.get(field);
            if topic != Some(replay) {
                let topic = topic.map_or_else(|| "nothing".to_owned(), ToString::to_string);
                fields.push(Field { field: field.clone(), replay: replay.to_string(), topic });
            }
        }
    }
    let wanted_key = wanted.alert.to_string();
    if key != Some(wanted_key.as_bytes()) {
        let topic = key
            .map_or_else(|| "none".to_owned(), |key| String::from_utf8_lossy(key).escape_debug().to_string());
        fields.push(Field { field: "key".to_owned(), replay: wanted_key, topic });
    }
    if fields.is_empty() {
        let (replay, topic) =
            ("the canonical encoding".to_owned(), "another encoding of the same".to_owned());
        fields.push(Field { field: "bytes".to_owned(), replay, topic });
    }
    fields
}
