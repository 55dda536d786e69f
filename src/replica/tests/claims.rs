//! Stories of a replica and an operator's claim.

use super::*;
use crate::wire::record::LOCK_CLAIMED;

/// What a standalone worker writes of an epoch.
fn claimed(epoch: i64, seq: i64) -> Input {
    let claim = Marker { lock_czxid: LOCK_CLAIMED, ..marker("standalone", epoch, seq) };
    Input::Seen(Box::new(claim))
}

#[test]
fn a_standalone_worker_claims_the_partition_and_gives_it_back_with_its_last_marker() {
    let mut a = Story::of("standalone");
    a.replica.options.standalone = true;
    a.on(Input::TailReached);
    a.on(Input::CaughtUp);
    let lock_words = |actions: &[Action]| -> Vec<i64> {
        let of = |action: &Action| {
            if let Action::Commit { marker, .. } = action { Some(marker.lock_czxid) } else { None }
        };
        actions.iter().filter_map(of).collect()
    };
    let mut on = |input| {
        let mut actions = Vec::new();
        a.replica.step(Event { now_ms: 0, input }, &mut actions);
        actions
    };
    on(Input::Lock(LockEvent::Free));
    on(Input::Lock(LockEvent::Acquired { czxid: 1 }));
    on(Input::Initialised);
    assert_eq!(lock_words(&on(read_back(4, 0))), [-1], "it claims at once, and every minute");
    on(Input::Committed { took_ms: 3 });
    assert_eq!(lock_words(&on(Input::Stop)), [0], "the last marker ends the claim");
    assert_eq!(on(Input::Committed { took_ms: 3 }).last(), Some(&Action::Stopped));
}

#[test]
fn a_claim_is_stood_back_from_until_its_holder_gives_it_back() {
    let mut a = Story::primary();
    assert_eq!(a.on(Input::CommitFailed(Failure::Fenced)), "renew; primary -> fenced (producer_fenced)");
    assert_eq!(a.on(claimed(2, 0)), "", "nor is the lock given back: it would call the next standby");
    assert_eq!(a.pass(BACKOFF_MS), "fenced -> standby (backoff_passed)");
    assert_eq!(a.pass(HEARTBEAT_MS), "");
    a.on(claimed(2, 0));
    assert_eq!(a.pass(HEARTBEAT_MS), "", "the heartbeat keeps it");
    assert_eq!(a.on(seen("standalone", 2, 0)), "release");
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "standby -> locking (lock_free); acquire");

    let mut b = Story::standby(0);
    b.on(claimed(2, 0));
    assert_eq!(b.on(Input::Lock(LockEvent::Free)), "", "a free lock is not enough");
}

#[test]
fn a_claim_ends_with_the_process_that_made_it() {
    let mut quiet = Story::standby(0);
    quiet.on(claimed(2, 0));
    assert_eq!(quiet.on(Input::Lock(LockEvent::Free)), "");
    assert_eq!(
        quiet.pass(claim::CLAIM_MS),
        "standby -> locking (lock_free); acquire",
        "not even a heartbeat"
    );

    let mut busy = Story::standby(0);
    busy.on(claimed(2, 0));
    busy.derive(1..=1);
    assert_eq!(busy.pass(TAKEOVER_MS), "");
    assert_eq!(
        busy.pass(1),
        "standby -> initialising (transition_unseen); init",
        "an alert that stays unseen"
    );
}

#[test]
fn a_lock_that_is_won_too_late_is_given_back_for_a_claim() {
    let mut a = Story::standby(0);
    assert_eq!(a.on(Input::Lock(LockEvent::Free)), "standby -> locking (lock_free); acquire");
    a.on(claimed(1, 0));
    assert_eq!(a.on(Input::Lock(LockEvent::Acquired { czxid: 7 })), "release; locking -> standby (claimed)");
}

#[test]
fn a_primary_that_starts_over_stands_back_for_a_claim_made_meanwhile() {
    let claim = |epoch| {
        let claim = Marker { lock_czxid: LOCK_CLAIMED, ..marker("standalone", epoch, 0) };
        Input::ReadBack(Some(Box::new(claim)))
    };
    let mut a = Story::primary();
    a.on(Input::CommitFailed(Failure::TimedOut));
    a.on(Input::Lock(LockEvent::Acquired { czxid: 7 }));
    a.on(Input::Initialised);
    assert_eq!(a.on(claim(2)), "release; renew; reading_back -> fenced (claimed)");
    assert_eq!(a.pass(BACKOFF_MS), "fenced -> standby (backoff_passed)");
    a.derive(1..=1);
    assert_eq!(a.pass(TAKEOVER_MS), "");
    assert_eq!(a.pass(1), "standby -> initialising (transition_unseen); init", "the claim's holder is dead");
    a.on(Input::Initialised);
    assert_eq!(a.on(claim(2)), "reading_back -> primary (marker_read); commit 1..=1 epoch 3", "overruled");
}
