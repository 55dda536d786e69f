//! The hot look-up: which series do these bytes name?
//!
//! Two tables, both open-addressed and hashed by SipHash-1-3 under the partition's key, so that nobody who can write a
//! label can make them slow. Neither is ever iterated for its content: no order leaks out of here.
//!
//! - [`Memo`]: (service, encoded name and labels) → what an earlier look-up found, "no rule selects it" included. It is
//!   no state: it may forget everything at any time and the machine's answers stay the same.
//! - [`Buckets`]: hash → small integers, for whoever keeps the keys itself.

use super::series::SeriesId;
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Bytes that the memo may take, beside a share per live series. Then it starts anew.
const MEMO_BYTES_MAX: usize = 64 << 20;
/// What each live series adds to that bound, bytes: room for its own key and a few other spellings of it.
const MEMO_BYTES_PER_SERIES: usize = 1 << 10;

/// What the encoded bytes of a series led to the last time.
#[derive(Debug)]
pub struct Memo {
    key: u64,
    table: HashTable<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    found: Option<SeriesId>,
    /// Length of the service in `bytes`; the rest is the encoded name and labels.
    service_len: u32,
    bytes: Box<[u8]>,
}

impl Entry {
    fn is(&self, service: &str, key: &[u8]) -> bool {
        self.bytes.len() == service.len() + key.len()
            && self.service_len as usize == service.len()
            && self.bytes.ends_with(key)
            && self.bytes.starts_with(service.as_bytes())
    }
}

impl Memo {
    /// An empty memo under a hash key.
    #[must_use]
    pub fn new(key: u64) -> Self {
        Self { key, table: HashTable::new(), bytes: 0 }
    }

    /// The hash by which [`Self::get`] and [`Self::put`] know these bytes.
    #[must_use]
    pub fn hash(&self, service: &str, key: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.key, 0);
        hasher.write_usize(service.len());
        hasher.write(service.as_bytes());
        hasher.write(key);
        hasher.finish()
    }

    /// `None` if the bytes are not known; `Some(None)` if they name a series that no rule selects.
    #[must_use]
    pub fn get(&self, hash: u64, service: &str, key: &[u8]) -> Option<Option<SeriesId>> {
        self.table.find(hash, |entry| entry.hash == hash && entry.is(service, key)).map(|entry| entry.found)
    }

    /// Remembers bytes that are not known yet. `live` is the number of series in the store.
    pub fn put(&mut self, hash: u64, service: &str, key: &[u8], found: Option<SeriesId>, live: usize) {
        let Ok(service_len) = u32::try_from(service.len()) else { return };
        let size = size_of::<Entry>() + service.len() + key.len();
        if self.bytes + size > MEMO_BYTES_MAX + MEMO_BYTES_PER_SERIES * live {
            self.clear();
        }
        self.bytes += size;
        let bytes = [service.as_bytes(), key].concat().into();
        self.table.insert_unique(hash, Entry { hash, found, service_len, bytes }, |entry| entry.hash);
    }

    /// Forgets what led to a series for which `gone` holds.
    pub fn forget(&mut self, gone: impl Fn(SeriesId) -> bool) {
        let bytes = &mut self.bytes;
        self.table.retain(|entry| {
            let keep = !entry.found.is_some_and(&gone);
            if !keep {
                *bytes -= size_of::<Entry>() + entry.bytes.len();
            }
            keep
        });
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.table = HashTable::new();
        self.bytes = 0;
    }

    /// Bytes taken, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Hash → small integers; whoever owns the keys compares them.
#[derive(Debug, Default)]
pub struct Buckets(HashTable<(u64, u32)>);

impl Buckets {
    /// The number filed under `hash` for which `is` holds.
    #[must_use]
    pub fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.find(hash, |&(h, number)| h == hash && is(number)).map(|&(_, number)| number)
    }

    /// Files a number that is not there yet.
    pub fn insert(&mut self, hash: u64, number: u32) {
        self.0.insert_unique(hash, (hash, number), |&(h, _)| h);
    }

    /// Takes a number out again.
    pub fn remove(&mut self, hash: u64, number: u32) {
        if let Ok(entry) = self.0.find_entry(hash, |&(h, n)| h == hash && n == number) {
            entry.remove();
        }
    }

    /// Bytes taken, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.capacity() * (size_of::<(u64, u32)>() + 1)
    }
}
