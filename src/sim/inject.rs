//! Makes the faults of the plan happen.

use super::broker::Upset;
use super::fault::{Fault, Kind, Moment};
use super::kafka::BROKERS;
use super::load;
use super::random::Random;
use super::story::{Fact, Who};
use super::world::{Event, What, World};

/// An engine newer than the one that every worker starts with.
const NEWER_ENGINE: i32 = 2;

impl World {
    /// A fault of the plan is due: now, or at the next moment that it waits for.
    pub(super) fn due(&mut self, at: usize) {
        let fault = self.plan.faults[at].clone();
        let waits = fault.kind.meets_a_worker() || fault.moment == Moment::PastMarker;
        if fault.moment == Moment::Now || !waits {
            let worker = self.aimed(fault.aim, fault.partition);
            self.inject(&fault, worker);
        } else {
            self.tell(Who::Fault, &Fact::Armed(fault.clone()));
            self.armed.push(fault);
        }
    }

    /// A worker is at a moment that a fault may wait for.
    pub(super) fn moment(&mut self, worker: usize, p: usize, moment: Moment) {
        let waits = |fault: &Fault| fault.partition == p && fault.moment == moment;
        if let Some(at) = self.armed.iter().position(waits) {
            let fault = self.armed.remove(at);
            self.inject(&fault, worker);
        }
    }

    fn inject(&mut self, fault: &Fault, worker: usize) {
        let (p, span_ms) = (fault.partition, fault.span_ms);
        *self.outcome.faults.entry(fault.kind).or_default() += 1;
        self.tell(Who::Fault, &Fact::Injected(fault.clone()));
        match fault.kind {
            Kind::Crash => {
                self.crash(worker, span_ms);
                self.refuse_connections(worker);
            }
            Kind::MachineGone => self.crash(worker, span_ms),
            Kind::CrashAll => (0..self.workers.len()).for_each(|worker| self.crash(worker, span_ms)),
            Kind::Pause => self.pause(worker, span_ms),
            Kind::Hang => self.hang(worker, p, span_ms),
            Kind::Stop => self.stop(worker, span_ms, None),
            Kind::Upgrade => self.stop(worker, span_ms, Some(NEWER_ENGINE)),
            Kind::SessionLost => self.end_session_of(worker),
            Kind::KeeperDown => {
                self.keeper.down_until_ms = self.now_ms + span_ms;
                (0..self.workers.len()).for_each(|worker| self.unheard(worker));
                self.later(span_ms, Event::KeeperBack);
            }
            Kind::KeeperCut => {
                self.workers[worker].keeper_cut_until_ms = self.now_ms + span_ms;
                self.unheard(worker);
                self.later(span_ms, Event::Heard { worker });
            }
            Kind::KafkaCut => {
                self.workers[worker].kafka_cut_until_ms = self.now_ms + span_ms;
                self.workers[worker].well_since_ms = None;
                self.later(span_ms, Event::KafkaBack { worker });
            }
            Kind::KafkaStall => self.kafka.stalled_until_ms = self.now_ms + span_ms,
            Kind::EndTxnLate => self.upsets[p].push_back(Upset::Late { ms: span_ms }),
            Kind::EndTxnTwice => self.upsets[p].push_back(Upset::Twice { ms: span_ms }),
            Kind::EndTxnUnanswered => self.upsets[p].push_back(Upset::Unanswered),
            Kind::EndTxnLost => self.upsets[p].push_back(Upset::Lost),
            Kind::TailLost => self.lose_tail(worker, p, span_ms),
            Kind::StoreFails => self.store.failing += fault.detail % 4,
            Kind::StoreFlips => self.store.flip(p, fault.detail),
            Kind::Retention => self.cut_log(p),
            Kind::Truncation => {
                self.kafka.observations[p].lags_until_ms = self.now_ms + span_ms;
                self.later(span_ms, Event::Truncated { p, detail: fault.detail });
            }
            Kind::Quiet => self.quiet_until_ms[p] = self.now_ms + span_ms,
            Kind::LeaderMoves | Kind::Gaps | Kind::Garbage | Kind::Forgery | Kind::Rules | Kind::Storm => {
                self.disturb(fault)
            }
        }
    }

    fn crash(&mut self, worker: usize, span_ms: i64) {
        if !self.workers[worker].is_dead() {
            self.kill(worker);
            self.later(span_ms, Event::Start { worker });
        }
    }

    /// A process is gone and its machine is not: connections to it break, and new ones are refused.
    fn refuse_connections(&mut self, dead: usize) {
        for worker in (0..self.workers.len()).filter(|worker| *worker != dead) {
            for p in 0..self.workers[worker].hosted.len() {
                let in_ms = 2 + self.latency_ms();
                self.to(worker, p, in_ms, What::Refused(dead));
            }
        }
    }

    /// What befalls the observations log.
    fn disturb(&mut self, fault: &Fault) {
        let (p, mut random) = (fault.partition, Random::new(fault.detail));
        match fault.kind {
            Kind::LeaderMoves => {
                let leader = (self.kafka.observations[p].leader + 1) % BROKERS;
                // A few milliseconds, seconds, or an hour; ahead or behind.
                let most_ms = [50, 4_000, 20_000, 3_600_000][random.index(4)];
                self.kafka.skew_ms[leader] = random.between(-most_ms / 4, most_ms);
                self.kafka.observations[p].leader = leader;
                self.kafka.observations[p].leader_epoch += 1;
            }
            Kind::Gaps => self.kafka.observations[p].skip(random.between(1, 20)),
            Kind::Garbage => {
                let value = load::garbage(&mut random);
                self.produce(p, "garbage", value);
            }
            Kind::Forgery => {
                let control = load::forged(&mut random, self.now_ms);
                let partition = i32::try_from(p).unwrap_or_default();
                // With a key of one's own, or with one that is right for another partition.
                let value = match random.one_in(2) {
                    true => load::signer(false).seal(partition, &control),
                    false => load::signer(true).seal(partition + 7, &control),
                };
                self.produce(p, "a forged control record", Some(value.into()));
            }
            Kind::Rules => {
                self.rules_version += 1;
                let rules = load::rules(self.rules_version);
                for p in 0..self.plan.partitions {
                    let value = self.sealed(p, &rules);
                    self.produce(p, "rules", value);
                }
            }
            Kind::Storm => {
                let value = load::storm(true, self.now_ms);
                self.produce(p, "a storm begins", value);
                self.later(random.between(2_000, 9_000), Event::StormOver { p });
            }
            Kind::Crash
            | Kind::MachineGone
            | Kind::CrashAll
            | Kind::Pause
            | Kind::Hang
            | Kind::Stop
            | Kind::Upgrade
            | Kind::SessionLost
            | Kind::KeeperDown
            | Kind::KeeperCut
            | Kind::KafkaCut
            | Kind::KafkaStall
            | Kind::EndTxnLate
            | Kind::EndTxnTwice
            | Kind::EndTxnUnanswered
            | Kind::EndTxnLost
            | Kind::StoreFails
            | Kind::StoreFlips
            | Kind::Retention
            | Kind::Truncation
            | Kind::Quiet
            | Kind::TailLost => {}
        }
    }

    /// Retention takes the beginning of the log, as far as an older snapshot of every engine allows: what takes more is
    /// warned of long before (`choice::is_retention_close`), and stops the partition.
    fn cut_log(&mut self, p: usize) {
        let out_seq = self.oracles[p].score().1;
        let low = self.store.reach(p, out_seq).filter(|_| !self.plan.kinds.contains(&Kind::Upgrade));
        if let Some(low) = low.filter(|low| *low > self.kafka.observations[p].low) {
            self.kafka.observations[p].cut(low);
            self.tell(Who::Kafka, &Fact::LogCut { p, low });
        }
    }

    /// A leader dies with what only it has. Its producers send some of that again, to the next.
    pub(super) fn truncated(&mut self, p: usize, detail: u64) {
        let log = &mut self.kafka.observations[p];
        log.leader = (log.leader + 1) % BROKERS;
        log.leader_epoch += 1;
        let gone = std::mem::take(&mut log.unreplicated);
        self.tell(Who::Kafka, &Fact::Truncated { p, records: gone.len() });
        let mut random = Random::new(detail);
        for record in gone {
            if !random.one_in(3) {
                self.produce(p, record.what, record.value);
            }
        }
    }

    /// A worker reaches Kafka again.
    pub(super) fn kafka_back(&mut self, worker: usize) {
        if self.workers[worker].is_running() && self.reaches_kafka(worker) {
            self.workers[worker].well_since_ms = Some(self.now_ms);
            (0..self.plan.partitions).for_each(|p| {
                self.fetch_soon(worker, p);
                self.tail_soon(worker, p);
            });
        }
    }
}
