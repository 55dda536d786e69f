//! The door to what outlives a crash: how often the engine panicked at a record, over all workers and restarts (H24).
//!
//! With ZooKeeper the count is a node, `<path>/<cluster>/crashes/<partition>/<offset>`, which stays until an operator
//! removes it. Nothing in it is trusted with more than a hurry: a count that was forged makes a worker quarantine a record
//! that made it panic itself, once instead of twice. Where no ensemble answers, and in the demo and `worker --standalone`,
//! this process counts its own.

use super::lock::LockService;
use super::zookeeper::{ZooKeeper, make_path};
use crate::machine::ENGINE_VERSION;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zookeeper_client::{Acls, Client, CreateMode, Error as ClientError};

/// How long the ensemble may take.
const ANSWER: Duration = Duration::from_secs(3);

/// What a node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Crash {
    /// How often the engine panicked there.
    count: u32,
    /// Version of the engine that did last.
    engine_version: i32,
}

/// Where crashes are counted.
#[derive(Debug)]
pub struct Crashes {
    keeper: Option<Arc<ZooKeeper>>,
    own: Mutex<BTreeMap<(i32, i64), u32>>,
}

impl Crashes {
    /// Beside the locks.
    #[must_use]
    pub fn beside(lock: &LockService) -> Self {
        let keeper = match lock {
            LockService::ZooKeeper(keeper) => Some(Arc::clone(keeper)),
            LockService::InProcess(_) | LockService::Standalone(_) => None,
        };
        Self { keeper, own: Mutex::default() }
    }

    /// The engine panicked at a record. How often it did so far, this time among them: as the ensemble knows it, but at
    /// least as often as this process does.
    pub fn note(&self, partition: i32, offset: i64) -> u32 {
        let own = {
            let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            let count = own.entry((partition, offset)).or_default();
            *count = count.saturating_add(1);
            *count
        };
        let Some(keeper) = &self.keeper else { return own };
        let Some(client) = keeper.session().borrow().clone() else { return own };
        let path = format!("{}/crashes/{partition}/{offset}", keeper.root());
        let (answer, answered) = channel();
        keeper.spawn(async move {
            let _ = answer.send(count_one(&client, &path).await);
        });
        match answered.recv_timeout(ANSWER) {
            Ok(Ok(count)) => own.max(count),
            Ok(Err(fault)) => {
                tracing::warn!(partition, offset, %fault, "the crash could not be noted in ZooKeeper");
                own
            }
            Err(_) => own,
        }
    }
}

/// Adds one to the count of a node, and makes it if need be.
async fn count_one(client: &Client, path: &str) -> Result<u32, ClientError> {
    let encode =
        |count| serde_json::to_vec(&Crash { count, engine_version: ENGINE_VERSION }).unwrap_or_default();
    let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
    make_path(client, parent).await?;
    loop {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        match client.create(path, &encode(1), &options).await {
            Ok(_) => return Ok(1),
            Err(ClientError::NodeExists) => {}
            Err(fault) => return Err(fault),
        }
        let (value, stat) = match client.get_data(path).await {
            Ok(found) => found,
            Err(ClientError::NoNode) => continue,
            Err(fault) => return Err(fault),
        };
        let before = serde_json::from_slice::<Crash>(&value).map_or(0, |crash| crash.count);
        let count = before.saturating_add(1);
        match client.set_data(path, &encode(count), Some(stat.version)).await {
            Ok(_) => return Ok(count),
            Err(ClientError::BadVersion | ClientError::NoNode) => {}
            Err(fault) => return Err(fault),
        }
    }
}
