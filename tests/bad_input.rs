//! Bad input on the real stack is answered clearly, and nothing hangs or is lost: a misspelt key, an unknown function, a
//! topic of another time stamp type, a truncated record, a 2 MiB record, no ZooKeeper at start, a dead broker.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    reason = "a test that starts processes, waits for the real world, and may panic"
)]

mod common;

use bellwether::wire::{Labels, ObservationsWriter, Rejected};
use common::{Process, Scratch, bellwether, control_key, free_port, get, now_ms, stack, succeed, wait_for};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

fn client() -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", stack("BELLWETHER_KAFKA"));
    client
}

fn create_topic(name: &str, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client().create().expect("an admin client");
    let topic = NewTopic::new(name, 1, TopicReplication::Fixed(3));
    let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let created =
        runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).expect("Kafka answers");
    assert!(created.iter().all(Result::is_ok), "{created:?}");
}

fn produce(topic: &str, values: &[Vec<u8>]) {
    let producer: BaseProducer =
        client().set("message.max.bytes", "4000000").set("acks", "all").create().expect("a producer");
    for value in values {
        let record = BaseRecord::<(), [u8]>::to(topic).partition(0).payload(value);
        producer.send(record).map_err(|(fault, _)| fault).expect("it is queued");
    }
    producer.flush(Duration::from_secs(20)).expect("Kafka takes it");
}

/// Exit code and standard error of a command.
fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
    let output = bellwether(arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_misspelt_key_is_named_with_its_place_and_the_key_that_was_meant() {
    let scratch = Scratch::new("bad-config");
    let config = scratch.write("bellwether.yaml", "kafka:\n  broker: localhost:9092\n");
    let (code, talk) = refusal(&["--config", &config, "status"]);
    assert_eq!(code, Some(2), "{talk}");
    assert!(talk.contains("bellwether.yaml:2:3") && talk.contains("did you mean \"brokers\"?"), "{talk}");
}

#[test]
fn an_unknown_function_is_named_with_its_place() {
    let scratch = Scratch::new("bad-rules");
    let rules = scratch.write(
        "disk.yaml",
        "groups:\n- name: disk\n  rules:\n  - alert: DiskFull\n    expr: frobnicate(disk_free) < 1\n",
    );
    let (code, talk) = refusal(&["rules", "check", &rules]);
    assert_eq!(code, Some(1), "{talk}");
    assert!(talk.contains("disk.yaml:5:11") && talk.contains("frobnicate"), "{talk}");
}

#[test]
fn a_topic_of_producers_time_stamps_with_data_is_refused_and_left_alone() {
    let prefix = format!("bad-time-{}", std::process::id());
    let topic = format!("{prefix}.observations");
    create_topic(&topic, &[("message.timestamp.type", "CreateTime")]);
    produce(&topic, &[b"a record".to_vec()]);
    let scratch = Scratch::new("bad-time");
    let brokers = stack("BELLWETHER_KAFKA");
    let kafka = format!("kafka: {{brokers: '{brokers}', topic_prefix: {prefix}, partitions: 1}}\n");
    let config = scratch.write("bellwether.yaml", &kafka);
    let (code, talk) = refusal(&["--config", &config, "topics", "apply"]);
    assert_eq!(code, Some(1), "{talk}");
    assert!(talk.contains("refused") && talk.contains("CreateTime"), "{talk}");
}

#[test]
fn unreadable_records_are_kept_in_rejected_and_the_rest_is_read_on_without_zookeeper() {
    let prefix = format!("bad-records-{}", std::process::id());
    let topic = format!("{prefix}.observations");
    // A topic that somebody made for larger records than are read.
    create_topic(&topic, &[("max.message.bytes", "4000000"), ("message.timestamp.type", "LogAppendTime")]);
    let scratch = Scratch::new("bad-records");
    let listen = format!("127.0.0.1:{}", free_port());
    let config = scratch.write(
        "bellwether.yaml",
        &format!(
            "cluster: {prefix}\nkafka: {{brokers: '{}', topic_prefix: {prefix}, partitions: 1}}\n\
             zookeeper: {{hosts: '127.0.0.1:{}'}}\nhttp: {{listen: '{listen}'}}\n{}",
            stack("BELLWETHER_KAFKA"),
            free_port(),
            control_key(&scratch)
        ),
    );
    let mut writer = ObservationsWriter::new("shop").expect("it fits");
    writer.sample("up", &Labels::new([("host", "a")]), now_ms(), 1.0).expect("it fits");
    let whole = writer.finish();
    let truncated = whole[..whole.len() - 4].to_vec();
    let large = [&whole[..10], &vec![0; 2 << 20][..]].concat();
    produce(&topic, &[whole.clone(), truncated.clone(), large, whole]);
    // Afterwards the topic is mended, as an operator would; what is in it stays.
    print!("{}", succeed(&["--config", &config, "topics", "apply"]));
    let mut worker = Process::bellwether(&scratch, "worker", &["--config", &config, "worker"]);

    let metrics = wait_for("both rejects to be counted", Duration::from_secs(60), || {
        let (_, metrics) = get(&listen, "/metrics")?;
        let counted = |reason: &str| {
            metrics.lines().any(|line| line.contains(&format!("reason=\"{reason}\"")) && line.ends_with(" 1"))
        };
        (counted("truncated") && counted("oversize")).then_some(metrics)
    });
    assert!(metrics.contains("# EOF"), "OpenMetrics ends with EOF");
    let (status, reasons) = get(&listen, "/-/ready").expect("the worker answers");
    assert_eq!(status, 503, "no ZooKeeper, not ready");
    assert!(reasons.contains("zookeeper"), "{reasons}");

    let rejected = rejected(&prefix);
    let reasons: Vec<&str> = rejected.iter().map(|record| record.reason.as_str()).collect();
    assert_eq!(reasons, ["truncated", "oversize"]);
    assert_eq!(
        (rejected[0].offset, &rejected[0].value),
        (1, &truncated),
        "the original bytes and their offset"
    );
    assert_eq!(rejected[1].offset, 2);
    worker.assert_running();
    assert_eq!(worker.terminate(), Some(0));
}

/// The first two records of the rejected topic.
fn rejected(prefix: &str) -> Vec<Rejected> {
    let consumer: BaseConsumer = client()
        .set("group.id", "bad-input")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[&format!("{prefix}.rejected")]).expect("it subscribes");
    let mut found = Vec::new();
    wait_for("two rejected records", Duration::from_secs(30), || {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            found.push(Rejected::read(message.payload().expect("a value")).expect("our own schema"));
        }
        (found.len() == 2).then_some(())
    });
    found
}

#[test]
fn a_dead_broker_is_named_and_nothing_hangs() {
    let port = free_port();
    let broker = format!("kafka.brokers=127.0.0.1:{port}");
    for command in [&["topics", "plan"][..], &["alerts"], &["status"], &["rules", "list"]] {
        let mut arguments = vec!["--set", broker.as_str()];
        arguments.extend(command);
        let (code, talk) = refusal(&arguments);
        assert_eq!(code, Some(2), "{command:?}: {talk}");
        assert!(talk.contains(&format!("127.0.0.1:{port}")), "{command:?} does not name the broker: {talk}");
    }
    assert!(succeed(&["--version"]).starts_with("bellwether "));
}
