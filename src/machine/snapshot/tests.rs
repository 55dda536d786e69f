//! A machine that begins anew is the one that never stopped; and no bytes make another.

pub(super) mod log;
mod points;

use super::*;
use log::{log, options, seal, step};

fn parts(capture: &Capture) -> Vec<Vec<u8>> {
    capture.parts().collect()
}

fn restore(parts: &[Vec<u8>], hash_key: u64) -> Result<Machine, SnapshotFault> {
    let bytes = parts.iter().map(|part| part.len() as u64).sum();
    let mut restore = Restore::new(options(hash_key), bytes);
    parts.iter().try_for_each(|part| restore.part(part))?;
    restore.finish()
}

/// A state that has some of everything and whose rules load fast.
fn small() -> Machine {
    let rich = |machine: &Machine| {
        let summary = machine.summary();
        summary.pending > 0 && summary.firing > 3 && summary.series > 9 && machine.outputs.len() > 0
    };
    (0..100).map(small_of).find(rich).expect("one of a hundred logs leads to such a state")
}

fn small_of(seed: u64) -> Machine {
    let rules = "baselines: [{name: n, series: a, min_samples: 1, models: [{model: moving, window: 2m, panes: 4}, \
                 {model: ewma}, {model: seasonal, season: day, tz: Europe/Tallinn}]}, {name: m, series: b, kind: counter}]\n\
                 groups: [{name: g, interval: 10s, rules: [{alert: A, expr: a > 2, for: 30s}, {record: b, expr: a}]}, \
                 {name: h, rules: [{alert: B, expr: b > 2, keep_firing_for: 1h}, {alert: N, expr: 'n:score > 1'}, {alert: C, expr: check_status > 0}]}]";
    let mut machine = Machine::new(options(3));
    let set = |version| {
        let file = crate::wire::RuleFile { name: "r".to_owned(), content: rules.to_owned() };
        let (author, service_label) = ("x".to_owned(), "service".to_owned());
        let set = RuleSet {
            version,
            applied_ms: 5,
            author,
            service_label,
            limits: crate::wire::Limits::default(),
            partitions: 0,
            files: vec![file],
        };
        seal(&crate::wire::Control::Rules(set))
    };
    let records = log(seed, 40).into_iter().enumerate().map(|(at, (position, value))| match at {
        0 => (position, Some(set(1))),
        // Other rules would come.
        _ if value.as_deref().is_some_and(|value| value.windows(7).any(|at| at == b"groups:")) => {
            (position, None)
        }
        _ => (position, value),
    });
    records.for_each(|record| _ = step(&mut machine, &record));
    machine
}

#[test]
fn a_small_snapshot_with_one_byte_changed_is_refused_or_another_state() {
    let capture = small().capture();
    let (parts, digest) = (parts(&capture), capture.digest());
    assert_eq!(parts.len(), 1);
    let (mut refused, mut other) = (0, 0);
    let tail = log(12, 4);
    for at in 0..parts[0].len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut bytes = parts[0].clone();
            bytes[at] ^= flip;
            match restore(&[bytes.clone()], 1) {
                Err(_) => refused += 1,
                // Whose records count is the restoring machine's own option, whatever the bytes say.
                Ok(changed) if (14..46).contains(&at) => assert_eq!(changed.digest(), digest),
                Ok(mut changed) => {
                    // The bytes are a snapshot, of another state: what the hashes of the manifest are for.
                    assert_eq!(changed.digest(), *blake3::hash(&bytes).as_bytes(), "byte {at} ^ {flip:#x}");
                    assert_ne!(changed.digest(), digest, "byte {at} ^ {flip:#x}");
                    tail.iter().skip(1).for_each(|record| _ = step(&mut changed, record));
                    other += 1;
                }
            }
        }
        assert!(restore(&[parts[0][..at].to_vec()], 1).is_err(), "cut at {at}");
    }
    let mut longer = parts[0].clone();
    longer.push(0);
    assert!(matches!(restore(&[longer], 1), Err(SnapshotFault::Split { .. })));
    println!("{} bytes: {refused} changes refused, {other} are other states, 0 panics", parts[0].len());
    assert!(refused > 2_000, "{refused}");
}

#[test]
fn a_foreign_or_newer_snapshot_is_refused_by_name() {
    let parts = parts(&small().capture());
    let code = |at: usize, byte: u8| {
        let mut bytes = parts[0].clone();
        bytes[at] = byte;
        restore(&[bytes], 1).map(|_| ()).map_err(|fault| (fault.code(), fault.to_string()))
    };
    let refused = |at, byte| code(at, byte).expect_err("another's");
    assert_eq!(refused(0, b'X').0, "foreign");
    assert_eq!(
        refused(4, 9),
        (
            "format",
            "its format is 9, this program reads 3: restore it with the program that wrote it".to_owned()
        )
    );
    assert_eq!(refused(6, 99).0, "engine");
    assert_eq!(
        refused(10, 6).1,
        "it is of partition 6, this is partition 5: look for one below this partition's key"
    );
    let mut restore = Restore::new(options(1), 7);
    assert!(matches!(restore.part(&parts[0]), Err(SnapshotFault::Length { declared: 7, .. })));
    assert!(matches!(
        restore.part(&parts[0]),
        Err(SnapshotFault::Length { .. } | SnapshotFault::Refused { .. })
    ));
}

#[test]
fn parts_are_cut_behind_items_and_nowhere_else() {
    let mut machine = small();
    let capture = machine.capture();
    for part_bytes in [1, 50, 700] {
        let parts: Vec<Vec<u8>> = capture.image().parts(part_bytes).collect();
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        let feed = |parts: &[Vec<u8>]| {
            let mut restore = Restore::with_parts_of(options(1), bytes, part_bytes);
            parts.iter().try_for_each(|part| restore.part(part)).and_then(|()| restore.finish())
        };
        assert_eq!(feed(&parts).expect("its own parts").digest(), machine.digest());
        assert!(parts.len() > 1, "{part_bytes}");
        assert!(matches!(feed(&parts[..parts.len() - 1]), Err(SnapshotFault::Length { .. })));
        let joined = [vec![parts[..2].concat()], parts[2..].to_vec()].concat();
        assert!(matches!(feed(&joined), Err(SnapshotFault::Split { .. } | SnapshotFault::Malformed { .. })));
        let mut swapped = parts.clone();
        swapped.swap(0, 1);
        assert!(feed(&swapped).is_err());
    }
}

#[test]
fn a_capture_does_not_see_what_comes_after_it() {
    let log = log(21, 120);
    let mut machine = Machine::new(options(1));
    let mut captures = Vec::new();
    for record in &log {
        _ = step(&mut machine, record);
        captures.push((machine.capture(), machine.digest()));
    }
    for (at, (capture, digest)) in captures.iter().enumerate() {
        assert_eq!(capture.digest(), *digest, "at {at}");
    }
}
