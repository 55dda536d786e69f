//! Series as Prometheus's tests write them: `name{label="value"} 1 2 _ 3x4 1+2x3 stale {{…}}`.
//!
//! | written | means |
//! |---|---|
//! | `3` `-1.5` `1e3` `Inf` `NaN` | one sample |
//! | `_` `_x3` | no sample at that time; at three times |
//! | `stale` | the series ended: Prometheus's stale marker |
//! | `3x4` | `3 3 3 3 3`: once, and four times more |
//! | `1+2x3` `1-2x3` | `1 3 5 7`, `1 -1 -3 -5`: each is the sum of the one before it and the step, as in Prometheus |
//! | `{{…}}` | a native histogram, with the same repetitions |
//!
//! `0x4` is a zero five times: in a series no number is hexadecimal. Source: Prometheus's `generated_parser.y` and
//! `lex.go` (`series_description`).

use crate::machine::promql::unquote;
use crate::machine::series::STALE_NAN_BITS;
use crate::wire::{Labels, labels::METRIC_NAME};
use thiserror::Error;

/// Most slots of one series: what a repetition may ask for is bounded by this, not by memory.
pub const SLOTS_MAX: usize = 1 << 20;

/// A slot of a sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Slot {
    /// A sample; it may be a stale marker.
    Value(f64),
    /// No sample at that time.
    Nothing,
    /// A native histogram.
    Histogram,
}

/// Slots one step apart.
pub type Sequence = Vec<Slot>;

/// Text that is no series.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct NotationFault {
    /// What is wrong, with the text seen.
    pub message: String,
    /// Where, bytes from the beginning of the text.
    pub offset: usize,
}

fn fault<T>(offset: usize, message: impl Into<String>) -> Result<T, NotationFault> {
    Err(NotationFault { message: message.into(), offset })
}

/// A series and its values, on one line.
pub fn series(line: &str) -> Result<(Labels, Sequence), NotationFault> {
    let (labels, end) = name_and_labels(line, 0, false)?;
    let values = values(&line[end..]);
    Ok((labels, values.map_err(|fault| NotationFault { offset: fault.offset + end, ..fault })?))
}

/// A series without values: `name{label="value"}`, `{label="value"}`, or nothing at all, which has no labels.
pub fn metric(text: &str) -> Result<Labels, NotationFault> {
    let start = text.len() - text.trim_start().len();
    let (labels, end) = name_and_labels(text, start, true)?;
    if !text[end..].trim().is_empty() {
        return fault(
            end,
            format!("{:?} stands behind the series; only its labels belong here", text[end..].trim()),
        );
    }
    Ok(labels)
}

/// The labels that begin at `start`, and where they end. Before values no blank may part them from the name.
fn name_and_labels(text: &str, start: usize, apart: bool) -> Result<(Labels, usize), NotationFault> {
    let rest = &text[start..];
    let length = rest.find(|c: char| c.is_whitespace() || c == '{').unwrap_or(rest.len());
    let name = &rest[..length];
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    if !name.chars().all(is_name) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return fault(
            start,
            format!("{name:?} is no name of a metric; a series is written name{{label=\"value\"}}"),
        );
    }
    let mut pairs = vec![(METRIC_NAME.to_owned(), name.to_owned())];
    let mut end = start + length;
    if apart {
        end += text[end..].len() - text[end..].trim_start().len();
    }
    if text[end..].starts_with('{') && !text[end..].starts_with("{{") {
        end = braces(text, end + 1, &mut pairs)?;
    }
    Ok((Labels::new(pairs), end))
}

/// Pairs from behind the opening brace on; where what is behind the closing one begins.
fn braces(text: &str, mut at: usize, pairs: &mut Vec<(String, String)>) -> Result<usize, NotationFault> {
    let skip = |at: usize| at + text[at..].len() - text[at..].trim_start().len();
    loop {
        at = skip(at);
        if text[at..].starts_with('}') {
            return Ok(at + 1);
        }
        let name_at = at;
        let name;
        if text[at..].starts_with(['"', '\'', '`']) {
            (name, at) = quoted(text, at)?;
        } else {
            let length = text[at..]
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(text.len() - at);
            name = text[at..at + length].to_owned();
            at += length;
        }
        at = skip(at);
        if let Some(behind) = text[at..].strip_prefix('=') {
            at = skip(text.len() - behind.len());
            let value;
            (value, at) = quoted(text, at)?;
            pairs.push((name, value));
        } else if text[name_at..].starts_with(['"', '\'', '`']) {
            // A quoted text by itself is the metric's name.
            pairs[0].1 = name;
        } else {
            return fault(
                at,
                format!("the label {name:?} has no value; labels are written {{label=\"value\"}}"),
            );
        }
        at = skip(at);
        match text[at..].chars().next() {
            Some(',') => at += 1,
            Some('}') => {}
            Some(c) => return fault(at, format!("expected a comma or a closing brace, found {c:?}")),
            None => return fault(at, "the brace of the labels is not closed"),
        }
    }
}

/// What a quoted text stands for, and where what is behind it begins.
fn quoted(text: &str, start: usize) -> Result<(String, usize), NotationFault> {
    let mut chars = text[start..].char_indices();
    let Some((_, quote @ ('"' | '\'' | '`'))) = chars.next() else {
        return fault(start, "expected a quoted text, as in label=\"value\"");
    };
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote != '`' => _ = chars.next(),
            c if c == quote => {
                let end = start + at + 1;
                let bytes = unquote(&text[start..end])
                    .map_err(|(message, at)| NotationFault { message, offset: start + at })?;
                return match String::from_utf8(bytes) {
                    Ok(value) => Ok((value, end)),
                    Err(_) => fault(start, "the value of a label is UTF-8"),
                };
            }
            _ => {}
        }
    }
    fault(start, "a quoted text is not closed")
}

/// Values one step apart.
pub fn values(text: &str) -> Result<Sequence, NotationFault> {
    let mut slots = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if at == text.len() {
            return Ok(slots);
        }
        let end = word_end(text, at)?;
        read_word(&text[at..end], &mut slots).map_err(|message| NotationFault { message, offset: at })?;
        at = end;
    }
}

/// Where a word ends: at white space that is not inside a histogram.
fn word_end(text: &str, start: usize) -> Result<usize, NotationFault> {
    let mut end = start;
    while let Some(found) = text[end..].find(|c: char| c.is_whitespace() || c == '{') {
        end += found;
        if !text[end..].starts_with("{{") {
            return Ok(end);
        }
        match text[end..].find("}}") {
            Some(closes) => end += closes + 2,
            None => return fault(end, "a histogram is not closed"),
        }
    }
    Ok(text.len())
}

fn read_word(word: &str, slots: &mut Sequence) -> Result<(), String> {
    let bad = || {
        format!(
            "{word:?} is no value; write 1, -2.5, 1x3, 1+2x3, 1-2x3, _, _x3 or stale, with blanks between them"
        )
    };
    let stale = Slot::Value(f64::from_bits(STALE_NAN_BITS));
    if word == "_" {
        return repeat(slots, Slot::Nothing, 1);
    }
    if let Some(value) = decimal(word) {
        return repeat(slots, Slot::Value(value), 1);
    }
    let closes = word.rfind("}}").map_or(0, |closes| closes + 2);
    let (value, times) = match word[closes..].rfind('x') {
        Some(x) => word.split_at(closes + x),
        None => (word, "x0"),
    };
    let times: usize = times[1..].parse().map_err(|_| bad())?;
    match value {
        "_" => repeat(slots, Slot::Nothing, times),
        "stale" => repeat(slots, stale, times.saturating_add(1)),
        _ if value.starts_with("{{") => repeat(slots, Slot::Histogram, times.saturating_add(1)),
        _ if times > SLOTS_MAX => repeat(slots, Slot::Nothing, times),
        _ => {
            let (mut value, step) = ramp(value).filter(|_| word.contains('x')).ok_or_else(bad)?;
            for _ in 0..=times {
                repeat(slots, Slot::Value(value), 1)?;
                value += step;
            }
            Ok(())
        }
    }
}

fn repeat(slots: &mut Sequence, slot: Slot, times: usize) -> Result<(), String> {
    if times > SLOTS_MAX - slots.len().min(SLOTS_MAX) {
        return Err(format!("a series has at most {SLOTS_MAX} values"));
    }
    slots.extend(std::iter::repeat_n(slot, times));
    Ok(())
}

/// `1`, `1+2`, `1-2`, `1e-3+2`, `-1+2`.
fn ramp(text: &str) -> Option<(f64, f64)> {
    if let Some(start) = decimal(text) {
        return Some((start, 0.0));
    }
    let signs = text.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-'));
    signs.into_iter().find_map(|(at, _)| Some((decimal(&text[..at])?, decimal(&text[at..])?)))
}

/// A decimal number, `Inf` or `NaN`, in any case of letters.
fn decimal(text: &str) -> Option<f64> {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
    let written =
        bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') || bare == "inf" || bare == "nan";
    text.parse().ok().filter(|_| written)
}

/// A number as Prometheus reads one: decimal, hexadecimal, `Inf` or `NaN`, in any case of letters.
#[must_use]
pub fn number(text: &str) -> Option<f64> {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    let Some(hex) = bare.strip_prefix("0x").or_else(|| bare.strip_prefix("0X")) else { return decimal(text) };
    let value = i64::from_str_radix(hex, 16).ok()? as f64;
    Some(if text.starts_with('-') { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let slot = |slot: Slot| match slot {
            Slot::Value(value) if value.to_bits() == STALE_NAN_BITS => "stale".to_owned(),
            Slot::Value(value) => value.to_string(),
            Slot::Nothing => "_".to_owned(),
            Slot::Histogram => "H".to_owned(),
        };
        match values(text) {
            Ok(slots) => slots.into_iter().map(slot).collect::<Vec<_>>().join(" "),
            Err(fault) => format!("{}: {}", fault.offset, fault.message),
        }
    }

    #[test]
    fn every_word_of_a_sequence_is_read() {
        for (text, expected) in [
            ("", ""),
            (" 1  -2.5 +3 .5 1e3 ", "1 -2.5 3 0.5 1000"),
            ("Inf -inf +Inf NaN", "inf -inf inf NaN"),
            ("_ _x3 _x0 1", "_ _ _ _ 1"),
            ("stale stalex1", "stale stale stale"),
            ("1x2 -1x1", "1 1 1 -1 -1"),
            ("0x3", "0 0 0 0"),
            ("1+2x3 1-2x2 -2+4x3", "1 3 5 7 1 -1 -3 -2 2 6 10"),
            ("1e-1+1e1x1", "0.1 10.1"),
            // Summed step by step, as in Prometheus, and not multiplied.
            ("0+0.1x3", "0 0.1 0.2 0.30000000000000004"),
            ("{{schema:1 sum:2}} {{ }}x2 {{a:1}}+{{b:2}}x1", "H H H H H H"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused_at_its_place() {
        for (text, expected) in [
            ("1 2 three", "4: \"three\" is no value"),
            ("1x", "0: \"1x\" is no value"),
            ("1+x3", "0: \"1+x3\" is no value"),
            ("1 1+2", "2: \"1+2\" is no value"),
            ("1x-3", "0: \"1x-3\" is no value"),
            ("0x1f", "0: \"0x1f\" is no value"),
            ("1x99999999999999999999999", "0: \"1x9999"),
            ("1 _x1048577", "2: a series has at most 1048576 values"),
            ("1x1048576", "0: a series has at most 1048576 values"),
            ("1 {{schema:1", "2: a histogram is not closed"),
        ] {
            assert!(shown(text).starts_with(expected), "{text:?}: {}", shown(text));
        }
    }

    #[test]
    fn labels_are_read_as_promql_reads_them() {
        for (text, expected) in [
            ("up", "up{}"),
            ("", "{}"),
            ("{}", "{}"),
            (" up { a = \"b\" , c='d', } ", "up{a=\"b\", c=\"d\"}"),
            ("{__name__=\"up\", a=`\\d`}", "up{a=\"\\\\d\"}"),
            ("{\"up.time\", \"é\"=\"\\u00e9\\n\"}", "up.time{é=\"é\\n\"}"),
            ("a:b:c{x=\"}{,\"}", "a:b:c{x=\"}{,\"}"),
        ] {
            assert_eq!(metric(text).map(|labels| labels.to_string()).as_deref(), Ok(expected), "{text}");
        }
        for (text, offset) in [
            ("up{a=b}", 5),
            ("up{a}", 4),
            ("up{a=\"b\"", 8),
            ("up{a=\"b\" c=\"d\"}", 9),
            ("up{a=\"b}", 5),
            ("up{a=\"\\q\"}", 6),
            ("1up", 0),
            ("up{a=\"b\"} 1", 9),
            ("u-p", 0),
        ] {
            assert_eq!(metric(text).map_err(|fault| fault.offset), Err(offset), "{text}");
        }
    }

    #[test]
    fn a_series_and_its_values_stand_on_one_line() {
        let (labels, sequence) = series("up{a=\"b c\"} 1 _").expect("a series");
        assert_eq!((labels.to_string().as_str(), sequence.len()), ("up{a=\"b c\"}", 2));
        assert_eq!(series("up{a=\"b\"} 1 x").map_err(|fault| fault.offset), Err(12));
    }

    #[test]
    fn numbers_may_be_hexadecimal_where_no_repetition_can_be_meant() {
        assert_eq!(
            [number("0x10"), number("-0x1"), number("1e3"), number("x")],
            [Some(16.0), Some(-1.0), Some(1000.0), None]
        );
    }
}
