//! The emission protocol against a small model of what it runs on: a log with transactions and fencing (librdkafka's
//! protocol: an EndTxn may arrive again, late), a lock that can be lost at any time, processes that die. Two replicas
//! run the production code; a list of bytes chooses what happens next, so a failing run shrinks to a short one.
//!
//! Backlogs are small, so that standbys forget, and a process begins at any snapshot that is not past the marker.
//! Deaths are told where there was one, and where there was none.
//!
//! Checked after every step: each `seq` is committed once, in order, without a gap, with the bytes that the machine
//! derives. Checked at the end, when faults have stopped: everything is out, and the last marker's hash is right.
//! Three planted bugs show that the model can tell.

mod log;

use super::*;
use log::{Entry, Log};
use proptest::prelude::*;
use std::collections::VecDeque;

/// How many transitions the observations log causes.
const TRANSITIONS: i64 = 12;

#[derive(Clone, Copy, PartialEq)]
enum Plant {
    Nothing,
    /// The marker is read before `init_transactions` has ended the last primary's transaction.
    ReadBeforeInit,
    /// The producer is kept after a commit that failed or was slow.
    KeepProducer,
    /// A process begins at the newest snapshot, although nobody emitted what it has swallowed.
    NewestSnapshot,
}

enum Work {
    Acquire,
    Release,
    Renew,
    /// The partition is derived again: a new replica.
    Rederive,
    /// Only where it is planted.
    ReadEarly,
    Init,
    ReadBack,
    Commit {
        entries: VecDeque<Entry>,
        begun: bool,
    },
}

struct Process {
    replica: Replica,
    /// The emission thread is inside these; it takes nothing else before they are done.
    work: VecDeque<Work>,
    /// From the lock and from the peers.
    news: VecDeque<Input>,
    derived: i64,
    followed: usize,
    handle: Option<u32>,
    read_early: Option<Box<Marker>>,
}

struct World {
    plant: Plant,
    log: Log,
    now_ms: i64,
    holder: Option<usize>,
    czxid: i64,
    processes: Vec<Process>,
}

fn name(worker: usize) -> String {
    if worker == 0 { "a".into() } else { "b".into() }
}

/// One that begins at a snapshot taken after transition `seq`.
fn replica(worker: usize, seq: i64, now_ms: i64) -> Replica {
    let bounds = Bounds { chunk_transitions: 3, backlog_transitions: 5, ..Bounds::default() };
    let options = Story::of(&name(worker)).replica.options;
    Replica::new(Options { derived: (seq, hash_at(seq)), bounds, ..options }, now_ms)
}

impl World {
    fn new(plant: Plant) -> Self {
        let mut world =
            Self { plant, log: Log::default(), now_ms: 0, holder: None, czxid: 0, processes: Vec::new() };
        for worker in 0..2 {
            world.processes.push(Process {
                replica: replica(worker, 0, 0),
                work: VecDeque::new(),
                news: VecDeque::new(),
                derived: 0,
                followed: 0,
                handle: None,
                read_early: None,
            });
            world.start(worker);
        }
        world
    }

    /// What the emission thread does first: find the tail, follow the lock.
    fn start(&mut self, worker: usize) {
        self.processes[worker].followed = self.log.committed.len();
        if let Some(marker) = self.log.last_marker() {
            self.step(worker, Input::Seen(marker));
        }
        self.step(worker, Input::TailReached);
        let event = self.lock_state(worker);
        self.processes[worker].news.push_back(Input::Lock(event));
    }

    /// A snapshot that is there to begin from: not past the marker, unless that is the planted bug.
    fn snapshot(&self, choice: u8) -> i64 {
        let marker = self.log.last_marker().map_or(0, |marker| marker.seq);
        let newest = self.processes.iter().map(|process| process.derived).max().unwrap_or(0);
        if self.plant == Plant::NewestSnapshot { newest } else { i64::from(choice) % (marker + 1) }
    }

    fn lock_state(&mut self, worker: usize) -> LockEvent {
        match self.holder {
            None => LockEvent::Free,
            Some(holder) if holder == worker => LockEvent::Acquired { czxid: self.czxid },
            Some(holder) => LockEvent::Held { worker: name(holder) },
        }
    }

    fn free(&mut self) {
        self.holder = None;
        let free = || Input::Lock(LockEvent::Free);
        self.processes.iter_mut().for_each(|process| process.news.push_back(free()));
    }

    fn step(&mut self, worker: usize, input: Input) {
        let mut actions = Vec::new();
        let process = &mut self.processes[worker];
        process.replica.step(Event { now_ms: self.now_ms, input }, &mut actions);
        for action in actions {
            let work = match action {
                Action::Acquire => Work::Acquire,
                Action::Release => Work::Release,
                Action::RenewProducer => Work::Renew,
                Action::Initialise => {
                    if self.plant == Plant::ReadBeforeInit {
                        process.work.push_back(Work::ReadEarly);
                    }
                    Work::Init
                }
                Action::ReadBack => Work::ReadBack,
                Action::Commit { first, marker } => {
                    let transitions = process.replica.transitions(first, marker.seq);
                    let mut entries: VecDeque<Entry> =
                        transitions.map(|one| Entry::Transition(one.seq, one.bytes.clone())).collect();
                    entries.push_back(Entry::Marker(marker));
                    Work::Commit { entries, begun: false }
                }
                Action::RoleChanged { .. } | Action::PartitionsChanged { .. } => continue,
                Action::Rederive { .. } => Work::Rederive,
                Action::Diverged { seq, .. } => panic!("the replicas differ at {seq}"),
                Action::Stopped => unreachable!("nobody stops them"),
            };
            process.work.push_back(work);
        }
    }

    /// One piece of what the emission thread is inside of. `fate` decides how a commit ends.
    fn work(&mut self, worker: usize, fate: u8) {
        let Some(work) = self.processes[worker].work.pop_front() else { return };
        let process = &mut self.processes[worker];
        match work {
            Work::Acquire => {
                let free = self.holder.is_none();
                if free {
                    self.holder = Some(worker);
                    self.czxid += 1;
                    let held = LockEvent::Held { worker: name(worker) };
                    self.processes[1 - worker].news.push_back(Input::Lock(held));
                }
                let event = self.lock_state(worker);
                self.processes[worker].news.push_back(Input::Lock(event));
            }
            Work::Release => {
                if self.holder == Some(worker) {
                    self.free();
                }
            }
            Work::Renew if self.plant == Plant::KeepProducer => {}
            Work::Renew => process.handle = None,
            Work::Rederive => {
                let seq = self.snapshot(fate);
                self.begin(worker, seq);
            }
            Work::ReadEarly => process.read_early = self.log.last_marker(),
            Work::Init => {
                let keep = self.plant == Plant::KeepProducer && process.handle.is_some();
                if !keep {
                    process.handle = Some(self.log.init());
                }
                self.step(worker, Input::Initialised);
            }
            Work::ReadBack => {
                let marker = match self.plant {
                    Plant::ReadBeforeInit => process.read_early.take(),
                    Plant::Nothing | Plant::KeepProducer | Plant::NewestSnapshot => self.log.last_marker(),
                };
                self.step(worker, Input::ReadBack(marker));
            }
            Work::Commit { entries, begun } => self.commit(worker, entries, begun, fate),
        }
    }

    fn commit(&mut self, worker: usize, mut entries: VecDeque<Entry>, begun: bool, fate: u8) {
        let Some(epoch) = self.processes[worker].handle else { panic!("a commit without a producer") };
        if let Some(entry) = entries.pop_front() {
            match self.log.produce(epoch, begun, entry) {
                Ok(()) => {
                    self.processes[worker].work.push_front(Work::Commit { entries, begun: true });
                }
                Err(failure) => self.step(worker, Input::CommitFailed(failure)),
            }
            return;
        }
        let (arrives, stray, answer) = match fate % 8 {
            // The first copy is late, its retry did it.
            0 => (true, true, Ok(SLOW_COMMIT_MS + 500)),
            // It did arrive, its answer did not.
            1 => (true, false, Err(Failure::TimedOut)),
            // It will arrive some day.
            2 => (false, true, Err(Failure::TimedOut)),
            // It never arrives.
            3 => (false, false, Err(Failure::Broken)),
            _ => (true, false, Ok(10)),
        };
        if stray {
            self.log.strays.push(epoch);
        }
        let ended = if arrives { self.log.end(epoch) } else { Ok(()) };
        let input = match (ended, answer) {
            (Err(failure), _) | (Ok(()), Err(failure)) => Input::CommitFailed(failure),
            (Ok(()), Ok(took_ms)) => {
                self.now_ms += took_ms;
                Input::Committed { took_ms }
            }
        };
        self.step(worker, input);
    }

    /// The inputs that wait for an emission thread that is not inside a call.
    fn take(&mut self, worker: usize, what: u8) {
        if !self.processes[worker].work.is_empty() {
            return;
        }
        let process = &mut self.processes[worker];
        match what % 4 {
            // Its thread takes nothing from the machine.
            0 if process.replica.is_full() => self.step(worker, Input::Tick),
            0 => {
                let count = i64::from(what / 4 % 3 + 1).min(TRANSITIONS - process.derived);
                let from = process.derived + 1;
                process.derived += count;
                let caught_up = process.derived == TRANSITIONS;
                // One transition a second of the log's time.
                let transitions = (from..from + count).map(|seq| derived(seq, seq * 1_000)).collect();
                self.step(worker, Input::Derived(transitions));
                if caught_up || what > 200 {
                    self.step(worker, Input::CaughtUp);
                }
            }
            1 => {
                let clock_ms = self.now_ms + TRANSITIONS * 1_000;
                let offset = process.derived * 10 + 1;
                self.step(worker, Input::Progress { clock_ms, offset });
            }
            2 => {
                if let Some(news) = process.news.pop_front() {
                    self.step(worker, news);
                }
            }
            _ => {
                let next = self.log.committed.get(process.followed).cloned();
                process.followed += usize::from(next.is_some());
                if let Some(Entry::Marker(marker)) = next {
                    self.step(worker, Input::Seen(marker));
                }
            }
        }
    }

    fn crash(&mut self, worker: usize, detail: u8) {
        if detail.is_multiple_of(2) {
            let dead = Input::PrimaryDead { worker: name(worker) };
            self.processes[1 - worker].news.push_back(dead);
        }
        let seq = self.snapshot(detail);
        self.begin(worker, seq);
    }

    /// A new replica, of a process or of a partition that begins at a snapshot.
    fn begin(&mut self, worker: usize, seq: i64) {
        if self.holder == Some(worker) {
            self.free();
        }
        let process = &mut self.processes[worker];
        process.replica = replica(worker, seq, self.now_ms);
        process.work.clear();
        process.news.clear();
        (process.derived, process.handle, process.read_early) = (seq, None, None);
        self.start(worker);
    }

    /// One choice of what happens next.
    fn choose(&mut self, choice: u8, detail: u8) {
        let worker = usize::from(choice % 2);
        match choice / 2 % 16 {
            0..=5 => self.work(worker, detail),
            6..=10 => self.take(worker, detail),
            11 | 12 => self.now_ms += i64::from(detail) * 20,
            13 => self.crash(worker, detail),
            // Nobody has died.
            14 if detail >= 160 => {
                let dead = Input::PrimaryDead { worker: name(1 - worker) };
                self.processes[worker].news.push_back(dead);
            }
            14 => {
                if let Some(holder) = self.holder.filter(|_| detail < 128) {
                    self.processes[holder].news.push_back(Input::Lock(LockEvent::Lost));
                    self.free();
                }
            }
            _ => {
                if let Some(epoch) = self.log.strays.pop() {
                    let _ = self.log.end(epoch);
                }
            }
        }
    }

    /// Faults have stopped: two minutes in which everything gets done.
    fn heal(&mut self) {
        while let Some(epoch) = self.log.strays.pop() {
            let _ = self.log.end(epoch);
        }
        for _ in 0..600 {
            self.now_ms += 200;
            for worker in 0..2 {
                for what in [0, 1, 2, 2, 3, 3, 3, 3] {
                    self.take(worker, what);
                    while !self.processes[worker].work.is_empty() {
                        self.work(worker, 7);
                    }
                }
            }
        }
    }

    /// What is wrong with what is committed, if anything is.
    fn fault(&self) -> Option<String> {
        let mut next = 1;
        for entry in &self.log.committed {
            if let Entry::Transition(seq, bytes) = entry {
                if *seq != next {
                    return Some(format!("seq {seq} where {next} was due"));
                }
                if *bytes != derived(*seq, 0).bytes {
                    return Some(format!("seq {seq} holds something else"));
                }
                next += 1;
            }
        }
        None
    }

    fn fault_after_healing(&mut self) -> Option<String> {
        self.heal();
        let marker = self.log.last_marker();
        self.fault().or_else(|| {
            let out = marker.as_ref().map_or(0, |marker| marker.seq);
            let roles = self.processes.iter().map(|process| process.replica.role());
            (out != TRANSITIONS)
                .then(|| format!("only {out} of {TRANSITIONS} are out: {:?}", roles.collect::<Vec<_>>()))
                .or_else(|| {
                    marker.filter(|marker| marker.running_hash != hash_at(TRANSITIONS)).map(|_| "hash".into())
                })
        })
    }
}

fn run(plant: Plant, choices: &[(u8, u8)]) -> Option<String> {
    let mut world = World::new(plant);
    for (choice, detail) in choices {
        world.choose(*choice, *detail);
        if let Some(fault) = world.fault() {
            return Some(fault);
        }
    }
    world.fault_after_healing()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_seq_twice_no_gap_and_all_out_in_the_end(choices in prop::collection::vec(any::<(u8, u8)>(), 0..600)) {
        prop_assert_eq!(run(Plant::Nothing, &choices), None);
    }
}

/// How many of `runs` random runs find a fault. A fixed generator: the same runs every time.
fn found(plant: Plant, runs: u64) -> usize {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut byte = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..runs)
        .filter(|_| {
            let choices: Vec<(u8, u8)> = (0..600).map(|_| (byte(), byte())).collect();
            run(plant, &choices).is_some()
        })
        .count()
}

#[test]
fn the_model_finds_a_marker_read_before_init() {
    let found = found(Plant::ReadBeforeInit, 2_000);
    println!("marker read before init: {found} of 2000 runs find it");
    assert!(found > 0);
}

#[test]
fn the_model_finds_a_producer_kept_after_a_bad_commit() {
    let found = found(Plant::KeepProducer, 2_000);
    println!("producer kept after a bad commit: {found} of 2000 runs find it");
    assert!(found > 0);
}

#[test]
fn the_model_finds_a_snapshot_that_is_past_the_marker() {
    let found = found(Plant::NewestSnapshot, 2_000);
    println!("newest snapshot: {found} of 2000 runs find it");
    assert!(found > 0);
}

/// How often standbys forget in the runs of the property above, and how often that matters.
#[test]
fn the_model_forgets_and_derives_again() {
    let (mut forgot, mut again) = (0, 0);
    let mut state: u64 = 0x2545_f491_4f6c_dd1d;
    let mut byte = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    for _ in 0..500 {
        let mut world = World::new(Plant::Nothing);
        for _ in 0..600 {
            world.choose(byte(), byte());
            let processes = world.processes.iter();
            forgot += processes.clone().filter(|process| process.replica.has_forgotten()).count();
            again += processes
                .filter(|process| process.work.iter().any(|work| matches!(work, Work::Rederive)))
                .count();
        }
        assert_eq!(world.fault_after_healing(), None);
    }
    println!("forgotten in {forgot} states, to be derived again in {again}");
    assert!(forgot > 100 && again > 10);
}
