//! The door to the machine's clocks. Decisions never ask it: their time is in the event.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "door: the only file that reads a clock"
)]

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point of wall clock time as libraries take it.
pub type WallTime = SystemTime;

/// That point, milliseconds since the epoch.
#[must_use]
pub fn wall_time(ms: i64) -> WallTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

/// Wall clock, milliseconds since the epoch.
#[must_use]
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Time since the first call in this process, by a clock that never goes back. For deadlines and durations.
#[must_use]
pub fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
