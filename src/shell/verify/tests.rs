//! The judge without Kafka: what the log says, and what a topic could hold instead. `tests/verify_stack.rs` does the
//! same with real topics.

use super::*;
use crate::machine::Position;
use crate::wire::keyring::{Signer, SigningKey};
use crate::wire::{AlertRecord, Control, Labels, Marker, ObservationsWriter, RuleFile, RuleSet, Transition};

const RULES: &str = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {alert: Down, expr: up == 0, annotations: {v: '{{ $value }}'}}\n";

fn signer() -> Signer {
    Signer::new(SigningKey::from_seed(&[1; 32]), "test/test.observations")
}

type Log = Vec<(Position, Vec<u8>)>;

/// `up` of three hosts, changed each second, two hosts at a time.
fn log(seconds: i64) -> Log {
    let set = RuleSet {
        version: 1,
        applied_ms: 0,
        author: "test".to_owned(),
        service_label: "service".to_owned(),
        limits: crate::wire::Limits::default(),
        partitions: 0,
        files: vec![RuleFile { name: "r.yaml".to_owned(), content: RULES.to_owned() }],
    };
    let mut values = vec![(0, signer().seal(0, &Control::Rules(set)))];
    for second in 0..seconds {
        let mut writer = ObservationsWriter::new("shop").expect("a service");
        for host in 0..3 {
            let down = (second + host) % 3 == 0;
            let labels = Labels::new([("host", format!("h{host}"))]);
            writer.sample("up", &labels, second * 1000 + 500, f64::from(u8::from(!down))).expect("a sample");
        }
        values.push((second * 1000 + 500, writer.finish()));
    }
    let position = |offset: usize, append_ms| Position {
        offset: i64::try_from(offset).expect("few"),
        append_ms,
        log_append: true,
    };
    values.into_iter().enumerate().map(|(offset, (ms, value))| (position(offset, ms), value)).collect()
}

fn options() -> Options {
    Options {
        partition: 0,
        keyring: signer().keyring(),
        hash_key: 0,
        producer_time: false,
        snapshot_interval_ms: 0,
    }
}

fn derive(log: &Log) -> Vec<Transition> {
    let mut replay = Replay::new(options());
    log.iter().for_each(|(position, value)| replay.step(*position, Some(value)));
    std::iter::from_fn(|| replay.next()).collect()
}

fn marker(out: &[Transition], epoch: i64) -> Marker {
    let last = out.last();
    Marker {
        seq: last.map_or(0, |last| last.seq),
        input_offset: last.map_or(-1, |last| last.input_offset),
        ordinal: last.map_or(0, |last| last.ordinal),
        running_hash: out.iter().fold([0; 32], |hash, transition| transition.chain(&hash)),
        epoch,
        lock_czxid: 1,
        rule_set_version: last.map_or(0, |last| last.rule_set_version),
        engine_version: ENGINE_VERSION,
        topic_id: String::new(),
        partition_count: 1,
        worker: "w".to_owned(),
        zone: "a".to_owned(),
        wall_ms: 0,
    }
}

/// All of them, a marker in front and after each second one.
fn topic(transitions: &[Transition]) -> Vec<AlertRecord> {
    let mut records = vec![AlertRecord::Marker(marker(&[], 1))];
    for (at, transition) in transitions.iter().enumerate() {
        records.push(AlertRecord::Transition(Box::new(transition.clone())));
        if at % 2 == 1 {
            records.push(AlertRecord::Marker(marker(&transitions[..=at], 1)));
        }
    }
    records
}

fn run(judge: Judge, log: &Log, from: usize, records: &[AlertRecord], at_rest: bool) -> Verdict {
    let (mut judge, mut next) = (judge, from);
    let mut feed = |replay: &mut Replay, _: i64| {
        let Some((position, value)) = log.get(next) else { return Ok::<bool, OtherEngine>(false) };
        next += 1;
        replay.step(*position, Some(value));
        Ok(true)
    };
    for (at, record) in records.iter().enumerate() {
        let key = match record {
            AlertRecord::Transition(transition) => transition.alert.to_string(),
            AlertRecord::Marker(_) => "marker".to_owned(),
        };
        let at = i64::try_from(at).expect("few");
        judge.alert(at, Some(key.as_bytes()), &record.encode(), &mut feed).expect("this engine");
    }
    judge.finish(at_rest, &mut feed).expect("this engine")
}

fn judged(log: &Log, records: &[AlertRecord]) -> Verdict {
    run(Judge::new(options(), false), log, 0, records, false)
}

#[test]
fn what_the_log_says_is_equal_and_what_is_beyond_the_last_marker_is_not_due() {
    let log = log(20);
    let all = derive(&log);
    assert!(all.len() > 20, "{}", all.len());
    let records = topic(&all[..10]);
    let verdict = judged(&log, &records);
    assert_eq!(verdict.difference, None);
    let left = u64::try_from(all.len() - 10).expect("few");
    assert_eq!((verdict.expected, verdict.found, verdict.not_due), (10, 10, left));
    assert_eq!((verdict.markers, verdict.epochs, verdict.records), (6, 1, 21));
    assert!(verdict.not_due_ms > 0);
    let verdict = run(Judge::new(options(), false), &log, 0, &records, true);
    assert!(matches!(verdict.difference, Some(Difference::Missing { seq: 11, count, .. }) if count == left));
    assert_eq!((verdict.lost, verdict.not_due), (left, 0));
}

#[test]
fn each_kind_of_difference_is_told_with_its_place() {
    let log = log(8);
    let all = derive(&log);
    let whole = topic(&all);
    let with = |change: &dyn Fn(&mut Vec<AlertRecord>)| {
        let mut records = whole.clone();
        change(&mut records);
        judged(&log, &records)
    };
    let edit = |at: usize, change: &dyn Fn(&mut Transition)| {
        with(&|records| {
            if let AlertRecord::Transition(transition) = &mut records[at] {
                change(transition);
            }
        })
    };
    let claim = |at: usize, change: &dyn Fn(&mut Marker)| {
        with(&|records| {
            if let AlertRecord::Marker(marker) = &mut records[at] {
                change(marker);
            }
        })
    };
    // Offsets: 0 marker, 1 and 2 transitions, 3 marker, 4 and 5 transitions, 6 marker …
    let twice = with(&|records| records.insert(3, records[2].clone()));
    assert!(
        matches!(twice.difference, Some(Difference::Duplicate { at: 3, seq: 2, first_at: Some(2), .. })),
        "{twice:?}"
    );
    assert_eq!((twice.doubled, twice.lost), (1, 0));
    let gap = with(&|records| drop(records.remove(2)));
    assert!(matches!(gap.difference, Some(Difference::Gap { at: 2, seq: 2, last_seq: 2, .. })), "{gap:?}");
    assert_eq!((gap.doubled, gap.lost, gap.changed), (0, 1, 0));
    let order = with(&|records| records.swap(4, 5));
    assert!(matches!(order.difference, Some(Difference::Gap { at: 4, seq: 3, .. })), "{order:?}");
    assert_eq!((order.doubled, order.lost), (0, 0), "it is there, behind");
    let changed = edit(4, &|transition| transition.value = 2.0);
    let Some(Difference::Changed { at: 4, seq: 3, cause, fields }) = &changed.difference else {
        panic!("{changed:?}")
    };
    assert_eq!(*cause, all[2].input_offset);
    assert_eq!((fields.len(), fields[0].field.as_str()), (1, "value"));
    assert_eq!((changed.changed, changed.lost), (1, 0));
    let nan = edit(4, &|transition| transition.value = f64::NAN);
    assert!(nan.difference.expect("differs").to_string().contains("bits"));
    for (field, change) in [
        ("seq", &(|marker: &mut Marker| marker.seq = 1) as &dyn Fn(&mut Marker)),
        ("running_hash", &|marker| marker.running_hash[0] ^= 1),
        ("input_offset", &|marker| marker.input_offset += 1),
        ("ordinal", &|marker| marker.ordinal += 1),
        ("rule_set_version", &|marker| marker.rule_set_version = 9),
    ] {
        let wrong = claim(3, change);
        let Some(Difference::Marker { at: 3, fields, .. }) = &wrong.difference else { panic!("{wrong:?}") };
        assert_eq!(fields[0].field, field);
    }
    let promises = claim(3, &|marker| marker.seq = 4);
    assert!(matches!(promises.difference, Some(Difference::Gap { at: 3, seq: 3, last_seq: 4, .. })));
    let back = claim(6, &|marker| marker.epoch = 0);
    assert!(matches!(back.difference, Some(Difference::Epoch { at: 6, epoch: 0, newest: 1, .. })));
    let shared = claim(6, &|marker| marker.worker = "other".to_owned());
    assert!(matches!(shared.difference, Some(Difference::Epoch { at: 6, epoch: 1, newest: 1, .. })));
    let mut invented = all.last().expect("some").clone();
    invented.seq += 1;
    let invented = with(&|records| records.push(AlertRecord::Transition(Box::new(invented.clone()))));
    assert!(matches!(invented.difference, Some(Difference::Unfounded { .. })), "{invented:?}");
}

#[test]
fn garbage_and_another_engine_are_told_apart() {
    let log = log(4);
    let mut judge = Judge::new(options(), false);
    let mut feed = |_: &mut Replay, _: i64| Ok::<bool, OtherEngine>(false);
    judge.alert(0, None, b"garbage", &mut feed).expect("this engine");
    let newer = AlertRecord::Marker(Marker { engine_version: ENGINE_VERSION + 1, ..marker(&[], 1) });
    let other = judge.alert(1, None, &newer.encode(), &mut feed);
    assert_eq!(other, Err(OtherEngine { at: 1, theirs: ENGINE_VERSION + 1 }));
    let verdict = judge.finish(false, &mut feed).expect("this engine");
    assert!(matches!(verdict.difference, Some(Difference::Unreadable { at: 0, .. })));
    assert_eq!(derive(&log).first().map(|transition| transition.seq), Some(1));
}

#[test]
fn a_topic_whose_beginning_retention_took_is_judged_from_its_first_record() {
    let log = log(8);
    let all = derive(&log);
    for from in [1, 2, 3, 4, 5] {
        let records = &topic(&all)[from..];
        let verdict = run(Judge::new(options(), true), &log, 0, records, true);
        assert_eq!(verdict.difference, None, "from {from}");
        let verdict = judged(&log, records);
        assert_eq!(verdict.is_equal(), from <= 1, "uncut, from {from}: {verdict:?}");
    }
}

#[test]
fn a_range_that_begins_in_the_middle_skims_what_is_before_it() {
    let log = log(8);
    let all = derive(&log);
    let middle = log.len() / 2;
    let judge = || {
        let mut replay = Replay::new(options());
        log[..middle].iter().for_each(|(position, value)| replay.step(*position, Some(value)));
        while replay.next().is_some() {}
        Judge::from_replay(0, replay, log[middle].0.offset, false)
    };
    let records = topic(&all);
    let verdict = run(judge(), &log, middle, &records, true);
    assert_eq!(verdict.difference, None);
    assert!(verdict.expected > 0 && verdict.expected < u64::try_from(all.len()).expect("few"));
    let mut twice = records.clone();
    twice.insert(3, records[2].clone());
    let verdict = run(judge(), &log, middle, &twice, true);
    assert!(matches!(verdict.difference, Some(Difference::Duplicate { at: 3, seq: 2, .. })), "{verdict:?}");
    let mut short = records;
    short.truncate(3);
    assert!(!run(judge(), &log, middle, &short, true).is_equal());
}

#[test]
fn markers_that_repeat_where_a_snapshot_begins_agree_with_each_other() {
    let log = log(8);
    let all = derive(&log);
    let middle = log.len() / 2;
    let mut replay = Replay::new(options());
    log[..middle].iter().for_each(|(position, value)| replay.step(*position, Some(value)));
    let before = std::iter::from_fn(|| replay.next()).count();
    assert!(before > 0);
    let heartbeat = marker(&all[..before], 1);
    let judged = |second: Marker| {
        let mut replay = Replay::new(options());
        log[..middle].iter().for_each(|(position, value)| replay.step(*position, Some(value)));
        while replay.next().is_some() {}
        let judge = Judge::from_replay(0, replay, log[middle].0.offset, false);
        let mut records = vec![AlertRecord::Marker(heartbeat.clone()), AlertRecord::Marker(second)];
        records.extend(all[before..].iter().map(|next| AlertRecord::Transition(Box::new(next.clone()))));
        run(judge, &log, middle, &records, true)
    };
    assert_eq!(judged(Marker { wall_ms: 60_000, ..heartbeat.clone() }).difference, None);
    let other = judged(Marker { ordinal: heartbeat.ordinal + 1, ..heartbeat.clone() });
    assert!(matches!(other.difference, Some(Difference::Marker { at: 1, .. })), "{other:?}");
}
