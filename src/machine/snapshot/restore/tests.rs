//! Random mutations of a large snapshot, each read where it stands.

use super::super::tests::log::{Dice, options, seal, step};
use super::*;
use crate::machine::Position;
use crate::machine::snapshot::Capture;
use crate::wire::{CheckResult, Control, ObservationsWriter, RuleFile, RuleSet, Tick};

const MUTATIONS: usize = 1_000_000;
const PART: usize = 100;

/// Three thousand series, of which a third have alerts, and five hundred checks.
fn large() -> Capture {
    let rules = "groups: [{name: g, rules: [{alert: A, expr: a > 2, for: 30s}, {record: b, expr: a}, \
                 {alert: C, expr: check_status > 0}, {alert: B, expr: b > 3}]}]";
    let file = RuleFile { name: "r".to_owned(), content: rules.to_owned() };
    let (author, service_label) = ("x".to_owned(), "service".to_owned());
    let set = RuleSet {
        version: 1,
        applied_ms: 5,
        author,
        service_label,
        limits: crate::wire::Limits::default(),
        partitions: 0,
        files: vec![file],
    };
    let mut machine = Machine::new(options(3));
    let mut offset = 0;
    let mut feed = |time_ms: i64, value: Vec<u8>| {
        offset += 1;
        _ = step(&mut machine, &(Position { offset, append_ms: time_ms, log_append: true }, Some(value)));
    };
    feed(1_000_000, seal(&Control::Rules(set)));
    let mut dice = Dice(1);
    for round in 0..5 {
        let time_ms = 1_000_000 + round * 61_000;
        let tick = Control::Tick(Tick { worker: "w".to_owned(), wall_ms: time_ms });
        feed(time_ms, seal(&tick));
        for service in 0..30 {
            let mut writer = ObservationsWriter::new(&format!("service-{service}")).expect("a name");
            for host in 0..50 {
                let host = format!("host-{host}");
                let value = dice.roll(8) as f64 + if dice.roll(3) == 0 { 0.3 } else { 0.0 };
                writer.sample("a", &Labels::new([("host", host.as_str())]), time_ms, value).expect("it fits");
                if service < 10 {
                    let status = if dice.roll(9) == 0 { 2 } else { 0 };
                    let (key, perfdata, output) = (&[][..], "", "a word about it");
                    let check =
                        CheckResult { key, host: &host, check: "c", status, output, perfdata, time_ms };
                    writer.check(&check, &Labels::default()).expect("it fits");
                }
            }
            feed(time_ms, writer.finish());
        }
    }
    machine.capture()
}

impl Restore {
    /// Puts it before a part again: the rules in force as they are, and nothing else.
    fn begin_at(&mut self, stage: &Stage, parts: u64, taken: u64) {
        self.stage = stage.clone();
        (self.parts, self.taken) = (parts, taken);
        self.machine.outputs = crate::machine::output::Outputs::default();
        self.loading.clear(&mut self.machine.store);
    }
}

/// The stage with the last of what it has gathered, which is all that the next item is held against.
fn light(stage: &Stage) -> Stage {
    match stage {
        Stage::Alerts(at, alerts, left) => {
            Stage::Alerts(*at, alerts.last().cloned().into_iter().collect(), *left)
        }
        Stage::Written(at, labels, left) => {
            Stage::Written(*at, labels.last().cloned().into_iter().collect(), *left)
        }
        Stage::Head
        | Stage::RuleSet
        | Stage::Group(_)
        | Stage::Rule(_)
        | Stage::Outputs
        | Stage::Output(_)
        | Stage::Store
        | Stage::Series { .. }
        | Stage::Whole { .. }
        | Stage::Refused => stage.clone(),
    }
}

fn mutated(part: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = part.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = usize::try_from(dice.roll(bytes.len() as u64)).expect("a short part");
        let byte = dice.roll(256).to_le_bytes()[0];
        match dice.roll(6) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes.insert(at, byte),
            2 if bytes.len() > 1 => _ = bytes.remove(at),
            3 => bytes[at] ^= 1 << (byte % 8),
            4 => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xff][usize::from(byte % 6)],
            _ => bytes[at] = byte,
        }
    }
    bytes
}

#[test]
fn random_mutations_of_a_large_snapshot_never_panic() {
    let capture = large();
    let parts: Vec<Vec<u8>> = capture.image().parts(PART).collect();
    let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
    let mut dice = Dice(2);
    let mut restore = Restore::with_parts_of(options(1), bytes, PART);
    // The first parts hold the rule set: each of their mutations compiles one. They are in the small snapshot's test.
    let rules = 2;
    parts[..rules].iter().for_each(|part| restore.part(part).expect("its own part"));
    let each = MUTATIONS.div_ceil(parts.len() - rules);
    let (mut refused, mut other, mut same) = (0, 0, 0);
    for (at, part) in parts.iter().enumerate().skip(rules) {
        let (stage, taken) = (light(&restore.stage), restore.taken);
        for _ in 0..each {
            let bytes = mutated(part, &mut dice);
            restore.begin_at(&stage, at as u64, taken);
            match restore.part(&bytes) {
                Err(_) => refused += 1,
                Ok(()) if bytes == *part => same += 1,
                // Valid by itself: what the manifest's hash of the part is for, which it has not got.
                Ok(()) => other += 1,
            }
        }
        restore.begin_at(&stage, at as u64, taken);
        restore.part(part).expect("its own part");
    }
    let kib = bytes / 1024;
    println!(
        "{} mutations of {kib} KiB in {} parts: {refused} refused, {other} other states, {same} alike, 0 panics",
        each * (parts.len() - rules),
        parts.len()
    );
    assert!(each * (parts.len() - rules) >= MUTATIONS && refused > MUTATIONS / 2);
}
