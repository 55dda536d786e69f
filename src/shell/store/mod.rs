//! The door to where snapshots are kept: small immutable objects under names that sort.
//!
//! Two stores, one behaviour: `s3` (any S3 server that knows `If-None-Match`) and `directory` (standalone, tests).
//!
//! - [`Store::put`] never replaces: an object that exists stays, and the answer says whether its bytes are the same.
//!   That makes a write whose answer was lost harmless, and two workers that write the same thing, too.
//! - [`Store::get`] takes no more memory than it was told to expect.
//! - [`Store::list`] gives names in order; how a store dates its objects is never looked at.
//! - [`Store::delete`] is for retention alone.
//!
//! Every call blocks, for a bounded time: an attempt has a deadline that grows with the bytes it moves, failures that
//! may pass are tried again a few times, and then the caller hears of it. Never called from a machine's thread.

mod directory;
mod s3;
mod server_clock;

use crate::config;
use crate::shell::clock;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Most names of one listing: a thousand snapshots of a large partition.
pub const LISTED_MAX: usize = 200_000;

/// How long a store is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Bound of making a connection.
    pub connect: Duration,
    /// Bound of one attempt, before the time for its bytes.
    pub attempt: Duration,
    /// Slowest transfer that is waited for, bytes a second.
    pub bytes_per_second: u64,
    /// Attempts at one call.
    pub attempts: u32,
    /// Wait before the second attempt; it doubles with each further one.
    pub backoff: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            attempt: Duration::from_secs(10),
            bytes_per_second: 500_000,
            attempts: 4,
            backoff: Duration::from_millis(200),
        }
    }
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// An object of that name exists, and holds the same bytes: written by an attempt whose answer was lost, or by another worker.
    Same,
    /// An object of that name exists and holds other bytes: these, or too many to read.
    Other(Option<Vec<u8>>),
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name below the store's prefix.
    pub key: String,
    /// Its length, bytes.
    pub bytes: u64,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// `snapshots.url` is none.
    #[error("snapshots.url is {url:?}, {why}; write s3://BUCKET/PREFIX or file:///DIRECTORY")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No good answer within the bounds.
    #[error("the snapshot store {url} did not answer {doing} ({attempts} attempts): {why}")]
    Unavailable {
        /// Which store.
        url: String,
        /// What was asked.
        doing: String,
        /// How often.
        attempts: u32,
        /// The last answer.
        why: String,
    },
    /// It answered, and will not do it.
    #[error(
        "the snapshot store {url} refused {doing}: {why}. Check the bucket, snapshots.access_key and what that key may do"
    )]
    Refused {
        /// Which store.
        url: String,
        /// What was asked.
        doing: String,
        /// Its answer.
        why: String,
    },
    /// No object of that name.
    #[error("the snapshot store holds no {key}")]
    NotFound {
        /// The name.
        key: String,
    },
    /// The object is longer than it should be. Nothing of it is kept.
    #[error("{key} is longer than the {max} bytes that it should have")]
    TooLong {
        /// The name.
        key: String,
        /// Bytes expected.
        max: u64,
    },
    /// The second of two writes of one name was accepted.
    #[error(
        "the snapshot store {url} ignores If-None-Match: the second write of {key} replaced the first, so one worker could \
         overwrite another's snapshot. Use a store that knows conditional writes, or take snapshots.url away"
    )]
    Overwrites {
        /// Which store.
        url: String,
        /// The name that was written twice.
        key: String,
    },
    /// More objects than [`LISTED_MAX`].
    #[error(
        "the snapshot store {url} holds more than {LISTED_MAX} objects below {prefix}: is the prefix shared with something else?"
    )]
    TooMany {
        /// Which store.
        url: String,
        /// What was listed.
        prefix: String,
    },
    /// The operating system has no thread left.
    #[error("cannot start the client of the snapshot store: {why}")]
    System {
        /// Its reason.
        why: String,
    },
}

impl StoreError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url { .. } => "store_url",
            Self::Unavailable { .. } => "store_unavailable",
            Self::Refused { .. } => "store_refused",
            Self::NotFound { .. } => "store_not_found",
            Self::TooLong { .. } => "store_too_long",
            Self::Overwrites { .. } => "store_overwrites",
            Self::TooMany { .. } => "store_too_many",
            Self::System { .. } => "store_system",
        }
    }

    /// Whether the same call may succeed later, with nothing changed by an operator.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::System { .. } => true,
            Self::Url { .. }
            | Self::Refused { .. }
            | Self::NotFound { .. }
            | Self::TooLong { .. }
            | Self::Overwrites { .. }
            | Self::TooMany { .. } => false,
        }
    }
}

#[derive(Debug)]
enum Kind {
    S3(s3::S3),
    Directory(directory::Directory),
}

/// A store, below its prefix. Calls may come from any thread but those of an async runtime.
#[derive(Debug)]
pub struct Store {
    url: String,
    kind: Kind,
}

impl Store {
    /// Opens the store that `snapshots.url` names; none where it is empty. Asks nothing of it yet.
    pub fn open(config: &config::Snapshots, patience: Patience) -> Result<Option<Self>, StoreError> {
        let url = config.url.clone();
        if url.is_empty() {
            return Ok(None);
        }
        let kind = match place(&url)? {
            Place::S3 { bucket, prefix } => Kind::S3(s3::S3::open(config, bucket, prefix, patience)?),
            Place::Directory(path) => Kind::Directory(directory::Directory::new(url.clone(), path)),
        };
        Ok(Some(Self { url, kind }))
    }

    /// Opens it for a command that has nothing to do without.
    pub fn need(config: &config::Snapshots) -> Result<Self, StoreError> {
        let nowhere = StoreError::Url { url: config.url.clone(), why: "so no snapshots are kept" };
        Self::open(config, Patience::default())?.ok_or(nowhere)
    }

    /// As configured.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes an object unless one of that name exists; then its bytes are compared.
    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<Put, StoreError> {
        let stored = match &self.kind {
            Kind::S3(store) => store.put_new(key, bytes)?,
            Kind::Directory(store) => store.put_new(key, bytes)?,
        };
        if stored {
            return Ok(Put::Stored);
        }
        match self.get(key, bytes.len().max(4096) as u64) {
            Ok(found) if found == bytes => Ok(Put::Same),
            Ok(found) => Ok(Put::Other(Some(found))),
            Err(StoreError::TooLong { .. }) => Ok(Put::Other(None)),
            Err(fault) => Err(fault),
        }
    }

    /// Reads an object of at most `max` bytes.
    pub fn get(&self, key: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        match &self.kind {
            Kind::S3(store) => store.get(key, max),
            Kind::Directory(store) => store.get(key, max),
        }
    }

    /// Every object whose name begins with `prefix`, in order of names.
    pub fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut listed = match &self.kind {
            Kind::S3(store) => store.list(prefix)?,
            Kind::Directory(store) => store.list(prefix)?,
        };
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        listed.dedup_by(|a, b| a.key == b.key);
        Ok(listed)
    }

    /// Takes an object away. One that is not there is no fault.
    pub fn delete(&self, key: &str) -> Result<(), StoreError> {
        match &self.kind {
            Kind::S3(store) => store.delete(key),
            Kind::Directory(store) => store.delete(key),
        }
    }

    /// Finds out whether the store keeps its word on [`Store::put`]: writes one name twice, with different bytes.
    pub fn probe(&self, cluster: &str, worker: &str) -> Result<(), StoreError> {
        let key = format!("{cluster}/.probe/{worker}-{}", clock::wall_ms());
        self.put(&key, b"first")?;
        let second = self.put(&key, b"again")?;
        // A worker that may not delete leaves five bytes behind.
        let _ = self.delete(&key);
        match second {
            Put::Other(_) => Ok(()),
            Put::Stored | Put::Same => Err(StoreError::Overwrites { url: self.url.clone(), key }),
        }
    }
}

enum Place {
    S3 { bucket: String, prefix: String },
    Directory(PathBuf),
}

/// Checks what `snapshots.url` says.
pub fn check_url(url: &str) -> Result<(), StoreError> {
    if url.is_empty() { Ok(()) } else { place(url).map(|_| ()) }
}

fn place(url: &str) -> Result<Place, StoreError> {
    let refuse = |why| Err(StoreError::Url { url: url.to_owned(), why });
    if let Some(path) = url.strip_prefix("file://") {
        if !path.starts_with('/') {
            return refuse("whose directory does not begin at the root");
        }
        return Ok(Place::Directory(PathBuf::from(path)));
    }
    let Some(rest) = url.strip_prefix("s3://") else {
        return refuse("which begins with neither s3:// nor file://");
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if bucket.is_empty() || !bucket.chars().all(legal) {
        return refuse("which names no bucket");
    }
    let prefix = prefix.trim_matches('/');
    let odd = |part: &str| part.is_empty() || part == "." || part == ".." || !part.chars().all(legal);
    if !prefix.is_empty() && prefix.split('/').any(odd) {
        return refuse("whose prefix is not made of letters, digits, '-', '.', '_' and single '/'");
    }
    Ok(Place::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

#[cfg(test)]
pub(crate) mod tests;
