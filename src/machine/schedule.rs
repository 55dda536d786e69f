//! When a group is evaluated: at the multiples of its interval (its grid points), once the log's clock has passed the
//! grid point plus the group's `query_offset`.
//!
//! "Passed" is strict: a record stamped exactly so still belongs to the grid point. And the grid is evaluated before
//! the record that moved the clock is taken in. So an evaluation at `t` sees what was stamped up to `t + query_offset`,
//! whatever the tick that set it off, and ticks, however many, change nothing. For the same reason the groups' turns
//! are taken in the order in which a clock without leaps would have set them off.

/// After a leap of the clock, the newest grid points are evaluated, for at most this span, milliseconds …
const CATCH_UP_MS_MAX: i64 = 3_600_000;
/// … and at most so many of them (but always one). Older ones are missed, and counted.
const CATCH_UP_POINTS_MAX: i64 = 1_000;

/// The grid of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    interval_ms: i64,
    offset_ms: i64,
    next_ms: i64,
}

impl Grid {
    /// The grid of a group that begins at `now_ms`: its first point is the first that the clock has not passed.
    pub(super) fn new(interval_ms: i64, offset_ms: i64, now_ms: i64) -> Self {
        let from_ms = now_ms.saturating_sub(offset_ms);
        let below = from_ms.div_euclid(interval_ms).saturating_mul(interval_ms);
        let next_ms = if below < from_ms { below.saturating_add(interval_ms) } else { below };
        Self { interval_ms, offset_ms, next_ms }
    }

    /// The next grid point.
    pub(super) fn next_ms(&self) -> i64 {
        self.next_ms
    }

    /// The same grid with another next point, as a snapshot has it. `None` if the clock would have passed it before it
    /// began.
    pub(super) fn at(self, next_ms: i64) -> Option<Self> {
        (next_ms >= self.offset_ms.saturating_neg()).then_some(Self { next_ms, ..self })
    }

    /// What the clock must pass.
    pub(super) fn due_ms(&self) -> i64 {
        self.next_ms.saturating_add(self.offset_ms)
    }

    /// Goes on to the next point.
    pub(super) fn take(&mut self) {
        self.next_ms = self.next_ms.saturating_add(self.interval_ms);
    }

    /// Leaves out the oldest of the points that are due, where they are too many. How many were.
    pub(super) fn skip_missed(&mut self, now_ms: i64) -> u64 {
        let behind_ms = now_ms.saturating_sub(1).saturating_sub(self.due_ms());
        let due = if behind_ms < 0 { 0 } else { behind_ms / self.interval_ms + 1 };
        let allowed = (CATCH_UP_MS_MAX / self.interval_ms).clamp(1, CATCH_UP_POINTS_MAX);
        let missed = due.saturating_sub(allowed).max(0);
        self.next_ms = self.next_ms.saturating_add(missed.saturating_mul(self.interval_ms));
        missed.unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_point_is_the_first_that_the_clock_has_not_passed() {
        for (now_ms, offset_ms, next_ms) in
            [(0, 0, 0), (1, 0, 60_000), (60_000, 0, 60_000), (60_001, 0, 120_000), (65_000, 10_000, 60_000)]
        {
            assert_eq!(Grid::new(60_000, offset_ms, now_ms).next_ms(), next_ms, "{now_ms} {offset_ms}");
        }
    }

    #[test]
    fn a_leap_keeps_the_newest_hour() {
        let mut grid = Grid::new(60_000, 0, 0);
        assert_eq!(grid.skip_missed(60 * 60_000), 0);
        // Points 0 to 599 min are due at 600 min; the newest 60 are kept.
        assert_eq!(grid.skip_missed(600 * 60_000), 540);
        assert_eq!(grid.next_ms(), 540 * 60_000);
    }

    #[test]
    fn a_leap_keeps_at_most_a_thousand_points_and_at_least_one() {
        let mut seconds = Grid::new(1_000, 0, 0);
        assert_eq!(seconds.skip_missed(3_600_000), 2_600);
        let mut days = Grid::new(86_400_000, 0, 0);
        assert_eq!(days.skip_missed(3 * 86_400_000 + 1), 3);
        assert_eq!(days.next_ms(), 3 * 86_400_000);
    }
}
