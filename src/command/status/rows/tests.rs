use super::*;
use crate::shell::registry::PartitionReport;

fn report(zone: &str, role: &str, offset: i64, digest: &str) -> WorkerReport {
    let mine = PartitionReport {
        role: role.into(),
        offset,
        clock_ms: 10_000,
        seq: 8,
        digest: digest.into(),
        digest_offset: offset,
        ..PartitionReport::default()
    };
    WorkerReport {
        worker: format!("{zone}-1"),
        zone: zone.into(),
        http: String::new(),
        started_ms: 0,
        version: String::new(),
        settings: Default::default(),
        partitions: BTreeMap::from([(0, mine)]),
    }
}

fn marker(zone: &str) -> Marker {
    Marker {
        seq: 7,
        input_offset: 3,
        ordinal: 0,
        running_hash: [0; 32],
        epoch: 4,
        lock_czxid: 0,
        rule_set_version: 2,
        engine_version: 1,
        topic_id: String::new(),
        partition_count: 2,
        worker: format!("{zone}-1"),
        zone: zone.into(),
        wall_ms: 0,
    }
}

fn seen(reports: Vec<WorkerReport>) -> Seen {
    Seen {
        ends: BTreeMap::from([(0, 100), (1, 0)]),
        markers: BTreeMap::from([(0, marker("a"))]),
        zones: vec!["a".into()],
        zookeeper: true,
        reports,
        now_ms: 15_900,
    }
}

fn text(seen: &Seen) -> Vec<String> {
    rows(seen).iter().map(|row| row.cells().join(" ")).collect()
}

#[test]
fn each_partition_has_a_row_in_each_zone() {
    let seen = seen(vec![report("a", "primary", 100, "abcdef0123456789"), report("b", "standby", 90, "00")]);
    assert_eq!(
        text(&seen),
        [
            "0 a a-1 primary 0 0 4 8 7 0 abcdef012345",
            "0 b b-1 standby 10 5 4 8 7 0 00",
            "1 a - nobody - - - - - - -",
            "1 b - nobody - - - - - - -",
        ]
    );
    assert_eq!(
        troubles(&rows(&seen)),
        ["partition 1: no worker hosts it in a", "partition 1: no worker hosts it in b"]
    );
}

#[test]
fn two_states_at_one_offset_are_reported() {
    let pair = |digest| seen(vec![report("a", "primary", 100, "aa"), report("b", "standby", 100, digest)]);
    let of_first =
        |seen: &Seen| troubles(&rows(seen)).into_iter().find(|line| line.starts_with("partition 0"));
    assert_eq!(of_first(&pair("aa")), None);
    let trouble = of_first(&pair("bb")).expect("they differ");
    assert_eq!(trouble, "partition 0: a-1 and b-1 differ in their state at offset 100: one of them is wrong");
}

#[test]
fn a_partition_without_a_primary_is_reported() {
    let seen = seen(vec![report("a", "standby", 1, ""), report("b", "standby", 1, "")]);
    assert_eq!(troubles(&rows(&seen))[0], "partition 0: 0 workers say that they are its primary");
}

#[test]
fn a_zone_that_died_whole_is_reported() {
    let mut seen = seen(vec![report("b", "primary", 100, "")]);
    seen.ends.remove(&1);
    assert_eq!(text(&seen), ["0 a - nobody - - 4 - 7 - -", "0 b b-1 primary 0 0 4 8 7 0 -"]);
    assert_eq!(troubles(&rows(&seen)), ["partition 0: no worker hosts it in a"]);
}

#[test]
fn without_zookeeper_the_markers_tell_who_was_primary() {
    let seen = Seen { zookeeper: false, ..seen(Vec::new()) };
    assert_eq!(text(&seen), ["0 a a-1 wrote last marker - - 4 - 7 2 -", "1 a - unknown - - - - - - -"]);
}
