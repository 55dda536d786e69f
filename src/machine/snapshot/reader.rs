//! The bytes of one part being read: the mirror of `writer`. Total: it takes no memory by a number it has not checked
//! against the bytes that are left, and refuses every encoding that `writer` would not have chosen.

use super::fault::{Place, SnapshotFault};
use super::writer::{Before, Kin, canonical};
use crate::wire::Labels;

/// Most bytes of one LEB128 number.
const NUMBER_BYTES_MAX: u32 = 10;

/// A label set as it stands in the part.
type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// One part.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    part: u64,
    /// Bytes of the snapshot that come after this part.
    after: u64,
    pub(super) before: Before<Pairs<'a>>,
}

impl<'a> Reader<'a> {
    /// Of part `part`, behind which the snapshot has `after` more bytes.
    pub(super) fn new(bytes: &'a [u8], part: u64, after: u64) -> Self {
        Self { bytes, at: 0, part, after, before: Before::default() }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn place(&self) -> Place {
        Place { part: self.part, byte: self.at }
    }

    pub(super) fn malformed(&self, what: &'static str, seen: u64, wanted: &'static str) -> SnapshotFault {
        SnapshotFault::Malformed { what, seen, wanted, place: self.place() }
    }

    pub(super) fn disorder(&self, what: &'static str) -> SnapshotFault {
        SnapshotFault::Disorder { what, place: self.place() }
    }

    pub(super) fn take(&mut self, what: &'static str, count: u64) -> Result<&'a [u8], SnapshotFault> {
        let rest = &self.bytes[self.at..];
        let left = rest.len() as u64;
        let taken = usize::try_from(count).ok().and_then(|count| rest.get(..count));
        let taken =
            taken.ok_or(SnapshotFault::Truncated { what, needed: count, left, place: self.place() })?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], SnapshotFault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(what, N as u64)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self, what: &'static str) -> Result<u8, SnapshotFault> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(*byte)
            }
            None => Err(SnapshotFault::Truncated { what, needed: 1, left: 0, place: self.place() }),
        }
    }

    pub(super) fn number(&mut self, what: &'static str) -> Result<u64, SnapshotFault> {
        let first = self.byte(what)?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut number = u64::from(first & 0x7f);
        for place in 1..NUMBER_BYTES_MAX {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * place;
            if (bits << shift) >> shift != bits {
                return Err(self.malformed(what, u64::from(byte), "at most 64 bits"));
            }
            number |= bits << shift;
            if byte < 0x80 {
                if byte == 0 {
                    return Err(self.malformed(what, number, "written as short as it goes"));
                }
                return Ok(number);
            }
        }
        Err(self.malformed(what, number, "at most 64 bits"))
    }

    pub(super) fn signed(&mut self, what: &'static str) -> Result<i64, SnapshotFault> {
        let number = self.number(what)?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// A number from 0 on, far below what a counter can hold.
    pub(super) fn counter(&mut self, what: &'static str) -> Result<u64, SnapshotFault> {
        let number = self.number(what)?;
        let max = i64::MAX.unsigned_abs() / 2;
        if number > max {
            return Err(SnapshotFault::TooMany { what, count: number, max, place: self.place() });
        }
        Ok(number)
    }

    /// The same as a number with sign: a seq, an offset, a version.
    pub(super) fn ordinal(&mut self, what: &'static str) -> Result<i64, SnapshotFault> {
        Ok(self.counter(what)?.cast_signed())
    }

    /// How many things follow in this part, each of at least `bytes_min` bytes.
    pub(super) fn count(&mut self, what: &'static str, bytes_min: u64) -> Result<usize, SnapshotFault> {
        self.bounded(what, bytes_min, 0)
    }

    /// How many things follow in this part and in those behind it.
    pub(super) fn count_over_parts(
        &mut self,
        what: &'static str,
        bytes_min: u64,
    ) -> Result<usize, SnapshotFault> {
        self.bounded(what, bytes_min, self.after)
    }

    fn bounded(&mut self, what: &'static str, bytes_min: u64, after: u64) -> Result<usize, SnapshotFault> {
        let count = self.number(what)?;
        let left = (self.bytes.len() - self.at) as u64;
        let max = left.saturating_add(after) / bytes_min;
        match usize::try_from(count) {
            Ok(fits) if count <= max => Ok(fits),
            Ok(_) | Err(_) => Err(SnapshotFault::TooMany { what, count, max, place: self.place() }),
        }
    }

    pub(super) fn flag(&mut self, what: &'static str) -> Result<bool, SnapshotFault> {
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.malformed(what, u64::from(other), "0 or 1")),
        }
    }

    pub(super) fn maybe_signed(&mut self, what: &'static str) -> Result<Option<i64>, SnapshotFault> {
        if self.flag(what)? { self.signed(what).map(Some) } else { Ok(None) }
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, SnapshotFault> {
        let length = self.number(what)?;
        let place = self.place();
        let bytes = self.take(what, length)?;
        std::str::from_utf8(bytes).map_err(|_| SnapshotFault::NoText { what, place })
    }

    pub(super) fn maybe_text(&mut self, what: &'static str) -> Result<Option<&'a str>, SnapshotFault> {
        if self.flag(what)? { self.text(what).map(Some) } else { Ok(None) }
    }

    pub(super) fn float(&mut self, what: &'static str) -> Result<f64, SnapshotFault> {
        let bits = u64::from_le_bytes(self.array(what)?);
        self.value(what, bits)
    }

    /// A value by its bits, which are the ones that `writer` chooses.
    pub(super) fn value(&self, what: &'static str, bits: u64) -> Result<f64, SnapshotFault> {
        let value = f64::from_bits(bits);
        if canonical(value) != bits {
            return Err(self.malformed(what, bits, "one NaN, and the stale marker"));
        }
        Ok(value)
    }

    pub(super) fn labels(&mut self, kin: Kin) -> Result<Labels, SnapshotFault> {
        const WHAT: &str = "a label";
        let count = self.count("labels", 1)?;
        let mut pairs = std::mem::take(&mut self.before.labels[kin as usize]);
        let had = pairs.len();
        for at in 0..count {
            let tag = self.byte(WHAT)?;
            let before = if at < had { pairs.get(at).copied() } else { None };
            let pair = match (tag, before) {
                (0, Some(_)) => continue,
                (1, Some((name, value))) => Some((name, self.text(WHAT)?)).filter(|pair| pair.1 != value),
                (2, before) => {
                    let pair = (self.text(WHAT)?, self.text(WHAT)?);
                    Some(pair).filter(|(name, _)| before.is_none_or(|(same, _)| same != *name))
                }
                (_, _) => None,
            };
            let Some(pair) = pair else {
                return Err(self.malformed(WHAT, u64::from(tag), "0 same, 1 new value, 2 new name"));
            };
            match pairs.get_mut(at) {
                Some(place) => *place = pair,
                None => pairs.push(pair),
            }
        }
        pairs.truncate(count);
        let labels = Labels::from_canonical(&pairs).ok_or_else(|| self.disorder("labels"))?;
        self.before.labels[kin as usize] = pairs;
        Ok(labels)
    }
}
