//! What a Prometheus target exposes: text 0.0.4 and OpenMetrics 1.0, chosen by the answer's Content-Type.
//!
//! ```text
//! # TYPE http_requests_total counter                  a comment, or HELP and TYPE: checked, then passed over
//! http_requests_total{code="200",path="a\"b"} 12 1.5  name, labels with escapes, value, optional timestamp
//! # EOF                                               OpenMetrics only, and there it must be the last line
//! ```
//!
//! The two differ where it matters: timestamps are integer milliseconds in text and float seconds in OpenMetrics;
//! blanks are free in text and exactly one space in OpenMetrics; only OpenMetrics has exemplars (checked, then passed
//! over) and an end mark, so that a torn answer is noticed. As in Prometheus, one bad line refuses the whole answer:
//! half a scrape would look like series that vanished.
//!
//! Values are read as Prometheus reads them: decimal, `NaN` and `Inf` in any case, no hexadecimal, no underscore; a
//! decimal beyond the range of a 64-bit float is refused. Names in quotes (UTF-8 names) are not supported: a target
//! sends them only to a scraper that asks for them.

#[cfg(test)]
mod tests;

use super::record::{LABELS_MAX, NAME_BYTES_MAX, VALUE_BYTES_MAX};
use std::borrow::Cow;
use thiserror::Error;

/// Most samples one answer may hold. It bounds the memory that the smallest lines take.
pub const SAMPLES_MAX: usize = 1 << 18;
/// The one NaN that a target's `NaN` becomes: any other bits would be a different value to a digest.
const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;
/// How much of a line a fault shows, characters.
const SEEN_CHARS_MAX: usize = 40;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// By the answer's Content-Type: whatever is not OpenMetrics is read as text, as Prometheus 2 does.
    #[must_use]
    pub fn of(content_type: &str) -> Self {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// One exposed sample, borrowed from the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposed<'a> {
    /// Metric name.
    pub name: &'a str,
    /// Labels in the order of the line, names unique, escapes resolved.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// The target's own timestamp, milliseconds since the epoch.
    pub time_ms: Option<i64>,
    /// Its value.
    pub value: f64,
}

/// Why an answer was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpositionFault {
    /// A line is not what the format allows.
    #[error("line {line}, column {column}: expected {expected}, saw {seen:?}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What should stand there.
        expected: &'static str,
        /// What stands there, cut short; empty at the end of the line.
        seen: String,
    },
    /// The same label name twice in one sample.
    #[error("line {line}: the label {label:?} stands twice")]
    DuplicateLabel {
        /// Line, from 1.
        line: usize,
        /// The label's name.
        label: String,
    },
    /// More or longer than what one sample may carry, or more samples than one answer may hold.
    #[error("line {line}: {what} is over the bound of {max}")]
    TooLarge {
        /// Line, from 1.
        line: usize,
        /// What, in words.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("line {line} is not UTF-8")]
    NotUtf8 {
        /// Line, from 1.
        line: usize,
    },
    /// An OpenMetrics answer without `# EOF`: it was cut.
    #[error("the answer ends at line {line} without \"# EOF\": it was cut, or is not OpenMetrics")]
    NoEof {
        /// Last line, from 1.
        line: usize,
    },
}

impl ExpositionFault {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "exposition_syntax",
            Self::DuplicateLabel { .. } => "exposition_duplicate_label",
            Self::TooLarge { .. } => "exposition_too_large",
            Self::NotUtf8 { .. } => "exposition_not_utf8",
            Self::NoEof { .. } => "exposition_no_eof",
        }
    }

    /// The next scrape may find a target that was mended.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        true
    }
}

/// Reads a whole answer, or says at which line it stops being one.
pub fn parse(format: Format, body: &[u8]) -> Result<Vec<Exposed<'_>>, ExpositionFault> {
    let text = std::str::from_utf8(body).map_err(|fault| ExpositionFault::NotUtf8 {
        line: 1 + body[..fault.valid_up_to()].iter().filter(|byte| **byte == b'\n').count(),
    })?;
    let mut samples = Vec::new();
    let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n').zip(1..);
    let mut last = 0;
    for (text, line) in lines.by_ref() {
        last = line;
        let mut line = Line { text, at: 0, number: line, format };
        match line.read()? {
            Read::Sample(_) if samples.len() >= SAMPLES_MAX => {
                return Err(line.too_large("the number of samples", SAMPLES_MAX));
            }
            Read::Sample(sample) => samples.push(sample),
            Read::Nothing => {}
            Read::Eof => {
                return match lines.next() {
                    None => Ok(samples),
                    Some((text, number)) => {
                        Err(Line { text, at: 0, number, format }.expected("nothing after \"# EOF\""))
                    }
                };
            }
        }
    }
    match format {
        Format::Text => Ok(samples),
        Format::OpenMetrics => Err(ExpositionFault::NoEof { line: last }),
    }
}

/// What one line holds.
enum Read<'a> {
    Sample(Exposed<'a>),
    Nothing,
    Eof,
}

/// One line and how far it is read. `at` is a byte offset and always a boundary of characters.
struct Line<'a> {
    text: &'a str,
    at: usize,
    number: usize,
    format: Format,
}

impl<'a> Line<'a> {
    fn read(&mut self) -> Result<Read<'a>, ExpositionFault> {
        match self.format {
            Format::Text => {
                self.blanks();
                if self.eat('#') {
                    self.blanks();
                    self.descriptor().map(|()| Read::Nothing)
                } else if self.rest().is_empty() {
                    Ok(Read::Nothing)
                } else {
                    self.sample().map(Read::Sample)
                }
            }
            Format::OpenMetrics if self.text == "# EOF" => Ok(Read::Eof),
            Format::OpenMetrics if self.text.starts_with('#') => {
                self.at = 1;
                self.gap()?;
                self.descriptor().map(|()| Read::Nothing)
            }
            Format::OpenMetrics => self.sample().map(Read::Sample),
        }
    }

    /// What follows `# `: in OpenMetrics one of three words, in text anything, of which two words mean something.
    fn descriptor(&mut self) -> Result<(), ExpositionFault> {
        let start = self.at;
        let word = self.take_while(|c| !is_blank(c));
        let open_metrics = self.format == Format::OpenMetrics;
        match (word, open_metrics) {
            ("HELP" | "TYPE", _) | ("UNIT", true) => {}
            (_, true) => {
                self.at = start;
                return Err(self.expected("HELP, TYPE, UNIT or EOF after \"# \""));
            }
            (_, false) => return Ok(()),
        }
        self.gap()?;
        self.name("a metric name", is_metric_char)?;
        if word != "TYPE" {
            return Ok(());
        }
        self.gap()?;
        let start = self.at;
        let kind = self.take_while(|c| !is_blank(c));
        let known = match kind {
            "counter" | "gauge" | "histogram" | "summary" => true,
            "untyped" => !open_metrics,
            "unknown" | "info" | "stateset" | "gaugehistogram" => open_metrics,
            _ => false,
        };
        if !known {
            self.at = start;
            return Err(self.expected("a metric type"));
        }
        self.end()
    }

    fn sample(&mut self) -> Result<Exposed<'a>, ExpositionFault> {
        let name = self.name("a metric name", is_metric_char)?;
        let open_metrics = self.format == Format::OpenMetrics;
        self.free_blanks();
        let labels = if self.eat('{') { self.labels()? } else { Vec::new() };
        if open_metrics {
            self.gap()?;
        }
        self.free_blanks();
        let value = self.value()?;
        let mut time_ms = None;
        if open_metrics {
            if !self.rest().is_empty() && !self.rest().starts_with(" #") {
                self.gap()?;
                time_ms = Some(self.seconds()?);
            }
            if self.rest().starts_with(" # ") {
                self.at += 3;
                self.exemplar()?;
            }
        } else {
            self.blanks();
            if !self.rest().is_empty() {
                time_ms = Some(self.milliseconds()?);
            }
        }
        self.end()?;
        Ok(Exposed { name, labels, time_ms, value })
    }

    /// `{labels} value [timestamp]`. Checked, because a broken one means a broken line; nothing of it is kept.
    fn exemplar(&mut self) -> Result<(), ExpositionFault> {
        if !self.eat('{') {
            return Err(self.expected("the labels of an exemplar"));
        }
        self.labels()?;
        self.gap()?;
        self.value()?;
        if !self.rest().is_empty() {
            self.gap()?;
            self.seconds()?;
        }
        Ok(())
    }

    /// From behind `{` to behind `}`.
    fn labels(&mut self) -> Result<Vec<(&'a str, Cow<'a, str>)>, ExpositionFault> {
        let mut labels: Vec<(&str, Cow<'_, str>)> = Vec::new();
        loop {
            self.free_blanks();
            // Text allows a comma before the brace, OpenMetrics does not.
            if (labels.is_empty() || self.format == Format::Text) && self.eat('}') {
                return Ok(labels);
            }
            let name = self.name("a label name", is_label_char)?;
            self.free_blanks();
            if !self.eat('=') {
                return Err(self.expected("'=' after the label's name"));
            }
            self.free_blanks();
            if !self.eat('"') {
                return Err(self.expected("the label's value in double quotes"));
            }
            let value = self.quoted()?;
            if value.len() > VALUE_BYTES_MAX {
                return Err(self.too_large("the bytes of a label's value", VALUE_BYTES_MAX));
            }
            if labels.iter().any(|(earlier, _)| *earlier == name) {
                return Err(ExpositionFault::DuplicateLabel { line: self.number, label: name.to_owned() });
            }
            if labels.len() >= LABELS_MAX {
                return Err(self.too_large("the number of labels", LABELS_MAX));
            }
            labels.push((name, value));
            self.free_blanks();
            if self.eat('}') {
                return Ok(labels);
            }
            if !self.eat(',') {
                return Err(self.expected("',' or '}' after the label"));
            }
        }
    }

    /// From behind the opening quote to behind the closing one. An escape that the format does not name stays as it is.
    fn quoted(&mut self) -> Result<Cow<'a, str>, ExpositionFault> {
        let mut value = Cow::Borrowed("");
        loop {
            let run = self.take_while(|c| c != '"' && c != '\\');
            value += run;
            let escape = match self.rest().get(..2) {
                Some("\\n") => "\n",
                Some("\\\"") => "\"",
                Some("\\\\") => "\\",
                Some(_) | None if self.eat('"') => return Ok(value),
                Some(_) | None if self.eat('\\') => {
                    value += "\\";
                    continue;
                }
                Some(_) | None => return Err(self.expected("a closing quote")),
            };
            self.at += 2;
            value += escape;
        }
    }

    fn name(
        &mut self,
        expected: &'static str,
        is_char: fn(char) -> bool,
    ) -> Result<&'a str, ExpositionFault> {
        if self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.expected(expected));
        }
        match self.take_while(is_char) {
            "" => Err(self.expected(expected)),
            name if name.len() > NAME_BYTES_MAX => Err(self.too_large("the bytes of a name", NAME_BYTES_MAX)),
            name => Ok(name),
        }
    }

    fn value(&mut self) -> Result<f64, ExpositionFault> {
        self.token("a number", number)
    }

    fn milliseconds(&mut self) -> Result<i64, ExpositionFault> {
        self.token("a timestamp in integer milliseconds", |text| text.parse().ok())
    }

    fn seconds(&mut self) -> Result<i64, ExpositionFault> {
        self.token("a timestamp in seconds", |text| {
            let ms = (number(text)? * 1000.0).round();
            // 2^53: beyond it a float of milliseconds is no longer a whole number of them.
            #[allow(clippy::cast_possible_truncation, reason = "its range is checked")]
            (ms.abs() < 9_007_199_254_740_992.0).then_some(ms as i64)
        })
    }

    fn token<T>(
        &mut self,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ExpositionFault> {
        let start = self.at;
        let token = self.take_while(|c| !is_blank(c));
        read(token).ok_or_else(|| {
            self.at = start;
            self.expected(expected)
        })
    }

    /// What separates two parts: in OpenMetrics one space, in text any blanks.
    fn gap(&mut self) -> Result<(), ExpositionFault> {
        let start = self.at;
        let free = self.format == Format::Text && {
            self.blanks();
            self.at > start
        };
        if free || self.eat(' ') { Ok(()) } else { Err(self.expected("a space")) }
    }

    /// Blanks where only text has them.
    fn free_blanks(&mut self) {
        if self.format == Format::Text {
            self.blanks();
        }
    }

    fn end(&mut self) -> Result<(), ExpositionFault> {
        self.free_blanks();
        if self.rest().is_empty() { Ok(()) } else { Err(self.expected("the end of the line")) }
    }

    fn blanks(&mut self) {
        self.take_while(is_blank);
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn take_while(&mut self, is_taken: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !is_taken(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn expected(&self, expected: &'static str) -> ExpositionFault {
        ExpositionFault::Syntax {
            line: self.number,
            column: self.text[..self.at].chars().count() + 1,
            expected,
            seen: self.rest().chars().take(SEEN_CHARS_MAX).collect(),
        }
    }

    fn too_large(&self, what: &'static str, max: usize) -> ExpositionFault {
        ExpositionFault::TooLarge { line: self.number, what, max }
    }
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn is_label_char(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

fn is_metric_char(c: char) -> bool {
    c == ':' || is_label_char(c)
}

fn number(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    if value.is_nan() {
        return Some(f64::from_bits(NORMAL_NAN));
    }
    // A word gives infinity; digits that do are out of range.
    let out_of_range = value.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    (!out_of_range).then_some(value)
}
