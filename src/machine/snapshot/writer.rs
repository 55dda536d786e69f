//! The bytes of one part being written. Every value has exactly one encoding, which `reader` insists on:
//!
//! | value | bytes |
//! |---|---|
//! | count, number without sign | LEB128, as short as it goes |
//! | number with sign | zigzag, then the same |
//! | truth, presence | one byte, 0 or 1 |
//! | text | length, UTF-8 |
//! | float | its 64 bits, little end first; every NaN as the canonical one, but for the stale marker |
//! | label set | count, and each pair against the pair at the same place of the set before: 0 the same, 1 the same name and this value, 2 this name and this value |

use crate::machine::series::STALE_NAN_BITS;
use crate::wire::Labels;

/// Which label set a label set is compared with: the last one of its own kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    /// Of a series, or of an alert.
    Whole,
    /// Of the element behind an alert.
    Element,
}

/// What a part's next item is written against. Begins anew with each part, so that each can be read by itself.
#[derive(Debug, Default)]
pub(super) struct Before<L> {
    /// Label sets, by [`Kin`].
    pub(super) labels: [L; 2],
    /// The lowest id that the next series may have.
    pub(super) next_id: u64,
    /// The next series' first-seen number, if it was seen right after the last one.
    pub(super) next_seen: u64,
}

/// One part.
#[derive(Debug, Default)]
pub(super) struct Writer<'a> {
    pub(super) bytes: Vec<u8>,
    pub(super) before: Before<Option<&'a Labels>>,
}

impl<'a> Writer<'a> {
    pub(super) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push((number & 0x7f) as u8);
    }

    pub(super) fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    pub(super) fn maybe_signed(&mut self, number: Option<i64>) {
        self.bytes.push(u8::from(number.is_some()));
        if let Some(number) = number {
            self.signed(number);
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn maybe_text(&mut self, text: Option<&str>) {
        self.bytes.push(u8::from(text.is_some()));
        if let Some(text) = text {
            self.text(text);
        }
    }

    pub(super) fn float(&mut self, value: f64) {
        self.bytes.extend_from_slice(&canonical(value).to_le_bytes());
    }

    pub(super) fn labels(&mut self, kin: Kin, labels: &'a Labels) {
        self.count(labels.len());
        let before = self.before.labels[kin as usize].replace(labels);
        let mut before = before.into_iter().flat_map(Labels::iter);
        for (name, value) in labels.iter() {
            match before.next() {
                Some(pair) if pair == (name, value) => self.bytes.push(0),
                Some((same, _)) if same == name => {
                    self.bytes.push(1);
                    self.text(value);
                }
                Some(_) | None => {
                    self.bytes.push(2);
                    self.text(name);
                    self.text(value);
                }
            }
        }
    }
}

/// The bits of a value, all NaNs alike but for the stale marker.
pub(super) fn canonical(value: f64) -> u64 {
    let bits = value.to_bits();
    if value.is_nan() && bits != STALE_NAN_BITS { f64::NAN.to_bits() } else { bits }
}
