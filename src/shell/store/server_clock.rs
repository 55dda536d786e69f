//! The clock by which requests to S3 are signed: the machine's own, set right by what the server says of the time.
//!
//! A server refuses signatures that are more than a quarter of an hour off (`RequestTimeTooSkewed`). A worker whose clock is wrong
//! has to restore all the same: alerts do not depend on its clock, and the refusal names the server's time in its `Date`
//! header (RFC 9110, section 6.6.1).

#![allow(
    clippy::disallowed_types,
    reason = "the SDK's trait names SystemTime; the clock is read behind its door"
)]

use crate::shell::clock::{self, WallTime};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_async::time::TimeSource;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Codes with which servers say that a signature's time is too far off.
const SKEWED: [&str; 2] = ["RequestTimeTooSkewed", "RequestExpired"];

/// Shared by the client that signs and the store that reads refusals.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerClock {
    /// What is added to the machine's wall clock, milliseconds.
    ahead_ms: Arc<AtomicI64>,
}

impl ServerClock {
    /// Learns from an answer. `true` where it was refused for its time and a request signed anew may pass.
    pub(super) fn learn<E: ProvideErrorMetadata>(&self, fault: &SdkError<E>) -> bool {
        if !fault.code().is_some_and(|code| SKEWED.contains(&code)) {
            return false;
        }
        let date = fault.raw_response().and_then(|answer| answer.headers().get("date"));
        let Some(server_ms) = date.and_then(date_ms) else { return false };
        let ahead_ms = server_ms - clock::wall_ms();
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        tracing::warn!(
            "this machine's clock is {} s off the store's: requests are signed by the store's. Set the clock (NTP)",
            ahead_ms / 1_000
        );
        true
    }
}

impl TimeSource for ServerClock {
    fn now(&self) -> WallTime {
        clock::wall_time(clock::wall_ms().saturating_add(self.ahead_ms.load(Ordering::Relaxed)))
    }
}

/// Milliseconds since the epoch of an HTTP date.
fn date_ms(text: &str) -> Option<i64> {
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(date.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(date_ms("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000));
        for wrong in ["", "yesterday", "Sun, 06 Nov 1994 08:49:37", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(date_ms(wrong), None, "{wrong:?}");
        }
    }
}
