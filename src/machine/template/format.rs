//! Go's `printf`, as far as labels and numbers need it: `%[flags][width][.precision]verb`, with Go's ways of saying that
//! a verb does not fit (`%!d(float64=5)`), that an argument is missing (`%!s(MISSING)`) or too many (`%!(EXTRA …)`).

use super::datum::Datum;
use super::number::{exponent, fixed, general};

/// Widest field and longest fraction: what Go allows is a million, what a page needs is less.
const WIDTH_MAX: usize = 256;

/// What stands between `%` and the verb.
#[derive(Debug, Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats arguments.
pub(super) fn printf(format: &str, arguments: &[Datum]) -> String {
    let mut out = String::new();
    let mut rest = format;
    let mut given = arguments.iter();
    while let Some((before, after)) = rest.split_once('%') {
        out += before;
        let (spec, tail) = spec(after);
        let Some(verb) = tail.chars().next() else {
            out += "%!(NOVERB)";
            return out;
        };
        rest = &tail[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        match given.next() {
            None => out += &format!("%!{verb}(MISSING)"),
            Some(datum) => out += &padded(&one(datum, verb, spec), spec, datum),
        }
    }
    out += rest;
    let extra: Vec<String> = given.map(|datum| format!("{}={datum}", datum.kind())).collect();
    if !extra.is_empty() {
        out += &format!("%!(EXTRA {})", extra.join(", "));
    }
    out
}

/// Reads flags, width and precision; what is behind them.
fn spec(text: &str) -> (Spec, &str) {
    let mut spec = Spec::default();
    let mut rest = text;
    loop {
        match rest.as_bytes().first() {
            Some(b'-') => spec.minus = true,
            Some(b'+') => spec.plus = true,
            Some(b'#') => spec.sharp = true,
            Some(b' ') => spec.space = true,
            Some(b'0') => spec.zero = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    (spec.width, rest) = digits(rest);
    if let Some(tail) = rest.strip_prefix('.') {
        let (precision, tail) = digits(tail);
        spec.precision = Some(precision);
        rest = tail;
    }
    (spec, rest)
}

/// The number that a text opens with, 0 if none, and what is behind it.
fn digits(text: &str) -> (usize, &str) {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: usize = text[..length].parse().unwrap_or(0);
    (number.min(WIDTH_MAX), &text[length..])
}

fn padded(text: &str, spec: Spec, datum: &Datum) -> String {
    let missing = spec.width.saturating_sub(text.chars().count());
    if missing == 0 {
        return text.to_owned();
    }
    if spec.minus {
        return text.to_owned() + &" ".repeat(missing);
    }
    let numeric = matches!(datum, Datum::Int(_) | Datum::Number(_) if !text.contains(['I', 'N']));
    if spec.zero && numeric {
        let sign = usize::from(text.starts_with(['+', '-']));
        return format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]);
    }
    " ".repeat(missing) + text
}

/// One datum by one verb.
fn one(datum: &Datum, verb: char, spec: Spec) -> String {
    let wrong = || {
        let shown = if verb == 'v' { datum.to_string() } else { one(datum, 'v', spec) };
        format!("%!{verb}({}={shown})", datum.kind())
    };
    match (datum, verb) {
        (_, 'T') => datum.kind().to_owned(),
        (Datum::Nothing, 'v') => "<nil>".to_owned(),
        (Datum::Nothing, _) => format!("%!{verb}(<nil>)"),
        (Datum::Number(value), 'v' | 'g' | 'G') => {
            cased(verb, signed(*value, spec, general(*value, spec.precision)))
        }
        (Datum::Number(value), 'f' | 'F') => signed(*value, spec, fixed(*value, spec.precision.unwrap_or(6))),
        (Datum::Number(value), 'e' | 'E') => {
            cased(verb, signed(*value, spec, exponent(*value, spec.precision.unwrap_or(6))))
        }
        (Datum::Int(value), 'd' | 'v') => signed(*value as f64, spec, value.to_string()),
        (Datum::Int(value), 'x') => format!("{value:x}"),
        (Datum::Int(value), 'X') => format!("{value:X}"),
        (Datum::Int(value), 'o') => format!("{value:o}"),
        (Datum::Int(value), 'b') => format!("{value:b}"),
        (Datum::Int(value), 'c') => {
            u32::try_from(*value).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string()
        }
        (Datum::Bool(_), 't' | 'v') => datum.to_string(),
        (Datum::Text(text), _) => text_by(text, verb, spec).unwrap_or_else(wrong),
        (Datum::Labels(labels), _) => {
            let by =
                |text: &str| text_by(text, verb, spec).unwrap_or_else(|| format!("%!{verb}(string={text})"));
            let pair = |(name, value): (&str, &str)| format!("{}:{}", by(name), by(value));
            format!("map[{}]", labels.iter().map(pair).collect::<Vec<_>>().join(" "))
        }
        (
            Datum::Map(_)
            | Datum::List(_)
            | Datum::Sample(..)
            | Datum::Time(_)
            | Datum::Duration(_)
            | Datum::Root,
            's' | 'v',
        ) => datum.to_string(),
        _ => wrong(),
    }
}

fn signed(value: f64, spec: Spec, text: String) -> String {
    let positive = !text.starts_with(['-', '+']) && !value.is_nan();
    match (positive, spec.plus, spec.space) {
        (true, true, _) => format!("+{text}"),
        (true, false, true) => format!(" {text}"),
        _ => text,
    }
}

fn cased(verb: char, text: String) -> String {
    if verb.is_ascii_uppercase() { text.replace('e', "E") } else { text }
}

fn text_by(text: &str, verb: char, spec: Spec) -> Option<String> {
    let cut: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
    let hex = |upper: bool| {
        let byte = |byte: u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
        cut.bytes().map(byte).collect::<String>()
    };
    match verb {
        'v' if spec.sharp => Some(quote(&cut)),
        's' | 'v' => Some(cut),
        'q' => Some(quote(&cut)),
        'x' => Some(hex(false)),
        'X' => Some(hex(true)),
        _ => None,
    }
}

/// Seconds since the epoch as Go prints a time: `2015-07-20 09:00:00.5 +0000 UTC`, to the millisecond.
pub(super) fn time(seconds: f64) -> Result<String, String> {
    #[allow(clippy::cast_possible_truncation, reason = "saturates; jiff refuses what it cannot hold")]
    let time_ms = (seconds * 1000.0) as i64;
    let time = jiff::Timestamp::from_millisecond(time_ms)
        .map_err(|_| format!("{} is no time that a calendar has", general(seconds, None)))?;
    Ok(time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string())
}

/// Seconds as Go prints a duration: `1h30m0s`, `1.5s`, `20ms`.
pub(super) fn duration(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "-" } else { "" };
    let size = seconds.abs();
    if size == 0.0 {
        return "0s".to_owned();
    }
    if size < 1.0 {
        let (scale, unit) = if size >= 1e-3 {
            (1e3, "ms")
        } else if size >= 1e-6 {
            (1e6, "\u{b5}s")
        } else {
            (1e9, "ns")
        };
        return format!("{sign}{}{unit}", general((size * scale * 1e6).round() / 1e6, None));
    }
    let (hours, minutes) = ((size / 3600.0).floor(), (size / 60.0).floor() % 60.0);
    let rest = general(((size - (size / 60.0).floor() * 60.0) * 1e9).round() / 1e9, None);
    if hours > 0.0 {
        format!("{sign}{hours}h{minutes}m{rest}s")
    } else if minutes > 0.0 {
        format!("{sign}{minutes}m{rest}s")
    } else {
        format!("{sign}{rest}s")
    }
}

/// Go's `strconv.Quote`.
pub(super) fn quote(text: &str) -> String {
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

/// A method of Go's `time.Time`.
pub(super) fn time_part(seconds: f64, name: &str) -> Result<Datum, String> {
    #[allow(clippy::cast_possible_truncation, reason = "saturates; jiff refuses what it cannot hold")]
    let time_ms = (seconds * 1000.0) as i64;
    let time = jiff::Timestamp::from_millisecond(time_ms)
        .map_err(|_| format!("{} is no time that a calendar has", general(seconds, None)))?
        .to_zoned(jiff::tz::TimeZone::UTC);
    Ok(match name {
        "Year" => Datum::Int(time.year().into()),
        "Month" => Datum::Text(time.strftime("%B").to_string()),
        "Day" => Datum::Int(time.day().into()),
        "Weekday" => Datum::Text(time.strftime("%A").to_string()),
        "YearDay" => Datum::Int(time.day_of_year().into()),
        "Hour" => Datum::Int(time.hour().into()),
        "Minute" => Datum::Int(time.minute().into()),
        "Second" => Datum::Int(time.second().into()),
        "Unix" => Datum::Int(time.timestamp().as_second()),
        "UTC" => Datum::Time(seconds),
        _ => return Err(format!("can't evaluate field {name} in type time.Time")),
    })
}
