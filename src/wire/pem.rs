//! PEM (RFC 7468): the armour in which keys lie in files, as OpenSSL writes it. Base64 in strict form: padding where it
//! belongs, no bits left over, so that one key has one text.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of one line.
const LINE: usize = 64;

/// The armour round some bytes.
pub(super) fn encode(label: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    let lines: Vec<&str> =
        (0..text.len()).step_by(LINE).map(|at| &text[at..text.len().min(at + LINE)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The bytes of the first block of this label; none if there is none, or it is no base64.
pub(super) fn decode(label: &str, text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let digits: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    let (groups, rest) = digits.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    for (at, group) in groups.iter().enumerate() {
        let padding = group.iter().rev().take_while(|digit| **digit == b'=').count();
        if padding > 2 || (padding > 0 && at + 1 < groups.len()) {
            return None;
        }
        let mut sum = 0_u32;
        for digit in &group[..4 - padding] {
            let value = ALPHABET.iter().position(|known| known == digit)?;
            sum = sum << 6 | u32::try_from(value).ok()?;
        }
        let whole = (sum << (6 * padding)).to_be_bytes();
        let (kept, dropped) = whole[1..].split_at(3 - padding);
        if dropped.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_test_vectors_of_rfc_4648() {
        for (bytes, digits) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let text = format!("-----BEGIN X-----\n{digits}\n-----END X-----\n");
            assert_eq!(encode("X", bytes.as_bytes()), text);
            assert_eq!(decode("X", &text).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn what_is_no_base64_is_none() {
        for digits in ["Zg", "Zg=", "Zh==", "Z===", "====", "Zg==Zm8=", "Zm9v!AAA", "Zm8é"] {
            assert_eq!(
                decode("X", &format!("-----BEGIN X-----\n{digits}\n-----END X-----")),
                None,
                "{digits}"
            );
        }
        assert_eq!(decode("X", "-----BEGIN X-----\nZm9v\n"), None);
        assert_eq!(decode("Y", &encode("X", b"foo")), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_was_written_is_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = encode("A KEY", &bytes);
            prop_assert!(text.lines().all(|line| line.len() <= LINE));
            prop_assert_eq!(decode("A KEY", &text), Some(bytes));
        }
    }
}
