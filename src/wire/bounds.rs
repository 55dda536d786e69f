//! The bounds of the observations schema, one table for who reads and who writes.

use super::cursor::TextBounds;
use super::record::{NAME_BYTES_MAX, OUTPUT_BYTES_MAX, TIME_MS_MAX, VALUE_BYTES_MAX};
use super::{Fault, labels::METRIC_NAME};

const fn name(field: &'static str) -> TextBounds {
    TextBounds { field, min: 1, max: NAME_BYTES_MAX, words: "1 to 1024 bytes" }
}

const fn output(field: &'static str) -> TextBounds {
    TextBounds { field, min: 0, max: OUTPUT_BYTES_MAX, words: "0 to 65536 bytes" }
}

pub(super) const SERVICE: TextBounds = name("service");
pub(super) const METRIC: TextBounds = name("samples.name");
pub(super) const HOST: TextBounds =
    TextBounds { field: "checks.host", min: 0, max: NAME_BYTES_MAX, words: "0 to 1024 bytes" };
pub(super) const CHECK: TextBounds = name("checks.check");
pub(super) const LABEL_NAME: TextBounds = name("labels.name");
pub(super) const LABEL_VALUE: TextBounds =
    TextBounds { field: "labels.value", min: 0, max: VALUE_BYTES_MAX, words: "0 to 8192 bytes" };
pub(super) const OUTPUT: TextBounds = output("checks.output");
pub(super) const PERFDATA: TextBounds = output("checks.perfdata");

/// Label names that a sample's own fields fill.
pub(super) const SAMPLE_RESERVED: &[&str] = &[METRIC_NAME];
/// Label names that a check result's own fields fill.
pub(super) const CHECK_RESERVED: &[&str] = &[METRIC_NAME, "host", "check"];

/// Fewest bytes of one sample by the schema alone: name, labels, time, value.
pub(super) const SAMPLE_BYTES_MIN: usize = 1 + 1 + 1 + 8;
/// Fewest bytes of one check result by the schema alone: seven fields.
pub(super) const CHECK_BYTES_MIN: usize = 7;
/// Fewest bytes of one label by the schema alone: name, value.
pub(super) const LABEL_BYTES_MIN: usize = 2;

/// Refuses a time outside of the years 1970 to 9999, so that no sum of times and durations overflows later.
pub(super) fn time(field: &'static str, value: i64) -> Result<i64, Fault> {
    if (0..=TIME_MS_MAX).contains(&value) {
        Ok(value)
    } else {
        Err(Fault::OutOfBounds { field, value, bound: "0 to 253402300799999 ms since the epoch" })
    }
}

/// Refuses a status that is no Nagios code.
pub(super) fn status(value: i64) -> Result<u8, Fault> {
    match u8::try_from(value) {
        Ok(status @ 0..=3) => Ok(status),
        _ => Err(Fault::OutOfBounds { field: "checks.status", value, bound: "0 to 3" }),
    }
}
