//! Prometheus's `humanize` family: numbers as people read them. Source: Prometheus's `template/template.go`.

use super::number::general;

/// With a decimal prefix: `1.235M`.
pub(super) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return general(value, Some(4));
    }
    let (value, prefix) = if value.abs() >= 1.0 {
        scale_down(value, 1000.0, ["k", "M", "G", "T", "P", "E", "Z", "Y"])
    } else {
        scale_up(value)
    };
    general(value, Some(4)) + prefix
}

/// With a binary prefix: `1Mi`.
pub(super) fn humanize1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return general(value, Some(4));
    }
    let (value, prefix) = scale_down(value, 1024.0, ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"]);
    general(value, Some(4)) + prefix
}

fn scale_down(mut value: f64, step: f64, prefixes: [&'static str; 8]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < step {
            break;
        }
        prefix = next;
        value /= step;
    }
    (value, prefix)
}

fn scale_up(mut value: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if value.abs() >= 1.0 {
            break;
        }
        prefix = next;
        value *= 1000.0;
    }
    (value, prefix)
}

/// `1d 2h 3m 4s`.
pub(super) fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return general(value, Some(4));
    }
    if value == 0.0 {
        return general(value, Some(4)) + "s";
    }
    if value.abs() < 1.0 {
        let (value, prefix) = scale_up(value);
        return general(value, Some(4)) + prefix + "s";
    }
    let sign = if value < 0.0 { "-" } else { "" };
    #[allow(clippy::cast_possible_truncation, reason = "saturates, as no duration of a rule does")]
    let whole = value.abs() as i64;
    let (seconds, minutes, hours, days) = (whole % 60, whole / 60 % 60, whole / 3_600 % 24, whole / 86_400);
    if days != 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours != 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes != 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", general(value.abs(), Some(4)))
    }
}
