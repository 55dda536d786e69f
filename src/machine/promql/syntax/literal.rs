//! Numbers and strings as they are written. Durations are those of the rule file.

/// A number: decimal, hexadecimal, octal as Go has it (`017`), with underscores between digits. `None` if it is none.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.replace('_', "");
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "inf" => return Some(f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    if let Some(hex) = lower.strip_prefix("0x") {
        return hexadecimal(hex);
    }
    let octal = text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    if octal {
        return i64::from_str_radix(&text, 8).ok().map(|value| value as f64);
    }
    text.parse().ok()
}

/// `1f`, `1f.8`, `1p-4`: digits of base 16, perhaps with a point and a power of two.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, power) = match text.split_once('p') {
        Some((mantissa, power)) => (mantissa, power.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let digit = |sum: f64, c: char| Some(sum * 16.0 + f64::from(c.to_digit(16)?));
    let value = whole.chars().chain(part.chars()).try_fold(0.0, digit)?;
    let shift = power.checked_sub(i32::try_from(part.len()).ok()?.checked_mul(4)?)?;
    Some(libm::scalbn(value, shift))
}

/// The bytes that a quoted string stands for, its quotes given with it. Go's escapes; what is wrong with them, and how
/// many bytes into `quoted`.
pub(in crate::machine) fn unquote(quoted: &str) -> Result<Vec<u8>, (String, usize)> {
    let quote = quoted.chars().next().unwrap_or('"');
    let inner = &quoted[1..quoted.len() - 1];
    if quote == '`' {
        return Ok(inner.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(c) = rest.chars().next() {
        let at = 1 + inner.len() - rest.len();
        if c != '\\' {
            out.extend(c.encode_utf8(&mut [0; 4]).bytes());
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let taken = escape(&rest[1..], quote, &mut out).ok_or_else(|| {
            let seen: String = rest.chars().take(2).collect();
            (format!("unknown escape sequence {seen}"), at)
        })?;
        rest = &rest[1 + taken..];
    }
    Ok(out)
}

/// What a backslash and `rest` stand for. How many bytes of `rest` it took.
fn escape(rest: &str, quote: char, out: &mut Vec<u8>) -> Option<usize> {
    let c = rest.chars().next()?;
    let digits =
        |from: usize, count: usize, base: u32| u32::from_str_radix(rest.get(from..from + count)?, base).ok();
    let simple = match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '"' | '\'' if c == quote => u8::try_from(quote).ok()?,
        'x' => {
            out.push(u8::try_from(digits(1, 2, 16)?).ok()?);
            return Some(3);
        }
        '0'..='7' => {
            out.push(u8::try_from(digits(0, 3, 8)?).ok()?);
            return Some(3);
        }
        'u' | 'U' => {
            let count = if c == 'u' { 4 } else { 8 };
            let decoded = char::from_u32(digits(1, count, 16)?)?;
            out.extend(decoded.encode_utf8(&mut [0; 4]).bytes());
            return Some(1 + count);
        }
        _ => return None,
    };
    out.push(simple);
    Some(1)
}

/// Bytes as Go's `%q` prints a string: what is no UTF-8 as `\xc5`.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out += "\\n",
                '\r' => out += "\\r",
                '\t' => out += "\\t",
                c if c.is_control() => out += &format!("\\x{:02x}", u32::from(c)),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| out += &format!("\\x{byte:02x}"));
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        for (text, value) in [
            ("1", 1.0),
            ("1_000", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e-3", 0.001),
            ("0x1F", 31.0),
            ("0x1p-2", 0.25),
            ("017", 15.0),
            ("089", 89.0),
            ("Inf", f64::INFINITY),
            ("1e999", f64::INFINITY),
        ] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        assert!(number("nan").is_some_and(f64::is_nan));
        for text in ["", "0x", "1e", "x", "1.2.3"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn strings_have_gos_escapes() {
        for (text, want) in [
            (r#""a\"b\n\x41\101\u00e9""#, "a\"b\nAA\u{e9}"),
            ("'it\\'s \"'", "it's \""),
            ("`raw \\n`", "raw \\n"),
        ] {
            assert_eq!(unquote(text).expect(text), want.as_bytes());
        }
        assert_eq!(unquote(r#""ab\q""#), Err(("unknown escape sequence \\q".to_owned(), 3)));
        assert_eq!(unquote(r#""\'""#).map_err(|(_, at)| at), Err(1));
        assert_eq!(quoted(&unquote("\"a\\xc5z\"").expect("it has escapes")), "\"a\\xc5z\"");
    }
}
