//! A partition's lock as an ephemeral node, followed by one task on the session's runtime.

use super::{Listener, LockHolder};
use crate::replica::LockEvent;
use crate::shell::zookeeper::{Session, ZooKeeper, make_path, open, over};
use std::time::Duration;
use tokio::sync::watch;
use zookeeper_client::{Acls, Client, CreateMode, Error as ClientError};

/// After a call that failed within a session.
const RETRY: Duration = Duration::from_millis(100);

/// What the partition's replica wants of its lock.
#[derive(Debug, Clone, Copy, Default)]
struct Want {
    hold: bool,
    /// Counts requests to hold it, so that each is answered once.
    request: u64,
    /// The task ends; it gives the lock back before, unless it is to look as if the process had died.
    leave: bool,
    abandon: bool,
}

/// One worker's view of one lock.
#[derive(Debug)]
pub struct Handle {
    want: watch::Sender<Want>,
}

impl Handle {
    pub(super) fn follow(keeper: &ZooKeeper, partition: i32, holder: &LockHolder, tell: Listener) -> Self {
        let (want, wanted) = watch::channel(Want::default());
        let task = Task {
            path: format!("{}/partitions/{partition}/primary", keeper.root()),
            worker: holder.worker.clone(),
            value: serde_json::to_vec(holder).unwrap_or_default(),
            tell,
            wanted,
            answered: 0,
            held: false,
        };
        keeper.spawn(task.run(keeper.session()));
        Self { want }
    }

    pub(super) fn acquire(&self) {
        self.want.send_modify(|want| {
            want.hold = true;
            want.request += 1;
        });
    }

    pub(super) fn release(&self) {
        self.want.send_modify(|want| want.hold = false);
    }

    pub(super) fn abandon(self) {
        self.want.send_modify(|want| want.abandon = true);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.want.send_modify(|want| want.leave = true);
    }
}

struct Task {
    path: String,
    worker: String,
    value: Vec<u8>,
    tell: Listener,
    wanted: watch::Receiver<Want>,
    /// Last request to hold that was answered.
    answered: u64,
    held: bool,
}

impl Task {
    async fn run(mut self, mut session: Session) {
        loop {
            let mut wanted = self.wanted.clone();
            let client = tokio::select! {
                client = open(&mut session) => client,
                _ = wanted.wait_for(|want| want.leave || want.abandon) => None,
            };
            let Some(client) = client else { return };
            tokio::select! {
                biased;
                () = over(&mut session, &client) => {
                    // A new session must find the lock anew; a request that is not answered yet stands.
                    self.held = false;
                    (self.tell)(LockEvent::Lost);
                }
                () = self.through_session(&client) => return,
            }
        }
    }

    /// Until the partition is left. Whatever call fails, the session's end is its caller's to see: a lock that is believed to
    /// be held beyond it would be given back, later, when it is another's.
    async fn through_session(&mut self, client: &Client) {
        while let Err(fault) = self.in_session(client).await {
            tracing::debug!(path = %self.path, %fault, "lock: retrying");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Until the partition is left (`Ok`) or a call fails.
    async fn in_session(&mut self, client: &Client) -> Result<(), ClientError> {
        loop {
            let want = *self.wanted.borrow_and_update();
            if want.abandon {
                return Ok(());
            }
            if self.held && (want.leave || !want.hold) {
                self.held = false;
                match client.delete(&self.path, None).await {
                    Ok(()) | Err(ClientError::NoNode) => {}
                    Err(fault) => return Err(fault),
                }
            }
            if want.leave {
                return Ok(());
            }
            if want.hold && !self.held && want.request != self.answered {
                match self.create(client).await {
                    Ok(czxid) => self.acquired(want.request, czxid),
                    Err(ClientError::NodeExists) => {}
                    Err(fault) => return Err(fault),
                }
            }
            let (stat, changed) = client.check_and_watch_stat(&self.path).await?;
            match stat {
                None if self.held => {
                    // Deleted under us, by an operator perhaps.
                    self.held = false;
                    (self.tell)(LockEvent::Lost);
                }
                None if want.hold && want.request != self.answered => continue,
                None => (self.tell)(LockEvent::Free),
                Some(stat) if stat.ephemeral_owner == client.session_id().0 => {
                    // Also after a connection that was lost between the create and its answer, and where it is asked whether
                    // the lock is still there.
                    if !self.held || (want.hold && want.request != self.answered) {
                        self.acquired(want.request, stat.czxid);
                        continue;
                    }
                }
                Some(stat) => {
                    let holder = self.holder(client).await?;
                    if holder == self.worker {
                        // Left behind by an earlier session of this very worker.
                        tracing::info!(path = %self.path, "removing the lock that an earlier session of this worker left");
                        match client.delete(&self.path, Some(stat.version)).await {
                            Ok(()) | Err(ClientError::NoNode | ClientError::BadVersion) => continue,
                            Err(fault) => return Err(fault),
                        }
                    }
                    self.answered = want.request;
                    (self.tell)(LockEvent::Held { worker: holder });
                }
            }
            tokio::select! {
                _ = changed.changed() => {}
                _ = self.wanted.changed() => {}
            }
        }
    }

    fn acquired(&mut self, request: u64, czxid: i64) {
        self.held = true;
        self.answered = request;
        (self.tell)(LockEvent::Acquired { czxid });
    }

    async fn create(&self, client: &Client) -> Result<i64, ClientError> {
        let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
        match client.create(&self.path, &self.value, &options).await {
            Err(ClientError::NoNode) => {
                let parent = self.path.rsplit_once('/').map_or("/", |(parent, _)| parent);
                make_path(client, parent).await?;
                client.create(&self.path, &self.value, &options).await.map(|(stat, _)| stat.czxid)
            }
            answer => answer.map(|(stat, _)| stat.czxid),
        }
    }

    /// Worker that holds it; empty where the node is gone or says nothing that can be read.
    async fn holder(&self, client: &Client) -> Result<String, ClientError> {
        match client.get_data(&self.path).await {
            Ok((value, _)) => Ok(serde_json::from_slice(&value).map_or_else(|_| String::new(), worker)),
            Err(ClientError::NoNode) => Ok(String::new()),
            Err(fault) => Err(fault),
        }
    }
}

fn worker(holder: LockHolder) -> String {
    holder.worker
}
