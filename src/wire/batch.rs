//! The hot path: a hand-written walker of `schemas/observations.avsc` over borrowed bytes.
//!
//! [`Batch::parse`] checks the whole record once: schema, caps, UTF-8, label names. What it lets through is walked by
//! iterators that cannot fail. Neither allocates. A sample's `key`, the encoded bytes of its name and labels, is what
//! the machine looks a known series up by; [`Sample::labels`] parses it, for a series that was never seen.
//!
//! Against apache-avro, the oracle of the tests: whatever the walker accepts, apache-avro reads to the same values;
//! whatever apache-avro cannot read, the walker refuses. The walker alone refuses what breaks a bound of the schema's
//! doc strings ([`Fault::Oversize`], [`Fault::OutOfBounds`]), a label name that stands twice in one series, among the
//! series' own fields too ([`Fault::DuplicateLabel`]), and bytes after the last value ([`Fault::TrailingBytes`]).

use super::bounds::{self, CHECK_BYTES_MIN, LABEL_BYTES_MIN, SAMPLE_BYTES_MIN};
use super::cursor::{Cursor, TextBounds};
use super::labels::{CHECK_STATUS, METRIC_NAME};
use super::record::{LABELS_MAX, RECORD_BYTES_MAX};
use super::{Fault, Labels};
use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// One record of observations, checked whole when it is made: its iterators cannot fail.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    /// Borrowed from the record; owned where an older writer's record was brought to the current schema.
    body: Cow<'a, [u8]>,
    service_at: usize,
    samples_at: usize,
    checks_at: usize,
}

/// One sample of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// The encoded bytes of name and labels: the look-up key of a known series. [`Sample::labels`] parses them.
    pub key: &'a [u8],
    /// Event time, milliseconds since the epoch.
    pub time_ms: i64,
    /// Its value; any bits, Prometheus's stale marker among them.
    pub value: f64,
}

/// One check result of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckResult<'a> {
    /// The encoded bytes of host, check and labels: the look-up key of a known series. May be equal to the key of
    /// a sample of another series: they are kept apart.
    pub key: &'a [u8],
    /// What was checked; may be empty.
    pub host: &'a str,
    /// Name of the check.
    pub check: &'a str,
    /// 0 OK, 1 warning, 2 critical, 3 unknown.
    pub status: u8,
    /// What the check said.
    pub output: &'a str,
    /// Nagios performance data, as printed.
    pub perfdata: &'a str,
    /// Event time, milliseconds since the epoch.
    pub time_ms: i64,
}

impl<'a> Batch<'a> {
    /// Checks a whole body (framing removed) against the schema, the caps and UTF-8.
    pub fn parse(body: &'a [u8]) -> Result<Self, Fault> {
        Self::checked(Cow::Borrowed(body))
    }

    /// [`Self::parse`] for a body that nobody else holds.
    pub(super) fn parse_owned(body: Vec<u8>) -> Result<Batch<'static>, Fault> {
        Batch::checked(Cow::Owned(body))
    }

    fn checked(body: Cow<'a, [u8]>) -> Result<Self, Fault> {
        if body.len() > RECORD_BYTES_MAX {
            return Err(Fault::Oversize { bytes: body.len(), max: RECORD_BYTES_MAX });
        }
        let mut cursor = Cursor::new(&body, 0);
        let service = cursor.text(&bounds::SERVICE)?;
        utf8(bounds::SERVICE.field, service)?;
        let samples_at = cursor.at();
        let service_at = samples_at - service.len();
        check_items(&mut cursor, "samples", SAMPLE_BYTES_MIN, check_sample)?;
        let checks_at = cursor.at();
        check_items(&mut cursor, "checks", CHECK_BYTES_MIN, check_check)?;
        match cursor.left() {
            0 => Ok(Self { body, service_at, samples_at, checks_at }),
            bytes => Err(Fault::TrailingBytes { bytes }),
        }
    }

    /// The service that all series of this batch belong to.
    #[must_use]
    pub fn service(&self) -> &str {
        text(&self.body[self.service_at..self.samples_at])
    }

    /// The samples, in the writer's order.
    #[must_use]
    pub fn samples(&self) -> Samples<'_> {
        Samples { cursor: Cursor::new(&self.body, self.samples_at), left: 0 }
    }

    /// The check results, in the writer's order.
    #[must_use]
    pub fn checks(&self) -> Checks<'_> {
        Checks { cursor: Cursor::new(&self.body, self.checks_at), left: 0 }
    }
}

/// Iterator of [`Batch::samples`].
#[derive(Debug, Clone)]
pub struct Samples<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Iterator for Samples<'a> {
    type Item = Sample<'a>;

    #[inline]
    fn next(&mut self) -> Option<Sample<'a>> {
        let mut cursor = self.cursor;
        next_item(&mut cursor, &mut self.left)?;
        let start = cursor.at();
        cursor.skip_text()?;
        skip_labels(&mut cursor)?;
        let key = cursor.since(start);
        let sample = Sample { key, time_ms: cursor.walk_long()?, value: cursor.walk_double()? };
        self.cursor = cursor;
        Some(sample)
    }
}

/// Iterator of [`Batch::checks`].
#[derive(Debug, Clone)]
pub struct Checks<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Iterator for Checks<'a> {
    type Item = CheckResult<'a>;

    fn next(&mut self) -> Option<CheckResult<'a>> {
        next_item(&mut self.cursor, &mut self.left)?;
        let cursor = &mut self.cursor;
        let start = cursor.at();
        let host = text(cursor.walk_text()?);
        let check = text(cursor.walk_text()?);
        skip_labels(cursor)?;
        Some(CheckResult {
            key: cursor.since(start),
            host,
            check,
            status: u8::try_from(cursor.walk_long()?).ok()?,
            output: text(cursor.walk_text()?),
            perfdata: text(cursor.walk_text()?),
            time_ms: cursor.walk_long()?,
        })
    }
}

impl Sample<'_> {
    /// The series' labels, `__name__` among them. The service is not: the machine adds it.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let mut cursor = Cursor::new(self.key, 0);
        let name = text(cursor.walk_text().unwrap_or_default());
        Labels::new(Pairs::new(cursor).map(|(n, v)| (text(n), text(v))).chain([(METRIC_NAME, name)]))
    }
}

impl CheckResult<'_> {
    /// The labels of the series `check_status{host, check, …}`. The service is not among them: the machine adds it.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let mut cursor = Cursor::new(self.key, 0);
        for _host_and_check in 0..2 {
            cursor.skip_text();
        }
        let own = [(METRIC_NAME, CHECK_STATUS), ("host", self.host), ("check", self.check)];
        Labels::new(Pairs::new(cursor).map(|(n, v)| (text(n), text(v))).chain(own))
    }
}

/// The pairs of one encoded map that was checked: name and value.
#[derive(Debug, Clone)]
struct Pairs<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Pairs<'a> {
    fn new(cursor: Cursor<'a>) -> Self {
        Self { cursor, left: 0 }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        next_item(&mut self.cursor, &mut self.left)?;
        Some((self.cursor.walk_text()?, self.cursor.walk_text()?))
    }
}

/// Steps to the next item of an array or a map, over a block's end where one is.
#[inline]
fn next_item(cursor: &mut Cursor<'_>, left: &mut usize) -> Option<()> {
    if *left == 0 {
        *left = cursor.walk_block()?;
    }
    *left = left.checked_sub(1)?;
    Some(())
}

#[inline]
fn skip_labels(cursor: &mut Cursor<'_>) -> Option<()> {
    loop {
        let count = cursor.walk_block()?;
        if count == 0 {
            return Some(());
        }
        for _ in 0..2 * count {
            cursor.skip_text()?;
        }
    }
}

/// What was checked to be UTF-8.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn utf8(field: &'static str, bytes: &[u8]) -> Result<(), Fault> {
    if bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() {
        Ok(())
    } else {
        Err(Fault::NotUtf8 { field })
    }
}

/// Checks every item of an array.
#[inline]
fn check_items<'a>(
    cursor: &mut Cursor<'a>,
    field: &'static str,
    item_bytes_min: usize,
    check: impl Fn(&mut Cursor<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    loop {
        let count = cursor.block(field, item_bytes_min)?;
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            check(cursor)?;
        }
    }
}

#[inline]
fn check_sample(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    check_key(cursor, &[bounds::METRIC], bounds::SAMPLE_RESERVED)?;
    bounds::time("samples.time_ms", cursor.long("samples.time_ms")?)?;
    cursor.double()?;
    Ok(())
}

fn check_check(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    check_key(cursor, &[bounds::HOST, bounds::CHECK], bounds::CHECK_RESERVED)?;
    bounds::status(cursor.long("checks.status")?)?;
    for bounds in [&bounds::OUTPUT, &bounds::PERFDATA] {
        utf8(bounds.field, cursor.text(bounds)?)?;
    }
    bounds::time("checks.time_ms", cursor.long("checks.time_ms")?)?;
    Ok(())
}

/// Checks the part of an item that is its key: texts, then labels.
#[inline]
fn check_key<const TEXTS: usize>(
    cursor: &mut Cursor<'_>,
    texts: &[TextBounds; TEXTS],
    reserved: &[&str],
) -> Result<(), Fault> {
    let mut ahead = *cursor;
    if check_plain_key(&mut ahead, texts, reserved).is_some() {
        *cursor = ahead;
        return Ok(());
    }
    check_any_key(cursor, texts, reserved)
}

/// The key that nearly every sample has: ASCII, no text over 63 bytes, labels in one block and sorted. `None` says
/// nothing about the key but that [`check_any_key`] has to look at it.
#[inline]
fn check_plain_key<const TEXTS: usize>(
    cursor: &mut Cursor<'_>,
    texts: &[TextBounds; TEXTS],
    reserved: &[&str],
) -> Option<()> {
    let start = cursor.at();
    for bounds in texts {
        let length = cursor.walk_short().filter(|length| *length >= bounds.min)?;
        cursor.skip(length);
    }
    let count = cursor.walk_short()?;
    let mut previous = (0, &[][..]);
    for _ in 0..count {
        let length = cursor.walk_short()?;
        let (prefix, name) = (cursor.peek_prefix(length)?, cursor.peek(length)?);
        // Rising prefixes are rising names. An empty name and all that begin like a reserved one go the long way.
        let rises = prefix > previous.0 || (prefix == previous.0 && name > previous.1);
        if !rises || name.is_empty() || reserved.iter().any(|reserved| prefix_of(reserved) == prefix) {
            return None;
        }
        previous = (prefix, name);
        cursor.skip(length);
        let length = cursor.walk_short()?;
        cursor.skip(length);
    }
    let closed = count == 0 || cursor.walk_short()? == 0;
    (closed && !cursor.since(start).is_empty() && cursor.since(start).is_ascii()).then_some(())
}

/// [`Cursor::peek_prefix`] of a text of our own.
const fn prefix_of(text: &str) -> u64 {
    let mut prefix = [0; 8];
    let mut at = 0;
    while at < 8 && at < text.len() {
        prefix[at] = text.as_bytes()[at];
        at += 1;
    }
    u64::from_be_bytes(prefix)
}

/// Any key, each bound checked and each fault named.
fn check_any_key(cursor: &mut Cursor<'_>, texts: &[TextBounds], reserved: &[&str]) -> Result<(), Fault> {
    let start = cursor.at();
    for bounds in texts {
        cursor.text(bounds)?;
    }
    let map = *cursor;
    let mut total = 0;
    let mut previous: &[u8] = b"";
    let mut sorted = true;
    loop {
        let count = cursor.block("labels", LABEL_BYTES_MIN)?;
        if count == 0 {
            break;
        }
        total += count;
        if total > LABELS_MAX {
            let value = i64::try_from(total).unwrap_or(i64::MAX);
            return Err(Fault::OutOfBounds { field: "labels", value, bound: "at most 64 labels" });
        }
        for _ in 0..count {
            let name = cursor.text(&bounds::LABEL_NAME)?;
            cursor.text(&bounds::LABEL_VALUE)?;
            if reserved.iter().any(|reserved| reserved.as_bytes() == name) {
                return Err(Fault::DuplicateLabel);
            }
            sorted &= previous < name;
            previous = name;
        }
    }
    // Texts inside of ASCII bytes are ASCII: one fast look at all of them, lengths included.
    if !cursor.since(start).is_ascii() {
        check_key_utf8(Cursor::new(cursor.since(start), 0), texts)?;
    }
    if sorted { Ok(()) } else { check_unique(map) }
}

/// Each text of a key for itself: two halves of a character in two texts are not UTF-8.
#[cold]
fn check_key_utf8(mut key: Cursor<'_>, texts: &[TextBounds]) -> Result<(), Fault> {
    for bounds in texts {
        utf8(bounds.field, key.walk_text().unwrap_or_default())?;
    }
    for (name, value) in Pairs::new(key) {
        utf8(bounds::LABEL_NAME.field, name)?;
        utf8(bounds::LABEL_VALUE.field, value)?;
    }
    Ok(())
}

/// For a writer that does not sort its labels. On the stack: at most [`LABELS_MAX`] names.
#[cold]
fn check_unique(map: Cursor<'_>) -> Result<(), Fault> {
    let mut names: [&[u8]; LABELS_MAX] = [b""; LABELS_MAX];
    let mut count = 0;
    for ((name, _), place) in Pairs::new(map).zip(&mut names) {
        *place = name;
        count += 1;
    }
    names[..count].sort_unstable();
    if names[..count].windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Fault::DuplicateLabel);
    }
    Ok(())
}
