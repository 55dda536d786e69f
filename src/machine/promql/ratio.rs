//! `limit_ratio`: which part of the elements stays follows from a hash of their labels, the one that Prometheus takes
//! (XXH64 over its `stringlabels`), so that both keep the same ones.

use super::vector::Item;

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

/// Whether an element is among the first `ratio` of all; with a negative ratio, among those that the complement leaves.
pub(super) fn keeps(ratio: f64, item: &Item<'_>) -> bool {
    let offset = xxh64(&encoded(item)) as f64 / u64::MAX as f64;
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

/// Names and values in order, each behind its length.
fn encoded(item: &Item<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in item.labels().flat_map(|(name, value)| [name, value]) {
        match u8::try_from(text.len()).ok().filter(|length| *length < 255) {
            Some(length) => bytes.push(length),
            None => {
                bytes.push(255);
                bytes.extend(&text.len().to_le_bytes()[..3]);
            }
        }
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn round(sum: u64, lane: u64) -> u64 {
    sum.wrapping_add(lane.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// XXH64 with seed 0.
fn xxh64(bytes: &[u8]) -> u64 {
    let stripes = bytes.chunks_exact(32);
    let tail = stripes.remainder();
    let mut hash = if bytes.len() >= 32 {
        let mut sums = [P1.wrapping_add(P2), P2, 0, 0_u64.wrapping_sub(P1)];
        for stripe in stripes {
            for (sum, lane) in sums.iter_mut().zip(stripe.chunks_exact(8)) {
                *sum = round(*sum, word(lane));
            }
        }
        let [a, b, c, d] = sums;
        let mixed = a.rotate_left(1).wrapping_add(b.rotate_left(7)).wrapping_add(c.rotate_left(12));
        let merge = |hash: u64, sum: u64| (hash ^ round(0, sum)).wrapping_mul(P1).wrapping_add(P4);
        sums.into_iter().fold(mixed.wrapping_add(d.rotate_left(18)), merge)
    } else {
        P5
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    let words = tail.chunks_exact(8);
    let mut rest = words.remainder();
    for lane in words {
        hash = (hash ^ round(0, word(lane))).rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
    }
    if let Some((half, after)) = rest.split_at_checked(4) {
        hash = (hash ^ word(half).wrapping_mul(P1)).rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
        rest = after;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(P2);
    hash = (hash ^ hash >> 29).wrapping_mul(P3);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::xxh64;

    /// From xxHash's own sanity checks and Go's package.
    #[test]
    fn it_is_xxh64() {
        assert_eq!(xxh64(b""), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(xxh64(b"as"), 0x1c33_0fb2_d66b_e179);
        assert_eq!(xxh64(b"asdf"), 0x4158_72f5_99ce_a71e);
        assert_eq!(
            xxh64(b"Call me Ishmael. Some years ago--never mind how long precisely-"),
            0x02a2_e854_70d6_fd96
        );
    }
}
