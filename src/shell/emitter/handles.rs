//! The producer handles of one emission thread: the one that it initialises and commits with, and the dodge over a
//! transaction that a dead primary left open.
//!
//! Several handles of one transactional id are tried in turn, each for [`AlertsProducer::patience`], the last for as long
//! as it takes. What is dropped may still have its request under way: where the coordinator is slow, that request can be
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

/// One call of `init_transactions` on the last handle: longer than librdkafka's 500 ms retry over an open transaction.
const INITIALISE: Duration = Duration::from_secs(2);
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
        loop {
            let (producer, left) = match self.current.take() {
                // Asked again: no other would have the answer sooner.
                Some(producer) => (producer, 0),
                None => self.fresh()?,
            };
            let patience = if left > 0 { producer.patience() } else { INITIALISE };
            match producer.initialise(patience) {
                Ok(()) => {
                    self.current = Some(producer);
                    return Ok(());
                }
                Err((Failure::TimedOut, _)) if left > 0 => {
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
    }

    /// A handle that is not initialised yet, and how many more there are.
    fn fresh(&self) -> Result<(AlertsProducer, usize), (Failure, KafkaError)> {
        match self.spares.take(self.partition) {
            Some(warm) => Ok(warm),
            None => AlertsProducer::connect(&self.config, self.partition)
                .map(|cold| (cold, 0))
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
