//! When a snapshot is taken: the log decides, so that both replicas cut at the same record and their bytes are equal.

/// Whether the clock of `partition` crossed a boundary on its way from `before_ms` to `after_ms`: a multiple of the
/// interval, and on top of it the partition's own part of the interval, so that a worker's partitions take their turns.
/// A leap over many boundaries crosses once. An interval of 0 has no boundaries; the first stamp crosses none.
#[must_use]
pub fn crosses(partition: i32, interval_ms: i64, before_ms: Option<i64>, after_ms: Option<i64>) -> bool {
    let (Some(before_ms), Some(after_ms), true) = (before_ms, after_ms, interval_ms > 0) else {
        return false;
    };
    let stagger_ms = stagger_ms(partition, interval_ms);
    let period = |time_ms: i64| time_ms.saturating_sub(stagger_ms).div_euclid(interval_ms);
    period(before_ms) < period(after_ms)
}

/// Steps of the golden ratio: however many partitions there are, they lie about evenly in the interval.
fn stagger_ms(partition: i32, interval_ms: i64) -> i64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let place = u64::from(partition.cast_unsigned()).wrapping_mul(GOLDEN);
    let scaled = (u128::from(place) * u128::from(interval_ms.unsigned_abs())) >> 64;
    i64::try_from(scaled).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn every_boundary_is_crossed_once_whatever_the_steps() {
        for partition in [0, 1, 7, 63, i32::MAX] {
            for step_ms in [977, 60_001, HOUR / 3, HOUR - 1, HOUR] {
                let times: Vec<i64> = (0..).map(|n| n * step_ms).take_while(|ms| *ms <= 5 * HOUR).collect();
                let cuts = times.windows(2).filter(|w| crosses(partition, HOUR, Some(w[0]), Some(w[1])));
                let expected = (times[times.len() - 1] - stagger_ms(partition, HOUR)).div_euclid(HOUR) + 1;
                // Partition 0 has no stagger: its first boundary is time 0, where the log begins.
                let expected = expected - i64::from(partition == 0);
                assert_eq!(cuts.count() as i64, expected, "partition {partition}, steps of {step_ms} ms");
            }
        }
    }

    #[test]
    fn a_leap_is_one_cut_and_a_clock_that_stands_is_none() {
        assert!(crosses(0, HOUR, Some(HOUR - 1), Some(HOUR)));
        assert!(crosses(0, HOUR, Some(1), Some(100 * HOUR)));
        assert!(!crosses(0, HOUR, Some(HOUR), Some(HOUR)));
        assert!(!crosses(0, HOUR, None, Some(100 * HOUR)), "nothing has been decided yet");
        assert!(!crosses(0, 0, Some(1), Some(100 * HOUR)), "switched off");
        assert!(crosses(i32::MAX, i64::MAX, Some(i64::MIN), Some(i64::MAX)), "no overflow");
    }

    #[test]
    fn partitions_lie_evenly_in_the_interval() {
        for partitions in [2, 8, 64] {
            let mut places: Vec<i64> = (0..partitions).map(|p| stagger_ms(p, HOUR)).collect();
            places.sort_unstable();
            let gap = places.windows(2).map(|w| w[1] - w[0]).min().unwrap_or(0);
            assert!(gap > HOUR / i64::from(partitions) / 3, "{partitions}: {gap} ms");
            assert!(places.iter().all(|place| (0..HOUR).contains(place)));
        }
    }
}
