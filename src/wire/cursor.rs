//! Avro's primitives over borrowed bytes: what the walker of observations is made of.
//!
//! Two ways through the same bytes. The *checking* methods return a [`Fault`] and are used once, when a batch is
//! parsed. The *walking* methods return `None` at the end, and are used by iterators over bytes that were checked.

use super::Fault;

/// A place in a record's body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes from `start` to here.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    fn truncated(&self) -> Fault {
        Fault::Truncated { at: self.bytes.len() }
    }

    /// A zigzag varint. Lengths and counts are nearly always one byte.
    #[inline]
    pub(super) fn walk_long(&mut self) -> Option<i64> {
        let first = *self.bytes.get(self.at)?;
        self.at += 1;
        if first < 0x80 {
            return Some(i64::from(first >> 1) ^ -i64::from(first & 1));
        }
        let mut raw = u64::from(first & 0x7f);
        for shift in (7..70).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
            }
        }
        // An eleventh byte: no 64-bit number. Left as the end of the bytes, which `long` tells apart.
        self.at -= 1;
        None
    }

    /// The bytes of a string or of a `bytes` value.
    #[inline]
    pub(super) fn walk_text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.walk_long()?).ok()?;
        let text = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(text)
    }

    /// The header of a block of an array or a map: how many items follow; 0 at the end. The size in bytes that a
    /// negative count brings along is for readers who skip; it is read and not believed.
    #[inline]
    pub(super) fn walk_block(&mut self) -> Option<usize> {
        let count = self.walk_long()?;
        if count < 0 {
            self.walk_long()?;
        }
        usize::try_from(count.unsigned_abs()).ok()
    }

    /// Eight bytes, little end first.
    #[inline]
    pub(super) fn walk_double(&mut self) -> Option<f64> {
        let (bytes, _) = self.bytes.get(self.at..)?.split_first_chunk::<8>()?;
        self.at += 8;
        Some(f64::from_le_bytes(*bytes))
    }

    /// [`Self::walk_long`], checked.
    #[inline]
    pub(super) fn long(&mut self, field: &'static str) -> Result<i64, Fault> {
        match self.walk_long() {
            Some(value) => Ok(value),
            None if self.left() == 0 => Err(self.truncated()),
            None => Err(Fault::OutOfBounds { field, value: i64::MAX, bound: "a number of 64 bits" }),
        }
    }

    /// [`Self::walk_text`], its length checked against `min..=max` bytes before anything else. Not yet UTF-8.
    #[inline]
    pub(super) fn text(&mut self, bounds: &TextBounds) -> Result<&'a [u8], Fault> {
        let length = self.long(bounds.field)?;
        match usize::try_from(length) {
            Ok(bytes) if (bounds.min..=bounds.max).contains(&bytes) => {
                let end = self.at + bytes;
                let text = self.bytes.get(self.at..end).ok_or_else(|| self.truncated())?;
                self.at = end;
                Ok(text)
            }
            _ => Err(Fault::OutOfBounds { field: bounds.field, value: length, bound: bounds.words }),
        }
    }

    /// [`Self::walk_block`], its count checked: at least `item_bytes_min` bytes an item must be left.
    #[inline]
    pub(super) fn block(&mut self, field: &'static str, item_bytes_min: usize) -> Result<usize, Fault> {
        let count = self.long(field)?;
        if count < 0 {
            self.long(field)?;
        }
        match usize::try_from(count.unsigned_abs()) {
            Ok(items) if items <= self.left() / item_bytes_min => Ok(items),
            _ => Err(self.truncated()),
        }
    }

    /// [`Self::walk_double`], checked.
    #[inline]
    pub(super) fn double(&mut self) -> Result<f64, Fault> {
        self.walk_double().ok_or_else(|| self.truncated())
    }
}

/// How long one field's text may be.
#[derive(Debug)]
pub(super) struct TextBounds {
    /// Field of the schema.
    pub(super) field: &'static str,
    /// Shortest, bytes.
    pub(super) min: usize,
    /// Longest, bytes.
    pub(super) max: usize,
    /// The same in words.
    pub(super) words: &'static str,
}
