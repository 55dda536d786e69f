//! Preflight and topic ids on the real stack: what is wrong with the topics is found, and a topic that was deleted and
//! made again has another id.

#![allow(clippy::expect_used, reason = "a test on the real stack may panic")]

mod common;

use bellwether::config::{self, Config};
use bellwether::shell::kafka::KafkaError;
use bellwether::shell::kafka::topic_id::topic_id;
use common::{bellwether, stack, wait_for};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::time::Duration;

/// Creates a topic of one copy, or with no partitions deletes it.
fn topic(name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", stack("BELLWETHER_KAFKA"))
        .create()
        .expect("an admin client");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let options = AdminOptions::new();
    let results = if partitions == 0 {
        runtime.block_on(admin.delete_topics(&[name], &options))
    } else {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        runtime.block_on(admin.create_topics([&topic], &options))
    };
    let results = results.expect("Kafka answers");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

fn configuration() -> Config {
    let brokers = format!("kafka: {{brokers: {:?}}}", stack("BELLWETHER_KAFKA"));
    config::load(&[("test".to_owned(), brokers)], &|_| None).expect("it is valid")
}

#[test]
fn a_topic_that_was_made_again_has_another_id() {
    let (config, name) = (configuration(), format!("topic-id-{}", std::process::id()));
    let id = || topic_id(&config, &name).ok().filter(|id| !id.is_empty());
    assert!(matches!(topic_id(&config, &name), Err(KafkaError::NoTopic { .. })));
    topic(&name, 1, &[]);
    let first = wait_for("the topic's id", Duration::from_secs(20), id);
    assert_eq!(id(), Some(first.clone()), "it stays");
    topic(&name, 0, &[]);
    wait_for("the deletion", Duration::from_secs(20), || id().is_none().then_some(()));
    topic(&name, 1, &[]);
    let second = wait_for("the new topic's id", Duration::from_secs(20), id);
    assert_ne!(first, second);
    topic(&name, 0, &[]);
}

#[test]
fn what_is_wrong_with_the_topics_is_found_and_said() {
    let prefix = format!("preflight-{}", std::process::id());
    topic(
        &format!("{prefix}.observations"),
        2,
        &[("message.timestamp.type", "CreateTime"), ("unclean.leader.election.enable", "true")],
    );
    topic(&format!("{prefix}.alerts"), 1, &[]);
    let brokers = format!("kafka.brokers={}", stack("BELLWETHER_KAFKA"));
    let zookeeper = format!("zookeeper.hosts={}", stack("BELLWETHER_ZOOKEEPER"));
    let prefix = format!("kafka.topic_prefix={prefix}");
    let sets = ["--set", &brokers, "--set", &zookeeper, "--set", &prefix];
    let wanted = ["timestamp_type", "unclean_election", "partition_counts", "replication", "topic_missing"];
    let found = wait_for("every finding", Duration::from_secs(30), || {
        let output = bellwether(&[&sets[..], &["preflight"]].concat());
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        wanted.iter().all(|code| text.contains(&format!("[{code}]"))).then_some(text)
    });
    assert!(found.contains("topic alerts has 1 partitions, observations has 2"), "{found}");
    assert!(!found.contains("broker_version"), "the stack's Kafka verifies transactions: {found}");
}
