//! A rig on the real stack: two workers in two zones, a load under which transactions are open all the time, and a reader
//! that asserts that every seq comes once and in order.

#![allow(dead_code, reason = "each test uses a part of it")]

use crate::common::{Process, Scratch, control_key, free_port, get, now_ms, stack, succeed, wait_for};
use bellwether::config::{self, Config};
use bellwether::shell::kafka::{Topics, client};
use bellwether::wire::{AlertRecord, Labels, ObservationsWriter};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Partitions of every topic.
pub const PARTITIONS: i32 = 4;
/// Longest wait for anything.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Every series changes its state at every other grid point.
fn rules(grid: Duration) -> String {
    format!(
        "groups: [{{name: flips, interval: {}ms, rules: [{{alert: Flip, expr: flip > 0}}]}}]\n",
        grid.as_millis()
    )
}

/// Two workers in two zones, and a load.
pub struct Rig {
    pub config: Config,
    pub file: String,
    pub scratch: Scratch,
    pub workers: Vec<Running>,
    stop: Arc<AtomicBool>,
    load: Option<JoinHandle<()>>,
}

/// One worker.
pub struct Running {
    pub zone: &'static str,
    pub address: String,
    pub process: Process,
}

impl Rig {
    /// Rules are evaluated, and change their minds, each `grid`.
    pub fn start(test: &str, takeover_after: &str, grid: Duration) -> Self {
        let cluster = format!("takeover-{test}-{}-{}", std::process::id(), now_ms());
        let scratch = Scratch::new(&format!("takeover-{test}"));
        let text = format!(
            "cluster: {cluster}\n\
             kafka: {{brokers: '{}', topic_prefix: {cluster}, partitions: {PARTITIONS}}}\n\
             zookeeper: {{hosts: '{}', session_timeout: 1s}}\n\
             emission: {{takeover_after: {takeover_after}}}\n{}",
            stack("BELLWETHER_KAFKA"),
            stack("BELLWETHER_ZOOKEEPER"),
            control_key(&scratch)
        );
        let file = scratch.write("bellwether.yaml", &text);
        let config = config::load(&[("rig".to_owned(), text)], &|_| None).expect("a sound configuration");
        succeed(&["--config", &file, "topics", "apply"]);
        let rules = scratch.write("rules.yaml", &rules(grid));
        succeed(&["--config", &file, "rules", "apply", "--yes", &rules]);
        let stop = Arc::new(AtomicBool::new(false));
        let mut rig = Self { config, file, scratch, workers: Vec::new(), stop, load: None };
        for zone in ["zone-a", "zone-b"] {
            let address = format!("127.0.0.1:{}", free_port());
            let process = rig.run(zone, &address);
            rig.workers.push(Running { zone, address, process });
        }
        for worker in &rig.workers {
            ready(worker);
        }
        rig.load = Some(load(&rig.config, grid / 2, Arc::clone(&rig.stop)));
        rig
    }

    pub fn run(&self, zone: &str, address: &str) -> Process {
        let flags = ["zone", "worker", "http.listen"].into_iter().zip([zone, zone, address]);
        let set: Vec<String> = flags.map(|(key, value)| format!("{key}={value}")).collect();
        let mut arguments = vec!["--config", self.file.as_str()];
        set.iter().for_each(|set| arguments.extend(["--set", set]));
        arguments.push("worker");
        Process::bellwether(&self.scratch, &format!("{zone}-{}", now_ms()), &arguments)
    }

    pub fn restart(&mut self, at: usize) {
        let (zone, address) = (self.workers[at].zone, self.workers[at].address.clone());
        self.workers[at].process = self.run(zone, &address);
        ready(&self.workers[at]);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(load) = self.load.take() {
            let _ = load.join();
        }
    }
}

/// Every partition is hosted and has caught up. (A worker that hosts none yet is ready, too.)
fn ready(worker: &Running) {
    wait_for(&format!("{} to be ready", worker.zone), LIMIT, || {
        let (_, metrics) = get(&worker.address, "/metrics")?;
        let caught_up = |line: &&str| line.starts_with("bellwether_caught_up{") && line.ends_with(" 1");
        let all = metrics.lines().filter(caught_up).count() == usize::try_from(PARTITIONS).expect("a few");
        all.then(|| get(&worker.address, "/-/ready").filter(|(status, _)| *status == 200))?
    });
}

/// Each partition gets a batch of two samples at this pace.
fn load(config: &Config, pace: Duration, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    let producer: BaseProducer = client(config, "load").set("linger.ms", "0").create().expect("a producer");
    let topic = Topics::new(&config.kafka.topic_prefix).observations;
    std::thread::spawn(move || {
        for round in 0_u32.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            for partition in 0..PARTITIONS {
                let service = format!("service-{partition}");
                let mut writer = ObservationsWriter::new(&service).expect("a service");
                for series in 0..2_u32 {
                    let labels = Labels::new([("instance", series.to_string())]);
                    let value = f64::from((round / 2 + series) % 2);
                    writer.sample("flip", &labels, now_ms(), value).expect("a sample");
                }
                let value = writer.finish();
                let record =
                    BaseRecord::to(&topic).partition(partition).key(service.as_bytes()).payload(&value);
                producer.send(record).map_err(|(fault, _)| fault).expect("room in the queue");
            }
            producer.poll(Duration::ZERO);
            std::thread::sleep(pace);
        }
        producer.flush(LIMIT).expect("Kafka takes the load");
    })
}

/// Reads the alerts topic as everyone may, and keeps what it has seen.
pub struct Reader {
    pub consumer: BaseConsumer,
    /// By partition: last seq, newest epoch and its worker, and when the first transition of that epoch came.
    pub seen: BTreeMap<i32, Seen>,
}

/// What was read of one partition.
#[derive(Debug, Clone)]
pub struct Seen {
    pub seq: i64,
    pub epoch: i64,
    pub worker: String,
    pub begun: Instant,
    /// Transitions since the last marker.
    pub fresh: u64,
}

impl Reader {
    pub fn start(config: &Config) -> Self {
        let consumer: BaseConsumer = client(config, "reader")
            .set("group.id", "reader")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "20")
            .set("fetch.queue.backoff.ms", "1")
            .create()
            .expect("a consumer");
        let topic = Topics::new(&config.kafka.topic_prefix).alerts;
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(&topic, partition, Offset::Beginning).expect("a place");
        }
        consumer.assign(&list).expect("assigned");
        Self { consumer, seen: BTreeMap::new() }
    }

    /// Reads until `done`, and asserts that each seq comes once and in order.
    pub fn read(&mut self, what: &str, mut done: impl FnMut(&BTreeMap<i32, Seen>) -> bool) {
        let start = Instant::now();
        while !done(&self.seen) {
            assert!(start.elapsed() < LIMIT, "{what}: {:?}", self.seen);
            let Some(message) = self.consumer.poll(Duration::from_millis(5)) else { continue };
            let message = message.expect("Kafka answers");
            let new = || Seen { seq: 0, epoch: 0, worker: String::new(), begun: Instant::now(), fresh: 0 };
            let seen = self.seen.entry(message.partition()).or_insert_with(new);
            match AlertRecord::read(message.payload().expect("a value")).expect("readable") {
                AlertRecord::Transition(found) => {
                    assert_eq!(found.seq, seen.seq + 1, "partition {}", message.partition());
                    seen.seq = found.seq;
                    seen.fresh += 1;
                }
                AlertRecord::Marker(found) => {
                    assert_eq!(found.seq, seen.seq);
                    // An epoch begins to count with its first alert.
                    if found.epoch > seen.epoch && seen.fresh > 0 {
                        (seen.epoch, seen.begun) = (found.epoch, Instant::now());
                        seen.worker.clone_from(&found.worker);
                    }
                    seen.fresh = 0;
                }
            }
        }
    }

    pub fn read_for(&mut self, time: Duration) {
        let start = Instant::now();
        self.read("a while", |_| start.elapsed() >= time);
    }
}
