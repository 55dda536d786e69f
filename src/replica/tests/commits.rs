//! Stories of a primary: what it commits, how it starts over, is fenced, and stops.

use super::*;

#[test]
fn losing_zookeeper_neither_demotes_nor_stops_a_primary() {
    let mut a = Story::primary();
    assert_eq!(a.on(Input::Lock(LockEvent::Lost)), "");
    assert_eq!(a.derive(1..=1), "commit 1..=1 epoch 1");
    assert_eq!(a.on(Input::Committed { took_ms: 8 }), "");
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "acquire", "back: the lock is taken again");
}

#[test]
fn one_transaction_takes_what_waits_up_to_a_chunk() {
    let mut a = Story::primary();
    assert_eq!(a.derive(1..=1), "commit 1..=1 epoch 1");
    assert_eq!(a.derive(2..=1200), "", "one at a time");
    assert_eq!(a.on(Input::Committed { took_ms: 8 }), "commit 2..=501 epoch 1");
    assert_eq!(a.on(Input::Committed { took_ms: 8 }), "commit 502..=1001 epoch 1");

    let mut b = Story::primary();
    let big = |seq| Derived { bytes: vec![0; 300 << 10], ..derived(seq, 0) };
    assert_eq!(b.on(Input::Derived((1..=3).map(big).collect())), "commit 1..=1 epoch 1", "by bytes too");
}

#[test]
fn a_quiet_primary_writes_a_marker_each_minute() {
    let mut a = Story::primary();
    assert_eq!(a.pass(HEARTBEAT_MS - 1), "");
    assert_eq!(a.pass(1), "commit marker 0 epoch 1");
    assert_eq!(a.on(Input::Committed { took_ms: 8 }), "");
    assert_eq!(a.pass(HEARTBEAT_MS), "commit marker 0 epoch 1");
}

#[test]
fn a_slow_commit_is_out_but_its_producer_is_not_used_again() {
    let mut a = Story::primary();
    a.derive(1..=1);
    assert_eq!(
        a.on(Input::Committed { took_ms: SLOW_COMMIT_MS + 1 }),
        "renew; primary -> initialising (commit_slow); acquire"
    );
    assert_eq!(a.on(Input::Lock(LockEvent::Acquired { czxid: 7 })), "init");
    a.on(Input::Initialised);
    assert_eq!(
        a.on(Input::ReadBack(Some(Box::new(marker("a", 1, 1))))),
        "reading_back -> primary (marker_read)"
    );
    assert_eq!(a.pass(FIRST_MARKER_MS), "commit marker 1 epoch 2");
}

#[test]
fn whoever_slept_through_its_commit_does_not_fence_its_successor_back() {
    let asleep = || {
        let mut a = Story::primary();
        a.derive(1..=1);
        a.on(Input::CommitFailed(Failure::TimedOut));
        a
    };
    let words = "renew; initialising -> fenced (lock_lost)";
    assert_eq!(asleep().on(Input::Lock(LockEvent::Lost)), words);
    assert_eq!(asleep().on(held()), words);
    assert_eq!(asleep().on(seen("b", 2, 1)), "renew; initialising -> fenced (newer_epoch)");
    // Nobody answers: ZooKeeper stops no emission.
    let mut a = asleep();
    assert_eq!(a.pass(VERIFY_MS - 1), "");
    assert_eq!(a.pass(1), "init");
    assert_eq!(a.on(Input::Lock(LockEvent::Acquired { czxid: 7 })), "", "too late to matter");
}

#[test]
fn after_a_failed_commit_the_read_back_tells_whether_it_is_out() {
    for (out, then) in [(0, "; commit 1..=1 epoch 2"), (1, "")] {
        let mut a = Story::primary();
        a.derive(1..=1);
        assert_eq!(
            a.on(Input::CommitFailed(Failure::TimedOut)),
            "renew; primary -> initialising (commit_failed); acquire"
        );
        assert_eq!(a.on(Input::Lock(LockEvent::Acquired { czxid: 7 })), "init");
        a.on(Input::Initialised);
        let back = Input::ReadBack(Some(Box::new(marker("a", 1, out))));
        assert_eq!(a.on(back), format!("reading_back -> primary (marker_read){then}"));
    }
}

#[test]
fn a_fenced_primary_waits_and_comes_back_only_with_the_lock() {
    let mut a = Story::primary();
    a.derive(1..=1);
    assert_eq!(
        a.on(Input::CommitFailed(Failure::Fenced)),
        "renew; primary -> fenced (producer_fenced)",
        "the lock is kept: its successor has not shown itself"
    );
    assert_eq!(
        a.pass(BACKOFF_MS),
        "fenced -> standby (backoff_passed)",
        "not before the back-off has passed"
    );
    assert_eq!(a.pass(claim::LOCK_KEPT_MS - BACKOFF_MS), "release");
    assert_eq!(a.on(held()), "");
    assert_eq!(a.pass(10_000), "", "although its transition is unseen");
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "standby -> locking (lock_free); acquire");
}

#[test]
fn a_fenced_replica_takes_over_again_once_its_successor_has_shown_itself_and_died() {
    let mut a = Story::primary();
    a.derive(1..=2);
    a.on(Input::CommitFailed(Failure::Fenced));
    assert_eq!(a.on(seen("b", 2, 1)), "release");
    assert_eq!(a.pass(TAKEOVER_MS + 1), "fenced -> standby (backoff_passed)");
    assert_eq!(a.pass(1), "standby -> initialising (transition_unseen); init");
}

#[test]
fn a_successor_that_never_wrote_a_marker_is_succeeded_in_the_end() {
    let mut a = Story::primary();
    a.derive(1..=1);
    a.on(Input::CommitFailed(Failure::Fenced));
    a.pass(BACKOFF_MS);
    assert_eq!(a.pass(LOCK_ONLY_MS - BACKOFF_MS - 1), "release");
    assert_eq!(a.pass(1), "standby -> initialising (transition_unseen); init");
}

#[test]
fn each_fence_of_a_minute_doubles_the_back_off() {
    let mut a = Story::primary();
    for (seq, backoff_ms) in [(1, 1_000), (2, 2_000), (3, 4_000)] {
        let epoch = a.replica.epoch();
        let told = a.on(seen("b", epoch + 1, 0));
        assert!(
            told.contains("renew; primary -> fenced (newer_epoch)"),
            "a marker of a newer epoch tells before any commit does: {told}"
        );
        assert_eq!(a.pass(backoff_ms - 1), "");
        assert_eq!(a.pass(1), "fenced -> standby (backoff_passed)");
        // Nobody else emits, or a promoted replica would not rise again so soon.
        a.derive(seq..=seq);
        assert!(a.pass((2 * TAKEOVER_MS) << seq).starts_with("standby -> initialising (transition_unseen)"));
        a.on(Input::Initialised);
        a.on(read_back(epoch + 1, seq - 1));
        a.on(Input::Committed { took_ms: 5 });
    }
}

#[test]
fn a_second_promotion_in_a_minute_needs_something_that_nobody_emits() {
    let mut a = Story::primary();
    a.on(seen("b", 2, 0));
    assert_eq!(a.pass(BACKOFF_MS), "fenced -> standby (backoff_passed)");
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "", "b may have lost its session, and emits");
    assert_eq!(a.derive(1..=1), "");
    assert_eq!(a.pass(499), "");
    assert_eq!(a.pass(1), "standby -> locking (lock_free); acquire");

    let mut quiet = Story::primary();
    quiet.on(seen("b", 2, 0));
    quiet.pass(BACKOFF_MS);
    quiet.on(Input::Lock(LockEvent::Free));
    assert_eq!(quiet.pass(60_000), "standby -> locking (lock_free); acquire", "later it is as ever");
}

#[test]
fn without_a_way_to_kafka_the_lock_is_given_to_whoever_gets_further() {
    let mut a = Story::standby(0);
    a.on(Input::Lock(LockEvent::Free));
    a.on(Input::Lock(LockEvent::Acquired { czxid: 9 }));
    a.now_ms += GIVE_UP_MS - 1;
    assert_eq!(a.on(Input::InitialiseFailed(Failure::TimedOut)), "init");
    a.now_ms += 1;
    assert_eq!(
        a.on(Input::InitialiseFailed(Failure::TimedOut)),
        "release; renew; initialising -> fenced (no_progress)"
    );
}

#[test]
fn a_failed_commit_does_not_fence_back_whoever_took_the_lock_meanwhile() {
    let mut a = Story::primary();
    a.on(Input::Lock(LockEvent::Lost));
    a.on(held());
    a.derive(1..=1);
    assert_eq!(a.on(Input::CommitFailed(Failure::TimedOut)), "renew; primary -> fenced (commit_failed)");
}

#[test]
fn a_primary_that_overrode_a_hung_holder_keeps_going_after_a_failed_commit() {
    let mut a = Story::standby(1);
    a.on(held());
    a.pass(TAKEOVER_MS + 1);
    a.on(Input::Initialised);
    a.on(read_back(1, 0));
    assert_eq!(
        a.on(Input::CommitFailed(Failure::TimedOut)),
        "renew; primary -> initialising (commit_failed); init"
    );
}

#[test]
fn a_replica_behind_the_marker_suppresses_what_is_out() {
    let mut a = Story::of("a");
    assert_eq!(a.on(seen("b", 1, 3)), "");
    assert_eq!(a.derive(1..=2), "");
    assert_eq!(a.replica.waiting(), 0);
    a.on(Input::TailReached);
    a.on(Input::CaughtUp);
    a.on(Input::Lock(LockEvent::Free));
    a.on(Input::Lock(LockEvent::Acquired { czxid: 9 }));
    a.on(Input::Initialised);
    assert_eq!(a.on(read_back(1, 3)), "reading_back -> primary (marker_read)");
    assert_eq!(a.derive(3..=4), "commit 4..=4 epoch 2", "at once, in the place of a marker alone");
}

#[test]
fn a_marker_of_another_history_is_reported_once_an_epoch_and_paging_goes_on() {
    let mut a = Story::standby(3);
    let other = |epoch, seq| Box::new(Marker { running_hash: [9; 32], ..marker("b", epoch, seq) });
    assert_eq!(a.on(Input::Seen(other(1, 2))), "diverged from b at 2");
    assert!(a.replica.is_diverged());
    assert_eq!(a.on(Input::Seen(other(1, 3))), "");
    assert_eq!(a.on(Input::Seen(other(1, 5))), "", "ahead of us: compared when we get there");
    assert_eq!(a.on(Input::Seen(other(2, 5))), "");
    assert_eq!(a.derive(4..=5), "diverged from b at 5");
    a.on(Input::Lock(LockEvent::Free));
    a.on(Input::Lock(LockEvent::Acquired { czxid: 9 }));
    a.on(Input::Initialised);
    a.on(Input::ReadBack(Some(other(2, 5))));
    a.on(Input::Committed { took_ms: 5 });
    assert_eq!(a.derive(6..=6), "commit 6..=6 epoch 3");
}

#[test]
fn a_marker_over_another_topic_or_an_older_one_stops_promotion() {
    let promoting = || {
        let mut a = Story::standby(3);
        a.on(seen("b", 1, 2));
        a.on(Input::Lock(LockEvent::Free));
        a.on(Input::Lock(LockEvent::Acquired { czxid: 9 }));
        a.on(Input::Initialised);
        a
    };
    let foreign = Marker { topic_id: "t2".into(), ..marker("b", 1, 2) };
    assert_eq!(
        promoting().on(Input::ReadBack(Some(Box::new(foreign)))),
        "release; renew; reading_back -> fenced (foreign_marker)"
    );
    for older in [Some(Box::new(marker("b", 1, 1))), None] {
        assert_eq!(
            promoting().on(Input::ReadBack(older)),
            "release; renew; reading_back -> fenced (marker_went_back)"
        );
    }
}

#[test]
fn a_planned_stop_finishes_what_waits_and_gives_the_lock_back() {
    let mut a = Story::primary();
    a.derive(1..=1);
    a.derive(2..=600);
    assert_eq!(a.on(Input::Stop), "primary -> stopping (stop_requested)");
    assert_eq!(a.on(Input::Committed { took_ms: 5 }), "commit 2..=501 epoch 1");
    assert_eq!(a.on(Input::Committed { took_ms: 5 }), "commit 502..=600 epoch 1");
    assert_eq!(a.on(Input::Committed { took_ms: 5 }), "release; stopped");
    assert_eq!(a.on(Input::Tick), "");

    let mut b = Story::standby(3);
    assert_eq!(b.on(Input::Stop), "standby -> stopping (stop_requested); stopped");

    let mut c = Story::primary();
    c.derive(1..=1);
    c.on(Input::Stop);
    assert_eq!(
        c.on(Input::CommitFailed(Failure::TimedOut)),
        "release; stopped",
        "the successor has the rest"
    );
}

#[test]
#[should_panic(expected = "the machine gave seq 3 after 1")]
fn a_gap_in_the_machines_transitions_is_a_broken_invariant() {
    let mut a = Story::standby(1);
    a.derive(3..=3);
}
