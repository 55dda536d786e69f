//! Each test is a story: minutes and seconds on the left, what happened on the right.

use super::world::{MINUTE, SECOND, World, settings};
use crate::notify::{Settings, Style, delay_ms, fingerprint};
use crate::wire::{AlertState, Labels};

fn pager() -> World {
    World::new(settings(&[("pager", Style::Grouped)]))
}

fn tell(world: &mut World, expected: &str) {
    let trim = |text: &str| text.lines().map(|l| l.trim().to_owned()).collect::<Vec<_>>().join("\n");
    assert_eq!(trim(&world.story()), trim(expected.trim()));
}

/// A pager that has been told at 0:10 that `a` fires.
fn told() -> World {
    let mut world = pager();
    world.fires("Disk", "a");
    world.at(10 * SECOND);
    world.answers_ok("pager");
    world.story();
    world
}

#[test]
fn a_new_group_waits_for_company_and_changes_wait_for_the_interval() {
    let mut world = pager();
    world.fires("Disk", "a");
    world.at(4 * SECOND);
    world.fires("Disk", "b");
    world.at(9 * SECOND);
    tell(&mut world, "");
    world.at(10 * SECOND);
    world.answers_ok("pager");
    world.fires("Disk", "c");
    world.resolves("Disk", "a");
    world.at(6 * MINUTE);
    world.answers_ok("pager");
    tell(
        &mut world,
        "0:10 -> pager new_group key=2 try=1 firing=a,b resolved=-
         0:10 pager took it
         5:10 -> pager group_changed key=4 try=1 firing=b,c resolved=a
         6:00 pager took it",
    );
}

#[test]
fn pending_alerts_are_not_notified() {
    let mut world = pager();
    world.transition("Disk", "a", AlertState::Inactive, AlertState::Pending);
    world.transition("Disk", "a", AlertState::Pending, AlertState::Inactive);
    world.at(MINUTE);
    tell(&mut world, "");
    assert!(world.store.keys().all(|key| key == "position"), "{:?}", world.store);
}

#[test]
fn another_severity_is_told_of_the_same_alert_in_a_group_of_its_own_if_groups_are_so() {
    let mut world = told();
    world.at(MINUTE);
    world.changes("Disk", "a", "critical");
    world.at(6 * MINUTE);
    // It changes again while that is under way.
    world.changes("Disk", "a", "warning");
    world.answers_ok("pager");
    world.at(11 * MINUTE);
    world.answers_ok("pager");
    world.restart();
    world.resolves("Disk", "a");
    world.at(17 * MINUTE);
    tell(
        &mut world,
        "5:10 -> pager group_changed key=2 try=1 firing=a resolved=-
         6:00 pager took it
         10:10 -> pager group_changed key=3 try=1 firing=a resolved=-
         11:00 pager took it
         11:00 restart
         16:00 -> pager resolved key=4 try=1 firing=- resolved=a",
    );
    let by_severity = vec!["severity".to_owned()];
    let mut world = World::new(Settings { group_by: by_severity, ..settings(&[("pager", Style::Grouped)]) });
    world.fires("Disk", "a");
    world.at(10 * SECOND);
    world.answers_ok("pager");
    world.changes("Disk", "a", "critical");
    world.at(6 * MINUTE);
    let story = world.story();
    assert!(story.contains("new_group key=2 try=1 firing=a resolved=-"), "{story}");
    assert!(story.contains("resolved key=2 try=1 firing=- resolved=a"), "{story}");
}

#[test]
fn what_was_resolved_before_anybody_was_told_is_not_told() {
    let mut world = pager();
    world.fires("Disk", "a");
    world.at(3 * SECOND);
    world.resolves("Disk", "a");
    world.at(MINUTE);
    tell(&mut world, "0:10 pager resolved_before_notified");
    assert!(world.store.keys().all(|key| key == "position"), "nothing is kept: {:?}", world.store);
}

#[test]
fn the_last_resolve_ends_the_group_and_a_new_fire_waits_group_wait_again() {
    let mut world = told();
    world.at(MINUTE);
    world.resolves("Disk", "a");
    world.at(5 * MINUTE + 10 * SECOND);
    world.answers_ok("pager");
    assert!(world.store.keys().all(|key| key == "position"), "nothing is kept: {:?}", world.store);
    world.at(6 * MINUTE);
    world.fires("Disk", "a");
    world.at(7 * MINUTE);
    tell(
        &mut world,
        "5:10 -> pager resolved key=2 try=1 firing=- resolved=a
         5:10 pager took it
         6:10 -> pager new_group key=3 try=1 firing=a resolved=-",
    );
}

#[test]
fn an_unchanged_group_is_repeated_with_a_key_of_its_own() {
    let mut world = told();
    world.at(60 * MINUTE);
    let quiet = world.story();
    assert!(quiet.lines().all(|line| line.ends_with("pager unchanged")), "{quiet}");
    world.at(65 * MINUTE + 10 * SECOND);
    world.answers_ok("pager");
    world.at(126 * MINUTE);
    let story = world.story();
    let sent: Vec<&str> = story.lines().filter(|line| line.contains("->")).map(str::trim).collect();
    assert_eq!(
        sent,
        [
            "60:10 -> pager repeat key=1-r1 try=1 firing=a resolved=-",
            "125:10 -> pager repeat key=1-r2 try=1 firing=a resolved=-"
        ]
    );
}

#[test]
fn a_failed_notification_is_retried_with_the_same_key_until_a_newer_state_takes_its_place() {
    let mut world = pager();
    world.fires("Disk", "a");
    world.at(10 * SECOND);
    world.fails("pager", "status_500", None);
    world.at(12 * SECOND);
    world.fails("pager", "timeout", None);
    world.fires("Disk", "b");
    world.at(16 * SECOND);
    // The pager hangs over the next flush, at 5:10, and fails after it.
    world.resolves("Disk", "a");
    world.at(5 * MINUTE + 10 * SECOND);
    world.fails("pager", "timeout", None);
    world.at(5 * MINUTE + 16 * SECOND);
    world.answers_ok("pager");
    world.at(9 * MINUTE);
    tell(
        &mut world,
        "0:10 -> pager new_group key=1 try=1 firing=a resolved=-
         0:10 pager status_500
         0:11 -> pager new_group key=1 try=2 firing=a resolved=-
         0:12 pager timeout
         0:13 -> pager new_group key=1 try=3 firing=a resolved=-
         5:10 pager awaiting_reply
         5:10 pager timeout
         5:10 pager superseded
         5:14 -> pager new_group key=3 try=4 firing=b resolved=a
         5:16 pager took it",
    );
}

#[test]
fn a_resolve_follows_an_attempt_whose_answer_was_lost() {
    let mut world = pager();
    world.fires("Disk", "a");
    world.at(10 * SECOND);
    world.under_way.clear();
    world.unseen("Disk", "a", AlertState::Firing, AlertState::Inactive);
    world.at(20 * SECOND);
    world.restart();
    world.at(21 * SECOND);
    world.answers_ok("pager");
    tell(
        &mut world,
        "0:10 -> pager new_group key=1 try=1 firing=a resolved=-
         0:20 restart
         0:20 -> pager resolved key=2 try=1 firing=- resolved=a
         0:21 pager took it",
    );
}

#[test]
fn a_refusal_is_recorded_and_tried_again_with_the_next_flush_only() {
    let mut world = pager();
    world.fires("Disk", "a");
    world.at(10 * SECOND);
    world.fails("pager", "status_400", None);
    let failure = format!("{:?}", world.store);
    assert!(failure.contains(r#"failure: "status_400""#), "{failure}");
    world.at(5 * MINUTE + 10 * SECOND);
    tell(
        &mut world,
        "0:10 -> pager new_group key=1 try=1 firing=a resolved=-
         0:10 pager status_400
         5:10 -> pager new_group key=1 try=1 firing=a resolved=-",
    );
}

#[test]
fn a_resolve_that_is_refused_for_a_day_is_given_up() {
    let mut world = told();
    world.resolves("Disk", "a");
    while !world.store.keys().all(|key| key == "position") {
        world.at(world.now_ms + MINUTE);
        while !world.under_way.is_empty() {
            world.fails("pager", "status_400", None);
        }
        assert!(world.now_ms < 25 * 60 * MINUTE, "never given up");
    }
    assert!(world.story().ends_with("pager gave_up\n"));
    assert!(world.now_ms >= 24 * 60 * MINUTE);
}

#[test]
fn a_receiver_that_asks_to_be_left_alone_is() {
    let mut world = pager();
    world.fires("Disk", "a");
    world.fires("Memory", "m");
    world.fires("Swap", "s");
    world.at(10 * SECOND);
    world.fails("pager", "status_429", Some(30 * SECOND));
    world.answers_ok("pager");
    world.at(39 * SECOND);
    tell(
        &mut world,
        "0:10 -> pager new_group key=1 try=1 firing=a resolved=-
         0:10 -> pager new_group key=2 try=1 firing=m resolved=-
         0:10 pager status_429
         0:10 pager took it",
    );
    world.at(40 * SECOND);
    let story = world.story();
    assert_eq!(story.matches("->").count(), 2, "{story}");
}

#[test]
fn a_hung_receiver_delays_nobody_else() {
    let mut world = World::new(settings(&[("hung", Style::Grouped), ("pager", Style::Grouped)]));
    for rule in ["Disk", "Memory", "Swap", "Load"] {
        world.fires(rule, rule);
    }
    world.at(10 * SECOND);
    for _ in 0..4 {
        world.answers_ok("pager");
    }
    let owed = world.dispatcher.owed();
    assert_eq!((owed[0].notifications, owed[0].oldest_ms), (4, Some(10 * SECOND)));
    assert_eq!(owed[1].notifications, 0);
    assert_eq!(world.under_way.len(), 2, "the rest waits where the newest state still wins");
}

#[test]
fn a_restart_neither_repeats_nor_forgets() {
    let mut world = told();
    world.fires("Disk", "b");
    world.at(MINUTE);
    world.restart();
    world.at(4 * MINUTE);
    tell(&mut world, "1:00 restart");
    world.at(5 * MINUTE + 10 * SECOND);
    tell(&mut world, "5:10 -> pager group_changed key=2 try=1 firing=a,b resolved=-");
    // It dies before the answer: the same again, by the same key.
    world.restart();
    tell(
        &mut world,
        "5:10 restart
         5:10 -> pager group_changed key=2 try=1 firing=a,b resolved=-",
    );
}

#[test]
fn a_past_that_is_over_never_pages() {
    let mut world = pager();
    world.unseen("Disk", "a", AlertState::Inactive, AlertState::Firing);
    world.unseen("Disk", "a", AlertState::Firing, AlertState::Inactive);
    world.at(60 * MINUTE);
    world.restart();
    world.at(61 * MINUTE);
    tell(&mut world, "60:00 restart");
}

#[test]
fn an_alertmanager_is_told_at_once_and_each_minute_and_a_while_after_the_end() {
    let mut world = World::new(settings(&[("am", Style::Feed)]));
    world.fires("Disk", "a");
    world.answers_ok("am");
    world.at(10 * SECOND);
    world.fires("Disk", "b");
    world.fails("am", "unreachable", None);
    world.at(12 * SECOND);
    world.answers_ok("am");
    world.at(60 * SECOND);
    world.answers_ok("am");
    world.resolves("Disk", "a");
    world.answers_ok("am");
    world.resolves("Disk", "b");
    world.answers_ok("am");
    tell(
        &mut world,
        "0:00 -> am forward key=1 try=1 firing=a resolved=-
         0:00 am took it
         0:10 -> am forward key=2 try=1 firing=b resolved=-
         0:10 am unreachable
         0:11 -> am forward key=2 try=2 firing=b resolved=-
         0:12 am took it
         1:00 -> am resend key=2 try=1 firing=a,b resolved=-
         1:00 am took it
         1:00 -> am forward key=3 try=1 firing=- resolved=a
         1:00 am took it
         1:00 -> am forward key=4 try=1 firing=- resolved=b
         1:00 am took it",
    );
    for minute in 2..=5 {
        world.at(minute * MINUTE);
        world.answers_ok("am");
    }
    world.at(20 * MINUTE);
    assert_eq!(world.story().matches("-> am resend key=4 try=1 firing=- resolved=a,b").count(), 4);
    assert!(world.store.keys().all(|key| key == "position"), "nothing is kept: {:?}", world.store);
}

#[test]
fn back_off_doubles_up_to_a_minute_and_differs_from_key_to_key() {
    for attempt in 1..40 {
        let base = (1_000_i64 << (attempt - 1).min(20)).min(60_000);
        let delay = delay_ms(attempt, "c/0/1/1");
        assert!((base * 3 / 4..=base * 5 / 4).contains(&delay), "attempt {attempt}: {delay} ms");
    }
    assert_ne!(delay_ms(3, "c/0/1/1"), delay_ms(3, "c/0/1/2"));
}

#[test]
fn a_resolve_whose_answer_was_lost_is_taken_back_when_it_fires_again() {
    let mut world = told();
    world.resolves("Disk", "a");
    world.at(5 * MINUTE + 10 * SECOND);
    world.under_way.clear();
    world.unseen("Disk", "a", AlertState::Inactive, AlertState::Firing);
    world.restart();
    world.at(5 * MINUTE + 11 * SECOND);
    tell(
        &mut world,
        "5:10 -> pager resolved key=2 try=1 firing=- resolved=a
         5:10 restart
         5:10 -> pager new_group key=3 try=1 firing=a resolved=-",
    );
}

#[test]
fn fingerprints_are_alertmanagers() {
    assert_eq!(fingerprint(&Labels::default()), 0xcbf2_9ce4_8422_2325);
    // As Alertmanager 0.25 answered for these labels.
    let labels = Labels::new([("alertname", "Disk"), ("instance", "a"), ("service", "db")]);
    assert_eq!(fingerprint(&labels), 0x11fc_44cf_eb81_db84);
}
