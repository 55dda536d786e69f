//! When a worker writes a tick into a partition: after a second without any record, plus a jitter. No clock and no
//! randomness here: the time is an argument, and the jitter is drawn from the worker's id, the partition and a counter,
//! so that the workers of a partition draw differently and one of them is usually first. The tick that the first wrote
//! is a record like any other, and quietens the rest.

use std::time::Duration;

/// How long a log is quiet before someone says that time passes.
const QUIET: Duration = Duration::from_secs(1);
/// Upper bound of the jitter, milliseconds.
const JITTER_MS: u64 = 500;
/// Ticks that the machine asks for are written no more often than this.
const CONFIRM_EVERY: Duration = Duration::from_millis(200);

/// The schedule of one partition. Times are of a clock that never goes back.
#[derive(Debug)]
pub(crate) struct Ticker {
    seed: [u8; 32],
    drawn: u64,
    due: Duration,
    confirm_after: Duration,
}

impl Ticker {
    /// Of one worker, for one partition.
    pub(crate) fn new(worker: &str, partition: i32, now: Duration) -> Self {
        let seed = *blake3::Hasher::new()
            .update(worker.as_bytes())
            .update(&partition.to_le_bytes())
            .finalize()
            .as_bytes();
        let mut ticker = Self { seed, drawn: 0, due: now, confirm_after: now };
        ticker.heard(now);
        ticker
    }

    /// A record has come: the log is not quiet.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.drawn += 1;
        let draw = blake3::keyed_hash(&self.seed, &self.drawn.to_le_bytes());
        let mut low = [0; 8];
        low.copy_from_slice(&draw.as_bytes()[..8]);
        self.due = now + QUIET + Duration::from_millis(u64::from_le_bytes(low) % JITTER_MS);
    }

    /// Whether a tick is due now. If so, the next is due after another quiet second.
    pub(crate) fn is_due(&mut self, now: Duration) -> bool {
        let due = now >= self.due;
        if due {
            self.heard(now);
        }
        due
    }

    /// Whether a tick that the machine asks for may be written now.
    pub(crate) fn may_confirm(&mut self, now: Duration) -> bool {
        let may = now >= self.confirm_after;
        if may {
            self.confirm_after = now + CONFIRM_EVERY;
        }
        may
    }

    /// How long until the next is due.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        self.due.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_tick_is_due_after_a_quiet_second_and_a_jitter_and_a_record_puts_it_off() {
        let mut ticker = Ticker::new("a1", 3, ms(0));
        assert!(!ticker.is_due(ms(999)));
        ticker.heard(ms(900));
        assert!(!ticker.is_due(ms(1899)));
        assert!(ticker.is_due(ms(2400)), "900 + 1000 + less than 500");
        assert!(!ticker.is_due(ms(3399)), "once, then another quiet second");
        assert!(ticker.is_due(ms(3900)));
    }

    #[test]
    fn two_workers_draw_different_jitters() {
        let mut waits = [Vec::new(), Vec::new()];
        for (worker, waits) in ["a1", "b1"].into_iter().zip(&mut waits) {
            let mut ticker = Ticker::new(worker, 0, ms(0));
            for _ in 0..100 {
                waits.push(ticker.wait(ms(0)));
                ticker.heard(ms(0));
            }
        }
        let apart = waits[0].iter().zip(&waits[1]).filter(|(a, b)| a.abs_diff(**b) >= ms(20)).count();
        assert!(apart > 80, "{apart} of 100 draws are at least 20 ms apart");
        assert!(waits.iter().flatten().all(|wait| (ms(1000)..ms(1500)).contains(wait)));
    }

    #[test]
    fn a_machine_that_asks_at_every_record_does_not_flood_the_log() {
        let mut ticker = Ticker::new("a1", 0, ms(0));
        let written = (0..1000).filter(|now| ticker.may_confirm(ms(*now))).count();
        assert_eq!(written, 5);
    }
}
