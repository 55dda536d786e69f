//! What a Nagios plugin prints: output text, and performance data behind a `|`, as the Nagios plugin API has it.
//!
//! ```text
//! DISK WARNING - /var 91% full | /var=91%;90;95;0;100        first line: what people read, `|`, performance data
//! /var/log is the largest                                    further lines: long text, until
//! /var/spool comes next | 'inodes of /var'=12%;;;0;100       the first `|` in them: from there all is performance data
//! ```
//!
//! A piece is `'label'=value[unit];warn;crit;min;max`. Its value becomes a sample `check_perfdata` with the labels
//! `label` and `unit` beside those of the check. The unit stays as printed (`s`, `ms`, `%`, `B`, `KB`, `c`): scaling it
//! would hide what the plugin said. Thresholds are the plugin's own judgement, which its status already holds: they are
//! read over. A piece that is malformed is skipped and counted, never fatal: the plugin's verdict stands all the same.

use super::record::NAME_BYTES_MAX;
use std::collections::BTreeSet;

/// The series that performance data becomes.
pub const METRIC: &str = "check_perfdata";

/// One value of performance data.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its label, quotes removed.
    pub label: String,
    /// The number.
    pub value: f64,
    /// Unit as printed; empty where there is none.
    pub unit: String,
}

/// Performance data, read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Perfdata {
    /// In the order printed, labels unique.
    pub metrics: Vec<Metric>,
    /// Pieces that are not performance data, or repeat a label.
    pub malformed: u64,
}

/// Cuts what a plugin printed into text and performance data, both trimmed, lines kept.
#[must_use]
pub fn split(printed: &str) -> (String, String) {
    let (first, rest) = printed.split_once('\n').unwrap_or((printed, ""));
    let (text, perfdata) = first.split_once('|').unwrap_or((first, ""));
    let (long_text, more_perfdata) = rest.split_once('|').unwrap_or((rest, ""));
    let join = |a: &str, b: &str| format!("{}\n{}", a.trim(), b.trim()).trim().to_owned();
    (join(text, long_text), join(perfdata, more_perfdata))
}

/// Reads performance data, with or without line feeds between its pieces.
#[must_use]
pub fn parse(perfdata: &str) -> Perfdata {
    let mut read = Perfdata::default();
    let mut labels = BTreeSet::new();
    let mut rest = perfdata.trim_start();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(piece_end(rest));
        rest = after.trim_start();
        match metric(piece) {
            Piece::Metric(metric) if labels.insert(metric.label.clone()) => read.metrics.push(metric),
            Piece::Undetermined => {}
            Piece::Metric(_) | Piece::Malformed => read.malformed += 1,
        }
    }
    read
}

enum Piece {
    Metric(Metric),
    /// `U`: the plugin could not find the value out, and says so as the API asks.
    Undetermined,
    Malformed,
}

/// Where the piece at the start of `text` ends: at the first white space outside of quotes. A quote that is never
/// closed does not swallow the pieces behind it.
fn piece_end(text: &str) -> usize {
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '\'';
        !quoted && c.is_whitespace()
    });
    match end {
        Some(end) => end,
        None if quoted => text.find(char::is_whitespace).unwrap_or(text.len()),
        None => text.len(),
    }
}

fn metric(piece: &str) -> Piece {
    let Some((label, after)) = label(piece) else { return Piece::Malformed };
    if label.is_empty() || label.len() > NAME_BYTES_MAX {
        return Piece::Malformed;
    }
    let value = after.split(';').next().unwrap_or_default();
    if value == "U" {
        return Piece::Undetermined;
    }
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    let mut unit_at = value.find(|c| !is_number(c)).unwrap_or(value.len());
    // An exponent looks like a unit, until its digits follow.
    if let Some(exponent) = value[unit_at..].strip_prefix(['e', 'E'])
        && let digits = exponent.trim_start_matches(['+', '-'])
        && digits.starts_with(|c: char| c.is_ascii_digit())
    {
        unit_at = value.len() - digits.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    }
    let (number, unit) = value.split_at(unit_at);
    let is_unit = unit.len() <= 16 && !unit.contains(|c: char| c.is_ascii_digit() || matches!(c, ',' | '='));
    match number.parse::<f64>() {
        Ok(value) if value.is_finite() && is_unit => {
            Piece::Metric(Metric { label, value, unit: unit.to_owned() })
        }
        Ok(_) | Err(_) => Piece::Malformed,
    }
}

/// The label and what follows its `=`.
fn label(piece: &str) -> Option<(String, &str)> {
    let Some(mut rest) = piece.strip_prefix('\'') else {
        let (label, value) = piece.split_once('=')?;
        return (!label.contains('\'')).then(|| (label.to_owned(), value));
    };
    let mut label = String::new();
    loop {
        let (part, after) = rest.split_once('\'')?;
        label += part;
        if let Some(value) = after.strip_prefix('=') {
            return Some((label, value));
        }
        // Two quotes stand for one.
        rest = after.strip_prefix('\'')?;
        label.push('\'');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (Vec<(String, f64, String)>, u64) {
        let read = parse(text);
        (read.metrics.into_iter().map(|m| (m.label, m.value, m.unit)).collect(), read.malformed)
    }

    fn is(label: &str, value: f64, unit: &str) -> (String, f64, String) {
        (label.to_owned(), value, unit.to_owned())
    }

    #[test]
    fn labels_values_and_units_are_read_thresholds_are_read_over() {
        assert_eq!(
            read("time=0.012s;1;2;0;10 size=512B;;;0 'a b=c''d'=-1.5e3%;~:10;@5:6  load1=.5 up=1c\nlast=2E"),
            (
                vec![
                    is("time", 0.012, "s"),
                    is("size", 512.0, "B"),
                    is("a b=c'd", -1500.0, "%"),
                    is("load1", 0.5, ""),
                    is("up", 1.0, "c"),
                    is("last", 2.0, "E"),
                ],
                0
            )
        );
    }

    #[test]
    fn malformed_pieces_are_skipped_and_counted() {
        for malformed in
            ["x", "=1", "x=", "x=y", "x=1,5s", "x=1e999", "x=inf", "'x=1", "''=1", "x'=1", "'x'y=1", "x=1s2"]
        {
            let (metrics, count) = read(&format!("a=1 {malformed} b=2"));
            assert_eq!(metrics, [is("a", 1.0, ""), is("b", 2.0, "")], "{malformed}");
            assert_eq!(count, 1, "{malformed}");
        }
        assert_eq!(read("a=1 a=2"), (vec![is("a", 1.0, "")], 1), "a label stands once");
        assert_eq!(read(&format!("{}=1", "x".repeat(1025))).1, 1);
    }

    #[test]
    fn an_undetermined_value_is_no_sample_and_no_fault() {
        assert_eq!(read("x=U;1;2 y=1"), (vec![is("y", 1.0, "")], 0));
    }

    #[test]
    fn output_is_cut_as_the_plugin_api_says() {
        let cut = |text| {
            let (text, perfdata) = split(text);
            format!("{text}#{perfdata}")
        };
        assert_eq!(cut("OK"), "OK#");
        assert_eq!(cut("OK - fine | a=1\n"), "OK - fine#a=1");
        assert_eq!(cut("OK|a=1\nlong 1\nlong 2|b=2\nc=3|\n"), "OK\nlong 1\nlong 2#a=1\nb=2\nc=3|");
        assert_eq!(cut(""), "#");
        assert_eq!(cut("OK\n|a=1"), "OK#a=1");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[a-z'=;0-9.eE+%, \n|é-]{0,80}") {
            let (_, perfdata) = split(&text);
            let read = parse(&perfdata);
            let pieces = u64::try_from(read.metrics.len()).expect("small") + read.malformed;
            prop_assert!(pieces <= u64::try_from(perfdata.len()).expect("small"));
        }

        #[test]
        fn what_was_written_is_read_back(label in "[a-z' =;]{1,12}", value in -1e12_f64..1e12, unit in "(s|ms|%|B|KB|c)?") {
            let text = format!("'{}'={value}{unit};1;2", label.replace('\'', "''"));
            prop_assert_eq!(read(&text), (vec![(label, value, unit)], 0));
        }
    }
}
