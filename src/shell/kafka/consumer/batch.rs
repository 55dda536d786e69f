//! Records of one partition, their bytes side by side in one buffer.

use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Message};

/// A batch is handed on when it holds as many records …
const RECORDS_MAX: usize = 4096;
/// … or as many bytes. One record may be over it, and is then a batch of its own.
const BYTES_MAX: usize = 1 << 20;

/// Consecutive records of one partition.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Kafka offset.
    pub offset: i64,
    /// Time stamp, milliseconds since the epoch; 0 where the record has none.
    pub append_ms: i64,
    /// Whether the broker stamped it (LogAppendTime) and not the producer (CreateTime).
    pub log_append: bool,
    /// Its key, empty where it has none.
    pub key: &'a [u8],
    /// Its value; none for a tombstone.
    pub value: Option<&'a [u8]>,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    append_ms: i64,
    log_append: bool,
    has_value: bool,
    /// Where in `bytes` the key begins, the value begins, and the value ends.
    key: usize,
    value: usize,
    end: usize,
}

impl Batch {
    /// Copies a message behind the others.
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let (append_ms, log_append) = match message.timestamp() {
            Timestamp::LogAppendTime(ms) => (ms, true),
            Timestamp::CreateTime(ms) => (ms, false),
            Timestamp::NotAvailable => (0, false),
        };
        self.add(
            message.offset(),
            (append_ms, log_append),
            message.key().unwrap_or_default(),
            message.payload(),
        );
    }

    fn add(&mut self, offset: i64, stamp: (i64, bool), key: &[u8], value: Option<&[u8]>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.entries.push(Entry {
            offset,
            append_ms: stamp.0,
            log_append: stamp.1,
            has_value: value.is_some(),
            key: start,
            value: start + key.len(),
            end: self.bytes.len(),
        });
    }

    /// The records, in the order of the log.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.entries.iter().map(|entry| Record {
            offset: entry.offset,
            append_ms: entry.append_ms,
            log_append: entry.log_append,
            key: &self.bytes[entry.key..entry.value],
            value: entry.has_value.then(|| &self.bytes[entry.value..entry.end]),
        })
    }

    /// How many records it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and values together, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is to be handed on before another record is added.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= RECORDS_MAX || self.bytes.len() >= BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut batch = Batch::default();
        batch.add(7, (1000, true), b"key", Some(b"value"));
        batch.add(9, (1001, false), b"", None);
        batch.add(10, (1002, true), b"", Some(b""));
        let records: Vec<Record<'_>> = batch.iter().collect();
        assert_eq!(records[0].key, b"key");
        assert_eq!(records[0].value, Some(&b"value"[..]));
        assert_eq!((records[1].offset, records[1].append_ms, records[1].log_append), (9, 1001, false));
        assert_eq!(records[1].value, None, "a tombstone is no empty value");
        assert_eq!(records[2].value, Some(&b""[..]));
        assert_eq!((batch.len(), batch.bytes()), (3, 8));
    }

    #[test]
    fn a_batch_is_bounded_by_records_and_by_bytes() {
        let mut many = Batch::default();
        (0..RECORDS_MAX as i64).for_each(|offset| many.add(offset, (0, true), b"", Some(b"x")));
        assert!(many.is_full());
        let mut large = Batch::default();
        large.add(0, (0, true), b"", Some(&vec![0; BYTES_MAX - 1]));
        assert!(!large.is_full());
        large.add(1, (0, true), b"", Some(b"x"));
        assert!(large.is_full());
    }
}
