//! The stories of `tests/golden/`: rules and samples in, transitions out. `UPDATE_GOLDEN=1 cargo test --test golden`
//! writes what comes out now into the files; read the difference before you keep it.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test reads its stories, and UPDATE_GOLDEN, and may panic"
)]

mod story;

use std::fs;

#[test]
fn every_story_ends_as_it_is_told() {
    let update = std::env::var("UPDATE_GOLDEN").is_ok();
    let files = story::files();
    assert!(files.len() >= 15, "only {} stories were found", files.len());
    let mut differences = Vec::new();
    for path in files {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let told = fs::read_to_string(&path).expect("a story");
        let story = story::parse(&told).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let run = story::run(&story);
        if update {
            fs::write(&path, &run.text).expect("the story can be written");
        } else if run.text != told {
            differences.push(format!("{name}:\n{}", difference(&told, &run.text)));
        }
    }
    assert!(differences.is_empty(), "{}\nUPDATE_GOLDEN=1 writes what comes out now", differences.join("\n"));
}

/// The first lines that differ.
fn difference(told: &str, now: &str) -> String {
    let same = told.lines().zip(now.lines()).take_while(|(told, now)| told == now).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    format!("  line {}\n  told: {}\n  now:  {}", same + 1, line(told), line(now))
}

/// Whatever reads the log, in whatever portions, and whoever begins anew in the middle of it: the same state.
mod log {
    use super::story;
    use bellwether::machine::snapshot::Restore;
    use bellwether::machine::{Action, Event, Machine, Options, Position};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    type Log = Vec<(Position, Option<Vec<u8>>)>;

    fn options(hash_key: u64) -> Options {
        Options {
            partition: story::STORY_PARTITION,
            keyring: story::keys::keyring(),
            hash_key,
            producer_time: false,
            snapshot_interval_ms: 0,
        }
    }

    /// All stories one after the other: a log of a few thousand records with everything that stories have.
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let mut log: Log = Vec::new();
        let (mut start_ms, mut version) = (0, 0);
        for path in story::files() {
            let text = std::fs::read_to_string(path).expect("a story");
            let run = story::run_from(&story::parse(&text).expect("it parses"), start_ms, version);
            let at_least = log.last().map_or(0, |(position, _)| position.offset + 7);
            for (position, value) in run.log {
                // Offsets of a log have gaps.
                log.push((Position { offset: at_least + 3 * position.offset, ..position }, value));
            }
            start_ms = log.iter().map(|(position, _)| position.append_ms).max().unwrap_or(0) + 1_000;
            version = version.max(run.version);
        }
        log
    });

    /// A machine after the first `count` records, fed in portions; what it wanted done.
    fn feed(log: &[(Position, Option<Vec<u8>>)], count: usize, portions: &[usize]) -> (Machine, Vec<Action>) {
        let mut machine = Machine::new(options(u64::try_from(count).unwrap_or(0)));
        let mut done = Vec::new();
        let mut rest = &log[..count];
        let mut sizes = portions.iter().cycle();
        while !rest.is_empty() {
            let (portion, tail) = rest.split_at((*sizes.next().unwrap_or(&1)).clamp(1, rest.len()));
            let mut out = Vec::new();
            for (position, value) in portion {
                machine.step(Event::read(*position, value.as_deref()), &mut out);
            }
            done.extend(out);
            rest = tail;
        }
        (machine, done)
    }

    #[test]
    fn equal_digests_after_each_record_of_a_long_log() {
        let log = &*LOG;
        assert!(log.len() > 3_000, "{} records", log.len());
        let mut machines = [Machine::new(options(7)), Machine::new(options(8))];
        let mut out = Vec::new();
        for (position, value) in log {
            for machine in &mut machines {
                machine.step(Event::read(*position, value.as_deref()), &mut out);
            }
            assert_eq!(machines[0].digest(), machines[1].digest(), "at offset {}", position.offset);
        }
        let summary = machines[0].summary();
        assert!(summary.seq > 80 && summary.rule_set_version > 20, "the log is too quiet: {summary:?}");
        // A record is never without a trace: the digest is of this point of the log and no other.
        let (shorter, _) = feed(log, log.len() - 1, &[1]);
        assert_ne!(shorter.digest(), machines[0].digest());
    }

    /// The state's bytes, and a machine that begins anew from them.
    fn restored(machine: &mut Machine, options: Options) -> (Vec<u8>, Machine) {
        let capture = machine.capture();
        let parts: Vec<Vec<u8>> = capture.parts().collect();
        let mut restore = Restore::new(options, parts.iter().map(|part| part.len() as u64).sum());
        parts.iter().for_each(|part| restore.part(part).expect("its own bytes"));
        (parts.concat(), restore.finish().expect("all of them"))
    }

    #[test]
    fn a_machine_that_begins_anew_from_a_snapshot_at_each_record_never_differs() {
        let (mut whole, mut again) = (Machine::new(options(7)), Machine::new(options(8)));
        for (position, value) in &*LOG {
            let (mut actions, mut same) = (Vec::new(), Vec::new());
            whole.step(Event::read(*position, value.as_deref()), &mut actions);
            again.step(Event::read(*position, value.as_deref()), &mut same);
            assert_eq!(format!("{actions:?}"), format!("{same:?}"), "at offset {}", position.offset);
            let (bytes, next) = restored(&mut again, options(position.offset.unsigned_abs()));
            assert_eq!(
                blake3::hash(&bytes),
                blake3::Hash::from(whole.digest()),
                "at offset {}",
                position.offset
            );
            assert_eq!(next.digest(), whole.digest(), "at offset {}", position.offset);
            again = next;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn portions_and_interruptions_leave_no_trace(
            cut in 0.0..1.0f64,
            portions in prop::collection::vec(1usize..400, 1..6),
            others in prop::collection::vec(1usize..40, 1..6),
        ) {
            let log = &*LOG;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a point in a short log")]
            let count = (cut * log.len() as f64) as usize;
            let (mut interrupted, mut first) = feed(log, count, &portions);
            let (whole, all) = feed(log, log.len(), &others);
            for (position, value) in &log[count..] {
                interrupted.step(Event::read(*position, value.as_deref()), &mut first);
            }
            prop_assert_eq!(interrupted.digest(), whole.digest());
            prop_assert_eq!(format!("{first:?}"), format!("{all:?}"));
            let emitted = all.iter().filter_map(|action| match action {
                Action::Emit(transition) => Some(transition),
                Action::Reject(..) | Action::RulesSwitched { .. } | Action::ConfirmTime(_) | Action::Cut => None,
            });
            let mut chain = [0; 32];
            for (seq, transition) in (1..).zip(emitted) {
                prop_assert_eq!(transition.seq, seq);
                chain = transition.chain(&chain);
            }
            prop_assert_eq!(whole.summary().running_hash, chain);
        }
    }
}
