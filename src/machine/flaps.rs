//! Whether an alert flaps: Nagios's weighted share of changes (`base/flapping.c`). Of the last evaluations each that
//! says another thing than the one before counts, the oldest three quarters and the newest five quarters, evenly in
//! between; an alert that reaches `high` begins to flap and one that is down at `low` stops. What is before the first
//! evaluation did not hold.

use super::rules::alerting::{Flapping, HISTORY_MAX};

/// What the oldest change counts …
const OLDEST: f64 = 0.75;
/// … and the newest.
const NEWEST: f64 = 1.25;

/// What an alert's condition was at its last evaluations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flaps {
    /// Whether it held, the newest evaluation in the lowest bit; what is further back than the rule looks is 0.
    pub(super) history: u128,
    pub(super) flapping: bool,
}

const _: () = assert!(HISTORY_MAX == u128::BITS as usize, "one bit for each evaluation");

impl Flaps {
    /// One more evaluation.
    pub(super) fn push(self, holds: bool, rule: &Flapping) -> Self {
        let history = (self.history << 1 | u128::from(holds)) & (u128::MAX >> (HISTORY_MAX - rule.history));
        let share = share(history, rule.history);
        let flapping = share >= rule.high || (self.flapping && share > rule.low);
        Self { history, flapping }
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_quiet(self) -> bool {
        self == Self::default()
    }
}

/// The weighted share of changes, 0 to about 1.
fn share(history: u128, evaluations: usize) -> f64 {
    let changes = history ^ (history >> 1);
    let (mut weighted, last) = (0.0, evaluations - 2);
    // From the oldest: the change between the oldest evaluation and the next is at bit `last`.
    for nth in 0..=last {
        if changes >> (last - nth) & 1 == 1 {
            weighted += nth as f64 * (NEWEST - OLDEST) / last as f64 + OLDEST;
        }
    }
    weighted / (evaluations - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(text: &str) -> u128 {
        text.chars().fold(0, |bits, c| bits << 1 | u128::from(c == 'x'))
    }

    #[test]
    fn changes_weigh_as_nagios_weighs_them() {
        // Its documentation's picture: seven changes of 21 checks are 35 %, weighted a little less.
        assert_eq!(share(history("....................."), 21), 0.0);
        assert!((share(history(".x.x.x.x.x.x.x.x.x.x."), 21) - 1.0).abs() < 1e-12);
        assert!((share(history("x...................."), 21) - 0.75 / 20.0).abs() < 1e-12);
        assert!((share(history("....................x"), 21) - 1.25 / 20.0).abs() < 1e-12);
        assert!((share(history("...x"), 4) - 1.25 / 3.0).abs() < 1e-12);
        assert!((share(history("..x"), 3) - 1.25 / 2.0).abs() < 1e-12);
    }

    #[test]
    fn it_begins_at_high_and_stops_at_low() {
        let rule = Flapping { low: 0.25, high: 0.5, history: 21 };
        let mut flaps = Flaps::default();
        let mut told = String::new();
        for c in "x.x.x.x.x.x.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".chars() {
            flaps = flaps.push(c == 'x', &rule);
            told.push(if flaps.flapping { 'F' } else { '.' });
        }
        // Nine changes among the newest weigh half of twenty; they age until what is left of them weighs a quarter.
        assert_eq!(told, "........FFFFFFFFFFFFFFFFFF...................");
        assert!(!flaps.is_quiet());
        for _ in 0..21 {
            flaps = flaps.push(false, &rule);
        }
        assert!(flaps.is_quiet(), "{flaps:?}");
    }

    #[test]
    fn a_shorter_history_forgets_what_it_does_not_look_at() {
        let long = Flapping { low: 0.25, high: 0.5, history: HISTORY_MAX };
        let short = Flapping { history: 3, ..long };
        let flaps = Flaps { history: u128::MAX, flapping: false };
        assert_eq!(flaps.push(true, &long).history, u128::MAX);
        assert_eq!(flaps.push(false, &short).history, 0b110);
    }
}
