//! What each check said last: a page says it, too.
//!
//! There may be as many checks as series, so they are kept in ordered chunks that a snapshot shares.

use super::shareable::Shareable;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Longest text kept of one check, bytes.
pub(super) const TEXT_BYTES_MAX: usize = 1024;
/// How long the text of a check that reports no more is kept, milliseconds.
const KEPT_MS: i64 = 3_600_000;
/// Most checks in one chunk; then it splits.
const CHUNK_CHECKS: usize = 256;

/// What one check said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    /// Which check: its place in the order.
    pub(super) key: Arc<str>,
    pub(super) text: String,
    pub(super) time_ms: i64,
}

/// In ascending order of keys.
type Chunk = Vec<Output>;

/// The last output of each check that some rule selects, by service, host and check.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// Each from its key on, which is at or below its first output's, to the next one's.
    chunks: BTreeMap<Arc<str>, Shareable<Chunk>>,
    len: usize,
    /// A key being looked up, so that a known check costs no memory. No state.
    key: String,
}

impl Outputs {
    /// A result of the time `time_ms`, the newest of its check.
    pub(super) fn put(&mut self, service: &str, host: &str, check: &str, text: &str, time_ms: i64) {
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        self.key.clear();
        write_key(&mut self.key, service, host, check);
        let found = self.chunks.range_mut::<str, _>(up_to(&self.key)).next_back();
        let Some((_, chunk)) = found else {
            return self.open(Output { key: self.key.as_str().into(), text: text.to_owned(), time_ms });
        };
        let chunk = chunk.to_mut();
        match chunk.binary_search_by(|output| (*output.key).cmp(self.key.as_str())) {
            Ok(at) => {
                let output = &mut chunk[at];
                output.time_ms = time_ms;
                output.text.clear();
                output.text.push_str(text);
            }
            Err(at) => {
                let key = self.key.as_str().into();
                chunk.insert(at, Output { key, text: text.to_owned(), time_ms });
                self.len += 1;
                if chunk.len() > CHUNK_CHECKS {
                    let upper = chunk.split_off(CHUNK_CHECKS / 2);
                    self.chunks.insert(Arc::clone(&upper[0].key), upper.into());
                }
            }
        }
    }

    /// A chunk that begins below all others.
    fn open(&mut self, output: Output) {
        self.len += 1;
        self.chunks.insert("".into(), vec![output].into());
    }

    /// Puts in an output whose key is above all before it.
    pub(super) fn push(&mut self, output: Output) {
        match self.chunks.last_entry() {
            None => return self.open(output),
            Some(mut last) if last.get().len() < CHUNK_CHECKS => last.get_mut().to_mut().push(output),
            Some(_) => _ = self.chunks.insert(Arc::clone(&output.key), vec![output].into()),
        }
        self.len += 1;
    }

    /// The last output; empty where there is none.
    pub(super) fn get(&self, service: &str, host: &str, check: &str) -> &str {
        let mut key = String::new();
        write_key(&mut key, service, host, check);
        let Some((_, chunk)) = self.chunks.range::<str, _>(up_to(&key)).next_back() else { return "" };
        let found = chunk.binary_search_by(|output| (*output.key).cmp(key.as_str()));
        found.map_or("", |at| &chunk[at].text)
    }

    /// Forgets checks that have been silent.
    pub(super) fn evict(&mut self, clock_ms: i64) {
        let silent = |output: &Output| output.time_ms < clock_ms.saturating_sub(KEPT_MS);
        for chunk in self.chunks.values_mut().filter(|chunk| chunk.iter().any(silent)) {
            let chunk = chunk.to_mut();
            self.len -= chunk.len();
            chunk.retain(|output| !silent(output));
            self.len += chunk.len();
        }
        let first = self.chunks.first_key_value().map(|(key, _)| Arc::clone(key));
        self.chunks.retain(|key, chunk| !chunk.is_empty() || Some(key) == first.as_ref());
    }

    /// The one of the highest key.
    pub(super) fn last(&self) -> Option<&Output> {
        self.chunks.last_key_value().and_then(|(_, chunk)| chunk.last())
    }

    /// How many checks.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Each, in ascending order of keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Output> {
        self.chunks.values().flat_map(|chunk| chunk.iter())
    }

    /// The same as they are now, for a snapshot.
    pub(super) fn lend(&mut self) -> Self {
        let chunks = self.chunks.iter_mut().map(|(key, chunk)| (Arc::clone(key), chunk.lend())).collect();
        Self { chunks, len: self.len, key: String::new() }
    }
}

/// Every key up to this one.
fn up_to(key: &str) -> (Bound<&str>, Bound<&str>) {
    (Bound::Unbounded, Bound::Included(key))
}

/// Lengths in front: no two checks have one key, whatever characters are in their names.
fn write_key(key: &mut String, service: &str, host: &str, check: &str) {
    *key += &format!("{}:{}:", service.len(), host.len());
    key.extend([service, host, check]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_output_is_kept_and_bounded() {
        let mut outputs = Outputs::default();
        outputs.put("web", "a", "http", "OK", 1);
        outputs.put("web", "a", "http", &"é".repeat(1000), 2);
        assert_eq!(outputs.get("web", "a", "http"), "é".repeat(512));
        assert_eq!(outputs.get("weba", "", "http"), "");
        outputs.evict(KEPT_MS + 3);
        assert_eq!(outputs.get("web", "a", "http"), "");
    }

    proptest! {
        /// Chunks against one plain map, with captures and evictions in between.
        #[test]
        fn chunks_answer_like_a_plain_map(
            steps in prop::collection::vec((0..3_000_u32, 0..20_i64), 1..1_500),
            lend_every in 20..500_usize,
        ) {
            let mut outputs = Outputs::default();
            let mut naive: BTreeMap<String, (String, i64)> = BTreeMap::new();
            let (mut clock_ms, mut lent, mut then) = (0, None, Vec::new());
            let all = |outputs: &Outputs| -> Vec<Output> { outputs.iter().cloned().collect() };
            for (at, (check, after_ms)) in steps.into_iter().enumerate() {
                clock_ms += after_ms * 10_000;
                let (check, text) = (check.to_string(), at.to_string());
                outputs.put("s", "h", &check, &text, clock_ms);
                naive.insert(check.clone(), (text, clock_ms));
                if at % 700 == 0 {
                    outputs.evict(clock_ms);
                    naive.retain(|_, (_, time_ms)| *time_ms >= clock_ms - KEPT_MS);
                }
                if at % lend_every == 0 {
                    (lent, then) = (Some(outputs.lend()), all(&outputs));
                }
                prop_assert_eq!(outputs.get("s", "h", &check), &naive[&check].0);
            }
            let now = all(&outputs);
            prop_assert_eq!((outputs.len(), now.len()), (naive.len(), naive.len()));
            prop_assert!(now.is_sorted_by(|a, b| a.key < b.key));
            for (check, (text, _)) in &naive {
                prop_assert_eq!(outputs.get("s", "h", check), text);
            }
            prop_assert_eq!(lent.map(|lent| all(&lent)), Some(then), "a capture does not see what comes after it");
        }
    }
}
