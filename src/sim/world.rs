//! The box: simulated time, a queue of what will happen, and everything that it happens to.
//!
//! One thread, one queue, one source of chance. Two phases: faults for a minute of simulated time, then none, in which
//! whatever is left must come out within the bound (I6) and primaries must come to rest.

use super::broker::{Answer, Ask, From, Upset};
use super::fault::{Fault, Plan, SAFETY_MS};
use super::kafka::{Kafka, Unreplicated};
use super::keeper::Keeper;
use super::oracle::Oracle;
use super::planted::{Bug, planted};
use super::random::Random;
use super::store::{Store, Stored};
use super::story::{Fact, Story, Who};
use super::worker::Worker;
use super::{Outcome, load};
use crate::machine::{Action, Position};
use crate::replica::Role;
use crate::wire::Control;
use crate::wire::keyring::{Keyring, Signer};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// The true time at which a run begins, milliseconds since the epoch.
pub(super) const START_MS: i64 = 1_700_000_000_000;
/// I6: when faults have stopped, everything is out within this, milliseconds. The longest back-off is 30 s, and a
/// fenced replica that cannot have the lock waits for as long.
const LIVENESS_MS: i64 = 45_000;
/// Load goes on for so long after the last fault, milliseconds.
const AFTERMATH_MS: i64 = 3_000;
/// A partition that some healthy worker hosts is never without a record for longer, milliseconds (H16).
const SILENCE_MS_MAX: i64 = 3_000;
/// Promotions of one partition within a minute: more is a duel (H6).
const PROMOTIONS_MAX: usize = 60;

/// What will happen.
#[derive(Debug)]
pub(super) enum Event {
    /// Monitors produce.
    Load {
        p: usize,
    },
    /// The fault of this index of the plan is due.
    Fault(usize),
    /// A request reaches Kafka.
    Request {
        p: usize,
        epoch: i32,
        from: Option<From>,
        ask: Ask,
    },
    /// A record may have reached the followers.
    Replicated {
        p: usize,
    },
    /// A leader dies with what only it has.
    Truncated {
        p: usize,
        detail: u64,
    },
    /// The control batches of a decided transaction are written.
    Decided {
        p: usize,
    },
    /// A transaction may have been open for too long.
    TransactionDue {
        p: usize,
        epoch: i32,
    },
    /// A session may be over.
    SessionDue {
        session: i64,
    },
    LookAtLock {
        worker: usize,
        life: u32,
        p: usize,
    },
    /// ZooKeeper is back.
    KeeperBack,
    /// A worker may be heard of again.
    Heard {
        worker: usize,
    },
    /// A worker reaches Kafka again.
    KafkaBack {
        worker: usize,
    },
    Resume {
        worker: usize,
        life: u32,
    },
    Start {
        worker: usize,
    },
    /// Storm and quiet end.
    StormOver {
        p: usize,
    },
    /// A look at the whole, once a second.
    Watch,
    /// Faults end.
    Heal,
    To {
        worker: usize,
        life: u32,
        p: usize,
        what: What,
    },
}

/// What reaches a thread of a worker.
#[derive(Debug)]
pub(super) enum What {
    Fetch,
    Pulse,
    Timer,
    Wake,
    Unhung,
    Answer(u64, Answer),
    Deadline(u64),
    Tail,
    SessionOver(i64),
    /// A snapshot is encoded, and put.
    Put(Box<Stored>),
    /// A connection to that worker broke, and another was refused.
    Refused(usize),
}

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Rc<Plan>,
    pub(super) now_ms: i64,
    queue: BTreeMap<(i64, u64), Event>,
    order: u64,
    pub(super) random: Random,
    signer: Signer,
    pub(super) story: Story,
    pub(super) kafka: Kafka,
    pub(super) keeper: Keeper,
    pub(super) store: Store,
    pub(super) workers: Vec<Worker>,
    pub(super) oracles: Vec<Oracle>,
    pub(super) keyring: Arc<Keyring>,
    /// Faults that wait for their moment.
    pub(super) armed: Vec<Fault>,
    pub(super) upsets: Vec<VecDeque<Upset>>,
    /// Producer epochs of EndTxns whose first copy waits for the middle of a transaction.
    pub(super) held: Vec<Vec<i32>>,
    pub(super) quiet_until_ms: Vec<i64>,
    pub(super) rules_version: i64,
    healed_ms: Option<i64>,
    last_append_ms: Vec<i64>,
    /// Last primary of each partition (worker, life), and when partitions were promoted lately.
    primaries: Vec<Option<(usize, u32)>>,
    promotions: Vec<VecDeque<i64>>,
    pub(super) outcome: Outcome,
    /// Kept for its memory.
    pub(super) actions: Vec<Action>,
}

impl World {
    pub(super) fn new(plan: Rc<Plan>, written: bool) -> Self {
        let partitions = plan.partitions;
        let mut random = Random::new(plan.seed ^ 0x5EED);
        let skews: Vec<i64> = (0..plan.workers).map(|_| random.between(-1_500, 1_500)).collect();
        let keyring = load::signer(true).keyring();
        let shared = planted(Bug::SharedAlertsPartition);
        let mut world = Self {
            now_ms: START_MS,
            queue: BTreeMap::new(),
            order: 0,
            random,
            signer: load::signer(true),
            story: Story::new(written),
            kafka: Kafka::new(partitions, |p| if shared { 0 } else { p }),
            keeper: Keeper::default(),
            store: Store::new(partitions),
            workers: skews.into_iter().map(Worker::new).collect(),
            oracles: (0..partitions).map(|p| Oracle::new(p, &keyring)).collect(),
            keyring,
            armed: Vec::new(),
            upsets: vec![VecDeque::new(); partitions],
            held: vec![Vec::new(); partitions],
            quiet_until_ms: vec![0; partitions],
            rules_version: 1,
            healed_ms: None,
            last_append_ms: vec![START_MS; partitions],
            primaries: vec![None; partitions],
            promotions: vec![VecDeque::new(); partitions],
            outcome: Outcome::default(),
            actions: Vec::new(),
            plan,
        };
        for p in 0..partitions {
            let rules = world.sealed(p, &load::rules(1));
            world.produce(p, "rules 1", rules);
            world.later(100, Event::Load { p });
        }
        for worker in 0..world.workers.len() {
            let in_ms = world.random.between(0, 500);
            world.later(in_ms, Event::Start { worker });
        }
        for at in 0..world.plan.faults.len() {
            world.later(world.plan.faults[at].at_ms, Event::Fault(at));
        }
        world.later(SAFETY_MS, Event::Heal);
        world.later(1_000, Event::Watch);
        world
    }

    /// To the end, or to the first violation.
    pub(super) fn run(mut self) -> Outcome {
        while self.outcome.violation.is_none() {
            let Some(((at_ms, _), event)) = self.queue.pop_first() else { break };
            self.now_ms = at_ms;
            if matches!(event, Event::Watch) && self.watch() {
                break;
            }
            self.happen(event);
        }
        self.outcome.simulated_ms = self.now_ms - START_MS;
        self.outcome.transitions = self.oracles.iter().map(|oracle| oracle.score().1.unsigned_abs()).sum();
        self.outcome.fold = self.story.fold();
        self.outcome.story = self.story.lines();
        self.outcome
    }

    // ---- time

    pub(super) fn later(&mut self, in_ms: i64, event: Event) {
        self.order += 1;
        self.queue.insert((self.now_ms + in_ms.max(0), self.order), event);
    }

    /// Of one message: mostly short.
    pub(super) fn latency_ms(&mut self) -> i64 {
        if self.random.one_in(60) { self.random.between(20, 300) } else { self.random.between(1, 6) }
    }

    pub(super) fn tell(&mut self, who: Who, fact: &Fact) {
        self.story.tell(self.now_ms - START_MS, who, fact);
    }

    /// A check has been made.
    pub(super) fn judge(&mut self, judged: Result<(), String>) {
        if let Err(what) = judged
            && self.outcome.violation.is_none()
        {
            self.tell(Who::Oracle, &Fact::Violation(what.clone()));
            self.outcome.violation = Some(what);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Load { p } => self.load(p),
            Event::Fault(at) => self.due(at),
            Event::Request { p, epoch, from, ask } => self.request(p, epoch, from, ask),
            Event::Replicated { p } => self.replicated(p),
            Event::Truncated { p, detail } => self.truncated(p, detail),
            Event::Decided { p } => self.decided(p),
            Event::TransactionDue { p, epoch } => self.transaction_due(p, epoch),
            Event::SessionDue { session } => self.session_due(session),
            Event::LookAtLock { worker, life, p } => {
                if self.workers[worker].life == life {
                    self.look_at_lock(worker, p);
                }
            }
            Event::KeeperBack => self.keeper_back(),
            Event::Heard { worker } => self.heard(worker),
            Event::KafkaBack { worker } => self.kafka_back(worker),
            Event::Resume { worker, life } => {
                if self.workers[worker].life == life {
                    self.resume(worker);
                }
            }
            Event::Start { worker } => self.start(worker),
            Event::StormOver { p } => {
                let value = load::storm(false, self.now_ms);
                self.produce(p, "the storm is over", value);
            }
            Event::Watch => self.later(1_000, Event::Watch),
            Event::Heal => self.heal(),
            Event::To { worker, life, p, what } => {
                if self.workers[worker].life == life {
                    self.arrived(worker, p, what);
                }
            }
        }
    }

    // ---- observations

    fn load(&mut self, p: usize) {
        let over = self.healed_ms.is_some_and(|healed_ms| self.now_ms > healed_ms + AFTERMATH_MS);
        if over {
            return;
        }
        if self.now_ms >= self.quiet_until_ms[p] {
            // Monitors' clocks are not the brokers'.
            let time_ms = self.now_ms - self.random.between(0, 400);
            let value = load::samples(&mut self.random, time_ms);
            self.produce(p, "samples", value);
        }
        let in_ms = self.random.between(150, 900);
        self.later(in_ms, Event::Load { p });
    }

    /// A control record as the cluster's own key seals it.
    pub(super) fn sealed(&self, p: usize, control: &Control) -> Option<Rc<[u8]>> {
        Some(self.signer.seal(i32::try_from(p).unwrap_or_default(), control).into())
    }

    /// A record reaches the leader of an observations partition.
    pub(super) fn produce(&mut self, p: usize, what: &'static str, value: Option<Rc<[u8]>>) {
        let log = &mut self.kafka.observations[p];
        let append_ms = self.now_ms + self.kafka.skew_ms[log.leader];
        log.unreplicated.push_back(Unreplicated { what, append_ms, value });
        self.last_append_ms[p] = self.now_ms;
        let in_ms = self.random.between(0, 3);
        self.later(in_ms, Event::Replicated { p });
    }

    /// The oldest record above the high watermark reaches the followers, and with that the readers.
    fn replicated(&mut self, p: usize) {
        let log = &mut self.kafka.observations[p];
        if self.now_ms < log.lags_until_ms {
            let in_ms = log.lags_until_ms - self.now_ms;
            return self.later(in_ms, Event::Replicated { p });
        }
        // It went with its leader.
        let Some(Unreplicated { what, append_ms, value }) = log.unreplicated.pop_front() else { return };
        let offset = log.high;
        let fact = Fact::Appended { p, offset, what, stamp_ahead_ms: append_ms - self.now_ms };
        self.tell(if what == "tick" { Who::Kafka } else { Who::Monitors }, &fact);
        let position = Position { offset, append_ms, log_append: true };
        let judged = self.oracles[p].appended(position, value.as_deref(), self.now_ms);
        self.judge(judged);
        self.kafka.observations[p].append(append_ms, value);
        self.outcome.records += 1;
        (0..self.workers.len()).for_each(|worker| self.fetch_soon(worker, p));
    }

    // ---- the whole

    /// A worker has become primary.
    pub(super) fn promoted(&mut self, worker: usize, p: usize) {
        let process = (worker, self.workers[worker].life);
        let before = self.primaries[p].replace(process);
        self.outcome.promotions += 1;
        self.outcome.failovers += u64::from(before.is_some_and(|before| before != process));
        let since_ms = self.now_ms - 60_000;
        let recent = &mut self.promotions[p];
        recent.push_back(self.now_ms);
        while recent.front().is_some_and(|at_ms| *at_ms < since_ms) {
            recent.pop_front();
        }
        self.outcome.promotions_minute_max = self.outcome.promotions_minute_max.max(recent.len());
        if recent.len() > PROMOTIONS_MAX {
            self.judge(Err(format!("H6: {PROMOTIONS_MAX} promotions of partition {p} in a minute: a duel")));
        }
    }

    fn heal(&mut self) {
        self.tell(Who::Fault, &Fact::Healed);
        self.healed_ms = Some(self.now_ms);
        self.armed.clear();
        self.upsets.iter_mut().for_each(VecDeque::clear);
        self.held.iter_mut().for_each(Vec::clear);
        self.store.failing = 0;
        self.quiet_until_ms.fill(0);
        self.kafka.stalled_until_ms = self.kafka.stalled_until_ms.min(self.now_ms);
        self.kafka.skew_ms.fill(0);
        self.keeper.down_until_ms = self.keeper.down_until_ms.min(self.now_ms);
        for worker in 0..self.workers.len() {
            let me = &mut self.workers[worker];
            me.keeper_cut_until_ms = me.keeper_cut_until_ms.min(self.now_ms);
            me.kafka_cut_until_ms = me.kafka_cut_until_ms.min(self.now_ms);
            self.resume(worker);
            self.start(worker);
            self.kafka_back(worker);
        }
        self.keeper_back();
    }

    /// Once a second. True when the run is over.
    fn watch(&mut self) -> bool {
        for p in 0..self.plan.partitions {
            let silent_since = |since_ms: i64| self.now_ms - since_ms.max(self.last_append_ms[p]);
            let well = self.workers.iter().filter_map(|worker| worker.well_since_ms);
            if self.now_ms >= self.kafka.stalled_until_ms
                && well.map(silent_since).max().is_some_and(|ms| ms > SILENCE_MS_MAX)
            {
                self.judge(Err(format!("H16: partition {p} has had no tick for {SILENCE_MS_MAX} ms")));
            }
        }
        let Some(healed_ms) = self.healed_ms else { return false };
        let since_ms = self.now_ms - healed_ms;
        let waiting = self.oracles.iter().position(|oracle| {
            let (expected, found) = oracle.score();
            expected > found
        });
        let unled = (0..self.plan.partitions)
            .find(|p| !self.workers.iter().any(|worker| worker.role(*p) == Some(Role::Primary)));
        match waiting.or(unled) {
            None if since_ms > AFTERMATH_MS * 2 => {
                self.outcome.healed_in_ms = since_ms;
                true
            }
            Some(p) if since_ms > LIVENESS_MS => {
                let (expected, found) = self.oracles[p].score();
                let roles: Vec<_> = self.workers.iter().map(|worker| worker.role(p)).collect();
                self.judge(Err(format!(
                    "I6: {LIVENESS_MS} ms after the last fault {found} of {expected} transitions of partition {p} are \
                     out; roles {roles:?}"
                )));
                true
            }
            None | Some(_) => false,
        }
    }
}
