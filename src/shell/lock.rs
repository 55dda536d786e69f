//! The partition lock: who should be primary. It avoids duels and is no more than that; the fence in Kafka decides.
//!
//! A lock is followed from the moment a partition is hosted: its state arrives as [`LockEvent`]s. `acquire` is answered
//! by exactly one `Acquired` or `Held`, as soon as there is a session.
//!
//! [`LockService`] is a door that the demo fakes: `ZooKeeper` is the real thing, `InProcess` keeps the locks of one
//! process's workers and frees those of a worker that was killed after the session timeout, as the ensemble would.

mod in_process;
mod zookeeper;

pub use crate::replica::LockEvent;
pub use in_process::InProcessLocks;

use crate::config::Config;
use crate::shell::zookeeper::ZooKeeper;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where the events of a lock go. Called from the door's own threads; must not block.
pub type Listener = Box<dyn Fn(LockEvent) + Send + Sync>;

/// Value of a lock node: who holds it, for people and for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Its worker.
    pub worker: String,
    /// Its zone.
    pub zone: String,
    /// Its version of Bellwether.
    pub version: String,
}

impl LockHolder {
    /// This worker.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            worker: config.worker.clone(),
            zone: config.zone.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Where locks are kept.
#[derive(Debug, Clone)]
pub enum LockService {
    /// Ephemeral nodes `<path>/<cluster>/partitions/<p>/primary`.
    ZooKeeper(Arc<ZooKeeper>),
    /// Workers of one process: the demo, and tests.
    InProcess(InProcessLocks),
    /// `worker --standalone`: locks of its own, which nobody else asks for. Its markers say so, and the fence decides.
    Standalone(InProcessLocks),
}

impl LockService {
    /// Follows the lock of a partition, without trying to take it.
    pub fn follow(&self, partition: i32, holder: LockHolder, tell: Listener) -> PartitionLock {
        match self {
            Self::ZooKeeper(keeper) => {
                PartitionLock::ZooKeeper(zookeeper::Handle::follow(keeper, partition, &holder, tell))
            }
            Self::InProcess(locks) | Self::Standalone(locks) => {
                PartitionLock::InProcess(locks.follow(partition, holder, tell))
            }
        }
    }

    /// Whether this worker is primary by an operator's word.
    #[must_use]
    pub fn is_standalone(&self) -> bool {
        matches!(self, Self::Standalone(_))
    }

    /// Whether locks can be taken now, and else why not: what `/-/ready` says.
    pub fn state(&self) -> Result<(), String> {
        match self {
            Self::ZooKeeper(keeper) => keeper.state(),
            Self::InProcess(_) | Self::Standalone(_) => Ok(()),
        }
    }
}

/// The lock of one partition, as one worker has it. Dropped it is given back.
#[derive(Debug)]
pub enum PartitionLock {
    /// See [`LockService::ZooKeeper`].
    ZooKeeper(zookeeper::Handle),
    /// See [`LockService::InProcess`].
    InProcess(in_process::Handle),
}

impl PartitionLock {
    /// Tries to take it once.
    pub fn acquire(&self) {
        match self {
            Self::ZooKeeper(handle) => handle.acquire(),
            Self::InProcess(handle) => handle.acquire(),
        }
    }

    /// Gives it back, or stops trying.
    pub fn release(&self) {
        match self {
            Self::ZooKeeper(handle) => handle.release(),
            Self::InProcess(handle) => handle.release(),
        }
    }

    /// Lets go as a killed process does: the lock stays taken until the session times out. (The ZooKeeper session is
    /// the process's: [`ZooKeeper::abandon`] is the other half.)
    pub fn abandon(self) {
        match self {
            Self::ZooKeeper(handle) => handle.abandon(),
            Self::InProcess(handle) => handle.abandon(),
        }
    }
}
