//! Two workers of two zones and a record that makes both panic, on the real stack.

use crate::config::{self, Config, PrivateKeySource};
use crate::shell::http::Readiness;
use crate::shell::kafka::admin::Admin;
use crate::shell::kafka::log::{Log, Write, write};
use crate::shell::kafka::{Topics, topics};
use crate::shell::lock::LockService;
use crate::shell::verify::{Question, Verifier};
use crate::shell::worker::{Metrics, Worker, WorkerOptions};
use crate::shell::zookeeper::ZooKeeper;
use crate::shell::{clock, files, keys, thread};
use crate::wire::keyring::SigningKey;
use crate::wire::{
    AlertRecord, AlertState, Control, Labels, Limits, ObservationsWriter, RuleFile, RuleSet, Transition,
};
use std::sync::Arc;
use std::time::Duration;

const RULES: &str = "groups:\n- name: main\n  interval: 1s\n  rules:\n  - {alert: Down, expr: up == 0}\n";
/// Both workers go on within this time.
const BACK: Duration = Duration::from_secs(60);

fn config(zone: &str, brokers: &str, prefix: &str) -> Config {
    let text = format!(
        "zone: {zone}\nworker: {zone}-1\ncluster: {prefix}\nkafka: {{brokers: '{brokers}', topic_prefix: {prefix}, partitions: 1}}\n\
         snapshots: {{url: ''}}\n"
    );
    let mut config = config::load(&[("test".to_owned(), text)], &|_| None).expect("a configuration");
    config.control.key = Some(PrivateKeySource::Memory(SigningKey::from_seed(&[5; 32])));
    if let Some(hosts) = files::environment("BELLWETHER_ZOOKEEPER") {
        config.zookeeper.hosts = hosts;
    }
    config
}

fn produce(config: &Config, value: &[u8]) {
    let topic = Topics::new(&config.kafka.topic_prefix).observations;
    write(config, &[Write { topic: &topic, partition: 0, key: None, value }]).expect("Kafka takes it");
}

fn sample(host: &str, value: f64) -> Vec<u8> {
    let mut writer = ObservationsWriter::new("shop").expect("a service");
    writer.sample("up", &Labels::new([("host", host)]), clock::wall_ms(), value).expect("a sample");
    writer.finish()
}

fn rules(config: &Config) -> Vec<u8> {
    let set = RuleSet {
        version: 1,
        applied_ms: 0,
        author: "test".to_owned(),
        service_label: "service".to_owned(),
        files: vec![RuleFile { name: "r.yaml".to_owned(), content: RULES.to_owned() }],
        limits: Limits::default(),
        partitions: 0,
    };
    keys::signer(config).expect("a key").seal(0, &Control::Rules(set))
}

fn alerts(config: &Config) -> Vec<Transition> {
    let log = Log::open(config, &Topics::new(&config.kafka.topic_prefix).alerts).expect("a consumer");
    let mut out = Vec::new();
    let read = log.read_all(0..1, |record| {
        if let Ok(AlertRecord::Transition(transition)) = AlertRecord::read(&record.value) {
            out.push(*transition);
        }
    });
    read.map(|()| out).unwrap_or_default()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = clock::monotonic() + BACK;
    while !holds() {
        assert!(clock::monotonic() < deadline, "not within {BACK:?}: {what}");
        thread::pause(Duration::from_millis(50));
    }
}

fn play(configs: &[Config; 2], lock: impl Fn(&Config) -> LockService) {
    let config = &configs[0];
    produce(config, &rules(config));
    produce(config, &sample("a", 0.0));
    let start = |config: &Config| {
        let readiness = Arc::new(Readiness::default());
        let options = WorkerOptions {
            config: config.clone(),
            lock: lock(config),
            producer_time: false,
            metrics: Metrics::default(),
            readiness: Arc::clone(&readiness),
            http: String::new(),
        };
        Worker::start(options).map(|worker| (worker, readiness)).expect("a worker")
    };
    let workers = configs.each_ref().map(start);
    let ready = || workers.iter().all(|(_, readiness)| readiness.reasons().is_empty());
    until("both workers are ready", ready);
    until("the first alert is out", || !alerts(config).is_empty());

    produce(config, &sample("poison", 0.0));
    until("the record is in quarantine", || {
        let keyring = keys::keyring(config).expect("a key");
        crate::shell::quarantine::read(config, 0, &keyring).is_ok_and(|skips| skips.len() == 1)
    });
    produce(config, &sample("b", 0.0));
    let quarantined = |alert: &&Transition| alert.rule == "BellwetherRecordQuarantined";
    until("alerts go on, and the quarantine is told", || {
        let alerts = alerts(config);
        alerts.iter().any(|alert| alert.labels.get("host") == "b" && alert.to == AlertState::Firing)
            && alerts.iter().any(|alert| quarantined(&alert))
    });
    until("both workers are ready again", ready);
    let at = |worker: &Worker| worker.report().partitions.get(&0).map(|line| (line.seq, line.out_seq));
    until("both know what is out", || {
        let all = alerts(config).len() as i64;
        workers.iter().all(|(worker, _)| at(worker) == Some((all, all)))
    });
    workers.into_iter().for_each(|(worker, _)| worker.stop());
    let all = alerts(config);
    assert_eq!(all.iter().filter(quarantined).count(), 1, "{all:#?}");
    let mut verifier =
        Verifier::open(config, Question { at_rest: true, ..Question::default() }).expect("consumers");
    let verdict = verifier.verify(0).expect("Kafka answers");
    assert!(verdict.is_equal(), "{verdict:?}");
}

#[test]
fn a_record_that_makes_both_workers_panic_is_skipped_by_both() {
    // The planted panic exists in this crate's own tests alone, and these run without a stack, too. tests/run starts one.
    let Some(brokers) = files::environment("BELLWETHER_KAFKA") else { return };
    let prefix = format!("poison-{}", clock::wall_ms());
    let configs = ["zone-a", "zone-b"].map(|zone| config(zone, &brokers, &prefix));
    let admin = Admin::connect(&configs[0]).expect("Kafka answers");
    topics::wanted(&configs[0]).iter().for_each(|wanted| admin.create(wanted).expect("a topic"));
    let keeper = |config: &Config| {
        LockService::ZooKeeper(Arc::new(ZooKeeper::start(config).expect("a session is sought")))
    };
    play(&configs, keeper);
}
