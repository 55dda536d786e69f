//! Two workers of two zones in one process, on librdkafka's mock cluster: from samples to one alert.
//!
//! The mock knows no LogAppendTime, no fencing and no aborts, so this shows that the parts are joined rightly; what the
//! pair survives is shown on the real stack.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test waits, and may panic"
)]

#[path = "common/keys.rs"]
mod keys;

use bellwether::config::{self, Config};
use bellwether::shell::clock;
use bellwether::shell::http::Readiness;
use bellwether::shell::lock::{InProcessLocks, LockService};
use bellwether::shell::worker::{Metrics, Worker, WorkerOptions};
use bellwether::wire::{
    AlertRecord, AlertState, Control, Labels, ObservationsWriter, RuleFile, RuleSet, Transition,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;

const RULES: &str = "groups:\n  - name: main\n    interval: 1s\n    rules:\n      - alert: down\n        expr: up == 0\n        for: 2s\n";

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    for topic in ["observations", "alerts", "rules", "rejected", "notifications"] {
        cluster.create_topic(&format!("bellwether.{topic}"), partitions, 1).expect("a topic");
    }
    cluster
}

fn config(cluster: &Cluster, zone: &str) -> Config {
    let brokers = cluster.bootstrap_servers();
    let text = format!("zone: {zone}\nworker: {zone}-1\nkafka: {{brokers: '{brokers}', partitions: 2}}");
    let mut config = config::load(&[("test".to_owned(), text)], &|_| None).expect("a configuration");
    keys::give(&mut config);
    config
}

fn worker(cluster: &Cluster, zone: &str, locks: &InProcessLocks) -> (Worker, Arc<Readiness>) {
    let readiness = Arc::new(Readiness::default());
    let options = WorkerOptions {
        config: config(cluster, zone),
        lock: LockService::InProcess(locks.clone()),
        producer_time: true,
        metrics: Metrics::default(),
        readiness: Arc::clone(&readiness),
        http: String::new(),
    };
    (Worker::start(options).expect("a worker"), readiness)
}

fn settings(cluster: &Cluster) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", cluster.bootstrap_servers());
    settings
}

fn produce(producer: &BaseProducer, partition: i32, value: &[u8]) {
    let record: BaseRecord<'_, (), [u8]> =
        BaseRecord::to("bellwether.observations").partition(partition).payload(value);
    producer.send(record).map_err(|(fault, _)| fault).expect("queued");
    producer.flush(Duration::from_secs(5)).expect("taken");
}

fn rules(cluster: &Cluster) -> Vec<u8> {
    let file = RuleFile { name: "rules.yaml".to_owned(), content: RULES.to_owned() };
    let set = RuleSet {
        version: 1,
        applied_ms: clock::wall_ms(),
        author: "test".to_owned(),
        service_label: "service".to_owned(),
        limits: bellwether::wire::Limits::default(),
        partitions: 0,
        files: vec![file],
    };
    keys::signer_of(&config(cluster, "zone-a")).seal(1, &Control::Rules(set))
}

fn up(value: f64) -> Vec<u8> {
    let mut writer = ObservationsWriter::new("shop").expect("a service");
    let labels = Labels::new([("host", "h1")]);
    writer.sample("up", &labels, clock::wall_ms(), value).expect("a sample");
    writer.finish()
}

/// Reads the alerts topic from its beginning.
struct Alerts(BaseConsumer);

impl Alerts {
    fn of(cluster: &Cluster) -> Self {
        let consumer: BaseConsumer = settings(cluster)
            .set("group.id", "test")
            .set("fetch.wait.max.ms", "10")
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..2 {
            list.add_partition_offset("bellwether.alerts", partition, Offset::Beginning).expect("a place");
        }
        consumer.assign(&list).expect("assigned");
        Self(consumer)
    }

    /// Takes transitions into `seen` until it holds, or half a minute has passed.
    fn until(&self, seen: &mut Vec<Transition>, what: &str, holds: impl Fn(&[Transition]) -> bool) {
        let deadline = clock::monotonic() + Duration::from_secs(30);
        while !holds(seen) {
            assert!(clock::monotonic() < deadline, "{what}: {seen:#?}");
            if let Some(Ok(message)) = self.0.poll(Duration::from_millis(50))
                && let AlertRecord::Transition(transition) =
                    AlertRecord::read(message.payload().expect("a value")).expect("it reads")
            {
                assert_eq!(message.partition(), 1);
                seen.push(*transition);
            }
        }
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = clock::monotonic() + Duration::from_secs(30);
    while !holds() {
        assert!(clock::monotonic() < deadline, "not in half a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn primaries(workers: &[&Worker]) -> usize {
    let roles = workers.iter().filter_map(|worker| Some(worker.report().partitions.get(&1)?.role.clone()));
    roles.filter(|role| role == "primary").count()
}

#[test]
fn two_zones_emit_one_alert_once_though_the_primary_is_killed_in_mid_for() {
    let cluster = cluster(2);
    let producer: BaseProducer = settings(&cluster).create().expect("a producer");
    let locks = InProcessLocks::new(Duration::from_secs(1));
    produce(&producer, 1, &rules(&cluster));
    produce(&producer, 1, b"no record of ours");
    let (a, a_ready) = worker(&cluster, "zone-a", &locks);
    eventually("zone a is ready", || a_ready.reasons().is_empty());
    eventually("zone a is primary", || primaries(&[&a]) == 1);
    let (b, b_ready) = worker(&cluster, "zone-b", &locks);
    eventually("zone b is ready", || b_ready.reasons().is_empty());
    assert_eq!(primaries(&[&a, &b]), 1);

    let alerts = Alerts::of(&cluster);
    let mut seen = Vec::new();
    produce(&producer, 1, &up(0.0));
    alerts.until(&mut seen, "pending", |seen| seen.len() == 1);
    assert_eq!(seen[0].to, AlertState::Pending);
    a.kill();
    // Nothing more is produced: the ticks of zone b alone move the clock to the end of `for`.
    alerts.until(&mut seen, "firing", |seen| seen.len() == 2);
    assert_eq!((seen[1].to, seen[1].labels.get("host")), (AlertState::Firing, "h1"));
    assert!(seen[1].event_ms - seen[0].event_ms >= 2000, "no earlier than `for`");
    produce(&producer, 1, &up(1.0));
    alerts.until(&mut seen, "resolved", |seen| seen.len() == 3);
    assert_eq!(seen[2].to, AlertState::Inactive);
    let seqs: Vec<i64> = seen.iter().map(|transition| transition.seq).collect();
    assert_eq!(seqs, [1, 2, 3], "dense, and nothing twice");
    eventually("zone b knows that all is out", || {
        b.report().partitions.get(&1).is_some_and(|line| (line.seq, line.out_seq) == (3, 3))
    });
    b.stop();
}
