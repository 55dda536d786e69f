//! Emission on a real Kafka and a real ZooKeeper: whoever dies, hangs or is cut off, every seq is out once.
//!
//! Needs the stack of `deploy/local/up`: BELLWETHER_KAFKA and BELLWETHER_ZOOKEEPER. `tests/run` starts it.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test takes its addresses from the environment, and may panic"
)]

use bellwether::config::{self, Config};
use bellwether::replica::{Reason, Role};
use bellwether::shell::emitter::{
    self, Doors, Emitter, EmitterOptions, EmitterStatus, FromMachine, Progress,
};
use bellwether::shell::kafka::{Topics, client};
use bellwether::shell::lock::{InProcessLocks, LockService};
use bellwether::shell::registry::{self, Joined, PartitionReport, Registry, Settings, WorkerReport};
use bellwether::shell::zookeeper::ZooKeeper;
use bellwether::shell::{clock, telemetry, thread};
use bellwether::wire::{AlertId, AlertRecord, AlertState, Labels, Reason as AlertReason, Transition};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const PARTITIONS: i32 = 8;

fn address(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: start the stack with deploy/local/up and source its env")
    })
}

fn config(cluster: &str, worker: &str, zookeeper: &str) -> Arc<Config> {
    let text = format!(
        "cluster: {cluster}\nzone: zone-{worker}\nworker: worker-{worker}\n\
         kafka:\n  brokers: {}\n  topic_prefix: {cluster}\n\
         zookeeper:\n  hosts: {zookeeper}\n  session_timeout: 1s\n",
        address("BELLWETHER_KAFKA")
    );
    let sources = [("test.yaml".to_owned(), text)];
    Arc::new(config::load(&sources, &|_| None).expect("a sound configuration"))
}

/// A name that no earlier run has used, with its alerts topic.
fn cluster(test: &str) -> String {
    telemetry::init(telemetry::LogFormat::Text, "bellwether=info");
    let name = format!("emit-{test}-{}-{}", std::process::id(), clock::wall_ms());
    let config = config(&name, "admin", "127.0.0.1:1");
    let admin: AdminClient<DefaultClientContext> =
        client(&config, "admin").create().expect("an admin client");
    let topic = Topics::new(&name).alerts;
    let topic = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(3)).set("min.insync.replicas", "2");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let made = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).expect("Kafka answers");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    name
}

/// One worker process, as far as emission goes.
struct Worker {
    config: Arc<Config>,
    keeper: Option<Arc<ZooKeeper>>,
    lock: LockService,
    doors: Doors,
}

impl Worker {
    fn start(cluster: &str, name: &str) -> Self {
        let config = config(cluster, name, &address("BELLWETHER_ZOOKEEPER"));
        let keeper = Arc::new(ZooKeeper::start(&config).expect("a runtime"));
        let lock = LockService::ZooKeeper(Arc::clone(&keeper));
        Self { doors: Doors::start(&config, &lock).expect("a consumer"), config, keeper: Some(keeper), lock }
    }

    fn emitter(&self, partition: i32) -> Emitter {
        let options = EmitterOptions {
            config: Arc::clone(&self.config),
            partition,
            partition_count: PARTITIONS,
            topic_id: String::new(),
            lock: self.lock.clone(),
            doors: self.doors.clone(),
            derived: (0, [0; 32]),
        };
        emitter::start(options).expect("a thread")
    }

    /// As kill -9 of the process: its session is not closed.
    fn kill(self, emitter: Emitter) {
        if let Some(keeper) = &self.keeper {
            keeper.abandon();
        }
        emitter.kill();
    }
}

fn transition(seq: i64, append_ms: i64) -> Transition {
    let labels = Labels::new([("alertname", "Test".to_owned()), ("service", format!("s{}", seq % 7))]);
    Transition {
        seq,
        alert: AlertId::of("Test", &labels),
        from: AlertState::Pending,
        to: AlertState::Firing,
        reason: AlertReason::HeldFor,
        group: "g".into(),
        rule: "Test".into(),
        rule_set_version: 1,
        service: format!("s{}", seq % 7),
        labels,
        annotations: Labels::default(),
        value: 1.0,
        output: String::new(),
        event_ms: append_ms,
        active_since_ms: append_ms,
        input_offset: seq,
        ordinal: 0,
        append_ms,
        suppressed_by: None,
    }
}

/// What the machine of a worker tells: transition `seq` (both replicas derive the same bytes), and the clock.
fn feed(emitter: &Emitter, seq: i64) {
    let sender = emitter.sender();
    sender.send(FromMachine::Derived(vec![transition(seq, 1_000_000 + seq * 10)])).expect("it emits");
    tick(emitter, seq);
}

fn tick(emitter: &Emitter, seq: i64) {
    let clock_ms = 1_000_000 + seq * 10;
    let progress = Progress { offset: seq + 1, clock_ms, rule_set_version: 1, seq, running_hash: [0; 32] };
    emitter.sender().send(FromMachine::Progress(progress)).expect("it emits");
}

fn caught_up(emitter: &Emitter) {
    emitter.sender().send(FromMachine::CaughtUp).expect("it emits");
}

/// How long it took.
fn wait(emitter: &Emitter, what: &str, met: impl Fn(&EmitterStatus) -> bool) -> Duration {
    let begun = clock::monotonic();
    while !met(&emitter.status()) {
        let waited = clock::monotonic() - begun;
        assert!(waited < 30 * SECOND, "{what}: {:?}", emitter.status());
        thread::pause(Duration::from_millis(1));
    }
    clock::monotonic() - begun
}

fn is_primary(status: &EmitterStatus) -> bool {
    status.role == Role::Primary && status.commits > 0
}

/// Asserts that a read_committed reader finds exactly 1..=last, in order, and a marker at the end.
fn assert_each_seq_once(cluster: &str, partition: i32, last: i64) {
    let config = config(cluster, "reader", "127.0.0.1:1");
    let topic = Topics::new(cluster).alerts;
    let mut settings = client(&config, "reader");
    settings
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true");
    let consumer: BaseConsumer = settings.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, partition, Offset::Beginning).expect("a place");
    consumer.assign(&list).expect("assigned");
    let (mut seqs, mut marker) = (Vec::new(), None);
    loop {
        match consumer.poll(10 * SECOND).expect("Kafka answers") {
            Ok(message) => match AlertRecord::read(message.payload().expect("a value")).expect("readable") {
                AlertRecord::Transition(found) => {
                    assert_eq!(*found, transition(found.seq, found.append_ms));
                    seqs.push(found.seq);
                }
                AlertRecord::Marker(found) => {
                    let seq = seqs.last().copied().unwrap_or(0);
                    assert_eq!(found.seq, seq, "a marker covers what stands before it");
                    marker = Some(found);
                }
            },
            Err(ClientError::PartitionEOF(_)) => break,
            Err(fault) => panic!("{fault}"),
        }
    }
    assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
    let hash = (1..=last).fold([0; 32], |hash, seq| transition(seq, 1_000_000 + seq * 10).chain(&hash));
    assert_eq!(marker.expect("a marker").running_hash, hash);
}

/// A primary and a standby of one partition that both have caught up.
fn pair(cluster: &str, partition: i32) -> ((Worker, Emitter), (Worker, Emitter)) {
    let (a, b) = (Worker::start(cluster, "a"), Worker::start(cluster, "b"));
    let a_emitter = a.emitter(partition);
    caught_up(&a_emitter);
    wait(&a_emitter, "a becomes primary", is_primary);
    let b_emitter = b.emitter(partition);
    caught_up(&b_emitter);
    // A standby that has just started is still connecting.
    thread::pause(SECOND);
    assert_eq!(b_emitter.status().role, Role::Standby);
    ((a, a_emitter), (b, b_emitter))
}

fn count(status: &EmitterStatus, role: Role, reason: Reason) -> u64 {
    status.role_changes.get(&(role, reason)).copied().unwrap_or(0)
}

/// Prints n, p50 and the worst.
fn print(what: &str, mut took: Vec<Duration>) -> Duration {
    took.sort();
    let p50 = took[took.len() / 2];
    println!("{what}: n={} p50={p50:?} worst={:?} all={took:?}", took.len(), took[took.len() - 1]);
    p50
}

#[test]
fn a_killed_primary_is_succeeded_and_every_seq_is_out_once() {
    let cluster = cluster("kill");
    let (mut kills, mut promotions, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    for partition in 0..PARTITIONS {
        let ((a, a_emitter), (b, b_emitter)) = pair(&cluster, partition);
        let mut living = Some((a, a_emitter));
        let (mut killed, mut succeeded) = (None, None);
        // Both machines derive a transition each 5 ms; the primary dies in the middle of it.
        for seq in 1.. {
            living.iter().for_each(|(_, emitter)| feed(emitter, seq));
            feed(&b_emitter, seq);
            thread::pause(Duration::from_millis(5));
            if seq == 200
                && let Some((worker, emitter)) = living.take()
            {
                wait(&emitter, "a emits", |status| status.marker_seq > 0);
                killed = Some(clock::monotonic());
                worker.kill(emitter);
            }
            if killed.is_some() && succeeded.is_none() && is_primary(&b_emitter.status()) {
                succeeded = Some(clock::monotonic());
            }
            if seq >= 600 && succeeded.is_some() {
                wait(&b_emitter, "all out", |status| status.marker_seq == seq);
                let status = b_emitter.status();
                assert_eq!(count(&status, Role::Initialising, Reason::LockAcquired), 1, "{status:?}");
                assert_eq!(status.divergences, 0);
                promotions.extend(status.promotion);
                commits.push(status.commit_latency.sum / u32::try_from(status.commits).expect("a few"));
                drop((b_emitter, b));
                assert_each_seq_once(&cluster, partition, seq);
                break;
            }
            assert!(seq < 6_000, "b never took over: {:?}", b_emitter.status());
        }
        kills.extend(succeeded.zip(killed).map(|(succeeded, killed)| succeeded - killed));
    }
    let p50 = print("kill to the successor's first commit, 1 s session", kills);
    print("of that, decided to able to emit", promotions);
    print("commit, mean of each partition", commits);
    assert!(p50 < 4 * SECOND);
}

#[test]
fn a_hung_primary_is_succeeded_although_it_holds_the_lock_and_is_fenced_when_it_wakes() {
    let cluster = cluster("hung");
    let mut took = Vec::new();
    for partition in 0..3 {
        let ((_a, a_emitter), (_b, b_emitter)) = pair(&cluster, partition);
        for seq in 1..=50 {
            feed(&a_emitter, seq);
            feed(&b_emitter, seq);
        }
        wait(&b_emitter, "the standby sees what is out", |status| {
            status.unsent == 0 && status.marker_seq == 50
        });
        // a's machine hangs; its session, its lock and its emission thread live.
        feed(&b_emitter, 51);
        let late = |seq: i64| tick(&b_emitter, seq + 500);
        late(51);
        took.push(wait(&b_emitter, "b takes over", |status| is_primary(status) && status.marker_seq == 51));
        assert_eq!(count(&b_emitter.status(), Role::Initialising, Reason::TransitionUnseen), 1);
        assert!(a_emitter.status().czxid.is_some() || a_emitter.status().role == Role::Fenced);
        // It wakes, with something to say.
        feed(&a_emitter, 51);
        feed(&a_emitter, 52);
        feed(&b_emitter, 52);
        wait(&a_emitter, "a is fenced", |status| status.fences() == 1);
        wait(&b_emitter, "b goes on, now with the lock", |status| {
            status.marker_seq == 52 && status.czxid.is_some()
        });
        wait(&a_emitter, "a stands by and knows", |status| {
            status.role == Role::Standby && status.unsent == 0
        });
        drop((a_emitter, b_emitter));
        assert_each_seq_once(&cluster, partition, 52);
    }
    print("a transition unseen to its commit by the successor, bound 2 s", took);
}

#[test]
fn a_planned_stop_hands_over_at_once() {
    let cluster = cluster("stop");
    let (mut took, mut promotions) = (Vec::new(), Vec::new());
    for partition in 0..PARTITIONS {
        let ((_a, a_emitter), (_b, b_emitter)) = pair(&cluster, partition);
        for seq in 1..=50 {
            feed(&a_emitter, seq);
            feed(&b_emitter, seq);
        }
        let begun = clock::monotonic();
        a_emitter.stop();
        wait(&b_emitter, "b follows", is_primary);
        took.push(clock::monotonic() - begun);
        promotions.extend(b_emitter.status().promotion);
        wait(&b_emitter, "all out", |status| status.marker_seq == 50);
        drop(b_emitter);
        assert_each_seq_once(&cluster, partition, 50);
    }
    print("planned stop to the successor's first commit", took);
    print("of that, decided to able to emit", promotions);
}

#[test]
fn without_any_zookeeper_alerts_still_go_out_once() {
    let cluster = cluster("alone");
    let deaf = |name: &str| {
        let config = config(&cluster, name, "127.0.0.1:1");
        let keeper = Arc::new(ZooKeeper::start(&config).expect("a runtime"));
        let lock = LockService::ZooKeeper(Arc::clone(&keeper));
        assert!(lock.state().is_err());
        Worker {
            doors: Doors::start(&config, &lock).expect("a consumer"),
            config,
            keeper: Some(keeper),
            lock,
        }
    };
    let (a, b) = (deaf("a"), deaf("b"));
    let emitters = [a.emitter(0), b.emitter(0)];
    for emitter in &emitters {
        caught_up(emitter);
        wait(emitter, "it knows the tail", |status| status.trouble.is_none());
    }
    for seq in 1..=20 {
        emitters.iter().for_each(|emitter| feed(emitter, seq));
    }
    let begun = clock::monotonic();
    while emitters.iter().any(|emitter| emitter.status().marker_seq < 20) {
        emitters.iter().for_each(|emitter| tick(emitter, 520));
        assert!(clock::monotonic() - begun < 30 * SECOND, "{:?}", emitters.each_ref().map(Emitter::status));
        thread::pause(Duration::from_millis(100));
    }
    println!("no ZooKeeper: 20 transitions out and seen by both after {:?}", clock::monotonic() - begun);
    drop(emitters);
    assert_each_seq_once(&cluster, 0, 20);
}

#[test]
fn locks_of_one_process_do_as_well_for_a_demo() {
    let cluster = cluster("demo");
    let locks = InProcessLocks::new(SECOND);
    let worker = |name: &str| {
        let config = config(&cluster, name, "127.0.0.1:1");
        let lock = LockService::InProcess(locks.clone());
        Worker { doors: Doors::start(&config, &lock).expect("a consumer"), config, keeper: None, lock }
    };
    let (a, b) = (worker("a"), worker("b"));
    let (a_emitter, b_emitter) = (a.emitter(0), b.emitter(0));
    caught_up(&a_emitter);
    wait(&a_emitter, "a becomes primary", is_primary);
    caught_up(&b_emitter);
    for seq in 1..=10 {
        feed(&a_emitter, seq);
        feed(&b_emitter, seq);
    }
    let begun = clock::monotonic();
    a.kill(a_emitter);
    wait(&b_emitter, "b takes over when the session is over", is_primary);
    println!("in-process locks: kill to takeover {:?}", clock::monotonic() - begun);
    wait(&b_emitter, "all out", |status| status.marker_seq == 10);
    b_emitter.stop();
    assert_each_seq_once(&cluster, 0, 10);
}

fn report(config: &Config, started_ms: i64) -> WorkerReport {
    WorkerReport {
        worker: config.worker.clone(),
        zone: config.zone.clone(),
        http: format!("127.0.0.1:{started_ms}"),
        started_ms,
        version: "0".into(),
        settings: Default::default(),
        partitions: [(3, PartitionReport { role: "primary".into(), seq: started_ms, ..Default::default() })]
            .into(),
    }
}

fn join(registry: &Registry, met: impl Fn(&Joined) -> bool) -> Duration {
    let begun = clock::monotonic();
    while !met(&registry.joined()) {
        assert!(clock::monotonic() - begun < 20 * SECOND, "{:?}", registry.joined());
        thread::pause(Duration::from_millis(5));
    }
    clock::monotonic() - begun
}

#[test]
fn a_worker_id_lives_once_and_a_killed_workers_is_free_after_its_session() {
    let cluster = format!("registry-{}", clock::wall_ms());
    let config = config(&cluster, "a", &address("BELLWETHER_ZOOKEEPER"));
    assert_eq!(registry::read_all(&config, 5 * SECOND).expect("ZooKeeper answers"), []);
    let first_keeper = ZooKeeper::start(&config).expect("a runtime");
    let first = Registry::join(&first_keeper, SECOND, report(&config, 1));
    join(&first, |joined| *joined == Joined::Yes);

    // Alive: it refreshes its node while the second tries.
    let second_keeper = ZooKeeper::start(&config).expect("a runtime");
    let second = Registry::join(&second_keeper, SECOND, report(&config, 2));
    join(&second, |joined| {
        first.publish(WorkerReport { http: "refreshed".into(), ..report(&config, 1) });
        matches!(joined, Joined::Taken(other) if other.started_ms == 1)
    });
    let all = registry::read_all(&config, 5 * SECOND).expect("ZooKeeper answers");
    assert_eq!(all, [WorkerReport { http: "refreshed".into(), ..report(&config, 1) }]);

    // Killed: its node goes with its session.
    first_keeper.abandon();
    let mut patient = Config::clone(&config);
    patient.zookeeper.session_timeout = 8 * SECOND;
    let third_keeper = ZooKeeper::start(&patient).expect("a runtime");
    let third = Registry::join(&third_keeper, SECOND, report(&config, 3));
    let took = join(&third, |joined| *joined == Joined::Yes);
    println!("a killed worker's id is free after {took:?}, 1 s session");

    // Ended in a planned way: gone long before its session of eight seconds would be.
    third_keeper.close();
    let begun = clock::monotonic();
    while !registry::read_all(&config, 5 * SECOND).expect("ZooKeeper answers").is_empty() {
        assert!(clock::monotonic() - begun < 4 * SECOND, "the session was not closed");
    }
    println!("a closed session's nodes are gone after {:?}", clock::monotonic() - begun);
}

#[test]
fn a_worker_whose_key_the_others_do_not_believe_stands_by_when_they_do_or_are_gone() {
    let cluster = format!("foreign-{}", clock::wall_ms());
    let keeper = |worker: &str| {
        let config = config(&cluster, worker, &address("BELLWETHER_ZOOKEEPER"));
        (ZooKeeper::start(&config).expect("a runtime"), config)
    };
    let with = |config: &Config, key: &str, trusted: &[&str]| {
        let trusted = trusted.iter().map(|key| (*key).to_owned()).collect();
        let settings = Settings { key: key.to_owned(), trusted, snapshot_interval_ms: 0 };
        WorkerReport { settings, ..report(config, 1) }
    };
    let (old_keeper, old) = keeper("a");
    let first = Registry::join(&old_keeper, SECOND, with(&old, "old", &["old"]));
    join(&first, |joined| *joined == Joined::Yes);
    let (keeper, new) = keeper("b");
    let second = Registry::join(&keeper, SECOND, with(&new, "new", &["old", "new"]));
    let foreign = |joined: &Joined| matches!(joined, Joined::Foreign(other) if other.worker == "worker-a");
    join(&second, foreign);
    first.publish(with(&old, "old", &["old", "new"]));
    join(&second, |joined| *joined == Joined::Yes);
}
