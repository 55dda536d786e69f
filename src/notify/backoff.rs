//! How long a failed notification waits.

use super::fingerprint::fnv1a;

const FIRST_MS: i64 = 1_000;
const MAX_MS: i64 = 60_000;

/// Milliseconds to wait after attempt number `attempt` (from 1): 1 s, doubling up to a minute, each spread over
/// three quarters to five quarters of it by a hash of the idempotency key, so that groups that failed together do not
/// come back together and a replay waits as long as the original did.
#[must_use]
pub fn delay_ms(attempt: u32, key: &str) -> i64 {
    let doublings = attempt.saturating_sub(1).min(16);
    let base = FIRST_MS.saturating_mul(1 << doublings).min(MAX_MS);
    let spread = fnv1a([key.as_bytes(), &attempt.to_le_bytes()]) % 1_001;
    base * 3 / 4 + base / 2 * i64::try_from(spread).unwrap_or(0) / 1_000
}
