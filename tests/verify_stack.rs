//! `bellwether verify` on real topics: it says "equal" only where the alerts are what the log says, names each kind of
//! difference with its offsets, and does not call "equal" what it could not look at. No worker runs here: the test writes
//! the alerts, right in one partition and wrong in another way in each of the others.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test that talks to the real stack, and may panic"
)]

mod common;

use ::bellwether::config;
use ::bellwether::machine::{Action, ENGINE_VERSION, Event, Machine, Options, Position};
use ::bellwether::shell::keys;
use ::bellwether::wire::keyring::Signer;
use ::bellwether::wire::{
    AlertRecord, Control, Labels, Marker, ObservationsWriter, RuleFile, RuleSet, Tick, Transition,
};
use common::{Scratch, bellwether, control_key, free_port, now_ms, stack, succeed};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{Message, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use std::time::Duration;

const RULES: &str = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {alert: Down, expr: up == 0}\n";

/// What is written to one partition of alerts: key and value of each record.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// A way to spoil a topic: what it is called in the verdict, and how it is done to the right transitions.
type Kind = (Option<&'static str>, fn(&[Transition]) -> Records);

fn client() -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", stack("BELLWETHER_KAFKA"));
    client
}

fn transition(transition: &Transition) -> (Vec<u8>, Vec<u8>) {
    (transition.alert.to_string().into_bytes(), transition.encode())
}

fn marker_of(out: &[Transition]) -> Marker {
    let last = out.last();
    Marker {
        seq: last.map_or(0, |last| last.seq),
        input_offset: last.map_or(-1, |last| last.input_offset),
        ordinal: last.map_or(0, |last| last.ordinal),
        running_hash: out.iter().fold([0; 32], |hash, transition| transition.chain(&hash)),
        epoch: 1,
        lock_czxid: 1,
        rule_set_version: last.map_or(0, |last| last.rule_set_version),
        engine_version: ENGINE_VERSION,
        topic_id: String::new(),
        partition_count: 1,
        worker: "w".to_owned(),
        zone: "a".to_owned(),
        wall_ms: now_ms(),
    }
}

fn marker(marker: Marker) -> (Vec<u8>, Vec<u8>) {
    (b"marker".to_vec(), AlertRecord::Marker(marker).encode())
}

/// Every transition and a marker behind it.
fn right(all: &[Transition]) -> Records {
    let mut records = vec![marker(marker_of(&[]))];
    for at in 0..all.len() {
        records.push(transition(&all[at]));
        records.push(marker(marker_of(&all[..=at])));
    }
    records
}

/// Offsets: 0 marker, 1 seq 1, 2 marker, 3 seq 2, 4 marker, 5 seq 3, 6 marker.
const KINDS: &[Kind] = &[
    (None, right),
    (Some("duplicate"), |all| {
        let mut records = right(all);
        records.insert(4, records[3].clone());
        records
    }),
    (Some("gap"), |all| {
        let mut records = right(all);
        records.remove(3);
        records
    }),
    (Some("gap"), |all| {
        // Order: the second and the third swapped.
        let mut records = right(all);
        records.swap(3, 5);
        records
    }),
    (Some("changed"), |all| {
        let mut wrong = all.to_vec();
        wrong[1].annotations.set("summary", "something else");
        let mut records = right(all);
        records[3] = transition(&wrong[1]);
        records
    }),
    (Some("changed"), |all| {
        let mut records = right(all);
        records[3].0 = b"another key".to_vec();
        records
    }),
    (Some("marker"), |all| {
        let mut records = right(all);
        let mut wrong = marker_of(&all[..2]);
        wrong.running_hash[7] ^= 1;
        records[4] = marker(wrong);
        records
    }),
    (Some("epoch"), |all| {
        let mut records = right(all);
        records[2] = marker(Marker { epoch: 2, worker: "v".to_owned(), ..marker_of(&all[..1]) });
        records
    }),
    (Some("unfounded"), |all| {
        let mut invented = all[all.len() - 1].clone();
        invented.seq += 1;
        let mut records = right(all);
        records.push(transition(&invented));
        records
    }),
    (Some("unreadable"), |all| {
        let mut records = right(all);
        records[4].1.truncate(20);
        records
    }),
    // Nothing wrong, but the last is not out yet.
    (None, |all| right(&all[..all.len() - 1])),
];

fn partitions() -> i32 {
    i32::try_from(KINDS.len()).expect("few")
}

/// The same little log into every partition: rules, then two hosts that go down and come back.
fn write_observations(topic: &str, signer: &Signer) {
    let producer: BaseProducer = client().set("acks", "all").create().expect("a producer");
    let set = RuleSet {
        version: 1,
        applied_ms: now_ms(),
        author: "test".to_owned(),
        service_label: "service".to_owned(),
        limits: bellwether::wire::Limits::default(),
        partitions: 0,
        files: vec![RuleFile { name: "r.yaml".to_owned(), content: RULES.to_owned() }],
    };
    let tick = |partition| {
        signer.seal(partition, &Control::Tick(Tick { worker: "w".to_owned(), wall_ms: now_ms() }))
    };
    let up = |value: f64| {
        let mut writer = ObservationsWriter::new("shop").expect("it fits");
        for host in ["a", "b"] {
            writer.sample("up", &Labels::new([("host", host)]), now_ms(), value).expect("it fits");
        }
        writer.finish()
    };
    for step in [None, Some(1.0), Some(0.0), Some(1.0), Some(0.0)] {
        for partition in 0..partitions() {
            let value = step.map_or_else(|| signer.seal(partition, &Control::Rules(set.clone())), up);
            let tick = tick(partition);
            for value in [&value, &tick] {
                let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(value);
                producer.send(record).map_err(|(fault, _)| fault).expect("it is queued");
            }
        }
        producer.flush(Duration::from_secs(20)).expect("Kafka takes it");
        std::thread::sleep(Duration::from_millis(1200));
    }
    for partition in 0..partitions() {
        let tick = tick(partition);
        let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&tick);
        producer.send(record).map_err(|(fault, _)| fault).expect("it is queued");
    }
    producer.flush(Duration::from_secs(20)).expect("Kafka takes it");
}

/// What a partition's log says.
fn derive(topic: &str, partition: i32, signer: &Signer) -> Vec<Transition> {
    let mut settings = client();
    settings.set("group.id", "verify-test").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = settings.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning).expect("a place");
    consumer.assign(&list).expect("assigned");
    let mut machine = Machine::new(Options {
        partition,
        keyring: signer.keyring(),
        hash_key: 7,
        producer_time: false,
        snapshot_interval_ms: 0,
    });
    let mut actions = Vec::new();
    loop {
        match consumer.poll(Duration::from_secs(20)).expect("Kafka answers") {
            Ok(message) => {
                let Timestamp::LogAppendTime(append_ms) = message.timestamp() else {
                    panic!("LogAppendTime")
                };
                let position = Position { offset: message.offset(), append_ms, log_append: true };
                machine.step(Event::read(position, message.payload()), &mut actions);
            }
            Err(ClientError::PartitionEOF(_)) => break,
            Err(fault) => panic!("{fault}"),
        }
    }
    let emitted = |action| if let Action::Emit(transition) = action { Some(*transition) } else { None };
    actions.into_iter().filter_map(emitted).collect()
}

fn write_alerts(topic: &str, partition: i32, records: &Records) {
    let producer: BaseProducer = client().set("enable.idempotence", "true").create().expect("a producer");
    for (key, value) in records {
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).key(key).payload(value);
        producer.send(record).map_err(|(fault, _)| fault).expect("it is queued");
    }
    producer.flush(Duration::from_secs(20)).expect("Kafka takes it");
}

/// Exit code, verdicts by partition, and what was said.
fn verify(config: &str, flags: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let output = bellwether(&[&["--config", config, "verify", "--json"], flags].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let verdicts =
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect();
    (output.status.code(), verdicts, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn equal_is_said_where_it_is_so_and_each_difference_is_told_with_its_offsets() {
    let prefix = format!("verify-{}", std::process::id());
    let scratch = Scratch::new("verify");
    let brokers = stack("BELLWETHER_KAFKA");
    let yaml = format!(
        "cluster: {prefix}\nkafka: {{brokers: '{brokers}', topic_prefix: {prefix}, partitions: {}}}\n{}",
        partitions(),
        control_key(&scratch)
    );
    let config = scratch.write("bellwether.yaml", &yaml);
    print!("{}", succeed(&["--config", &config, "topics", "apply"]));
    let observations = format!("{prefix}.observations");
    let loaded = config::load(&[(config.clone(), yaml)], &|_| None).expect("it is right");
    let signer = keys::signer(&loaded).expect("the key was just made");
    write_observations(&observations, &signer);
    for (partition, (_, spoil)) in (0..).zip(KINDS) {
        let all = derive(&observations, partition, &signer);
        assert!(all.len() >= 4, "{all:?}");
        write_alerts(&format!("{prefix}.alerts"), partition, &spoil(&all));
    }

    let (code, verdicts, talk) = verify(&config, &[]);
    assert_eq!((code, verdicts.len()), (Some(1), KINDS.len()), "{talk}");
    for (partition, (verdict, (kind, _))) in verdicts.iter().zip(KINDS).enumerate() {
        println!("{partition}: {verdict}");
        assert_eq!(verdict["partition"], partition);
        assert_eq!(verdict["equal"], kind.is_none(), "{verdict}");
        let (code, one, _) = verify(&config, &["--partition", &partition.to_string()]);
        assert_eq!(code, Some(i32::from(kind.is_some())), "{one:?}");
        assert_eq!(one[0]["difference"], verdict["difference"]);
        let Some(kind) = kind else { continue };
        let difference = &verdict["difference"];
        assert_eq!(difference["kind"], *kind, "{verdict}");
        assert!(difference["at"].as_i64().expect("its offset") >= 3, "{verdict}");
        let text = verdict["text"].as_str().expect("in words");
        assert!(text.contains("alerts offset"), "{text}");
        assert!(*kind == "unreadable" || *kind == "epoch" || text.contains("observations offset"), "{text}");
    }
    let count = |partition: usize, what: &str| verdicts[partition][what].as_u64().expect("a count");
    assert_eq!((count(1, "doubled"), count(1, "lost")), (1, 0));
    assert_eq!((count(2, "doubled"), count(2, "lost")), (0, 1));
    assert_eq!((count(3, "doubled"), count(3, "lost")), (0, 0), "swapped: both are there");
    let fields: Vec<&str> = [4, 5]
        .iter()
        .map(|at| verdicts[*at]["difference"]["fields"][0]["field"].as_str().expect("one"))
        .collect();
    assert_eq!(fields, ["annotations", "key"]);

    // What is not out yet is no difference on a running cluster, and one at rest.
    let last = KINDS.len() - 1;
    assert_eq!(count(last, "not_due"), 1);
    let (code, verdicts, _) = verify(&config, &["--at-rest", "--partition", &last.to_string()]);
    assert_eq!((code, &verdicts[0]["difference"]["kind"]), (Some(1), &Value::from("missing")));
    let (code, ..) = verify(&config, &["--at-rest", "--partition", "0"]);
    assert_eq!(code, Some(0));
    could_not_run(&config, &observations);
}

/// Exit code 2, with what to do: never "equal" for what was not looked at.
fn could_not_run(config: &str, observations: &str) {
    let (code, _, talk) = verify(config, &["--partition", "99"]);
    assert_eq!(code, Some(2), "{talk}");
    assert!(talk.contains("partitions 0 to"), "{talk}");
    let broker = format!("kafka.brokers=127.0.0.1:{}", free_port());
    let (code, verdicts, talk) = verify(config, &["--set", &broker]);
    assert_eq!((code, verdicts.len()), (Some(2), 0), "{talk}");
    assert!(talk.contains("Is Kafka up"), "{talk}");

    let admin: AdminClient<DefaultClientContext> = client().create().expect("an admin client");
    let mut cut = TopicPartitionList::new();
    cut.add_partition_offset(observations, 0, Offset::Offset(3)).expect("a place");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let deleted = runtime.block_on(admin.delete_records(&cut, &AdminOptions::new()));
    assert!(deleted.is_ok(), "{deleted:?}");
    let (code, verdicts, talk) = verify(config, &["--partition", "0"]);
    assert_eq!((code, verdicts.len()), (Some(2), 0), "{talk}");
    assert!(talk.contains("begins at offset 3") && talk.contains("observations_retention"), "{talk}");
}
