//! One emission thread a partition: it owns the replica's state machine, executes its actions one after the other, and
//! answers each with the next event. The blocking calls of librdkafka live here, so that one partition's slow broker
//! holds up nobody else's.
//!
//! ```text
//!  machine thread ──Derived, Progress, CaughtUp──▶ ┌───────┐      ┌─────────┐ actions ┌──────────────┐
//!  follower ──────────────markers─────────────────▶│ inbox │─────▶│ replica │────────▶│ producer     │──▶ Kafka
//!  lock door ─────────────Free, Held, …───────────▶└───────┘      └─────────┘◀────────│ tail, lock   │
//!                                                                   answers           └──────────────┘
//! ```
//!
//! When the replica's backlog is full the machine's messages stay in the inbox, and its thread waits: a partition
//! whose alerts cannot go out lags, in bounded memory, and loses nothing.

mod concerns;
mod handles;
mod inbox;
mod run;
mod status;

pub use inbox::{Closed, Sender};
pub use status::{EmitterStatus, LATENCY_BUCKETS_MS, Latency};

use crate::config::Config;
use crate::replica::Input;
use crate::shell::kafka::KafkaError;
use crate::shell::kafka::spares::Spares;
use crate::shell::kafka::tail::Follower;
use crate::shell::lock::LockService;
use crate::shell::meta::Meta;
use crate::shell::peers::Peers;
use crate::shell::thread;
use crate::wire::Transition;
use inbox::Inbox;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What an emission thread is told once.
#[derive(Debug, Clone)]
pub struct EmitterOptions {
    /// This process's configuration.
    pub config: Arc<Config>,
    /// Partition of observations and of alerts.
    pub partition: i32,
    /// Partitions of the observations topic.
    pub partition_count: i32,
    /// Kafka's id of the observations topic; empty where the broker tells none.
    pub topic_id: String,
    /// Where the partition's lock is kept.
    pub lock: LockService,
    /// What all emission threads of the process share.
    pub doors: Doors,
    /// The last transition that the machine had derived when this thread was started, and the running hash there:
    /// that of the snapshot it was restored from; (0, zeroes) for one that starts at the beginning of the log.
    pub derived: (i64, [u8; 32]),
}

/// What the emission threads of one process share. Clones share it.
#[derive(Debug, Clone)]
pub struct Doors {
    /// Reads the alerts topic.
    pub follower: Follower,
    /// Keeps producers ready.
    pub spares: Spares,
    /// Tells which workers are proved dead.
    pub peers: Peers,
    /// Takes what is wrong with this worker itself.
    pub meta: Meta,
}

impl Doors {
    /// Waits neither for Kafka nor for ZooKeeper. Without ZooKeeper no peer is known, and so none proved dead.
    pub fn start(config: &Config, lock: &LockService) -> Result<Self, KafkaError> {
        let follower = Follower::start(config)?;
        let spares =
            Spares::start(config).map_err(|_| KafkaError::no_thread("starting the thread of spares"))?;
        let peers = match lock {
            LockService::ZooKeeper(keeper) => Peers::watch(keeper, config),
            LockService::InProcess(_) | LockService::Standalone(_) => Peers::default(),
        };
        let meta = Meta::start(config).map_err(|_| KafkaError::no_thread("starting the thread of meta"))?;
        Ok(Self { follower, spares, peers, meta })
    }
}

/// How far a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Offset after the last record applied.
    pub offset: i64,
    /// The partition's clock, milliseconds since the epoch.
    pub clock_ms: i64,
    /// Rule set in force.
    pub rule_set_version: i64,
    /// `seq` of the last transition derived.
    pub seq: i64,
    /// Running hash there.
    pub running_hash: [u8; 32],
}

/// What a machine thread tells the emission thread, in the order of the log.
#[derive(Debug, Clone, PartialEq)]
pub enum FromMachine {
    /// Transitions, dense and in order. The first ever has `seq` 1.
    Derived(Vec<Transition>),
    /// How far it is; after each batch, after the transitions of that batch.
    Progress(Progress),
    /// It has reached the end of the log once. Only then may this replica become primary.
    CaughtUp,
}

/// A running emission thread.
#[derive(Debug)]
pub struct Emitter {
    inbox: Arc<Inbox>,
    status: Arc<Mutex<EmitterStatus>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the emission thread of one partition, as a standby. Fails only where the system has no thread left.
pub fn start(options: EmitterOptions) -> std::io::Result<Emitter> {
    let inbox = Arc::new(Inbox::default());
    let status = Arc::new(Mutex::new(EmitterStatus::new(options.partition)));
    let (mail, told) = (Arc::clone(&inbox), Arc::clone(&status));
    let name = format!("emit-{}", options.partition);
    let thread = thread::spawn(name, move || run::run(options, mail, told))?;
    Ok(Emitter { inbox, status, thread: Some(thread) })
}

impl Emitter {
    /// For the machine thread.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender(Arc::clone(&self.inbox))
    }

    /// Where it stands now.
    #[must_use]
    pub fn status(&self) -> EmitterStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins a planned stop and does not wait for it: whoever stops many partitions tells all of them first.
    pub fn hand_over(&self) {
        self.inbox.put(Input::Stop);
    }

    /// Planned: commits what waits (for at most two seconds), gives the lock back, ends. Blocks until then.
    pub fn stop(mut self) {
        self.inbox.put(Input::Stop);
        self.join();
    }

    /// As kill -9 would: nothing is finished, aborted or given back. Only a call that is under way returns first.
    pub fn kill(mut self) {
        self.inbox.kill();
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A partition that is let go without a word is stopped in a planned way.
impl Drop for Emitter {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.inbox.put(Input::Stop);
            self.join();
        }
    }
}
