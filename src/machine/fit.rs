//! Keeps a transition below the bound of a record (1 MiB), whatever a rule renders: texts are cut, with a mark that says
//! so. An alert's identity is made of the whole labels, before they are cut.

use crate::wire::Labels;

/// Longest text, bytes, the mark not counted.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 10;
/// All labels, or all annotations, of one transition, bytes.
const LABELS_BYTES_MAX: usize = 384 << 10;
/// What a pair takes besides its texts, bytes, about.
const PAIR_BYTES: usize = 8;
/// Bytes of a mark at most.
const MARK_BYTES: usize = 40;

/// A text that is not too long.
pub(super) fn text(text: &str) -> String {
    cut(text, TEXT_BYTES_MAX)
}

/// Labels or annotations that are not too long together: first each text is cut, then those that come last go.
pub(super) fn labels(labels: Labels) -> Labels {
    let fits = |(name, value): (&str, &str)| name.len() <= TEXT_BYTES_MAX && value.len() <= TEXT_BYTES_MAX;
    let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len() + PAIR_BYTES).sum();
    if bytes <= LABELS_BYTES_MAX && labels.iter().all(fits) {
        return labels;
    }
    let mut left = LABELS_BYTES_MAX;
    let mut kept = Vec::new();
    for (name, value) in labels.iter() {
        let (name, value) = (text(name), text(value));
        let taken = name.len() + value.len() + PAIR_BYTES;
        if taken > left {
            break;
        }
        left -= taken;
        kept.push((name, value));
    }
    let gone = labels.len() - kept.len();
    if gone > 0 {
        kept.push(("bellwether_cut".to_owned(), format!("{gone} more")));
    }
    Labels::new(kept)
}

/// The first bytes of a text and a mark, or the text itself.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max.saturating_sub(MARK_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} … [cut: {} bytes]", &text[..end], text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_as_it_is() {
        let pairs = Labels::new([("a", "b".repeat(TEXT_BYTES_MAX))]);
        assert_eq!(labels(pairs.clone()), pairs);
        assert_eq!(text("short"), "short");
    }

    #[test]
    fn what_does_not_is_cut_at_a_character_and_says_so() {
        let long = text(&"é".repeat(TEXT_BYTES_MAX));
        assert!(long.len() <= TEXT_BYTES_MAX && long.ends_with(" … [cut: 32768 bytes]"), "{}", long.len());
        let many = (0..500).map(|at| (format!("l{at:03}"), "x".repeat(20_000)));
        let fitted = labels(Labels::new(many));
        let bytes: usize = fitted.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes < LABELS_BYTES_MAX, "{bytes}");
        assert!(fitted.get("l000").ends_with("[cut: 20000 bytes]"));
        assert_eq!(fitted.get("bellwether_cut"), format!("{} more", 500 - (fitted.len() - 1)));
    }
}
