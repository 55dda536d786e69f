//! Prometheus's durations: `1d12h30m`, `90s`, `500ms`, units in falling order, each at most once.

/// Units from the largest, with their length in milliseconds. A year has 365 days.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Milliseconds, or none where `text` is no duration or is longer than 292 years (Prometheus's bound).
#[must_use]
pub fn parse_ms(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total_ms: i64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        // The iterator only moves on: a unit out of order or repeated is not found any more.
        let (_, unit_ms) = units.find(|(name, _)| *name == unit)?;
        total_ms = total_ms.checked_add(number.parse::<i64>().ok()?.checked_mul(*unit_ms)?)?;
        rest = tail;
    }
    (!text.is_empty() && total_ms <= i64::MAX / 1_000_000).then_some(total_ms)
}

/// As Prometheus writes it: `1h30m`, `90s` as `1m30s`, nothing as `0s`. What is below zero is written as zero.
#[must_use]
pub fn text(ms: i64) -> String {
    let mut rest = ms.max(0);
    let mut text = String::new();
    // A year or a week is written only where nothing is left of it: so is Prometheus's.
    for (unit, unit_ms) in UNITS {
        let whole = matches!(unit, "y" | "w");
        if rest >= unit_ms && (!whole || rest % unit_ms == 0) {
            text += &format!("{}{unit}", rest / unit_ms);
            rest %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::{parse_ms, text};

    #[test]
    fn durations_are_written_so_that_they_are_read_back() {
        for written in ["0s", "324ms", "3s", "5m", "1m30s", "1h30m", "4d1h", "1w", "8d", "10y", "1d2h3m4s5ms"]
        {
            let ms = parse_ms(written).expect("a duration");
            assert_eq!(text(ms), written);
        }
    }

    #[test]
    fn durations_are_prometheuss() {
        let table = [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("324ms", Some(324)),
            ("3s", Some(3_000)),
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("4d1h", Some(349_200_000)),
            ("3w2d1h", Some(1_990_800_000)),
            ("10y", Some(315_360_000_000)),
            ("", None),
            ("1", None),
            ("s", None),
            ("5 m", None),
            ("-5m", None),
            ("1.5h", None),
            ("1m1h", None),
            ("1h1h", None),
            ("1D", None),
            ("294y", None),
            ("99999999999999999999s", None),
        ];
        for (text, ms) in table {
            assert_eq!(parse_ms(text), ms, "{text:?}");
        }
    }
}
