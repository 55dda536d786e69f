//! Snapshots on the real stack: real workers are killed, the log behind the snapshot is taken away, alerts that nobody
//! emitted lie before a snapshot, and the alerts topic must still hold what one uninterrupted machine derives, record by
//! record. And what must not begin says so.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    reason = "a test that starts processes, waits for the real world, and may panic"
)]

mod common;

use bellwether::config::{self, Config};
use bellwether::machine::{Action, Event, Machine, Options, Position};
use bellwether::shell::kafka::Topics;
use bellwether::shell::kafka::consumer::{Data, Delivery};
use bellwether::shell::kafka::log::{Log, Write, write};
use bellwether::shell::kafka::topic_id::topic_id;
use bellwether::shell::keys;
use bellwether::shell::snapshot::{Site, write as snapshot};
use bellwether::shell::store::{Patience, Store};
use bellwether::wire::{AlertRecord, Labels, ObservationsWriter, Transition};
use common::{Process, Scratch, bellwether, control_key, free_port, get, stack, succeed, wait_for};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

const RULES: &str =
    "groups:\n- name: load\n  interval: 1s\n  rules:\n  - alert: High\n    expr: load > 5\n    for: 1s\n";
const LONG: Duration = Duration::from_secs(60);

/// One partition, its configuration, and the machine that never stops.
struct Line {
    scratch: Scratch,
    file: String,
    config: Config,
    topics: Topics,
    oracle: Machine,
    expected: Vec<Transition>,
    next: i64,
    produced: i64,
}

impl Line {
    fn start(name: &str) -> Self {
        let cluster = format!("{name}-{}", std::process::id());
        let scratch = Scratch::new(name);
        let file = scratch.write(
            "bellwether.yaml",
            &format!(
                "cluster: {cluster}\n{}kafka: {{brokers: '{}', topic_prefix: {cluster}, partitions: 1}}\n\
                 zookeeper: {{hosts: '{}', session_timeout: 1s}}\n\
                 snapshots: {{url: 's3://{}/test/snapshots', interval: 4s, endpoint: '{}',\n\
                 \x20 access_key: '{}', secret_key: '{}'}}\n",
                control_key(&scratch),
                stack("BELLWETHER_KAFKA"),
                stack("BELLWETHER_ZOOKEEPER"),
                stack("BELLWETHER_S3_BUCKET"),
                stack("BELLWETHER_S3_ENDPOINT"),
                stack("BELLWETHER_S3_ACCESS_KEY"),
                stack("BELLWETHER_S3_SECRET_KEY"),
            ),
        );
        let text = std::fs::read_to_string(&file).expect("it was just written");
        let config = config::load(&[(file.clone(), text)], &|_| None).expect("it loads");
        succeed(&["--config", &file, "topics", "apply"]);
        let rules = scratch.write("rules.yaml", RULES);
        succeed(&["--config", &file, "rules", "apply", "--yes", &rules]);
        let options = Options {
            partition: 0,
            keyring: keys::keyring(&config).expect("the key was made"),
            hash_key: 0,
            producer_time: false,
            snapshot_interval_ms: 0,
        };
        let topics = Topics::new(&config.kafka.topic_prefix);
        let oracle = Machine::new(options);
        Self { scratch, file, config, topics, oracle, expected: Vec::new(), next: 0, produced: 0 }
    }

    fn worker(&self, zone: &str, more: &[&str]) -> (Process, String) {
        let address = format!("127.0.0.1:{}", free_port());
        let name = format!("{zone}-{}", free_port());
        let sets = [format!("zone={zone}"), format!("worker={zone}-1"), format!("http.listen={address}")];
        let mut arguments = vec!["--config", self.file.as_str()];
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        arguments.extend(more);
        arguments.push("worker");
        (Process::bellwether(&self.scratch, &name, &arguments), address)
    }

    /// Ten hosts whose load goes up and down in turn: some alert changes its state with almost every record. Four records
    /// a call, each of which connects anew: several a second.
    fn produce(&mut self, records: i64) {
        for _ in 0..records / 4 {
            let values: Vec<Vec<u8>> = (0..4).map(|_| self.record()).collect();
            let topic = &self.topics.observations;
            let records: Vec<Write<'_>> =
                values.iter().map(|value| Write { topic, partition: 0, key: Some(b"shop"), value }).collect();
            write(&self.config, &records).expect("they are written");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn record(&mut self) -> Vec<u8> {
        self.produced += 1;
        let mut writer = ObservationsWriter::new("shop").expect("a service");
        for host in 0..10_i64 {
            let labels = Labels::new([("host", host.to_string())]);
            let value = ((self.produced + host) / 10 % 2 * 10) as f64;
            writer.sample("load", &labels, common::now_ms(), value).expect("a sample");
        }
        writer.finish()
    }

    /// Brings the uninterrupted machine to the end of the log.
    fn follow(&mut self) {
        let data = Data::start(&self.config, &self.topics.observations).expect("a consumer");
        let (lane, deliveries) = sync_channel(4);
        data.assign(0, self.next, lane);
        let mut actions = Vec::new();
        loop {
            match deliveries.recv_timeout(LONG).expect("Kafka answers") {
                Delivery::Batch(batch) => {
                    for record in batch.iter() {
                        let position = Position {
                            offset: record.offset,
                            append_ms: record.append_ms,
                            log_append: record.log_append,
                        };
                        self.oracle.step(Event::read(position, record.value), &mut actions);
                        self.next = record.offset + 1;
                    }
                    self.expected.extend(actions.drain(..).filter_map(|action| match action {
                        Action::Emit(transition) => Some(*transition),
                        Action::Reject(..)
                        | Action::RulesSwitched { .. }
                        | Action::ConfirmTime(_)
                        | Action::Cut => None,
                    }));
                }
                Delivery::End => return,
                Delivery::Broken(why) => panic!("the oracle lost its place: {why}"),
            }
        }
    }

    fn emitted(&self) -> Vec<Transition> {
        let log = Log::open(&self.config, &self.topics.alerts).expect("a consumer");
        let mut found = Vec::new();
        log.read_all([0], |record| match AlertRecord::read(&record.value).expect("it can be read") {
            AlertRecord::Transition(transition) => found.push(*transition),
            AlertRecord::Marker(_) => {}
        })
        .expect("Kafka answers");
        found
    }

    /// Waits until everything that the uninterrupted machine derives is out, then compares all of it.
    fn judge(&mut self) {
        self.follow();
        let wanted = self.expected.len();
        wait_for("the last transition to be out", LONG, || (self.emitted().len() >= wanted).then_some(()));
        // Ticks go on, and time passing may fire what the oracle has not seen yet.
        self.follow();
        let emitted = self.emitted();
        assert!(emitted.len() <= self.expected.len() + 20, "{} and {}", emitted.len(), self.expected.len());
        for (found, wanted) in emitted.iter().zip(&self.expected) {
            assert_eq!(found.encode(), wanted.encode(), "seq {}", wanted.seq);
        }
    }

    /// `bellwether verify` cannot begin with a log that is cut, and can with a snapshot that it still reaches.
    fn verify_where_the_log_is_cut(&self, cut: i64) {
        let verify = |flags: &[&str]| {
            let output = bellwether(&[&["--config", &self.file, "verify", "--json"], flags].concat());
            let line = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
            (output.status.code(), line, String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (code, _, talk) = verify(&[]);
        assert!(code == Some(2) && talk.contains("--from-snapshot"), "{code:?} {talk}");
        let mut judged = Vec::new();
        for which in ["oldest", "newest"] {
            let (code, verdict, talk) = verify(&["--from-snapshot", which]);
            assert_eq!(code, Some(0), "{which}: {verdict} {talk}");
            assert!(verdict["from_offset"].as_i64() >= Some(cut), "{which}: {verdict}");
            judged.push(verdict["found"].as_i64());
        }
        assert!(judged[0] > Some(0) && judged[0] >= judged[1], "{judged:?}");
    }

    fn snapshots(&self) -> Vec<Value> {
        let output = bellwether(&["--config", &self.file, "snapshots", "list", "--json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    /// The newest snapshot that two have signed and that holds some history.
    fn cosigned(&self, after_seq: i64) -> Option<Value> {
        self.snapshots().into_iter().rev().find(|snapshot| {
            snapshot["state"] == "co-signed"
                && snapshot["manifest"]["seq"].as_i64().is_some_and(|seq| seq > after_seq)
        })
    }

    fn store(&self) -> Store {
        Store::open(&self.config.snapshots, Patience::default()).expect("it opens").expect("is configured")
    }

    fn site(&self, worker: &str) -> Site {
        let id = topic_id(&self.config, &self.topics.observations).expect("Kafka answers");
        let config = Config { worker: worker.to_owned(), ..self.config.clone() };
        Site::new(&config, &self.topics.observations, &id, 0, 1)
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.config.kafka.brokers).create().expect("a client")
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn ready(address: &str) -> bool {
    get(address, "/-/ready").is_some_and(|(status, _)| status == 200)
}

fn not_ready(address: &str, words: &str) -> Option<String> {
    get(address, "/-/ready")
        .filter(|(status, body)| *status == 503 && body.contains(words))
        .map(|(_, body)| body)
}

#[test]
fn both_replicas_lost_and_the_log_cut_everything_is_emitted_once_from_the_snapshot() {
    let mut line = Line::start("snap");
    let (mut a, at_a) = line.worker("zone-a", &[]);
    let (mut b, at_b) = line.worker("zone-b", &[]);
    wait_for("both workers to be ready", LONG, || (ready(&at_a) && ready(&at_b)).then_some(()));
    let mut snapshot = None;
    while snapshot.is_none() && line.produced < 600 {
        line.produce(20);
        snapshot = line.cosigned(5);
    }
    let snapshot = snapshot.unwrap_or_else(|| panic!("no co-signed snapshot:\n{}\n{}", a.log(), b.log()));
    let cut = snapshot["manifest"]["next_offset"].as_i64().expect("an offset");
    a.kill();
    b.kill();

    // Nobody emits, and the log goes on. A snapshot of its end has swallowed what nobody emitted (H1).
    line.produce(60);
    line.follow();
    let (emitted, derived) = (line.emitted().len(), line.expected.len());
    assert!(derived > emitted + 5, "{derived} derived, {emitted} emitted: the point of this test");
    let capture = line.oracle.capture();
    let store = line.store();
    for worker in ["zone-a-9", "zone-b-9"] {
        snapshot::write(&store, &line.site(worker), &capture, &|| true).expect("it is stored");
    }
    let newest = line.cosigned(i64::try_from(emitted).expect("small")).expect("it is listed");
    assert!(newest["manifest"]["next_offset"].as_i64() > Some(cut));

    // Nothing reaches back before the snapshot any more.
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&line.topics.observations, 0, Offset::Offset(cut)).expect("a place");
    block_on(line.admin().delete_records(&list, &AdminOptions::new())).expect("Kafka cuts the log");

    let told = bellwether(&["--config", &line.file, "snapshots", "restore", "--dry-run", "--json"]);
    let told: Value = serde_json::from_slice(&told.stdout).expect("a JSON line");
    assert!(told["restores"].is_string(), "{told}");
    let refused = told["refused"].as_array().expect("a list");
    assert!(refused.iter().any(|refused| refused["code"] == "past_marker"), "{told}");

    let (a, at_a) = line.worker("zone-a", &[]);
    let (b, at_b) = line.worker("zone-b", &[]);
    wait_for("both workers to be back", LONG, || (ready(&at_a) && ready(&at_b)).then_some(()));
    for worker in [&a, &b] {
        wait_for("a restore", LONG, || worker.log().contains("restored from").then_some(()));
    }
    line.produce(28);
    line.judge();
    let verify = bellwether(&["--config", &line.file, "snapshots", "verify"]);
    let talk = String::from_utf8_lossy(&verify.stderr).into_owned();
    assert_eq!(verify.status.code(), Some(0), "{}{talk}", String::from_utf8_lossy(&verify.stdout));
    line.verify_where_the_log_is_cut(cut);
    println!("{} transitions, each once; the log began at {cut}", line.emitted().len());

    // Without snapshots this log cannot be begun: loudly, and nothing is emitted.
    drop((a, b));
    let before = line.emitted().len();
    let (c, at_c) = line.worker("zone-a", &["--set", "snapshots.url="]);
    let why = wait_for("a worker that says why it does not begin", LONG, || {
        not_ready(&at_c, "no snapshot of partition 0 can be used")
    });
    assert!(why.contains("snapshots.url"), "{why}");
    assert!(c.log().contains("nothing_reaches"), "{}", c.log());
    let status = bellwether(&["--config", &line.file, "status"]);
    assert_eq!(status.status.code(), Some(1));
    wait_for("status to say it, too", LONG, || {
        let status = bellwether(&["--config", &line.file, "status"]);
        String::from_utf8_lossy(&status.stderr).contains("no snapshot of partition 0").then_some(())
    });
    assert_eq!(line.emitted().len(), before);
}

#[test]
fn a_topic_that_is_made_again_stops_the_partition() {
    let mut line = Line::start("again");
    let (worker, address) = line.worker("zone-a", &[]);
    wait_for("the worker to be ready", LONG, || ready(&address).then_some(()));
    line.produce(24);
    line.follow();
    wait_for("an alert to be out", LONG, || (!line.emitted().is_empty()).then_some(()));
    let topic = line.topics.observations.clone();
    block_on(line.admin().delete_topics(&[&topic], &AdminOptions::new())).expect("Kafka deletes it");
    wait_for("the topic to be made again", LONG, || {
        bellwether(&["--config", &line.file, "topics", "apply"]).status.success().then_some(())
    });
    let why = wait_for("the partition to stop", LONG, || not_ready(&address, "deleted and made again"));
    wait_for("the reason", LONG, || not_ready(&address, "were derived from the topic with id"));
    assert!(worker.log().contains("other_topic"), "{why}\n{}", worker.log());
}

#[test]
fn two_workers_that_write_at_once_leave_one_snapshot_with_two_signers() {
    let mut line = Line::start("race");
    line.store().probe("race", "worker").expect("the real server knows If-None-Match");
    let (mut written, mut signed) = (0, 0);
    for _ in 0..10 {
        line.produce(4);
        line.follow();
        let capture = line.oracle.capture();
        let outcomes = std::thread::scope(|scope| {
            let store = |worker: &str| {
                let (store, site) = (line.store(), line.site(worker));
                let capture = &capture;
                scope.spawn(move || snapshot::write(&store, &site, capture, &|| true).expect("it is stored"))
            };
            let racers = [store("zone-a-1"), store("zone-b-1")];
            racers.map(|racer| racer.join().expect("nobody panics"))
        });
        for outcome in outcomes {
            match outcome {
                snapshot::Outcome::Written { .. } => written += 1,
                snapshot::Outcome::Cosigned { .. } => signed += 1,
                snapshot::Outcome::Disputed { .. } => panic!("they are equal"),
            }
        }
    }
    assert_eq!((written, signed), (10, 10));
    assert!(line.snapshots().iter().all(|snapshot| snapshot["state"] == "co-signed"));
}
