//! The producer handles of one emission thread: the one that it initialises and commits with, and the dodge over a
//! transaction that a dead primary left open.
//!
//! Handles of one transactional id are tried in turn, first the warm ones, then new ones: each a little longer than the one
//! before ([`patience`]), until one is given more than librdkafka's own retry takes. A coordinator under load thus costs a
//! few dozen milliseconds more, and not half a second. What is dropped may still have its request under way: where the coordinator is slow, that request can be
//! served *after* the next handle's and fence it, although no other primary exists. So the first failure of a handle that
//! came after a dropped one is told as [`Failure::Broken`], never as [`Failure::Fenced`]: the replica starts over once
//! instead of standing back. If another primary does exist, that is one promotion too many, and the next refusal counts.

use crate::config::Config;
use crate::replica::Failure;
use crate::shell::kafka::KafkaError;
use crate::shell::kafka::producer::{AlertsProducer, Outgoing};
use crate::shell::kafka::spares::{Keep, Spares};
use std::sync::Arc;
use std::time::Duration;

/// One call of `init_transactions` on a handle that is not given up for another.
const INITIALISE: Duration = Duration::from_secs(2);
/// A handle that may take this long is not given up: librdkafka asks again after 500 ms.
const KEEP: Duration = Duration::from_millis(600);
/// One commit. Longer than what counts as slow, so that a broker that takes 1.5 s lets emission go on, if badly.
const COMMIT: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Handles {
    config: Arc<Config>,
    partition: i32,
    spares: Spares,
    /// The one in use; none before the first promotion and after a renewal.
    current: Option<AlertsProducer>,
    /// A handle was dropped for the current one, which has committed nothing yet.
    dodged: bool,
}

/// How long the handle that is tried `attempt`th (from 0) may take, where one takes `least` with nothing left open. The
/// abort that the first has begun is mostly done when the second or the third asks; then twice as long each time. None for
/// as long as it takes.
fn patience(attempt: u32, least: Duration) -> Option<Duration> {
    let patience = least.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    (patience < KEEP).then_some(patience)
}

impl Handles {
    pub(super) fn new(config: &Arc<Config>, partition: i32, spares: &Spares) -> Self {
        spares.keep(partition, Keep::Standby);
        Self { config: Arc::clone(config), partition, spares: spares.clone(), current: None, dodged: false }
    }

    /// What the spares are kept for from now on.
    pub(super) fn keep(&self, keep: Keep) {
        self.spares.keep(self.partition, keep);
    }

    /// Drops the handle in use: whatever it has under way is fenced by the next.
    pub(super) fn renew(&mut self) {
        self.current = None;
        self.dodged = false;
    }

    /// Fences every earlier producer of the partition. After [`Failure::TimedOut`] the same handle is asked again.
    pub(super) fn initialise(&mut self) -> Result<(), (Failure, KafkaError)> {
        for attempt in 0.. {
            let (producer, patience) = match self.current.take() {
                // Asked again: no other would have the answer sooner.
                Some(producer) => (producer, None),
                None => {
                    let producer = self.fresh()?;
                    let patience = patience(attempt, producer.patience());
                    (producer, patience)
                }
            };
            match producer.initialise(patience.unwrap_or(INITIALISE)) {
                Ok(()) => {
                    self.current = Some(producer);
                    break;
                }
                Err((Failure::TimedOut, _)) if patience.is_some() => {
                    self.dodged = true;
                    drop(producer);
                }
                Err((Failure::TimedOut, fault)) => {
                    self.current = Some(producer);
                    return Err((Failure::TimedOut, fault));
                }
                Err(failed) => return Err(self.judged(failed)),
            }
        }
        Ok(())
    }

    /// A handle that is not initialised yet.
    fn fresh(&self) -> Result<AlertsProducer, (Failure, KafkaError)> {
        match self.spares.take(self.partition) {
            Some(warm) => Ok(warm),
            None => AlertsProducer::connect(&self.config, self.partition)
                .map_err(|fault| (Failure::Broken, fault)),
        }
    }

    /// Commits records in one transaction; tells how long it took.
    pub(super) fn commit(&mut self, records: &[Outgoing<'_>]) -> Result<Duration, (Failure, KafkaError)> {
        let Some(producer) = &self.current else {
            return Err(AlertsProducer::dropped());
        };
        let committed = producer.commit(records, COMMIT).map_err(|failed| self.judged(failed));
        self.dodged = false;
        committed
    }

    fn judged(&mut self, (failure, fault): (Failure, KafkaError)) -> (Failure, KafkaError) {
        let own = std::mem::take(&mut self.dodged) && failure == Failure::Fenced;
        (if own { Failure::Broken } else { failure }, fault)
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.spares.drop_all(self.partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_handle_may_take_longer_until_one_outlasts_the_clients_own_retry() {
        let tried: Vec<Option<u128>> = (0..9)
            .map(|attempt| patience(attempt, Duration::from_millis(19)).map(|patience| patience.as_millis()))
            .collect();
        let ms = Some;
        assert_eq!(tried, [ms(19), ms(19), ms(38), ms(76), ms(152), ms(304), None, None, None]);
    }
}
