//! How many unreadable records a partition's machine thread passes on to the rejected topic: at most
//! [`PER_SECOND`], so that a flood of garbage is not doubled. All of them are counted.

use std::time::Duration;

/// Samples of one partition in one second.
pub(super) const PER_SECOND: u32 = 10;

/// The allowance of one partition. Times are of a clock that never goes back.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    second: u64,
    taken: u32,
}

impl Sampler {
    /// Whether one more may be passed on now.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        if now.as_secs() != self.second {
            *self = Self { second: now.as_secs(), taken: 0 };
        }
        self.taken += 1;
        self.taken <= PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_the_set_rate_is_passed_on_each_second() {
        let mut sampler = Sampler::default();
        let mut passed = |second: u64| {
            let moments = (0..1000_u64).map(|ms| Duration::from_millis(second * 1000 + ms));
            moments.filter(|now| sampler.take(*now)).count()
        };
        assert_eq!(passed(7), 10);
        assert_eq!(passed(8), 10);
    }
}
