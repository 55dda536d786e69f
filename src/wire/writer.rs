//! For producers: builds one record of observations, within the caps that its readers enforce.
//!
//! The encoding is canonical (labels by name, one block an array): equal observations are equal bytes.

use super::bounds;
use super::cursor::TextBounds;
use super::record::{LABELS_MAX, RECORD_BYTES_MAX};
use super::schema::{self, HEADER_BYTES, Kind};
use super::{Fault, Labels};

#[cfg(test)]
mod tests;

/// Most bytes that the rest of a record takes: two counts of items and the ends of two arrays.
const FRAME_BYTES_MAX: usize = 2 * 4 + 2;

/// Builds one record of observations of one service.
///
/// A call that returns a [`Fault`] has changed nothing. [`Fault::Oversize`] says that the record is full: finish
/// it, begin the next one, and add the item there.
#[derive(Debug, Clone)]
pub struct ObservationsWriter {
    service: Vec<u8>,
    samples: Items,
    checks: Items,
}

#[derive(Debug, Clone, Default)]
struct Items {
    count: usize,
    bytes: Vec<u8>,
}

impl ObservationsWriter {
    /// Begins a record.
    pub fn new(service: &str) -> Result<Self, Fault> {
        let mut encoded = Vec::with_capacity(service.len() + 2);
        put_text(&mut encoded, &bounds::SERVICE, service)?;
        Ok(Self { service: encoded, samples: Items::default(), checks: Items::default() })
    }

    /// Adds a sample. `labels` without `__name__`, which is `name`; `time_ms` is event time.
    pub fn sample(&mut self, name: &str, labels: &Labels, time_ms: i64, value: f64) -> Result<(), Fault> {
        let others = self.len() - self.samples.bytes.len();
        self.samples.add(others, |out| {
            put_text(out, &bounds::METRIC, name)?;
            put_labels(out, labels, bounds::SAMPLE_RESERVED)?;
            put_long(out, bounds::time("samples.time_ms", time_ms)?);
            out.extend_from_slice(&value.to_le_bytes());
            Ok(())
        })
    }

    /// Adds a check result. `labels` without `host` and `check`; `key` of the result is not read.
    pub fn check(&mut self, result: &super::CheckResult<'_>, labels: &Labels) -> Result<(), Fault> {
        let others = self.len() - self.checks.bytes.len();
        self.checks.add(others, |out| {
            put_text(out, &bounds::HOST, result.host)?;
            put_text(out, &bounds::CHECK, result.check)?;
            put_labels(out, labels, bounds::CHECK_RESERVED)?;
            put_long(out, i64::from(bounds::status(i64::from(result.status))?));
            put_text(out, &bounds::OUTPUT, result.output)?;
            put_text(out, &bounds::PERFDATA, result.perfdata)?;
            put_long(out, bounds::time("checks.time_ms", result.time_ms)?);
            Ok(())
        })
    }

    /// Bytes that [`Self::finish`] returns, at most.
    #[must_use]
    pub fn len(&self) -> usize {
        HEADER_BYTES
            + FRAME_BYTES_MAX
            + self.service.len()
            + self.samples.bytes.len()
            + self.checks.bytes.len()
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.count == 0 && self.checks.count == 0
    }

    /// The record: Avro single-object encoding by the current schema.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        schema::put_header(&mut out, Kind::Observations);
        out.extend_from_slice(&self.service);
        self.samples.put(&mut out);
        self.checks.put(&mut out);
        out
    }
}

impl Items {
    /// Adds what `put` writes, or nothing.
    fn add(
        &mut self,
        others: usize,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let before = self.bytes.len();
        let bytes = |items: &Self| others + items.bytes.len();
        let put = put(&mut self.bytes).and_then(|()| match bytes(self) {
            bytes if bytes > RECORD_BYTES_MAX => Err(Fault::Oversize { bytes, max: RECORD_BYTES_MAX }),
            _ => Ok(()),
        });
        match put {
            Ok(()) => self.count += 1,
            Err(_) => self.bytes.truncate(before),
        }
        put
    }

    /// As an array of one block.
    fn put(&self, out: &mut Vec<u8>) {
        if self.count > 0 {
            put_length(out, self.count);
            out.extend_from_slice(&self.bytes);
        }
        out.push(0);
    }
}

fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    loop {
        let [byte, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            return out.push(byte & 0x7f);
        }
        out.push(byte | 0x80);
    }
}

/// Lengths are bounded by [`RECORD_BYTES_MAX`] or by memory: they fit.
fn put_length(out: &mut Vec<u8>, length: usize) {
    put_long(out, i64::try_from(length).unwrap_or(i64::MAX));
}

fn put_text(out: &mut Vec<u8>, bounds: &TextBounds, text: &str) -> Result<(), Fault> {
    if !(bounds.min..=bounds.max).contains(&text.len()) {
        let value = i64::try_from(text.len()).unwrap_or(i64::MAX);
        return Err(Fault::OutOfBounds { field: bounds.field, value, bound: bounds.words });
    }
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels, reserved: &[&str]) -> Result<(), Fault> {
    if labels.len() > LABELS_MAX {
        let value = i64::try_from(labels.len()).unwrap_or(i64::MAX);
        return Err(Fault::OutOfBounds { field: "labels", value, bound: "at most 64 labels" });
    }
    if !labels.is_empty() {
        put_length(out, labels.len());
    }
    for (name, value) in labels.iter() {
        if reserved.contains(&name) {
            return Err(Fault::DuplicateLabel);
        }
        put_text(out, &bounds::LABEL_NAME, name)?;
        put_text(out, &bounds::LABEL_VALUE, value)?;
    }
    out.push(0);
    Ok(())
}
