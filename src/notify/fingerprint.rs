//! Alertmanager's fingerprint of a label set, so that receivers can tell that two messages are about one alert,
//! whichever of the two sent them.

use crate::wire::Labels;

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;
/// A byte that UTF-8 never has.
const SEPARATOR: &[u8] = &[0xff];

/// 64-bit FNV-1a over parts, as if they were one text.
pub(super) fn fnv1a<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    parts.into_iter().flatten().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// FNV-1a over name, 0xff, value, 0xff of each label in order of names, as `model.LabelSet.Fingerprint` of Prometheus's
/// common library has it. Printed as 16 hexadecimal digits.
#[must_use]
pub fn fingerprint(labels: &Labels) -> u64 {
    fnv1a(labels.iter().flat_map(|(name, value)| [name.as_bytes(), SEPARATOR, value.as_bytes(), SEPARATOR]))
}
