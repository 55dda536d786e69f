use super::*;
use crate::wire::Reason;

fn transition(seq: i64, host: &str, to: AlertState) -> Transition {
    let labels = Labels::new([("alertname", "DiskFull"), ("host", host)]);
    Transition {
        seq,
        alert: AlertId::of("DiskFull", &labels),
        from: AlertState::Inactive,
        to,
        reason: Reason::ConditionMet,
        group: "disks".into(),
        rule: "DiskFull".into(),
        rule_set_version: 1,
        service: String::new(),
        labels,
        annotations: Labels::default(),
        value: 0.97,
        output: String::new(),
        event_ms: 1_700_000_000_000,
        active_since_ms: 1_700_000_000_000,
        input_offset: 1,
        ordinal: 0,
        append_ms: 0,
        suppressed_by: None,
    }
}

/// Feeds records in this order; gives the seqs that come out.
fn read(reader: &mut Reader, partition: i32, seqs: &[i64]) -> Vec<i64> {
    let mut out = Vec::new();
    for (offset, seq) in (0..).zip(seqs) {
        let value = transition(*seq, "a", AlertState::Firing).encode();
        reader
            .take(&Record { partition, offset, append_ms: 0, value }, |transition| out.push(transition.seq));
    }
    out
}

#[test]
fn a_seq_that_was_seen_is_dropped_and_a_gap_is_waited_at() {
    let mut reader = Reader::default();
    assert_eq!(read(&mut reader, 0, &[5, 6, 6, 5, 8, 9]), [5, 6]);
    assert_eq!(reader.waiting().collect::<Vec<_>>(), [0]);
    assert_eq!(read(&mut reader, 1, &[1, 2]), [1, 2]);
    assert_eq!(read(&mut reader, 0, &[7]), [7, 8, 9]);
    assert_eq!(reader.waiting().count(), 0);
}

#[test]
fn bytes_that_cannot_be_read_are_passed_over() {
    let mut reader = Reader::default();
    reader.take(&Record { partition: 0, offset: 0, append_ms: 0, value: b"?".to_vec() }, |_| {
        panic!("nothing to give")
    });
    assert_eq!(read(&mut reader, 0, &[1]), [1]);
}

#[test]
fn what_is_inactive_is_not_shown() {
    let mut alerts = Alerts::new();
    for (seq, host, to) in [
        (1, "a", AlertState::Pending),
        (2, "b", AlertState::Pending),
        (3, "a", AlertState::Firing),
        (4, "b", AlertState::Inactive),
    ] {
        update(&mut alerts, 0, Box::new(transition(seq, host, to)));
    }
    let rows: Vec<_> = alerts.values().map(|transition| row(transition).join(" ")).collect();
    assert_eq!(rows, [r#"firing 2023-11-14T22:13:20Z DiskFull {host="a"} 0.97"#]);
}

#[test]
fn a_line_tells_the_transition_and_escapes_what_a_terminal_would_obey() {
    let text = line(3, &transition(7, "a\u{1b}[2J", AlertState::Firing));
    assert_eq!(
        text,
        r#"2023-11-14T22:13:20Z 3/7 inactive -> firing DiskFull {host="a\u{1b}[2J"} value=0.97 reason=condition_met"#
    );
    assert!(colour(&text).contains("\u{1b}[31mfiring\u{1b}[0m DiskFull"));
}

#[test]
fn json_has_numbers_that_json_cannot_hold_as_strings() {
    let stale = Transition { value: f64::NAN, ..transition(1, "a", AlertState::Firing) };
    let value: serde_json::Value = serde_json::from_str(&json(2, &stale)).expect("JSON");
    assert_eq!((&value["value"], &value["partition"]), (&"NaN".into(), &2.into()));
    assert_eq!(value["labels"]["host"], "a");
}
