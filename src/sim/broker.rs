//! What the emission threads ask of Kafka, and what becomes of it on the way and there: latency, a broker that is away,
//! requests that must be asked again, copies that come late.

use super::fault::Call;
use super::kafka::alerts::{Entry, Standing, TRANSACTION_TIMEOUT_MS, Verdict};
use super::planted::{Bug, planted};
use super::story::{Fact, Who};
use super::world::{Event, What, World};
use crate::replica::Role;
use crate::wire::Marker;
use std::rc::Rc;

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct From {
    pub(super) worker: usize,
    pub(super) life: u32,
    pub(super) number: u64,
}

/// A request of an emission thread.
#[derive(Debug)]
pub(super) enum Ask {
    Initialise,
    Add,
    Produce(Vec<Entry>),
    End {
        /// A copy whose retry has been sent.
        stray: bool,
    },
    Tail,
}

/// Kafka's answer.
#[derive(Debug)]
pub(super) enum Answer {
    Initialised(i32),
    Verdict(Verdict, Call),
    /// The last marker, and where to follow from.
    Tail(Box<Option<Marker>>, usize),
}

/// What befalls the next EndTxn of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) enum Upset {
    Late { ms: i64 },
    Twice { ms: i64 },
    Unanswered,
    Lost,
}

impl World {
    pub(super) fn send(&mut self, p: usize, epoch: i32, from: Option<From>, ask: Ask) {
        let in_ms = self.latency_ms();
        self.send_in(in_ms, p, epoch, from, ask);
    }

    pub(super) fn send_in(&mut self, in_ms: i64, p: usize, epoch: i32, from: Option<From>, ask: Ask) {
        self.later(in_ms, Event::Request { p, epoch, from, ask });
    }

    pub(super) fn request(&mut self, p: usize, epoch: i32, from: Option<From>, ask: Ask) {
        if self.now_ms < self.kafka.stalled_until_ms {
            let in_ms = self.kafka.stalled_until_ms - self.now_ms + self.latency_ms();
            return self.send_in(in_ms, p, epoch, from, ask);
        }
        let coordinator = &mut self.kafka.coordinators[p];
        let log = &mut self.kafka.alerts[coordinator.target];
        let (verdict, call) = match ask {
            Ask::Tail => return self.tail(p, from),
            Ask::Initialise => {
                let open = matches!(coordinator.standing, Standing::Ongoing { .. });
                let verdict = coordinator.initialise();
                let epoch_now = coordinator.epoch;
                if open || verdict == Verdict::Ok {
                    self.tell(Who::Kafka, &Fact::Fenced { p, epoch: epoch_now });
                }
                if open {
                    self.decide_soon(p);
                }
                if verdict == Verdict::Ok {
                    return self.reply(p, from, Answer::Initialised(epoch_now));
                }
                (verdict, Call::Initialise)
            }
            Ask::Add => {
                let verdict = coordinator.add(epoch, self.now_ms);
                self.later(TRANSACTION_TIMEOUT_MS, Event::TransactionDue { p, epoch });
                (verdict, Call::Add)
            }
            Ask::Produce(entries) => {
                let whole = matches!(entries.last(), Some(Entry::Marker(_)));
                if let Some(Entry::Marker(marker)) = entries.last() {
                    coordinator.group_pending = Some(Rc::clone(marker));
                }
                let verdict = coordinator.produce(p, epoch, entries, log);
                if !whole {
                    self.release_held(p);
                }
                (verdict, Call::Produce)
            }
            Ask::End { stray } => {
                let (verdict, decided) = coordinator.end(epoch);
                let how = match verdict {
                    Verdict::Ok if decided => "commits what is open",
                    Verdict::Ok => "is done already",
                    Verdict::Concurrent => "too soon",
                    Verdict::Failed(_) => "refused",
                };
                self.tell(Who::Kafka, &Fact::EndTxn { p, epoch, how, stray });
                if decided {
                    self.decide_soon(p);
                }
                (verdict, Call::End)
            }
        };
        if verdict == Verdict::Concurrent {
            // librdkafka asks again: after 20 ms, and for init_transactions after half a second or with another handle.
            let in_ms = if call == Call::Initialise { self.random.between(20, 500) } else { 20 };
            let again = match call {
                Call::Initialise => Ask::Initialise,
                Call::Add => Ask::Add,
                Call::End | Call::Produce | Call::ReadBack => Ask::End { stray: from.is_none() },
            };
            return self.send_in(in_ms, p, epoch, from, again);
        }
        self.reply(p, from, Answer::Verdict(verdict, call));
    }

    /// The first half of a transaction has been written: now come the copies that were held back for this.
    fn release_held(&mut self, p: usize) {
        for epoch in std::mem::take(&mut self.held[p]) {
            self.send_in(0, p, epoch, None, Ask::End { stray: true });
        }
    }

    fn reply(&mut self, p: usize, from: Option<From>, answer: Answer) {
        if let Some(From { worker, life, number }) = from {
            let in_ms = self.latency_ms();
            self.later(in_ms, Event::To { worker, life, p, what: What::Answer(number, answer) });
        }
    }

    fn tail(&mut self, p: usize, from: Option<From>) {
        let coordinator = &self.kafka.coordinators[p];
        let log = &self.kafka.alerts[coordinator.target];
        let tail = if planted(Bug::MarkerInGroupOffset) {
            coordinator.group_offset.as_deref().cloned()
        } else {
            log.tail()
        };
        let next = log.stable();
        if let Some(From { worker, .. }) = from
            && self.workers[worker].role(p) == Some(Role::ReadingBack)
            && !matches!(coordinator.standing, Standing::Ongoing { .. })
        {
            self.oracles[p].read_back(coordinator.epoch);
        }
        self.reply(p, from, Answer::Tail(Box::new(tail), next));
    }

    fn decide_soon(&mut self, p: usize) {
        let in_ms = self.latency_ms() + self.random.between(0, 20);
        self.later(in_ms, Event::Decided { p });
    }

    pub(super) fn decided(&mut self, p: usize) {
        let coordinator = &mut self.kafka.coordinators[p];
        let Standing::Ending { commit } = coordinator.standing else { return };
        let target = coordinator.target;
        let log = &mut self.kafka.alerts[target];
        coordinator.decided(p, log);
        let (epoch, stable) = (coordinator.epoch, log.stable());
        self.tell(Who::Kafka, &Fact::Ended { p, epoch, commit, stable });
        let judged = self.oracles[target].check(&self.kafka.alerts[target]);
        self.judge(judged);
        for worker in 0..self.workers.len() {
            if self.workers[worker].is_running() {
                self.tail_soon(worker, target);
            }
        }
    }

    pub(super) fn transaction_due(&mut self, p: usize, epoch: i32) {
        let coordinator = &mut self.kafka.coordinators[p];
        let Standing::Ongoing { since_ms } = coordinator.standing else { return };
        if coordinator.epoch == epoch && self.now_ms - since_ms >= TRANSACTION_TIMEOUT_MS {
            coordinator.abort();
            self.decide_soon(p);
        }
    }
}
