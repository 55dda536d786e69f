//! The worker: hosts the partitions that its zone's group assigns, each with a machine and an emission thread.
//!
//! ```text
//!  group thread ── assigned, revoked ──▶ host thread ── starts, ends ──▶ machine thread p ──▶ emission thread p
//!                                                                          ▲         └──▶ outbox (ticks, rejects)
//!  data thread ──────────────── batches, bounded ──────────────────────────┘
//! ```
//!
//! Threads and bounded channels, no shared state but what is shown: each partition's machine has one owner. A partition
//! begins from a snapshot when it is assigned, and again when it breaks (`begin`, `rebuild`); until it has caught up,
//! `/-/ready` says how many records are left, and it emits nothing.
//!
//! [`Worker::stop`] hands every partition over, leaves the group and returns. [`Worker::kill`] lets go of everything
//! at once and tells nobody, as `kill -9` would: for the demo and for tests.

mod begin;
mod emission;
mod host;
mod metrics;
mod partition;
mod poison;
mod rebuild;
mod sampler;
mod standing;
pub(crate) mod ticker;

pub use metrics::Metrics;

use crate::config::Config;
use crate::error::Error;
use crate::machine::Options;
use crate::shell::clock;
use crate::shell::crashes::Crashes;
use crate::shell::emitter::Doors;
use crate::shell::http::Readiness;
use crate::shell::kafka::assignment::Applied;
use crate::shell::kafka::consumer::Data;
use crate::shell::kafka::outbox::Outbox;
use crate::shell::kafka::{KafkaError, Topics};
use crate::shell::keys;
use crate::shell::lock::LockService;
use crate::shell::meta::{Kind, Meta};
use crate::shell::registry::{PartitionReport, Settings, WorkerReport};
use crate::shell::snapshot::{Report, Writer};
use crate::shell::store::{Patience, Store};
use crate::shell::thread;
use crate::wire::keyring::{Keyring, Signer};
use host::Host;
use rdkafka::error::KafkaError as ClientError;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What a worker is started with.
#[derive(Debug)]
pub struct WorkerOptions {
    /// The configuration; its `zone` and `worker` name this worker.
    pub config: Config,
    /// Where the partitions' locks are. With ZooKeeper the worker also registers there, for `bellwether status`.
    pub lock: LockService,
    /// Lets producers' time stamps move the clock. Only for a broker without LogAppendTime: the demo's mock.
    pub producer_time: bool,
    /// What it counts.
    pub metrics: Metrics,
    /// What `/-/ready` says.
    pub readiness: Arc<Readiness>,
    /// Address of the HTTP port, for the registry; empty where there is none.
    pub http: String,
}

/// A running worker. Dropped, it stops as by [`Worker::stop`].
#[derive(Debug)]
pub struct Worker {
    ending: Arc<Ending>,
    shown: Arc<Shown>,
    thread: Option<JoinHandle<()>>,
}

/// What all threads of a worker share. None of it is state of a machine.
struct Shared {
    config: Arc<Config>,
    topics: Topics,
    lock: LockService,
    doors: Doors,
    producer_time: bool,
    hash_key: u64,
    keyring: Arc<Keyring>,
    /// Signs what the partitions themselves say: that a record is in quarantine.
    signer: Signer,
    crashes: Crashes,
    metrics: Metrics,
    readiness: Arc<Readiness>,
    applied: Arc<Applied>,
    outbox: Outbox,
    data: Data,
    /// Where snapshots are; none where none are configured.
    store: Option<Arc<Store>>,
    /// Takes captures; none where there is no store.
    snapshots: Option<Writer>,
    topic: Topic,
}

impl Shared {
    /// What the machine of a partition is told: alike in all zones.
    fn machine_options(&self, partition: i32) -> Options {
        Options {
            partition,
            keyring: Arc::clone(&self.keyring),
            hash_key: self.hash_key,
            producer_time: self.producer_time,
            snapshot_interval_ms: self.config.snapshots.interval_ms(),
        }
    }
}

/// What this worker tells the others that it decides by.
fn settings(config: &Config, signer: &Signer, keyring: &Keyring) -> Settings {
    Settings {
        key: signer.key_id().to_string(),
        trusted: keyring.keys().map(|key| key.id().to_string()).collect(),
        snapshot_interval_ms: config.snapshots.interval_ms(),
    }
}

/// Kafka's id of the observations topic, as it was seen last.
#[derive(Debug, Default)]
struct Topic(Mutex<Option<String>>);

impl Topic {
    fn set(&self, id: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.to_owned());
    }

    /// The id, where it is another one. Where the broker tells none, nothing can be compared.
    fn other_than(&self, own: &str) -> Option<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        (!own.is_empty() && !seen.is_empty() && seen != own).then_some(seen)
    }
}

/// What the outside may look at.
#[derive(Debug)]
struct Shown {
    report: Mutex<WorkerReport>,
    refused: Mutex<Option<String>>,
}

/// How a worker, or one of its partitions, is to end. Once set it stays.
#[derive(Debug, Default)]
struct Ending(AtomicU8);

impl Ending {
    const STOP: u8 = 1;
    const KILL: u8 = 2;

    fn set(&self, how: u8) {
        self.0.fetch_max(how, Ordering::SeqCst);
    }

    fn is_running(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }

    fn is_killed(&self) -> bool {
        self.0.load(Ordering::SeqCst) == Self::KILL
    }
}

impl Worker {
    /// Starts it. Neither Kafka nor ZooKeeper needs to be there: `/-/ready` says what is awaited. The key that signs its
    /// ticks does.
    pub fn start(options: WorkerOptions) -> Result<Self, Error> {
        let WorkerOptions { config, lock, producer_time, metrics, readiness, http } = options;
        let (signer, keyring) = (keys::signer(&config)?, keys::keyring(&config)?);
        let report = Arc::new(Shown {
            report: Mutex::new(WorkerReport {
                worker: config.worker.clone(),
                zone: config.zone.clone(),
                http,
                started_ms: clock::wall_ms(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                settings: settings(&config, &signer, &keyring),
                partitions: BTreeMap::new(),
            }),
            refused: Mutex::new(None),
        });
        let topics = Topics::new(&config.kafka.topic_prefix);
        let applied = Arc::new(Applied::default());
        let data = Data::start(&config, &topics.observations)?;
        let doors = Doors::start(&config, &lock)?;
        Meta::beat(&config, Arc::clone(&readiness)).map_err(Error::System)?;
        let (outbox, outbox_thread) = Outbox::start(&config, &topics, signer.clone())?;
        let store = Store::open(&config.snapshots, Patience::default())?.map(Arc::new);
        let snapshots = store
            .as_ref()
            .map(|store| snapshots(store, &config, &metrics, &report, &doors.meta))
            .transpose()?;
        if store.is_none() {
            tracing::warn!(
                "no snapshots are kept (snapshots.url is empty): a worker that starts replays the whole log, and one whose \
                 log retention has cut does not start"
            );
        }
        readiness.not_ready(host::KAFKA, format!("no answer yet from {}", config.kafka.brokers));
        tracing::info!(
            worker = config.worker,
            zone = config.zone,
            "worker {} of {} started",
            config.worker,
            config.zone
        );
        let shared = Arc::new(Shared {
            hash_key: hash_key(&config.cluster),
            keyring,
            signer,
            crashes: Crashes::beside(&lock),
            config: Arc::new(config),
            topics,
            lock,
            doors,
            producer_time,
            metrics,
            readiness,
            applied,
            outbox,
            data,
            store,
            snapshots,
            topic: Topic::default(),
        });
        let ending = Arc::new(Ending::default());
        let host = Host::new(shared, Arc::clone(&ending), Arc::clone(&report), outbox_thread);
        let thread = thread::spawn("host", move || host.run()).map_err(no_thread)?;
        Ok(Self { ending, shown: report, thread: Some(thread) })
    }

    /// A planned stop: every partition brings out what it can and is handed over, the group is left. Takes a few seconds
    /// at most.
    pub fn stop(mut self) {
        self.end();
    }

    /// Lets go of everything at once and tells nobody, as `kill -9` would. Returns at once.
    pub fn kill(mut self) {
        self.ending.set(Ending::KILL);
        self.thread.take();
    }

    /// How it stands.
    #[must_use]
    pub fn report(&self) -> WorkerReport {
        self.shown.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why it cannot go on, if so: another process lives under its id. Whoever started it should stop it.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        self.shown.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(&mut self) {
        self.ending.set(Ending::STOP);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shown {
    fn publish(&self, partitions: BTreeMap<i32, PartitionReport>) -> WorkerReport {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.partitions = partitions;
        report.clone()
    }

    fn refuse(&self, why: String) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }
}

/// Starts the snapshot thread. A store that cannot be used stops the worker: whoever runs it should know at once.
fn snapshots(
    store: &Arc<Store>,
    config: &Config,
    metrics: &Metrics,
    shown: &Arc<Shown>,
    meta: &Meta,
) -> Result<Writer, KafkaError> {
    let (shown, meta) = (Arc::clone(shown), meta.clone());
    let tell = Box::new(move |report| match report {
        Report::Unfit(fault) => shown.refuse(fault.to_string()),
        // Logged and counted where it was found.
        Report::Disputed { partition, seq, worker } => {
            let why = format!(
                "this worker and {worker} have other states at seq {seq}; no more snapshots are taken"
            );
            meta.raise(Kind::Diverged, partition, why);
        }
        Report::Failed { partition, why } => drop(meta.raise(Kind::SnapshotsFailing, partition, why)),
        Report::Stored { partition } => drop(meta.resolve(Kind::SnapshotsFailing, partition)),
    });
    Writer::start(Arc::clone(store), &config.cluster, &config.worker, metrics.snapshots.clone(), tell)
        .map_err(no_thread)
}

/// Both zones need the same key, and it is not to be guessed by a tenant who only knows Bellwether.
fn hash_key(cluster: &str) -> u64 {
    let hash = blake3::keyed_hash(b"bellwether: series look-up table", cluster.as_bytes());
    let mut low = [0; 8];
    low.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(low)
}

fn no_thread(_: std::io::Error) -> KafkaError {
    KafkaError::Client {
        doing: "starting the worker",
        source: ClientError::ClientCreation("no thread left".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_overrides_a_stop_and_is_not_taken_back() {
        let ending = Ending::default();
        assert!(ending.is_running());
        ending.set(Ending::STOP);
        assert!(!ending.is_running() && !ending.is_killed());
        ending.set(Ending::KILL);
        ending.set(Ending::STOP);
        assert!(ending.is_killed());
    }
}
