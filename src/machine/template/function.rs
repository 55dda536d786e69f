//! The functions of templates: Prometheus's `humanize` family, and Go's `printf` with the verbs that rules use.
//!
//! Sources: Prometheus's `template/template.go`; Go's package `fmt`, its ways of saying that a verb does not fit
//! (`%!d(float64=5)`) included.

use super::Datum;
use super::number::{exponent, fixed, general};

/// A function that a template may call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Function {
    Humanize,
    Humanize1024,
    HumanizeDuration,
    HumanizePercentage,
    HumanizeTimestamp,
    Title,
    ToUpper,
    ToLower,
    /// With its format, cut into pieces.
    Printf(Vec<Piece>),
}

/// A piece of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Verb { verb: char, precision: Option<usize> },
}

/// Names of the functions, as templates write them.
pub(super) const NAMES: [&str; 9] = [
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "printf",
    "title",
    "toLower",
    "toUpper",
];
/// Verbs of `printf`.
const VERBS: [char; 7] = ['d', 'e', 'f', 'g', 'q', 's', 'v'];
/// Largest precision of a verb: what Go allows is a million, what a page needs is less.
const PRECISION_MAX: usize = 64;

impl Function {
    /// By its name; `printf` is made with [`format`](fn@format).
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "humanize" => Self::Humanize,
            "humanize1024" => Self::Humanize1024,
            "humanizeDuration" => Self::HumanizeDuration,
            "humanizePercentage" => Self::HumanizePercentage,
            "humanizeTimestamp" => Self::HumanizeTimestamp,
            "title" => Self::Title,
            "toLower" => Self::ToLower,
            "toUpper" => Self::ToUpper,
            _ => return None,
        })
    }

    /// How many arguments it takes, the piped one counted.
    pub(super) fn arity(&self) -> usize {
        match self {
            Self::Printf(pieces) => pieces.iter().filter(|piece| matches!(piece, Piece::Verb { .. })).count(),
            Self::Humanize
            | Self::Humanize1024
            | Self::HumanizeDuration
            | Self::HumanizePercentage
            | Self::HumanizeTimestamp
            | Self::Title
            | Self::ToUpper
            | Self::ToLower => 1,
        }
    }

    pub(super) fn call(&self, arguments: &[Datum]) -> Result<String, String> {
        if let Self::Printf(pieces) = self {
            return Ok(printf(pieces, arguments));
        }
        let argument = arguments.first().cloned().unwrap_or_else(|| Datum::Text(String::new()));
        match self {
            Self::Humanize => number(&argument).map(humanize),
            Self::Humanize1024 => number(&argument).map(humanize1024),
            Self::HumanizeDuration => number(&argument).map(humanize_duration),
            Self::HumanizePercentage => number(&argument).map(|v| general(v * 100.0, Some(4)) + "%"),
            Self::HumanizeTimestamp => number(&argument).and_then(humanize_timestamp),
            Self::Title => Ok(title(&argument.to_string())),
            Self::ToUpper => Ok(argument.to_string().chars().map(|c| simple(c, c.to_uppercase())).collect()),
            Self::ToLower => Ok(argument.to_string().chars().map(|c| simple(c, c.to_lowercase())).collect()),
            Self::Printf(_) => Ok(String::new()),
        }
    }
}

fn number(datum: &Datum) -> Result<f64, String> {
    match datum {
        Datum::Number(value) => Ok(*value),
        Datum::Text(text) => text.parse().map_err(|_| format!("{text:?} is not a number")),
        Datum::Map(_) => Err("a map of labels is not a number".to_owned()),
    }
}

fn humanize(value: f64) -> String {
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

fn humanize1024(value: f64) -> String {
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

fn humanize_duration(value: f64) -> String {
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

/// Seconds since the epoch as Go prints a time: `2015-07-20 09:00:00.5 +0000 UTC`, to the millisecond.
fn humanize_timestamp(value: f64) -> Result<String, String> {
    if !value.is_finite() {
        return Ok(general(value, Some(4)));
    }
    #[allow(clippy::cast_possible_truncation, reason = "saturates; jiff refuses what it cannot hold")]
    let time_ms = (value * 1000.0) as i64;
    let time = jiff::Timestamp::from_millisecond(time_ms)
        .map_err(|_| format!("{} is no time that a calendar has", general(value, None)))?;
    Ok(time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string())
}

/// Go's `strings.Title`: the first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .map(|c| {
            let begins =
                !(before.is_alphanumeric() || before == '_') && (before.is_ascii() || before.is_whitespace());
            before = c;
            if begins { simple(c, c.to_uppercase()) } else { c }
        })
        .collect()
}

/// Go maps one character to one: where Unicode's full mapping gives more, the character stays.
fn simple(c: char, mut mapped: impl ExactSizeIterator<Item = char>) -> char {
    if mapped.len() == 1 { mapped.next().unwrap_or(c) } else { c }
}

/// Cuts a format of `printf` into pieces.
pub(super) fn format(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain += before;
        let Some(first) = after.chars().next() else {
            return Err("the format ends with a %; write %% for a percent sign".to_owned());
        };
        if first == '%' {
            plain.push('%');
            rest = &after[1..];
            continue;
        }
        let (precision, tail) = match after.strip_prefix('.') {
            None => (None, after),
            Some(tail) => {
                let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
                let precision = if digits == 0 { Some(0) } else { tail[..digits].parse().ok() };
                match precision.filter(|precision| *precision <= PRECISION_MAX) {
                    Some(precision) => (Some(precision), &tail[digits..]),
                    None => return Err(format!("a precision is at most {PRECISION_MAX}")),
                }
            }
        };
        let Some(verb) = tail.chars().next().filter(|verb| VERBS.contains(verb)) else {
            let seen: String = after.chars().take(3).collect();
            return Err(format!(
                "%{seen} is not supported; supported are %s %d %v %q %f %g %e with a precision as in %.2f, and %%"
            ));
        };
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Verb { verb, precision });
        rest = &tail[1..];
    }
    plain += rest;
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

fn printf(pieces: &[Piece], arguments: &[Datum]) -> String {
    let mut arguments = arguments.iter();
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Verb { verb, precision } => {
            arguments.next().map(|datum| print(datum, *verb, *precision)).unwrap_or_default()
        }
    };
    pieces.iter().map(piece).collect()
}

/// One datum by one verb.
pub(super) fn print(datum: &Datum, verb: char, precision: Option<usize>) -> String {
    match (datum, verb) {
        (Datum::Number(value), 'v' | 'g') => general(*value, precision),
        (Datum::Number(value), 'f') => fixed(*value, precision.unwrap_or(6)),
        (Datum::Number(value), 'e') => exponent(*value, precision.unwrap_or(6)),
        (Datum::Number(_), _) => format!("%!{verb}(float64={})", print(datum, 'v', precision)),
        (Datum::Text(text), _) => print_text(text, verb, precision),
        (Datum::Map(labels), _) => {
            let pair = |(name, value): (&str, &str)| {
                format!("{}:{}", print_text(name, verb, precision), print_text(value, verb, precision))
            };
            format!("map[{}]", labels.iter().map(pair).collect::<Vec<_>>().join(" "))
        }
    }
}

fn print_text(text: &str, verb: char, precision: Option<usize>) -> String {
    let cut: String = text.chars().take(precision.unwrap_or(usize::MAX)).collect();
    match verb {
        's' | 'v' => cut,
        'q' => quote(&cut),
        _ => format!("%!{verb}(string={cut})"),
    }
}

/// Go's `strconv.Quote`.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            '\u{7}' => out += "\\a",
            '\u{8}' => out += "\\b",
            '\u{b}' => out += "\\v",
            '\u{c}' => out += "\\f",
            c if c < ' ' || c == '\u{7f}' => out += &format!("\\x{:02x}", u32::from(c)),
            c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                out += &format!("\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
