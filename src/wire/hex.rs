//! Bytes as hexadecimal digits where people read (text, JSON), as an Avro `fixed` where machines do.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Two lower-case digits a byte.
#[must_use]
pub fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn serialize<S: Serializer, const N: usize>(
    bytes: &[u8; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_str(&digits(bytes))
    } else {
        apache_avro::serde::fixed::serialize(bytes, serializer)
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    if !deserializer.is_human_readable() {
        return apache_avro::serde::fixed::deserialize(deserializer);
    }
    let digits = String::deserialize(deserializer)?;
    let mut bytes = [0; N];
    if digits.len() == 2 * N && digits.is_ascii() {
        let parsed = bytes.iter_mut().enumerate().try_for_each(|(at, byte)| {
            u8::from_str_radix(&digits[2 * at..][..2], 16).map(|read| *byte = read)
        });
        if parsed.is_ok() {
            return Ok(bytes);
        }
    }
    Err(D::Error::custom(format!("{digits:?} is not {} hexadecimal digits", 2 * N)))
}
