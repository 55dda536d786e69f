//! The producer handles of one emission thread: the one that it initialises and commits with, and the dodge over a
//! transaction that a dead primary left open.
//!
//! The warm handles of a standby are tried in turn, each for [`AlertsProducer::patience`], the last for as long as it takes.
//! What is dropped may still have its request under way: where the coordinator is slow, that request can be served *after*
//! the next handle's and fence it, although no other primary exists. Three rules keep that from feeding itself (measured: a
//! coordinator that is overloaded, asked by ever more handles, fences each of them with the one before):
//!
//! - Only a promotion out of standby dodges; a primary that starts over uses one handle and waits.
//! - A handle that is fenced within [`OWN`] of a dodge is told as [`Failure::Broken`], not as [`Failure::Fenced`]: the
//!   replica starts over once instead of standing back. If another primary does exist, that is one promotion too many,
//!   and the next refusal counts.
//! - After that, and after a promotion in which no handle was quick, there is no dodge for a minute ([`CALM`]).

use crate::config::Config;
use crate::replica::Failure;
use crate::shell::clock;
use crate::shell::kafka::KafkaError;
use crate::shell::kafka::producer::{AlertsProducer, Outgoing};
use crate::shell::kafka::spares::{Keep, Spares};
use std::sync::Arc;
use std::time::Duration;

/// One call of `init_transactions` on a handle that is not given up for another.
const INITIALISE: Duration = Duration::from_secs(2);
/// A fence so soon after a dodge may be of our own making.
const OWN: Duration = Duration::from_secs(2);
/// How long one handle at a time is used after a dodge that did not help.
const CALM: Duration = Duration::from_secs(60);
/// One commit. Longer than what counts as slow, so that a broker that takes 1.5 s lets emission go on, if badly.
const COMMIT: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Handles {
    config: Arc<Config>,
    partition: i32,
    spares: Spares,
    /// The one in use; none before the first promotion and after a renewal.
    current: Option<AlertsProducer>,
    /// It emits, or did when it last had a role: the next promotion is a start-over.
    primary: bool,
    /// Until when a fence may be of our own making.
    own_until: Duration,
    /// No dodge before.
    calm_until: Duration,
}

impl Handles {
    pub(super) fn new(config: &Arc<Config>, partition: i32, spares: &Spares) -> Self {
        spares.keep(partition, Keep::Standby);
        Self {
            config: Arc::clone(config),
            partition,
            spares: spares.clone(),
            current: None,
            primary: false,
            own_until: Duration::ZERO,
            calm_until: Duration::ZERO,
        }
    }

    /// What the spares are kept for from now on.
    pub(super) fn keep(&mut self, keep: Keep) {
        self.primary = keep == Keep::Primary;
        self.spares.keep(self.partition, keep);
    }

    /// Drops the handle in use: whatever it has under way is fenced by the next.
    pub(super) fn renew(&mut self) {
        self.current = None;
    }

    /// Fences every earlier producer of the partition. After [`Failure::TimedOut`] the same handle is asked again.
    pub(super) fn initialise(&mut self) -> Result<(), (Failure, KafkaError)> {
        // The abort takes as long as the brokers need: each handle gets it twice the time of the one before.
        let mut share = 1;
        loop {
            let producer = match self.current.take() {
                // Asked again: no other would have the answer sooner.
                Some(producer) => producer,
                None => self.fresh()?,
            };
            let now = clock::monotonic();
            let dodges = !self.primary && now >= self.calm_until && self.spares.warm(self.partition) > 0;
            let patience = if dodges { producer.patience() * share } else { INITIALISE };
            match producer.initialise(patience) {
                Ok(()) => {
                    self.current = Some(producer);
                    return Ok(());
                }
                Err((Failure::TimedOut, _)) if dodges => {
                    self.own_until = now + OWN;
                    share *= 2;
                    drop(producer);
                }
                Err((Failure::TimedOut, fault)) => {
                    self.calm_until = now + CALM;
                    self.current = Some(producer);
                    return Err((Failure::TimedOut, fault));
                }
                Err(failed) => return Err(self.judged(failed)),
            }
        }
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
        producer.commit(records, COMMIT).map_err(|failed| self.judged(failed))
    }

    fn judged(&mut self, (failure, fault): (Failure, KafkaError)) -> (Failure, KafkaError) {
        let now = clock::monotonic();
        if failure == Failure::Fenced && now < self.own_until {
            (self.own_until, self.calm_until) = (Duration::ZERO, now + CALM);
            return (Failure::Broken, fault);
        }
        (failure, fault)
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.spares.drop_all(self.partition);
    }
}
