use super::*;

fn configuration(partitions: i32, replication: i32) -> Vec<Wanted> {
    let mut config = crate::config::load(&[], &|_| Some("host".to_owned())).expect("the defaults");
    config.kafka.partitions = partitions;
    config.kafka.replication = replication;
    wanted(&config)
}

/// What Kafka would say after every wanted topic was created.
fn created(wanted: &[Wanted]) -> BTreeMap<String, Found> {
    wanted
        .iter()
        .map(|topic| {
            let settings: BTreeMap<String, String> =
                topic.settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            let found = Found {
                partitions: topic.partitions,
                replication: topic.replication,
                has_data: true,
                own: settings.clone(),
                settings,
            };
            (topic.name.clone(), found)
        })
        .collect()
}

fn lines(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_there_means_five_topics_as_the_design_has_them() {
    let lines = lines(&compare(&configuration(8, 3), &BTreeMap::new(), false));
    assert_eq!(
        lines,
        [
            "+ bellwether.observations: create, partitions=8, replication=3, cleanup.policy=delete, \
             max.message.bytes=1200000, message.timestamp.type=LogAppendTime, min.insync.replicas=2, \
             retention.ms=86400000, unclean.leader.election.enable=false",
            "+ bellwether.alerts: create, partitions=8, replication=3, cleanup.policy=delete, \
             max.message.bytes=1200000, min.insync.replicas=2, retention.ms=604800000, \
             unclean.leader.election.enable=false",
            "+ bellwether.rules: create, partitions=1, replication=3, cleanup.policy=compact, \
             max.message.bytes=1200000, min.insync.replicas=2, unclean.leader.election.enable=false",
            "+ bellwether.rejected: create, partitions=8, replication=3, cleanup.policy=delete, \
             max.message.bytes=1200000, min.insync.replicas=2, retention.ms=86400000, \
             unclean.leader.election.enable=false",
            "+ bellwether.notifications: create, partitions=8, replication=3, cleanup.policy=compact, \
             max.message.bytes=1200000, min.insync.replicas=2, unclean.leader.election.enable=false",
        ]
    );
}

#[test]
fn what_was_created_needs_no_change() {
    let wanted = configuration(8, 3);
    assert_eq!(compare(&wanted, &created(&wanted), false), []);
}

#[test]
fn one_copy_of_each_partition_asks_for_one_in_sync() {
    assert!(configuration(1, 1).iter().all(|topic| topic.settings["min.insync.replicas"] == "1"));
}

#[test]
fn a_harmless_setting_is_changed() {
    let wanted = configuration(8, 3);
    let mut found = created(&wanted);
    let alerts = found.get_mut("bellwether.alerts").expect("alerts");
    alerts.settings.insert("retention.ms".to_owned(), "1000".to_owned());
    assert_eq!(
        lines(&compare(&wanted, &found, false)),
        ["~ bellwether.alerts: retention.ms 1000 -> 604800000"]
    );
}

fn only_refusal(wanted: &[Wanted], found: &BTreeMap<String, Found>) -> String {
    let changes = compare(wanted, found, false);
    assert!(changes.iter().all(|change| matches!(change.step, Step::Refuse { .. })), "{changes:?}");
    lines(&changes).join("\n")
}

#[test]
fn fewer_partitions_are_refused() {
    let refusal = only_refusal(&configuration(4, 3), &created(&configuration(8, 3)));
    assert!(refusal.starts_with("! bellwether.observations: refused: it has 8 partitions, 4 are wanted"));
    assert_eq!(refusal.lines().count(), 4);
}

#[test]
fn more_partitions_are_added_only_when_asked_for() {
    let (wanted, found) = (configuration(8, 3), created(&configuration(4, 3)));
    assert!(only_refusal(&wanted, &found).contains("--add-partitions"));
    let changes = compare(&wanted, &found, true);
    assert_eq!(changes.len(), 4);
    assert!(changes.iter().all(|change| change.step == Step::AddPartitions { from: 4, to: 8 }));
}

#[test]
fn another_timestamp_type_is_refused_on_a_topic_with_records_and_set_on_an_empty_one() {
    let wanted = configuration(8, 3);
    let mut found = created(&wanted);
    let observations = found.get_mut("bellwether.observations").expect("observations");
    observations.settings.insert("message.timestamp.type".to_owned(), "CreateTime".to_owned());
    assert!(
        only_refusal(&wanted, &found)
            .contains("message.timestamp.type is CreateTime, LogAppendTime is wanted")
    );
    found.get_mut("bellwether.observations").expect("observations").has_data = false;
    assert_eq!(
        lines(&compare(&wanted, &found, false)),
        ["~ bellwether.observations: message.timestamp.type CreateTime -> LogAppendTime"]
    );
}

#[test]
fn another_cleanup_policy_and_too_few_copies_are_refused() {
    let wanted = configuration(8, 3);
    let mut found = created(&wanted);
    let rules = found.get_mut("bellwether.rules").expect("rules");
    rules.settings.insert("cleanup.policy".to_owned(), "delete".to_owned());
    rules.replication = 1;
    let refusal = only_refusal(&wanted, &found);
    assert!(refusal.contains("cleanup.policy is delete, compact is wanted"));
    assert!(refusal.contains("replication is 1, kafka.replication says 3"));
}
