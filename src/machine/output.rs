//! What each check said last: a page says it, too.

use super::digest::hash_text;
use std::collections::BTreeMap;

/// Longest text kept of one check, bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// How long the text of a check that reports no more is kept, milliseconds.
const KEPT_MS: i64 = 3_600_000;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Output {
    text: String,
    time_ms: i64,
}

/// The last output of each check that some rule selects, by service, host and check.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    by_check: BTreeMap<String, Output>,
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
        self.key.clear();
        write_key(&mut self.key, service, host, check);
        if !self.by_check.contains_key(&self.key) {
            self.by_check.insert(self.key.clone(), Output { text: String::new(), time_ms });
        }
        if let Some(output) = self.by_check.get_mut(&self.key) {
            output.time_ms = time_ms;
            output.text.clear();
            output.text.push_str(&text[..end]);
        }
    }

    /// The last output; empty where there is none.
    pub(super) fn get(&self, service: &str, host: &str, check: &str) -> &str {
        let mut key = String::new();
        write_key(&mut key, service, host, check);
        self.by_check.get(&key).map_or("", |output| &output.text)
    }

    /// Forgets checks that have been silent.
    pub(super) fn evict(&mut self, clock_ms: i64) {
        self.by_check.retain(|_, output| output.time_ms >= clock_ms.saturating_sub(KEPT_MS));
    }

    pub(super) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&(self.by_check.len() as u64).to_le_bytes());
        for (key, output) in &self.by_check {
            hash_text(hasher, key);
            hash_text(hasher, &output.text);
            hasher.update(&output.time_ms.to_le_bytes());
        }
    }
}

/// Lengths in front: no two checks have one key, whatever characters are in their names.
fn write_key(key: &mut String, service: &str, host: &str, check: &str) {
    *key += &format!("{}:{}:", service.len(), host.len());
    key.extend([service, host, check]);
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
