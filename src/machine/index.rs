//! The hot look-up: which series do these bytes name?
//!
//! Two tables, both open-addressed and hashed by SipHash-1-3 under the partition's key, so that nobody who can write a
//! label can make them slow. Neither is ever iterated for its content: no order leaks out of here.
//!
//! - [`Memo`]: (service, encoded name and labels) → what an earlier look-up found, "no rule selects it" included. It is
//!   no state: it may forget everything at any time and the machine's answers stay the same. It knows the bytes by 128
//!   bits of their keyed hash and does not keep them: that is a cache miss less for every sample, and no two inputs
//!   collide by chance or, without the key, by intent. Entries stand in the order in which they came, which is mostly the
//!   order in which they are asked for again: the next one is looked at first, and is near.
//! - [`Buckets`]: hash → small integers, for whoever keeps the keys itself.

use super::series::SeriesId;
use hashbrown::HashTable;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// Entries that the memo may hold, beside [`MEMO_ENTRIES_PER_SERIES`]. Then it starts anew. About 30 MB.
const MEMO_ENTRIES_MAX: usize = 1 << 20;
/// What each live series adds to that bound: its own key, and other spellings of it.
const MEMO_ENTRIES_PER_SERIES: usize = 4;

/// What the encoded bytes of a series led to the last time.
#[derive(Debug)]
pub struct Memo {
    key: u64,
    entries: Vec<Entry>,
    /// Places of entries, by their digests.
    table: HashTable<u32>,
    /// Behind the entry that was found last.
    next: usize,
}

/// The bytes that name a series, as the memo knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64, u64);

impl Digest {
    /// Of no bytes that anybody will ever see.
    const NONE: Self = Self(0, 0);
}

#[derive(Debug)]
struct Entry {
    /// [`Digest::NONE`] where it was forgotten.
    digest: Digest,
    found: Option<SeriesId>,
}

impl Memo {
    /// An empty memo under a hash key.
    #[must_use]
    pub fn new(key: u64) -> Self {
        Self { key, entries: Vec::new(), table: HashTable::new(), next: 0 }
    }

    /// What [`Self::get`] and [`Self::put`] know these bytes by.
    #[must_use]
    pub fn digest(&self, service: &str, key: &[u8]) -> Digest {
        let mut hasher = SipHasher13::new_with_keys(self.key, 0);
        hasher.write_usize(service.len());
        hasher.write(service.as_bytes());
        hasher.write(key);
        let digest = hasher.finish128();
        Digest(digest.h1, digest.h2)
    }

    /// `None` if the bytes are not known; `Some(None)` if they name a series that no rule selects.
    #[must_use]
    pub fn get(&mut self, digest: Digest) -> Option<Option<SeriesId>> {
        let at = match self.entries.get(self.next) {
            Some(entry) if entry.digest == digest => self.next,
            Some(_) | None => {
                *self.table.find(digest.0, |at| self.entries[*at as usize].digest == digest)? as usize
            }
        };
        self.next = at + 1;
        Some(self.entries[at].found)
    }

    /// Remembers bytes that are not known yet. `live` is the number of series in the store.
    pub fn put(&mut self, digest: Digest, found: Option<SeriesId>, live: usize) {
        if self.entries.len() >= MEMO_ENTRIES_MAX + MEMO_ENTRIES_PER_SERIES * live {
            self.clear();
        }
        let Ok(at) = u32::try_from(self.entries.len()) else { return };
        self.entries.push(Entry { digest, found });
        self.table.insert_unique(digest.0, at, |at| self.entries[*at as usize].digest.0);
        self.next = self.entries.len();
    }

    /// Forgets what led to a series for which `gone` holds.
    pub fn forget(&mut self, gone: impl Fn(SeriesId) -> bool) {
        let entries = &mut self.entries;
        self.table.retain(|at| {
            let entry = &mut entries[*at as usize];
            let stays = !entry.found.is_some_and(&gone);
            if !stays {
                entry.digest = Digest::NONE;
            }
            stays
        });
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.key);
    }

    /// Bytes taken, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.table.capacity() * (size_of::<u32>() + 1)
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

    /// Makes room for so many numbers in all.
    pub fn reserve(&mut self, numbers: usize) {
        self.0.reserve(numbers.saturating_sub(self.0.len()), |&(h, _)| h);
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
