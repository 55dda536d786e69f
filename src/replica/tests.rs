//! Stories of one replica: what happens to it, and what it wants done.

mod claims;
mod commits;
mod flapping;
mod model;

use super::promotion::YIELD_MS;
use super::*;

const TAKEOVER_MS: i64 = 2_000;

/// One replica and the time. Each method is one event; its answer is the actions, one word or line each.
struct Story {
    replica: Replica,
    now_ms: i64,
}

impl Story {
    fn of(worker: &str) -> Self {
        let options = Options {
            worker: worker.into(),
            zone: format!("zone-{worker}"),
            engine_version: 1,
            topic_id: "t1".into(),
            partition_count: 8,
            takeover_after_ms: TAKEOVER_MS,
            derived: (0, [0; 32]),
            bounds: Bounds::default(),
            standalone: false,
        };
        Self { replica: Replica::new(options, 0), now_ms: 0 }
    }

    /// Caught up, the tail known, `count` transitions derived at time 0 and not out.
    fn standby(count: i64) -> Self {
        let mut story = Self::of("a");
        assert_eq!(story.derive(1..=count), "");
        assert_eq!(story.on(Input::TailReached), "");
        assert_eq!(story.on(Input::CaughtUp), "");
        story
    }

    /// Primary with the lock, of epoch 1, everything out.
    fn primary() -> Self {
        let mut story = Self::standby(0);
        story.on(Input::Lock(LockEvent::Free));
        story.on(Input::Lock(LockEvent::Acquired { czxid: 7 }));
        story.on(Input::Initialised);
        assert_eq!(story.on(Input::ReadBack(None)), "reading_back -> primary (marker_read)");
        assert_eq!(story.pass(FIRST_MARKER_MS), "commit marker 0 epoch 1", "nothing came to go out with it");
        assert_eq!(story.on(Input::Committed { took_ms: 5 }), "");
        story
    }

    fn on(&mut self, input: Input) -> String {
        let mut actions = Vec::new();
        self.replica.step(Event { now_ms: self.now_ms, input }, &mut actions);
        actions.iter().map(word).collect::<Vec<_>>().join("; ")
    }

    fn derive(&mut self, seqs: impl Iterator<Item = i64>) -> String {
        self.on(Input::Derived(seqs.map(|seq| derived(seq, 0)).collect()))
    }

    /// Time passes, by the wall clock and by the log's.
    fn pass(&mut self, ms: i64) -> String {
        self.now_ms += ms;
        self.on(Input::Progress { clock_ms: self.now_ms, offset: self.replica.head().0 * 10 + 1 })
    }
}

fn word(action: &Action) -> String {
    match action {
        Action::Acquire => "acquire".into(),
        Action::Release => "release".into(),
        Action::RenewProducer => "renew".into(),
        Action::Initialise => "init".into(),
        Action::ReadBack => "read back".into(),
        Action::Commit { first, marker } if *first > marker.seq => {
            format!("commit marker {} epoch {}", marker.seq, marker.epoch)
        }
        Action::Commit { first, marker } => format!("commit {first}..={} epoch {}", marker.seq, marker.epoch),
        Action::RoleChanged { from, to, reason } => {
            format!("{} -> {} ({})", from.code(), to.code(), reason.code())
        }
        Action::Diverged { seq, worker, .. } => format!("diverged from {worker} at {seq}"),
        Action::PartitionsChanged { theirs, ours } => format!("{theirs} partitions, {ours} now"),
        Action::Rederive { seq } => format!("rederive from {seq}"),
        Action::Stopped => "stopped".into(),
    }
}

fn derived(seq: i64, append_ms: i64) -> Derived {
    Derived {
        seq,
        input_offset: seq * 10,
        ordinal: 0,
        append_ms,
        rule_set_version: 1,
        key: Vec::new(),
        bytes: format!("transition {seq}").into_bytes(),
    }
}

fn hash_at(seq: i64) -> [u8; 32] {
    (1..=seq).fold([0; 32], |hash, seq| chain(&hash, &derived(seq, 0).bytes))
}

/// What another primary wrote.
fn marker(worker: &str, epoch: i64, seq: i64) -> Marker {
    Marker {
        seq,
        input_offset: if seq == 0 { -1 } else { seq * 10 },
        ordinal: 0,
        running_hash: hash_at(seq),
        epoch,
        lock_czxid: 3,
        rule_set_version: 1,
        engine_version: 1,
        topic_id: "t1".into(),
        partition_count: 8,
        worker: worker.into(),
        zone: "zone-b".into(),
        wall_ms: 0,
    }
}

fn seen(worker: &str, epoch: i64, seq: i64) -> Input {
    Input::Seen(Box::new(marker(worker, epoch, seq)))
}

fn read_back(epoch: i64, seq: i64) -> Input {
    Input::ReadBack(Some(Box::new(marker("b", epoch, seq))))
}

fn held() -> Input {
    Input::Lock(LockEvent::Held { worker: "b".into() })
}

#[test]
fn a_standby_takes_the_free_lock_and_continues_after_the_marker() {
    let mut a = Story::standby(5);
    assert_eq!(a.on(held()), "");
    assert_eq!(a.on(seen("b", 1, 2)), "");
    assert_eq!(a.replica.waiting(), 3, "what is out is forgotten");
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "standby -> locking (lock_free); acquire");
    assert_eq!(
        a.on(Input::Lock(LockEvent::Acquired { czxid: 9 })),
        "locking -> initialising (lock_acquired); init"
    );
    assert_eq!(a.on(Input::Initialised), "initialising -> reading_back (initialised); read back");
    assert_eq!(a.on(read_back(1, 3)), "reading_back -> primary (marker_read); commit 4..=5 epoch 2");
    assert_eq!(a.on(Input::Committed { took_ms: 8 }), "");
    assert_eq!((a.replica.out_seq(), a.replica.waiting()), (5, 0));
    assert_eq!(a.derive(6..=6), "commit 6..=6 epoch 2");
}

#[test]
fn a_replica_that_has_not_caught_up_does_not_take_the_lock() {
    let mut a = Story::of("a");
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "");
    assert_eq!(a.derive(1..=1), "");
    assert_eq!(a.on(Input::TailReached), "");
    assert_eq!(a.pass(60_000), "", "nor does it take over");
    assert_eq!(a.on(Input::CaughtUp), "standby -> locking (lock_free); acquire");
}

#[test]
fn whoever_comes_second_to_the_lock_stands_by_until_it_is_free_again() {
    let mut a = Story::standby(0);
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "standby -> locking (lock_free); acquire");
    assert_eq!(a.on(held()), "locking -> standby (lock_held)");
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "standby -> locking (lock_free); acquire");
}

#[test]
fn an_unseen_transition_promotes_although_the_lock_is_held() {
    let mut a = Story::standby(1);
    assert_eq!(a.on(held()), "");
    assert_eq!(a.pass(TAKEOVER_MS), "");
    assert_eq!(a.pass(1), "standby -> initialising (transition_unseen); init");
    a.on(Input::Initialised);
    assert_eq!(a.on(read_back(1, 0)), "reading_back -> primary (marker_read); commit 1..=1 epoch 2");
    assert_eq!(a.on(Input::Committed { took_ms: 8 }), "");
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "acquire", "and takes the lock when its holder is gone");
    assert_eq!(a.on(Input::Lock(LockEvent::Acquired { czxid: 9 })), "", "without starting over");
    assert_eq!(a.replica.lock_czxid(), Some(9));
}

#[test]
fn takeover_needs_both_clocks_and_starts_to_count_when_the_replay_is_over() {
    let mut a = Story::standby(1);
    a.now_ms += 60_000;
    assert_eq!(a.on(Input::Tick), "", "the log's clock stands still: nobody knows that it is late");

    let mut b = Story::of("b");
    b.derive(1..=1);
    b.on(Input::TailReached);
    assert_eq!(b.pass(60_000), "");
    assert_eq!(b.on(Input::CaughtUp), "", "it was derived long ago, but the marker may just be on its way");
    assert_eq!(b.pass(TAKEOVER_MS + 1), "standby -> initialising (transition_unseen); init");
}

/// As `worker`, with room for ten transitions.
fn small(worker: &str) -> Story {
    let mut story = Story::of(worker);
    story.replica.options.bounds.backlog_transitions = 10;
    story.replica = Replica::new(story.replica.options.clone(), 0);
    story
}

#[test]
fn a_full_backlog_stands_in_for_the_clock_and_the_end_that_it_keeps_the_machine_from() {
    let mut a = small("a");
    a.on(Input::TailReached);
    a.on(held());
    a.derive(1..=9);
    a.now_ms += TAKEOVER_MS + 1;
    assert_eq!(a.on(Input::Tick), "", "still replaying");
    assert_eq!(a.derive(10..=10), "standby -> initialising (transition_unseen); init");
    assert!(a.replica.is_full(), "what is needed to begin with is not forgotten");
    a.on(Input::Initialised);
    assert_eq!(a.on(read_back(1, 3)), "reading_back -> primary (marker_read); commit 4..=10 epoch 2");
}

#[test]
fn a_standby_forgets_rather_than_stop_its_machine_and_markers_pass_the_place() {
    let mut a = small("a");
    a.derive(1..=3);
    a.on(Input::TailReached);
    a.on(Input::CaughtUp);
    a.on(seen("b", 1, 3));
    a.derive(4..=13);
    assert!(!a.replica.is_full() && a.replica.has_forgotten());
    assert_eq!(a.replica.waiting(), 10, "they are not out, all the same");
    a.derive(14..=15);
    a.on(seen("b", 1, 12));
    assert!(a.replica.has_forgotten());
    a.on(seen("b", 1, 13));
    assert!(!a.replica.has_forgotten());
    a.on(Input::Lock(LockEvent::Free));
    a.on(Input::Lock(LockEvent::Acquired { czxid: 9 }));
    a.on(Input::Initialised);
    assert_eq!(a.on(read_back(1, 13)), "reading_back -> primary (marker_read); commit 14..=15 epoch 2");
}

#[test]
fn a_standby_that_is_to_rise_with_a_hole_is_derived_again_and_does_nothing_else() {
    let forgetful = || {
        let mut a = small("a");
        a.derive(1..=3);
        a.on(Input::TailReached);
        a.on(Input::CaughtUp);
        a.on(seen("b", 1, 3));
        a.on(held());
        a.derive(4..=13);
        a
    };
    let mut a = forgetful();
    assert_eq!(a.on(dead("b")), "rederive from 3");
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "");
    assert_eq!(a.pass(60_000), "", "asked once, and emits nothing");

    assert_eq!(forgetful().on(Input::Lock(LockEvent::Free)), "rederive from 3");
    assert_eq!(forgetful().pass(TAKEOVER_MS + 1), "rederive from 3", "the forgotten count as unseen");

    let mut c = small("a");
    c.on(Input::TailReached);
    c.on(Input::CaughtUp);
    c.on(Input::Lock(LockEvent::Free));
    c.derive(1..=10);
    assert_eq!(
        c.on(Input::Lock(LockEvent::Acquired { czxid: 9 })),
        "rederive from 0; release; locking -> standby (forgotten)"
    );

    let mut d = Story::of("a");
    d.replica.options.derived = (5, hash_at(5));
    d.replica = Replica::new(d.replica.options.clone(), 0);
    d.on(Input::TailReached);
    d.on(Input::CaughtUp);
    assert_eq!(d.on(Input::Lock(LockEvent::Free)), "rederive from 0", "a snapshot that is past the marker");
}

#[test]
fn a_primary_forgets_nothing_and_keeps_its_machine_waiting() {
    let mut a = small("a");
    a.on(Input::TailReached);
    a.on(Input::CaughtUp);
    a.on(Input::Lock(LockEvent::Free));
    a.on(Input::Lock(LockEvent::Acquired { czxid: 9 }));
    a.on(Input::Initialised);
    a.on(Input::ReadBack(None));
    a.pass(FIRST_MARKER_MS);
    assert_eq!(a.derive(1..=20), "");
    assert!(a.replica.is_full() && !a.replica.has_forgotten());
    assert_eq!(a.on(Input::Committed { took_ms: 5 }), "commit 1..=20 epoch 1");
}

#[test]
fn a_slow_primary_is_not_taken_over_from_while_it_gets_on() {
    let mut a = Story::standby(9);
    a.on(held());
    for seq in 1..=5 {
        assert_eq!(a.pass(TAKEOVER_MS - 1), "");
        assert_eq!(a.on(seen("b", 1, seq)), "");
    }
    assert_eq!(a.pass(TAKEOVER_MS), "");
    assert_eq!(a.pass(1), "standby -> initialising (transition_unseen); init");
}

#[test]
fn a_free_lock_is_left_for_a_moment_to_whoever_went_over_its_holders_head() {
    let mut c = Story::standby(0);
    c.on(seen("a", 1, 0));
    c.on(Input::Lock(LockEvent::Held { worker: "a".into() }));
    c.on(seen("b", 2, 0));
    assert_eq!(c.on(Input::Lock(LockEvent::Free)), "", "a was dead, b is primary and takes its lock");
    assert_eq!(c.pass(YIELD_MS - 1), "");
    assert_eq!(c.pass(1), "standby -> locking (lock_free); acquire", "b is dead, too");
}

#[test]
fn what_is_out_may_be_such_that_nobody_must_go_on_from_it() {
    let lock = |a: &mut Story| a.on(Input::Lock(LockEvent::Free));
    let newest = |marker: Marker| {
        let mut a = Story::standby(3);
        a.pass(1);
        a.on(Input::Seen(Box::new(marker)));
        a
    };
    let mut newer = newest(Marker { engine_version: 2, ..marker("b", 1, 3) });
    assert_eq!(lock(&mut newer), "renew; standby -> fenced (newer_engine)");
    assert_eq!(newer.on(dead("b")), "");
    assert_eq!(newer.replica.refusal(), Some(Reason::NewerEngine));
    assert!(Reason::NewerEngine.remedy().is_some());

    let mut foreign = newest(Marker { topic_id: "t2".into(), ..marker("b", 1, 3) });
    assert_eq!(lock(&mut foreign), "renew; standby -> fenced (foreign_marker)");

    // The machine is past offset 40 and has derived three: there ought to be four.
    let short = Marker { input_offset: 30, ..marker("b", 1, 4) };
    let mut shorter = newest(short);
    assert_eq!(shorter.on(dead("b")), "renew; standby -> fenced (shorter_history)");
    assert_eq!(shorter.pass(BACKOFF_MS_MAX), "fenced -> standby (backoff_passed)");
    assert_eq!(lock(&mut shorter), "renew; standby -> fenced (shorter_history)");
    let mut behind = newest(marker("b", 1, 4));
    assert_eq!(lock(&mut behind), "standby -> locking (lock_free); acquire", "merely behind");

    let mut aged = Story::standby(3);
    lock(&mut aged);
    aged.on(Input::Lock(LockEvent::Acquired { czxid: 9 }));
    aged.on(Input::Initialised);
    assert_eq!(aged.on(Input::MarkerMissing), "release; renew; reading_back -> fenced (marker_missing)");
    assert_eq!(aged.replica.refusal(), Some(Reason::MarkerMissing));
}

#[test]
fn another_partition_count_is_told_once_and_stops_nobody() {
    let mut a = Story::standby(0);
    let grown = |epoch| Input::Seen(Box::new(Marker { partition_count: 4, ..marker("b", epoch, 0) }));
    assert_eq!(a.on(grown(1)), "4 partitions, 8 now");
    assert_eq!(a.on(grown(2)), "");
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "standby -> locking (lock_free); acquire");
}

fn dead(worker: &str) -> Input {
    Input::PrimaryDead { worker: worker.into() }
}

#[test]
fn a_primary_that_is_proved_dead_is_succeeded_at_once_although_its_lock_is_still_there() {
    let mut a = Story::standby(1);
    assert_eq!(a.on(held()), "");
    assert_eq!(
        a.on(dead("b")),
        "standby -> initialising (process_gone); init",
        "it may have died before its first marker"
    );
    a.on(Input::Initialised);
    assert_eq!(a.on(read_back(1, 0)), "reading_back -> primary (marker_read); commit 1..=1 epoch 2");
    a.on(Input::Committed { took_ms: 8 });
    assert_eq!(
        a.on(Input::CommitFailed(Failure::TimedOut)),
        "renew; primary -> initialising (commit_failed); init",
        "a dead holder stops nobody"
    );

    let mut b = Story::standby(0);
    b.on(seen("c", 4, 0));
    assert_eq!(
        b.on(dead("c")),
        "standby -> initialising (process_gone); init",
        "without ZooKeeper the newest marker tells"
    );
}

#[test]
fn the_death_of_a_worker_that_is_not_primary_moves_nobody() {
    let mut a = Story::standby(0);
    a.on(seen("b", 1, 0));
    assert_eq!(a.on(dead("c")), "");

    // b has stopped in a planned way, c has the lock and is on its way; then b's process ends.
    assert_eq!(a.on(Input::Lock(LockEvent::Held { worker: "c".into() })), "");
    assert_eq!(a.on(dead("b")), "");
    assert_eq!(a.on(dead("c")), "standby -> initialising (process_gone); init");

    // c holds the lock and is dead; b has gone over its head.
    let mut d = Story::standby(0);
    d.on(seen("c", 1, 0));
    d.on(Input::Lock(LockEvent::Held { worker: "c".into() }));
    d.on(seen("b", 2, 0));
    d.on(Input::Lock(LockEvent::Held { worker: "c".into() }));
    assert_eq!(d.on(dead("c")), "");
    assert_eq!(d.on(dead("b")), "standby -> initialising (process_gone); init");
}

#[test]
fn proof_of_death_is_for_those_who_are_ready() {
    let mut behind = Story::of("a");
    behind.on(Input::TailReached);
    behind.on(seen("b", 1, 0));
    assert_eq!(behind.on(dead("b")), "");
    assert_eq!(behind.on(Input::CaughtUp), "", "and it is not remembered");

    let mut primary = Story::primary();
    primary.on(seen("a", 1, 0));
    assert_eq!(primary.on(dead("a")), "");

    let mut fenced = Story::primary();
    fenced.on(Input::CommitFailed(Failure::Fenced));
    fenced.on(held());
    assert_eq!(fenced.pass(BACKOFF_MS), "fenced -> standby (backoff_passed)");
    assert_eq!(fenced.on(dead("b")), "", "a fenced worker comes back only with the lock");
}
