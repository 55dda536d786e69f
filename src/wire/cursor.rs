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
        self.bytes.len().saturating_sub(self.at)
    }

    /// The bytes from `start` to here; none where one of the two lies beyond the body.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
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
            return Some(zigzag(u64::from(first)));
        }
        self.at -= 1;
        if let Some(value) = self.walk_eight() {
            return Some(value);
        }
        let mut raw = 0;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            raw |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(zigzag(raw));
            }
        }
        // An eleventh byte: no 64-bit number. Left as the end of the bytes, which `long` tells apart.
        self.at -= 1;
        None
    }

    /// A varint of at most eight bytes, times among them, without a loop: the groups of seven bits are pushed together
    /// in pairs, then fours, then eights.
    #[inline]
    fn walk_eight(&mut self) -> Option<i64> {
        let (bytes, _) = self.bytes.get(self.at..)?.split_first_chunk::<8>()?;
        let raw = u64::from_le_bytes(*bytes);
        let ends = !raw & 0x8080_8080_8080_8080;
        let length = ends.trailing_zeros() / 8 + 1;
        if length > 8 {
            return None;
        }
        self.at += length as usize;
        let groups = raw & (u64::MAX >> (64 - 8 * length)) & 0x7f7f_7f7f_7f7f_7f7f;
        let pairs = (groups & 0x007f_007f_007f_007f) | ((groups & 0x7f00_7f00_7f00_7f00) >> 1);
        let fours = (pairs & 0x0000_3fff_0000_3fff) | ((pairs & 0x3fff_0000_3fff_0000) >> 2);
        Some(zigzag((fours & 0x0000_0000_0fff_ffff) | ((fours & 0x0fff_ffff_0000_0000) >> 4)))
    }

    /// A number from 0 to 63 that stands in one byte, as nearly every length and count does.
    #[inline]
    pub(super) fn walk_short(&mut self) -> Option<usize> {
        let byte = *self.bytes.get(self.at)?;
        if byte & 0x81 != 0 {
            return None;
        }
        self.at += 1;
        Some(usize::from(byte >> 1))
    }

    /// Steps over a text without a look at it.
    #[inline]
    pub(super) fn skip_text(&mut self) -> Option<()> {
        let length = match self.walk_short() {
            Some(length) => length,
            None => usize::try_from(self.walk_long()?).ok()?,
        };
        self.at = self.at.checked_add(length)?;
        Some(())
    }

    /// The first eight bytes of the text of `length` that begins here, zeros behind its end, as a number that sorts
    /// as they do. `None` near the end of the body.
    #[inline]
    pub(super) fn peek_prefix(&self, length: usize) -> Option<u64> {
        let (bytes, _) = self.bytes.get(self.at..)?.split_first_chunk::<8>()?;
        let prefix = u64::from_be_bytes(*bytes);
        Some(if length < 8 { prefix & !(u64::MAX >> (8 * length)) } else { prefix })
    }

    /// Steps over `length` bytes, which may lie beyond the body: whoever reads next finds out.
    #[inline]
    pub(super) fn skip(&mut self, length: usize) {
        self.at += length;
    }

    /// The next `length` bytes.
    #[inline]
    pub(super) fn peek(&self, length: usize) -> Option<&'a [u8]> {
        self.bytes.get(self.at..self.at.checked_add(length)?)
    }

    /// The bytes of a string or of a `bytes` value.
    #[inline]
    pub(super) fn walk_text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.walk_long()?).ok()?;
        let text = self.peek(length)?;
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
                let text = self.peek(bytes).ok_or_else(|| self.truncated())?;
                self.at += bytes;
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

#[inline]
fn zigzag(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()
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
