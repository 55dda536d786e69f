//! The partition's clock: the broker's time stamps (LogAppendTime), made safe to count a `for` by.
//!
//! A broker stamps a record with its own wall clock and clamps nothing, so the raw stamps of a partition go back when
//! its leader moves to a broker that is behind, and leap when it moves to one that is ahead (H15). Hence two rules:
//!
//! - The clock never goes back: a stamp in its past leaves it where it is.
//! - A step forward of more than [`STEP_MS_MAX`] counts only as far as a worker agrees. Every tick carries its
//!   writer's own wall clock; the clock goes to the newest tick's wall clock plus [`TOLERANCE_MS`] at most, and asks
//!   for a tick. A silent hour followed by a tick is thus an hour; a broker an hour ahead is five seconds.
//!
//! The first stamp sets the clock: there is nothing to compare it with, and no rule has been loaded yet.

use crate::sim::planted::{Bug, planted};

/// Largest step forward that a stamp may make by itself, milliseconds: a few ticks (a quiet log has one a second).
pub const STEP_MS_MAX: i64 = 5_000;
/// How far a stamp may be ahead of a worker's wall clock and still agree with it, milliseconds.
pub const TOLERANCE_MS: i64 = 5_000;
/// While the clock is held, a tick is asked for once in so many milliseconds of stamps.
const ASK_MS: i64 = 1_000;

/// Time of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clock {
    now_ms: Option<i64>,
    /// Wall clock of the last tick's writer. The last and not the highest: one mad tick must not open the gate for ever.
    tick_wall_ms: Option<i64>,
    /// Stamp at which a tick was last asked for; none while the clock is not held.
    asked_ms: Option<i64>,
}

impl Clock {
    /// Milliseconds since the epoch; none before the first stamp.
    #[must_use]
    pub fn now_ms(&self) -> Option<i64> {
        self.now_ms
    }

    /// A record stamped `stamp_ms`; `tick_wall_ms` if it is a tick. True if a tick is wanted to settle a step forward.
    pub fn advance(&mut self, stamp_ms: i64, tick_wall_ms: Option<i64>) -> bool {
        if tick_wall_ms.is_some() {
            self.tick_wall_ms = tick_wall_ms;
        }
        let Some(now_ms) = self.now_ms else {
            self.now_ms = Some(stamp_ms);
            return false;
        };
        if stamp_ms.saturating_sub(now_ms) <= STEP_MS_MAX || planted(Bug::LeapTrusted) {
            let clamped_ms = if planted(Bug::ClockNotClamped) { stamp_ms } else { now_ms.max(stamp_ms) };
            self.now_ms = Some(clamped_ms);
            self.asked_ms = None;
            return false;
        }
        let agreed_ms = self.tick_wall_ms.map_or(now_ms, |wall_ms| wall_ms.saturating_add(TOLERANCE_MS));
        self.now_ms = Some(now_ms.max(stamp_ms.min(agreed_ms)));
        if stamp_ms <= agreed_ms {
            self.asked_ms = None;
            return false;
        }
        // A tick is the answer itself: asking again would have two workers answer each other without end.
        let asked_lately = self.asked_ms.is_some_and(|asked_ms| stamp_ms.saturating_sub(asked_ms) < ASK_MS);
        if tick_wall_ms.is_some() || asked_lately {
            return false;
        }
        self.asked_ms = Some(stamp_ms);
        true
    }

    /// All that it remembers: the time, the last tick's wall clock, the stamp at which a tick was last asked for.
    #[must_use]
    pub fn memory(&self) -> [Option<i64>; 3] {
        [self.now_ms, self.tick_wall_ms, self.asked_ms]
    }

    /// A clock that remembers this.
    #[must_use]
    pub fn from_memory([now_ms, tick_wall_ms, asked_ms]: [Option<i64>; 3]) -> Self {
        Self { now_ms, tick_wall_ms, asked_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    /// One record: its stamp, the wall clock if it is a tick, then the clock expected and whether it asks for a tick.
    type Step = (i64, Option<i64>, i64, bool);

    fn walk(steps: &[Step]) {
        let mut clock = Clock::default();
        for (at, (stamp_ms, wall_ms, now_ms, asks)) in steps.iter().copied().enumerate() {
            assert_eq!(clock.advance(stamp_ms, wall_ms), asks, "step {at} asks");
            assert_eq!(clock.now_ms(), Some(now_ms), "step {at}");
        }
    }

    #[test]
    fn the_first_record_sets_the_clock_and_small_steps_move_it() {
        walk(&[(1_000, None, 1_000, false), (1_500, None, 1_500, false), (6_500, None, 6_500, false)]);
    }

    #[test]
    fn the_clock_never_goes_back() {
        walk(&[(HOUR, None, HOUR, false), (HOUR - 60_000, None, HOUR, false), (0, Some(0), HOUR, false)]);
    }

    #[test]
    fn a_broker_an_hour_ahead_is_held_to_the_ticks() {
        walk(&[
            (1_000, Some(1_000), 1_000, false),
            (HOUR + 2_000, None, 6_000, true),
            (HOUR + 2_500, None, 6_000, false), // asked half a second ago
            (HOUR + 3_000, Some(3_000), 8_000, false), // the tick: real time is 3 s
            (HOUR + 3_500, None, 8_000, true),  // more than a second after the first question
            (HOUR + 4_600, None, 8_000, true),
            (5_000, None, 8_000, false), // the broker is mended: behind until time has caught up
            (9_000, None, 9_000, false),
        ]);
    }

    #[test]
    fn an_hour_of_silence_then_a_tick_is_an_hour() {
        walk(&[(0, Some(0), 0, false), (HOUR, Some(HOUR + 300), HOUR, false)]);
    }

    #[test]
    fn an_hour_of_silence_then_a_sample_waits_for_a_tick() {
        walk(&[
            (0, Some(0), 0, false),
            (HOUR, None, 5_000, true),
            (HOUR + 50, Some(HOUR + 50), HOUR + 50, false),
        ]);
    }

    #[test]
    fn without_any_tick_a_leap_waits() {
        walk(&[(0, None, 0, false), (HOUR, None, 0, true), (HOUR + 20, Some(HOUR + 20), HOUR + 20, false)]);
    }

    #[test]
    fn a_second_tick_changes_nothing() {
        walk(&[(0, Some(0), 0, false), (HOUR, Some(HOUR), HOUR, false), (HOUR, Some(HOUR), HOUR, false)]);
    }

    #[test]
    fn one_mad_tick_does_not_open_the_gate_for_ever() {
        walk(&[(0, Some(9 * HOUR), 0, false), (1_000, Some(1_000), 1_000, false), (HOUR, None, 6_000, true)]);
    }

    #[test]
    fn insane_stamps_do_not_overflow() {
        walk(&[
            (0, Some(i64::MAX), 0, false),
            (i64::MAX, None, i64::MAX, false),
            (i64::MIN, None, i64::MAX, false),
        ]);
    }
}
