use super::findings::*;
use crate::shell::kafka::topics::Found;
use std::collections::BTreeMap;

const HOUR_MS: i64 = 3_600_000;

/// An installation without fault.
fn sound() -> Seen {
    let found = |policy: &str| Found {
        partitions: 8,
        replication: 3,
        has_data: true,
        settings: [
            ("cleanup.policy", policy),
            ("min.insync.replicas", "2"),
            ("unclean.leader.election.enable", "false"),
            ("message.timestamp.type", "LogAppendTime"),
            ("retention.ms", "86400000"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect(),
        own: BTreeMap::new(),
    };
    let mut topics: BTreeMap<String, Found> = ["observations", "alerts", "rejected"]
        .into_iter()
        .map(|name| (name.to_owned(), found("delete")))
        .collect();
    topics.insert("notifications".to_owned(), found("compact"));
    topics.insert("rules".to_owned(), Found { partitions: 1, ..found("compact") });
    let worker = |id: &str, zone: &str| LiveWorker {
        id: id.to_owned(),
        zone: zone.to_owned(),
        http: format!("{id}:9470"),
        snapshot_interval_ms: HOUR_MS,
    };
    Seen {
        topics,
        verifies_transactions: Some(true),
        snapshot_interval_ms: HOUR_MS,
        workers: Some(vec![worker("a1", "a"), worker("b1", "b")]),
        zones: vec!["a".to_owned(), "b".to_owned()],
        clock_offsets_ms: [("a1".to_owned(), 4), ("b1".to_owned(), -900)].into(),
    }
}

#[test]
fn a_sound_installation_has_no_finding() {
    assert_eq!(judge(&sound()), Vec::new());
}

#[test]
fn each_fault_is_found_and_said_with_its_remedy() {
    type Break = fn(&mut Seen);
    fn set(seen: &mut Seen, topic: &str, key: &str, value: &str) {
        if let Some(found) = seen.topics.get_mut(topic) {
            found.settings.insert(key.to_owned(), value.to_owned());
        }
    }
    fn workers(seen: &mut Seen) -> &mut Vec<LiveWorker> {
        seen.workers.get_or_insert_default()
    }
    let table: [(&str, Severity, Break); 18] = [
        ("topic_missing", Severity::Error, |seen| _ = seen.topics.remove("rules")),
        ("replication", Severity::Warning, |seen| {
            seen.topics.entry("alerts".to_owned()).and_modify(|found| found.replication = 2);
        }),
        ("min_insync", Severity::Warning, |seen| set(seen, "alerts", "min.insync.replicas", "1")),
        ("unclean_election", Severity::Error, |seen| {
            set(seen, "observations", "unclean.leader.election.enable", "true");
        }),
        ("timestamp_type", Severity::Error, |seen| {
            set(seen, "observations", "message.timestamp.type", "CreateTime");
        }),
        ("cleanup_policy", Severity::Error, |seen| set(seen, "observations", "cleanup.policy", "compact")),
        ("partition_counts", Severity::Error, |seen| {
            seen.topics.entry("alerts".to_owned()).and_modify(|found| found.partitions = 4);
        }),
        ("retention", Severity::Warning, |seen| set(seen, "observations", "retention.ms", "14399999")),
        ("retention", Severity::Error, |seen| set(seen, "observations", "retention.ms", "60000")),
        ("no_snapshots", Severity::Warning, |seen| seen.snapshot_interval_ms = 0),
        ("alerts_retention", Severity::Error, |seen| set(seen, "alerts", "retention.ms", "3599999")),
        ("broker_version", Severity::Warning, |seen| seen.verifies_transactions = Some(false)),
        ("clock_offset", Severity::Warning, |seen| _ = seen.clock_offsets_ms.insert("b1".to_owned(), -2001)),
        ("zookeeper", Severity::Warning, |seen| seen.workers = None),
        ("zone_empty", Severity::Error, |seen| workers(seen).truncate(1)),
        ("zones_equal", Severity::Error, |seen| {
            seen.zones.truncate(1);
            workers(seen).iter_mut().for_each(|worker| worker.zone = "a".to_owned());
        }),
        ("settings_differ", Severity::Warning, |seen| {
            workers(seen).iter_mut().skip(1).for_each(|worker| worker.snapshot_interval_ms = 0);
        }),
        ("worker_id", Severity::Error, |seen| {
            workers(seen).iter_mut().for_each(|worker| worker.id = "a1".to_owned());
        }),
    ];
    for (code, severity, broken) in table {
        let mut seen = sound();
        broken(&mut seen);
        let findings = judge(&seen);
        assert_eq!(findings.len(), 1, "{code}: {findings:?}");
        assert_eq!((findings[0].code, findings[0].severity), (code, severity));
        assert!(!findings[0].remedy.is_empty());
    }
}

#[test]
fn for_ever_is_long_enough_and_the_worst_comes_first() {
    let mut seen = sound();
    seen.verifies_transactions = Some(false);
    seen.topics.remove("rules");
    for found in seen.topics.values_mut() {
        found.settings.insert("retention.ms".to_owned(), "-1".to_owned());
    }
    let codes: Vec<&str> = judge(&seen).iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["topic_missing", "broker_version"]);
}
