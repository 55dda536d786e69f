//! What no golden story can show: states beside each other.

use super::*;
use crate::wire::keyring::{Signer, SigningKey};
use crate::wire::{Labels, ObservationsWriter, RuleFile, Tick};

/// The last bytes of the key of a sample that makes the machine panic: a label value of 6 bytes, and the labels' end.
pub(crate) const POISON: &[u8] = b"poison\0";

const LOG: &str = "test/test.observations";
const HOUR: i64 = 3_600_000;
const RULES: &str =
    "groups:\n- name: main\n  interval: 1s\n  rules:\n  - {alert: Down, expr: up == 0, for: 10s}\n";

fn signer(seed: u8) -> Signer {
    Signer::new(SigningKey::from_seed(&[seed; 32]), LOG)
}

fn machine() -> Machine {
    Machine::new(Options {
        partition: 3,
        keyring: signer(1).keyring(),
        hash_key: 7,
        producer_time: false,
        snapshot_interval_ms: 0,
    })
}

fn rules(version: i64, content: &str) -> Control {
    Control::Rules(RuleSet {
        version,
        applied_ms: 0,
        author: "test".to_owned(),
        service_label: "service".to_owned(),
        limits: crate::wire::Limits::default(),
        partitions: 0,
        files: vec![RuleFile { name: "rules.yaml".to_owned(), content: content.to_owned() }],
    })
}

fn tick(wall_ms: i64) -> Control {
    Control::Tick(Tick { worker: "a1".to_owned(), wall_ms })
}

fn up(value: f64, time_ms: i64) -> Vec<u8> {
    let mut writer = ObservationsWriter::new("shop").expect("a service");
    writer.sample("up", &Labels::new([("host", "h1")]), time_ms, value).expect("a sample");
    writer.finish()
}

/// What somebody may write who may write samples: each would page, silence or end something if it were believed.
fn forgeries() -> Vec<Vec<u8>> {
    let silence = rules(9, "groups: []\n");
    let mut out = Vec::new();
    for control in [tick(HOUR), silence] {
        let good = signer(1).seal(3, &control);
        out.push([&good[..10], &[0; 64], &good[74..]].concat());
        out.push([&good[..10], &[1; 64], &good[74..]].concat());
        out.push(signer(2).seal(3, &control));
        out.push(signer(1).seal(2, &control));
        out.push(Signer::new(SigningKey::from_seed(&[1; 32]), "test/other.observations").seal(3, &control));
    }
    out
}

/// A log in which an alert becomes pending and a broker then runs an hour ahead; between its records stands `other`.
fn run(machine: &mut Machine, other: impl Fn(usize) -> Vec<u8>) -> Vec<Action> {
    let mut out = Vec::new();
    let records = [
        (0, signer(1).seal(3, &rules(1, RULES))),
        (0, signer(1).seal(3, &tick(0))),
        (100, up(0.0, 100)),
        (1_500, signer(1).seal(3, &tick(1_500))),
        (HOUR, up(0.0, 1_600)),
        (HOUR + 100, up(0.0, 1_700)),
    ];
    let mut offset = 0;
    let mut feed = |stamp_ms, value: &[u8]| {
        let position = Position { offset, append_ms: stamp_ms, log_append: true };
        offset += 1;
        machine.step(Event::read(position, Some(value)), &mut out);
    };
    for (stamp_ms, value) in &records {
        feed(*stamp_ms, value);
        (0..forgeries().len()).for_each(|at| feed(*stamp_ms, &other(at)));
    }
    out
}

fn emitted(actions: &[Action]) -> Vec<&Transition> {
    let mut out = Vec::new();
    for action in actions {
        match action {
            Action::Emit(transition) => out.push(transition.as_ref()),
            Action::Reject(..) | Action::RulesSwitched { .. } | Action::ConfirmTime(_) | Action::Cut => {}
        }
    }
    out
}

/// Fault 44.
#[test]
fn forged_control_records_are_counted_and_change_nothing() {
    let forged = forgeries();
    let (mut a, mut b, mut plain) = (machine(), machine(), machine());
    let told = run(&mut a, |at| forged[at].clone());
    run(&mut b, |at| forged[at].clone());
    assert_eq!(a.digest(), b.digest(), "both replicas count alike");
    let rejected =
        told.iter().filter(|action| matches!(action, Action::Reject(_, Fault::Unauthentic(_)))).count();
    assert_eq!(rejected, 6 * forged.len());
    let counted = a.summary().unauthentic;
    let twelve =
        ["bad_signature", "other_log", "other_partition", "unknown_key", "unsigned"].map(|why| (why, 12));
    assert_eq!(counted, twelve.into());

    // The same log with garbage in their places: nothing but the counter tells the two apart.
    let quiet = run(&mut plain, |_| b"garbage".to_vec());
    assert_eq!(emitted(&told), emitted(&quiet));
    assert_eq!(emitted(&told).len(), 1, "pending; the hour of the mad broker ended no `for`");
    assert_ne!(a.digest(), plain.digest());
    a.counters.unauthentic.clear();
    assert_eq!(a.digest(), plain.digest());
    assert_eq!(a.summary().rule_set_version, 1);

    // Were the forged tick believed, the hour would be settled and the alert fire.
    let mut believing = machine();
    let real = run(&mut believing, |_| signer(1).seal(3, &tick(HOUR)));
    assert_eq!(emitted(&real).len(), 2);
}

#[test]
fn machines_that_trust_others_are_seen_as_different() {
    let mut other = machine();
    other.options.keyring = signer(2).keyring();
    assert_ne!(machine().digest(), other.digest());
}
