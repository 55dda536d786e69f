//! When checks run. Each check is a task of its own on a grid of its own, so that none delays another. The grid's first
//! point lies within one interval, at an offset that is a hash of the check's identity: checks spread over their
//! interval, alike on every start. A run that overlaps the next grid points skips them, and they are counted: a slow
//! check runs less often, never twice at a time.

use std::time::Duration;

/// How long from `wall_ms` (milliseconds since the epoch) to the first run.
pub(super) fn first_delay(identity: &[&str], interval: Duration, wall_ms: i64) -> Duration {
    let mut hash = blake3::Hasher::new();
    for part in identity {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes()).update(part.as_bytes());
    }
    let mut head = [0; 8];
    hash.finalize_xof().fill(&mut head);
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let offset_ms = u64::from_le_bytes(head) % interval_ms;
    let phase_ms = wall_ms.unsigned_abs() % interval_ms;
    Duration::from_millis(if offset_ms >= phase_ms {
        offset_ms - phase_ms
    } else {
        interval_ms - (phase_ms - offset_ms)
    })
}

/// The next grid point after `due` that is not over at `now`, and how many before it are.
pub(super) fn next(due: Duration, interval: Duration, now: Duration) -> (Duration, u64) {
    let interval = interval.max(Duration::from_millis(1));
    let mut next = due + interval;
    let mut skipped = 0;
    if now > next {
        let late = (now - next).as_nanos().div_ceil(interval.as_nanos());
        skipped = u64::try_from(late).unwrap_or(u64::MAX);
        next += interval.saturating_mul(u32::try_from(late).unwrap_or(u32::MAX));
    }
    (next, skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_run_lies_within_the_interval_on_a_grid_that_is_the_same_after_a_restart() {
        let at = |wall_ms: i64| {
            let delay = first_delay(&["shop", "h1", "http"], 15 * SECOND, wall_ms);
            assert!(delay < 15 * SECOND);
            (wall_ms + i64::try_from(delay.as_millis()).expect("small")) % 15_000
        };
        let offset = at(1_700_000_000_000);
        for wall_ms in 1_700_000_000_000..1_700_000_015_000 {
            assert_eq!(at(wall_ms), offset);
        }
    }

    #[test]
    fn checks_spread_over_their_interval() {
        let delays: Vec<u64> = (0..1000)
            .map(|n: u32| first_delay(&["shop", &n.to_string(), "http"], 10 * SECOND, 0).as_secs())
            .collect();
        for second in 0..10 {
            let count = delays.iter().filter(|delay| **delay == second).count();
            assert!((60..140).contains(&count), "{count} of 1000 in second {second}");
        }
        assert_ne!(first_delay(&["ab", "c"], SECOND, 0), first_delay(&["a", "bc"], SECOND, 0));
    }

    #[test]
    fn a_run_that_overlaps_grid_points_skips_them() {
        assert_eq!(next(SECOND, 10 * SECOND, 2 * SECOND), (11 * SECOND, 0));
        assert_eq!(next(SECOND, 10 * SECOND, 11 * SECOND), (11 * SECOND, 0), "just in time");
        assert_eq!(next(SECOND, 10 * SECOND, 12 * SECOND), (21 * SECOND, 1));
        assert_eq!(next(SECOND, 10 * SECOND, 31 * SECOND), (31 * SECOND, 2));
    }
}
