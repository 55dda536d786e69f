//! Series as the tests write them: `name{label="value"} 1 2 _ 3x4 1+2x3 stale {{…}}`.

use bellwether::machine::series::STALE_NAN_BITS;
use bellwether::wire::{Labels, labels::METRIC_NAME};

/// A slot of a sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Slot {
    Value(f64),
    /// No sample at that time.
    Nothing,
    /// A native histogram.
    Histogram,
}

/// Slots one step apart.
pub type Sequence = Vec<Slot>;

/// A series and its values.
pub fn series(line: &str) -> Result<(Labels, Sequence), String> {
    let end = line.find(|c: char| c.is_whitespace() || c == '{').unwrap_or(line.len());
    let (name, mut rest) = line.split_at(end);
    let mut pairs = vec![(METRIC_NAME.to_owned(), name.to_owned())];
    if rest.starts_with('{') && !rest.starts_with("{{") {
        rest = labels(&rest[1..], &mut pairs)?;
    }
    Ok((Labels::new(pairs), sequence(rest)?))
}

/// Pairs up to the closing brace; what is behind it.
fn labels<'t>(mut rest: &'t str, pairs: &mut Vec<(String, String)>) -> Result<&'t str, String> {
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok(behind);
        }
        let name;
        if rest.starts_with('"') {
            (name, rest) = unquoted(rest)?;
            if !rest.trim_start().starts_with('=') {
                pairs[0].1 = name;
                continue;
            }
        } else {
            let end = rest.find('=').ok_or_else(|| format!("a label without a value: {rest:?}"))?;
            name = rest[..end].trim().to_owned();
            rest = &rest[end..];
        }
        let value;
        (value, rest) = unquoted(rest.trim_start().trim_start_matches('=').trim_start())?;
        pairs.push((name, value));
    }
}

/// What a quoted text at the beginning stands for, and what is behind it.
pub fn unquoted(text: &str) -> Result<(String, &str), String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
    let Some(quote) = quote else { return Err(format!("expected a quoted text: {text:?}")) };
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((value, &text[at + 1..])),
            '\\' if quote != '`' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, c)) => value.push(c),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err(format!("a text is not closed: {text:?}"))
}

fn sequence(mut text: &str) -> Result<Sequence, String> {
    let mut slots = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return Ok(slots);
        }
        let mut end = 0;
        while let Some(open) = text[end..].find(|c: char| c.is_whitespace() || c == '{') {
            end += open;
            if !text[end..].starts_with("{{") {
                break;
            }
            end += text[end..].find("}}").ok_or("a histogram is not closed")? + 2;
        }
        if text[end..].find(|c: char| c.is_whitespace()).is_none() {
            end = text.len();
        }
        let (word, rest) = text.split_at(end);
        text = rest;
        read_word(word, &mut slots)?;
    }
}

/// `1`, `_`, `_x3`, `stale`, `1x3`, `1+2x3`, `1-2x3`, `{{…}}`, `{{…}}x3`, `{{…}}+{{…}}x3`.
fn read_word(word: &str, slots: &mut Sequence) -> Result<(), String> {
    let bad = || format!("no value: {word:?}");
    if word.starts_with("{{") {
        let (_, times) = word.rsplit_once("}}").ok_or_else(bad)?;
        let times: usize = times.strip_prefix('x').map_or(Ok(0), str::parse).map_err(|_| bad())?;
        slots.extend(std::iter::repeat_n(Slot::Histogram, times + 1));
        return Ok(());
    }
    let stale = Slot::Value(f64::from_bits(STALE_NAN_BITS));
    match word {
        "stale" => slots.push(stale),
        "_" => slots.push(Slot::Nothing),
        _ if number(word).is_some() => slots.extend(number(word).map(Slot::Value)),
        _ => {
            let (value, times) = word.rsplit_once('x').ok_or_else(bad)?;
            let times: usize = times.parse().map_err(|_| bad())?;
            if value == "_" {
                slots.extend(std::iter::repeat_n(Slot::Nothing, times));
                return Ok(());
            }
            if value == "stale" {
                slots.extend(std::iter::repeat_n(stale, times + 1));
                return Ok(());
            }
            let (start, step) = ramp(value).ok_or_else(bad)?;
            slots.extend((0..=times).map(|n| Slot::Value(start + n as f64 * step)));
        }
    }
    Ok(())
}

/// `1`, `1+2`, `1-2`, `1e-3+2`, `-1+2`.
fn ramp(text: &str) -> Option<(f64, f64)> {
    if let Some(start) = number(text) {
        return Some((start, 0.0));
    }
    let signs = text.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-'));
    signs.into_iter().find_map(|(at, _)| Some((number(&text[..at])?, number(&text[at..])?)))
}

/// A number as Prometheus reads one.
pub fn number(text: &str) -> Option<f64> {
    let bare = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let written =
        bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') || bare == "inf" || bare == "nan";
    if let Some(hex) = bare.strip_prefix("0x") {
        let value = i64::from_str_radix(hex, 16).ok()? as f64;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    text.parse().ok().filter(|_| written)
}

/// `1m30s`, `10s`, `1ms`, `0`, and seconds as a number.
pub fn duration_ms(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        #[allow(clippy::cast_possible_truncation, reason = "times of tests are small")]
        return Ok((seconds * 1000.0).round() as i64);
    }
    let (sign, mut rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let mut total = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let amount: i64 = rest[..digits].parse().map_err(|_| format!("no duration: {text:?}"))?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += amount
            * match &rest[..letters] {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 7 * 86_400_000,
                "y" => 365 * 86_400_000,
                _ => return Err(format!("no duration: {text:?}")),
            };
        rest = &rest[letters..];
    }
    Ok(sign * total)
}
