//! Numbers as Go prints them: `{{ $value }}` and the `humanize` functions must give Prometheus's text to the digit.
//!
//! Sources: Go's `strconv.FormatFloat` (`%e`, `%f`, `%g`, shortest digits) and Prometheus's `template/template.go`.

/// Decimal digits of a finite number, as Go's `decimalSlice`: `0.d1d2d3… × 10^point`.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    point: i32,
}

impl Decimal {
    /// Reads Rust's `{:e}` form, whose digits are exact: the shortest that read back, or `significant` of them,
    /// rounded half to even.
    fn new(value: f64, significant: Option<usize>) -> Self {
        let text = match significant {
            Some(count) => format!("{:.*e}", count.max(1) - 1, value.abs()),
            None => format!("{:e}", value.abs()),
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = mantissa.bytes().filter(u8::is_ascii_digit).collect();
        let point = exponent.parse::<i32>().unwrap_or_default() + 1;
        Self { negative: value.is_sign_negative(), digits, point }
    }

    /// `%e` with all digits: at least two in the exponent.
    fn exponent_form(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        let digits = String::from_utf8_lossy(&self.digits);
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let exponent = self.point - 1;
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        format!("{sign}{first}{dot}{rest}e{exponent_sign}{:02}", exponent.abs())
    }

    /// `%f` with all digits and no more.
    fn plain_form(&self) -> String {
        let mut out = String::from(if self.negative { "-" } else { "" });
        let digits = String::from_utf8_lossy(&self.digits);
        match usize::try_from(self.point) {
            Err(_) | Ok(0) => {
                out += "0.";
                out.extend(std::iter::repeat_n('0', self.point.unsigned_abs() as usize));
                out += &digits;
            }
            Ok(point) if point >= digits.len() => {
                out += &digits;
                out.extend(std::iter::repeat_n('0', point - digits.len()));
            }
            Ok(point) => {
                out += &digits[..point];
                out.push('.');
                out += &digits[point..];
            }
        }
        out
    }
}

/// `NaN`, `+Inf`, `-Inf`; none for a finite number.
fn special(value: f64) -> Option<&'static str> {
    match (value.is_nan(), value.is_infinite(), value > 0.0) {
        (true, _, _) => Some("NaN"),
        (_, true, true) => Some("+Inf"),
        (_, true, false) => Some("-Inf"),
        (_, false, _) => None,
    }
}

/// Go's `%v` and `%g` (no precision), or `%.<significant>g`.
#[must_use]
pub fn general(value: f64, significant: Option<usize>) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let mut decimal = Decimal::new(value, significant);
    while decimal.digits.len() > 1 && decimal.digits.last() == Some(&b'0') {
        decimal.digits.pop();
    }
    let exponent = decimal.point - 1;
    // strconv: "if precision was the shortest possible, use precision 6 for this decision".
    let bound = significant.map_or(6, |count| i32::try_from(count.max(1)).unwrap_or(i32::MAX));
    if exponent < -4 || exponent >= bound { decimal.exponent_form() } else { decimal.plain_form() }
}

/// Go's `%.<decimals>f`.
#[must_use]
pub fn fixed(value: f64, decimals: usize) -> String {
    special(value).map_or_else(|| format!("{value:.decimals$}"), str::to_owned)
}

/// Go's `%.<decimals>e`.
#[must_use]
pub fn exponent(value: f64, decimals: usize) -> String {
    match special(value) {
        Some(text) => text.to_owned(),
        None => {
            let mut decimal = Decimal::new(value, Some(decimals + 1));
            if value == 0.0 {
                decimal.point = 1;
            }
            decimal.exponent_form()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go 1.24 prints with `%v` and `%.4g`.
    #[test]
    fn general_is_gos() {
        let table = [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.5, "1.5", "1.5"),
            (100_000.0, "100000", "1e+05"),
            (1e6, "1e+06", "1e+06"),
            (21e5, "2.1e+06", "2.1e+06"),
            (123_456.0, "123456", "1.235e+05"),
            (123_456_789.0, "1.23456789e+08", "1.235e+08"),
            (1234.0, "1234", "1234"),
            (12.345_678, "12.345678", "12.35"),
            (0.0001, "0.0001", "0.0001"),
            (0.000_01, "1e-05", "1e-05"),
            (0.1 + 0.2, "0.30000000000000004", "0.3"),
            (-2.5e-7, "-2.5e-07", "-2.5e-07"),
            (1e100, "1e+100", "1e+100"),
            (999.96, "999.96", "1000"),
            (f64::NAN, "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
        ];
        for (value, shortest, four) in table {
            assert_eq!(general(value, None), shortest);
            assert_eq!(general(value, Some(4)), four);
        }
    }

    #[test]
    fn fixed_and_exponent_are_gos() {
        assert_eq!(
            [fixed(0.5, 0), fixed(2.5, 0), fixed(0.25, 1), fixed(1.005, 2)],
            ["0", "2", "0.2", "1.00"]
        );
        assert_eq!(fixed(f64::INFINITY, 2), "+Inf");
        assert_eq!([exponent(0.0, 6), exponent(0.0, 3)], ["0.000000e+00", "0.000e+00"]);
        assert_eq!([exponent(123_456_789.0, 6), exponent(-1e-5, 0)], ["1.234568e+08", "-1e-05"]);
    }
}
