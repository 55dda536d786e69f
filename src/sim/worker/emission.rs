//! The emission thread of one partition: `shell/emitter/run.rs`. It executes the replica's actions one after the other
//! and is inside of at most one call; what comes meanwhile waits in its inbox.

use super::super::broker::{Answer, Ask, From, Upset};
use super::super::fault::{Call, Moment};
use super::super::kafka::alerts::{Entry, Verdict};
use super::super::planted::{Bug, planted};
use super::super::story::{Fact, Who};
use super::super::world::{What, World};
use crate::replica::{Action, Derived, Event, Failure, Input, Replica, Role};
use crate::wire::Marker;
use std::collections::VecDeque;
use std::rc::Rc;

/// Longest wait between two looks at the time, milliseconds.
pub(super) const TICK_MS: i64 = 100;
/// One call of `init_transactions`, one read-back, one commit: as long as production waits, milliseconds.
const INITIALISE_MS: i64 = 2_000;
const READ_BACK_MS: i64 = 2_000;
const COMMIT_MS: i64 = 3_000;
/// Between two attempts to find the tail, milliseconds.
const FOLLOW_RETRY_MS: i64 = 1_000;

/// What an emission thread is inside of.
#[derive(Debug)]
enum Calling {
    Renew,
    Initialise,
    ReadBack,
    Follow,
    Commit { batches: VecDeque<Vec<Entry>>, seq: i64 },
}

#[derive(Debug)]
pub(super) struct Emission {
    pub(super) replica: Replica,
    /// Of the turn in progress.
    inputs: VecDeque<Input>,
    answers: VecDeque<Input>,
    actions: VecDeque<Action>,
    calling: Option<Calling>,
    /// Number of the call in progress: answers to earlier ones are dropped.
    number: u64,
    begun_ms: i64,
    /// Producer epoch of the handle; none before it is initialised.
    epoch: Option<i32>,
    /// For [`Bug::ReadBeforeInit`].
    early: Option<Option<Marker>>,
    /// Inbox.
    pub(super) others: VecDeque<Input>,
    pub(super) derived: Vec<Derived>,
    /// Clock and next offset of the machine.
    pub(super) progress: Option<(i64, i64)>,
    pub(super) caught_up: bool,
    waking: bool,
    /// When to look for the tail; none while it is followed.
    pub(super) follow_at_ms: Option<i64>,
    /// Next offset of the alerts partition.
    pub(super) following: Option<usize>,
    pub(super) tail_until_ms: i64,
    hung: bool,
    pub(super) stopped: bool,
}

impl Emission {
    pub(super) fn new(replica: Replica) -> Self {
        Self {
            replica,
            inputs: VecDeque::new(),
            answers: VecDeque::new(),
            actions: VecDeque::new(),
            calling: None,
            number: 0,
            begun_ms: 0,
            epoch: None,
            early: None,
            others: VecDeque::new(),
            derived: Vec::new(),
            progress: None,
            caught_up: false,
            waking: false,
            follow_at_ms: Some(0),
            following: None,
            tail_until_ms: 0,
            hung: false,
            stopped: false,
        }
    }

    /// One look into the inbox, in the order of `shell/emitter/run.rs`.
    fn take_mail(&mut self) {
        self.inputs.append(&mut self.others);
        if !self.replica.is_full() {
            let progress = self.progress.take();
            if !self.derived.is_empty() {
                self.inputs.push_back(Input::Derived(std::mem::take(&mut self.derived)));
            }
            if let Some((clock_ms, offset)) = progress {
                self.inputs.push_back(Input::Progress { clock_ms, offset });
            }
            if std::mem::take(&mut self.caught_up) {
                self.inputs.push_back(Input::CaughtUp);
            }
        }
        self.inputs.push_back(Input::Tick);
    }
}

impl World {
    pub(super) fn emission(&mut self, worker: usize, p: usize) -> Option<&mut Emission> {
        self.workers[worker].hosted.get_mut(p).map(|hosted| &mut hosted.emission)
    }

    /// Something for the inbox.
    pub(in crate::sim) fn mail(&mut self, worker: usize, p: usize, input: Input) {
        if let Some(emission) = self.emission(worker, p) {
            emission.others.push_back(input);
            self.wake_soon(worker, p);
        }
    }

    pub(super) fn wake_soon(&mut self, worker: usize, p: usize) {
        if let Some(emission) = self.emission(worker, p)
            && !std::mem::replace(&mut emission.waking, true)
        {
            let in_ms = self.random.between(0, 2);
            self.to(worker, p, in_ms, What::Wake);
        }
    }

    pub(super) fn wake(&mut self, worker: usize, p: usize) {
        if let Some(emission) = self.emission(worker, p) {
            emission.waking = false;
            self.turn(worker, p);
        }
    }

    pub(super) fn timer(&mut self, worker: usize, p: usize) {
        self.to(worker, p, TICK_MS, What::Timer);
        self.turn(worker, p);
    }

    /// The emission thread hangs, wherever it is.
    pub(in crate::sim) fn hang(&mut self, worker: usize, p: usize, ms: i64) {
        if let Some(emission) = self.emission(worker, p) {
            emission.hung = true;
            self.tell(Who::Worker(worker), &Fact::Hung { p, ms });
            self.to(worker, p, ms, What::Unhung);
        }
    }

    pub(super) fn unhung(&mut self, worker: usize, p: usize) {
        if let Some(emission) = self.emission(worker, p) {
            emission.hung = false;
            self.go_on(worker, p);
        }
    }

    /// One round of the loop, if the thread is not inside of a call.
    fn turn(&mut self, worker: usize, p: usize) {
        let now_ms = self.now_ms;
        let Some(emission) = self.emission(worker, p) else { return };
        if emission.hung || emission.stopped || emission.calling.is_some() {
            return;
        }
        emission.take_mail();
        if emission.follow_at_ms.is_some_and(|at_ms| now_ms >= at_ms) {
            emission.follow_at_ms = Some(now_ms + FOLLOW_RETRY_MS);
            self.call(worker, p, Calling::Follow, READ_BACK_MS);
            return self.ask(worker, p, Ask::Tail);
        }
        self.go_on(worker, p);
    }

    /// Works off the turn: actions first, then answers to them, then the next input.
    fn go_on(&mut self, worker: usize, p: usize) {
        loop {
            if !self.workers[worker].is_running() {
                return;
            }
            let now_ms = self.now_ms + self.workers[worker].skew_ms;
            let Some(emission) = self.emission(worker, p) else { return };
            if emission.hung || emission.stopped || emission.calling.is_some() {
                return;
            }
            if let Some(action) = emission.actions.pop_front() {
                self.execute(worker, p, action);
                continue;
            }
            let Some(input) = emission.answers.pop_front().or_else(|| emission.inputs.pop_front()) else {
                break;
            };
            let mut actions = Vec::new();
            emission.replica.step(Event { now_ms, input }, &mut actions);
            emission.actions.extend(actions);
        }
        let more = self.emission(worker, p).is_some_and(|emission| {
            !emission.others.is_empty() || (!emission.derived.is_empty() && !emission.replica.is_full())
        });
        if more {
            self.wake_soon(worker, p);
        }
    }

    fn answer(&mut self, worker: usize, p: usize, input: Input) {
        if let Some(emission) = self.emission(worker, p) {
            emission.answers.push_back(input);
        }
    }

    fn execute(&mut self, worker: usize, p: usize, action: Action) {
        let who = Who::Worker(worker);
        match action {
            Action::Acquire => self.want(worker, p, true),
            Action::Release => self.want(worker, p, false),
            Action::RenewProducer => {
                if !planted(Bug::ProducerKept) {
                    let in_ms = if self.reaches_kafka(worker) { self.random.between(2, 60) } else { 500 };
                    self.call(worker, p, Calling::Renew, in_ms);
                }
            }
            Action::Initialise => self.initialise(worker, p),
            Action::ReadBack => {
                self.tell(who, &Fact::Asked { p, call: Call::ReadBack });
                self.call(worker, p, Calling::ReadBack, READ_BACK_MS);
                self.moment(worker, p, Moment::Before(Call::ReadBack));
                self.ask(worker, p, Ask::Tail);
            }
            Action::Commit { first, marker } => self.commit(worker, p, first, &marker),
            Action::RoleChanged { from, to, reason } => {
                let (from, to_code) = (from.code(), to.code());
                self.tell(who, &Fact::Role { p, from, to: to_code, reason: reason.code() });
                if to == Role::Primary {
                    self.promoted(worker, p);
                }
            }
            Action::Diverged { seq, .. } => {
                self.tell(who, &Fact::Diverged { p, seq });
                self.judge(Err(format!(
                    "I3: {} says that the histories differ at seq {seq}",
                    super::name(worker)
                )));
            }
            Action::PartitionsChanged { theirs, ours } => {
                self.judge(Err(format!("nobody changed the number of partitions from {theirs} to {ours}")));
            }
            Action::Rederive { seq } => {
                self.tell(who, &Fact::Rederives { p, seq });
                self.rederive(worker, p);
            }
            Action::Stopped => {
                if let Some(emission) = self.emission(worker, p) {
                    emission.stopped = true;
                }
                self.stopped(worker);
            }
        }
    }

    // ---- calls

    fn call(&mut self, worker: usize, p: usize, calling: Calling, deadline_ms: i64) {
        let now_ms = self.now_ms;
        let Some(emission) = self.emission(worker, p) else { return };
        emission.calling = Some(calling);
        emission.number += 1;
        emission.begun_ms = now_ms;
        let number = emission.number;
        self.to(worker, p, deadline_ms, What::Deadline(number));
    }

    /// Sends a request of the call in progress.
    fn ask(&mut self, worker: usize, p: usize, ask: Ask) {
        let life = self.workers[worker].life;
        let Some(emission) = self.emission(worker, p) else { return };
        let from = From { worker, life, number: emission.number };
        let epoch = emission.epoch.unwrap_or(-1);
        if self.reaches_kafka(worker) && self.workers[worker].is_running() {
            self.send(p, epoch, Some(from), ask);
        }
    }

    fn initialise(&mut self, worker: usize, p: usize) {
        self.tell(Who::Worker(worker), &Fact::Asked { p, call: Call::Initialise });
        let target = self.kafka.coordinators[p].target;
        let early = planted(Bug::ReadBeforeInit).then(|| self.kafka.alerts[target].tail());
        let Some(emission) = self.emission(worker, p) else { return };
        emission.early = early;
        if planted(Bug::ProducerKept) && emission.epoch.is_some() {
            return self.answer(worker, p, Input::Initialised);
        }
        self.call(worker, p, Calling::Initialise, INITIALISE_MS);
        self.moment(worker, p, Moment::Before(Call::Initialise));
        self.ask(worker, p, Ask::Initialise);
    }

    fn commit(&mut self, worker: usize, p: usize, first: i64, marker: &Marker) {
        let fact = Fact::Commits { p, first, last: marker.seq, epoch: marker.epoch };
        self.tell(Who::Worker(worker), &fact);
        let alone = self.random.one_in(2);
        let Some(emission) = self.emission(worker, p) else { return };
        if emission.epoch.is_none() {
            return self.answer(worker, p, Input::CommitFailed(Failure::Broken));
        }
        let transitions = emission.replica.transitions(first, marker.seq).map(|derived| Entry::Transition {
            seq: derived.seq,
            input_offset: derived.input_offset,
            ordinal: derived.ordinal,
            rule_set_version: derived.rule_set_version,
            bytes: derived.bytes.as_slice().into(),
        });
        let mut entries: Vec<Entry> = transitions.collect();
        entries.push(Entry::Marker(Rc::new(marker.clone())));
        // Nothing lingers: the first record often leaves in a request of its own.
        let rest = entries.split_off(if alone { 1 } else { entries.len() });
        let batches = [entries, rest].into_iter().filter(|batch| !batch.is_empty()).collect();
        self.call(worker, p, Calling::Commit { batches, seq: marker.seq }, COMMIT_MS);
        self.moment(worker, p, Moment::Before(Call::Add));
        self.ask(worker, p, Ask::Add);
    }

    /// The time of a call is up.
    pub(super) fn overdue(&mut self, worker: usize, p: usize, number: u64) {
        let Some(emission) = self.emission(worker, p) else { return };
        if emission.number != number {
            return;
        }
        let Some(calling) = emission.calling.take() else { return };
        emission.number += 1;
        let input = match calling {
            Calling::Renew => {
                emission.epoch = None;
                return self.go_on(worker, p);
            }
            Calling::Follow => return self.go_on(worker, p),
            Calling::Initialise => Input::InitialiseFailed(Failure::TimedOut),
            Calling::ReadBack => Input::ReadBackFailed,
            Calling::Commit { .. } => {
                self.tell(Who::Worker(worker), &Fact::CommitFailed { p, how: "no answer in time" });
                Input::CommitFailed(Failure::TimedOut)
            }
        };
        self.answer(worker, p, input);
        self.go_on(worker, p);
    }

    /// Kafka has answered.
    pub(super) fn answered(&mut self, worker: usize, p: usize, number: u64, answer: Answer) {
        if !self.reaches_kafka(worker) {
            return;
        }
        let Some(emission) = self.emission(worker, p) else { return };
        if emission.number != number {
            return;
        }
        let call = match (&emission.calling, &answer) {
            (Some(Calling::Initialise), _) => Call::Initialise,
            (Some(Calling::ReadBack), _) => Call::ReadBack,
            (_, Answer::Verdict(_, call)) => *call,
            (_, Answer::Tail(..) | Answer::Initialised(_)) => Call::ReadBack,
        };
        self.moment(worker, p, Moment::After(call));
        if !self.workers[worker].is_running() {
            // It stands still with the answer in its socket, or is gone.
            return self.to(worker, p, 0, What::Answer(number, answer));
        }
        let Some(calling) = self.emission(worker, p).and_then(|emission| emission.calling.take()) else {
            return;
        };
        match (calling, answer) {
            (Calling::Initialise, Answer::Initialised(epoch)) => {
                if let Some(emission) = self.emission(worker, p) {
                    emission.epoch = Some(epoch);
                }
                self.answer(worker, p, Input::Initialised);
            }
            (Calling::ReadBack, Answer::Tail(marker, _)) => self.read_back(worker, p, *marker),
            (Calling::Follow, Answer::Tail(marker, next)) => {
                if let Some(emission) = self.emission(worker, p) {
                    (emission.follow_at_ms, emission.following) = (None, Some(next));
                    emission.answers.extend(marker.map(|marker| Input::Seen(Box::new(marker))));
                    emission.answers.push_back(Input::TailReached);
                }
                self.tail_soon(worker, p);
            }
            (Calling::Commit { batches, seq }, Answer::Verdict(verdict, call)) => {
                return self.committing(worker, p, (batches, seq), verdict, call);
            }
            (calling, Answer::Initialised(_) | Answer::Tail(..) | Answer::Verdict(..)) => {
                // Not an answer to this call.
                if let Some(emission) = self.emission(worker, p) {
                    emission.calling = Some(calling);
                }
                return;
            }
        }
        self.go_on(worker, p);
    }

    fn read_back(&mut self, worker: usize, p: usize, marker: Option<Marker>) {
        let Some(emission) = self.emission(worker, p) else { return };
        let marker = emission.early.take().unwrap_or(marker);
        let seq = marker.as_ref().map(|marker| marker.seq);
        self.answer(worker, p, Input::ReadBack(marker.map(Box::new)));
        self.tell(Who::Worker(worker), &Fact::ReadBack { p, seq });
    }

    /// The next request of a commit, or its end.
    fn committing(
        &mut self,
        worker: usize,
        p: usize,
        (mut batches, seq): (VecDeque<Vec<Entry>>, i64),
        verdict: Verdict,
        call: Call,
    ) {
        let now_ms = self.now_ms;
        let Some(emission) = self.emission(worker, p) else { return };
        if let Verdict::Failed(failure) = verdict {
            let how = match failure {
                Failure::Fenced => "fenced",
                Failure::TimedOut => "timed out",
                Failure::Broken => "refused",
            };
            emission.answers.push_back(Input::CommitFailed(failure));
            self.tell(Who::Worker(worker), &Fact::CommitFailed { p, how });
            return self.go_on(worker, p);
        }
        if call == Call::End {
            let took_ms = now_ms - emission.begun_ms;
            emission.answers.push_back(Input::Committed { took_ms });
            self.tell(Who::Worker(worker), &Fact::Committed { p, seq, took_ms });
            return self.go_on(worker, p);
        }
        let next = batches.pop_front();
        emission.calling = Some(Calling::Commit { batches, seq });
        match next {
            Some(batch) => {
                self.moment(worker, p, Moment::Before(Call::Produce));
                self.ask(worker, p, Ask::Produce(batch));
            }
            None => {
                self.moment(worker, p, Moment::Before(Call::End));
                self.end(worker, p);
            }
        }
    }

    /// Sends the EndTxn, or what becomes of it where a fault waits for it.
    fn end(&mut self, worker: usize, p: usize) {
        let Some(upset) = self.upsets[p].pop_front() else {
            return self.ask(worker, p, Ask::End { stray: false });
        };
        let life = self.workers[worker].life;
        let Some(emission) = self.emission(worker, p) else { return };
        let from = From { worker, life, number: emission.number };
        let epoch = emission.epoch.unwrap_or(-1);
        if !self.workers[worker].is_running() || !self.reaches_kafka(worker) {
            return;
        }
        let (first_ms, retry_ms) = match upset {
            Upset::Unanswered => return self.send(p, epoch, None, Ask::End { stray: false }),
            Upset::Lost => return,
            Upset::Late { ms } => (ms, self.random.between(1_001, 2_500)),
            Upset::Twice { ms } => (ms, self.random.between(5, 150)),
        };
        if matches!(upset, Upset::Twice { .. }) && self.random.one_in(2) {
            self.held[p].push(epoch);
        } else {
            self.send_in(first_ms, p, epoch, None, Ask::End { stray: true });
        }
        self.send_in(retry_ms, p, epoch, Some(from), Ask::End { stray: false });
    }
}
