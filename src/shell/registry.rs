//! The registry of workers: each publishes what it hosts as an ephemeral node `<path>/<cluster>/workers/<worker>`, and
//! `bellwether status` reads them all. A worker id can live once: a second live worker of the same id is refused, while
//! what an earlier, killed process left behind is waited out.

use crate::config::Config;
use crate::shell::zookeeper::{Session, ZooKeeper, ZooKeeperError, ask, make_path, open, over};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::watch;
use zookeeper_client::{Acls, Client, CreateMode, Error as ClientError, Stat};

/// How often another's node of our id is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// One worker, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Identity.
    pub worker: String,
    /// Zone.
    pub zone: String,
    /// Address of its HTTP port.
    pub http: String,
    /// When the process started, milliseconds since the epoch.
    pub started_ms: i64,
    /// Its version of Bellwether.
    pub version: String,
    /// What it decides by that is not in the log.
    #[serde(default)]
    pub settings: Settings,
    /// What it hosts, by partition.
    pub partitions: BTreeMap<i32, PartitionReport>,
}

/// What decides alerts and does not come from the log: alike in all workers of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Id of the key that it signs with; empty where it is not known.
    pub key: String,
    /// Ids of the keys that it believes.
    pub trusted: Vec<String>,
    /// Time between two snapshots, milliseconds; 0 where it takes none.
    pub snapshot_interval_ms: i64,
}

impl Settings {
    /// Whether each believes what the other signs. Where they do not, they read two different logs: one knows rules and
    /// ticks that the other takes for strangers' data. (While keys are changed one after the other they do: a new key is
    /// trusted everywhere before anybody signs with it.)
    #[must_use]
    pub fn are_trusted_by(&self, other: &Self) -> bool {
        let believes = |one: &Self, other: &Self| other.key.is_empty() || one.trusted.contains(&other.key);
        believes(self, other) && believes(other, self)
    }
}

/// One hosted partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionReport {
    /// [`crate::replica::Role::code`].
    pub role: String,
    /// Offset after the last record that the machine has applied.
    pub offset: i64,
    /// End of the observations partition, where known.
    pub end_offset: Option<i64>,
    /// The machine's clock, milliseconds since the epoch.
    pub clock_ms: i64,
    /// `seq` of the last transition that the machine derived.
    pub seq: i64,
    /// `seq` of the last transition that is out.
    pub out_seq: i64,
    /// Newest epoch known.
    pub epoch: i64,
    /// Digest of the machine's state at `digest_offset`, hexadecimal; empty before the first.
    pub digest: String,
    /// The offset of it, as in `offset`.
    pub digest_offset: i64,
    /// Series held.
    pub series: usize,
    /// Rule set in force.
    pub rule_set_version: i64,
    /// Why it has not begun, or stopped; empty while it runs.
    pub trouble: String,
}

/// Whether this worker's id is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// Not known yet: no ZooKeeper, or a node of an earlier process is being waited out.
    Pending(String),
    /// The node is ours.
    Yes,
    /// Another live process has this id.
    Taken(Box<WorkerReport>),
    /// A live worker does not believe what this one signs, or the other way round. Asked again until it does, or is gone.
    Foreign(Box<WorkerReport>),
}

/// This worker's node. Dropped it is removed.
#[derive(Debug)]
pub struct Registry {
    report: watch::Sender<Option<WorkerReport>>,
    joined: Mutex<watch::Receiver<Joined>>,
}

impl Registry {
    /// Publishes the first report as soon as there is a session, and each later one at once.
    /// `session_timeout` is `zookeeper.session_timeout`: how long a killed process's node may stay.
    pub fn join(keeper: &ZooKeeper, session_timeout: Duration, report: WorkerReport) -> Self {
        let path = format!("{}/workers/{}", keeper.root(), report.worker);
        let (say, joined) = watch::channel(Joined::Pending("no ZooKeeper session yet".to_owned()));
        let (sender, reports) = watch::channel(Some(report));
        let patience = session_timeout * 2 + Duration::from_secs(1);
        keeper.spawn(Task { path, patience, reports, say }.run(keeper.session()));
        Self { report: sender, joined: Mutex::new(joined) }
    }

    /// Publishes a newer report. Call it every two seconds or so.
    pub fn publish(&self, report: WorkerReport) {
        self.report.send_replace(Some(report));
    }

    /// Whether this worker's id is its own. A worker whose id is taken must end.
    pub fn joined(&self) -> Joined {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner).borrow().clone()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.report.send_replace(None);
    }
}

struct Task {
    path: String,
    patience: Duration,
    reports: watch::Receiver<Option<WorkerReport>>,
    say: watch::Sender<Joined>,
}

impl Task {
    async fn run(mut self, mut session: Session) {
        while let Some(client) = open(&mut session).await {
            let ended = tokio::select! {
                biased;
                () = over(&mut session, &client) => Err(ClientError::SessionExpired),
                ended = self.in_session(&client) => ended,
            };
            match ended {
                Ok(()) => return,
                Err(fault) => {
                    let reason = format!("ZooKeeper: {fault}");
                    self.say.send_if_modified(|joined| match joined {
                        Joined::Taken(_) => false,
                        Joined::Yes | Joined::Pending(_) | Joined::Foreign(_) => {
                            *joined = Joined::Pending(reason);
                            true
                        }
                    });
                }
            }
            drop(client);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Until this worker leaves or is refused (`Ok`), or a call fails.
    async fn in_session(&mut self, client: &Client) -> Result<(), ClientError> {
        if !self.claim(client).await? {
            return Ok(());
        }
        self.say.send_replace(Joined::Yes);
        loop {
            if self.reports.changed().await.is_err() {
                return Ok(());
            }
            match self.value() {
                Some(value) => drop(client.set_data(&self.path, &value, None).await?),
                None => return client.delete(&self.path, None).await,
            }
        }
    }

    fn value(&mut self) -> Option<Vec<u8>> {
        self.reports.borrow_and_update().as_ref().map(|report| serde_json::to_vec(report).unwrap_or_default())
    }

    /// A worker that is registered and is no peer by its settings.
    async fn foreign(&self, client: &Client, parent: &str) -> Result<Option<WorkerReport>, ClientError> {
        let others = read_reports(client, parent).await?;
        let own = self.reports.borrow();
        let Some(own) = own.as_ref() else { return Ok(None) };
        let is_peer =
            |other: &WorkerReport| other.worker == own.worker || other.settings.are_trusted_by(&own.settings);
        Ok(others.into_iter().find(|other| !is_peer(other)))
    }

    /// Makes the node. False where another live process has it, or this worker left meanwhile.
    async fn claim(&mut self, client: &Client) -> Result<bool, ClientError> {
        let parent = self.path.rsplit_once('/').map_or("/", |(parent, _)| parent).to_owned();
        make_path(client, &parent).await?;
        while let Some(other) = self.foreign(client, &parent).await? {
            self.say.send_replace(Joined::Foreign(Box::new(other)));
            tokio::time::sleep(LOOK).await;
        }
        let mut first: Option<Stat> = None;
        let mut looked = Duration::ZERO;
        loop {
            let Some(value) = self.value() else { return Ok(false) };
            let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
            match client.create(&self.path, &value, &options).await {
                Ok(_) => return Ok(true),
                Err(ClientError::NodeExists) => {}
                Err(fault) => return Err(fault),
            }
            let (value, stat) = match client.get_data(&self.path).await {
                Ok(found) => found,
                Err(ClientError::NoNode) => continue,
                Err(fault) => return Err(fault),
            };
            if stat.ephemeral_owner == client.session_id().0 {
                return Ok(true);
            }
            let other: Option<WorkerReport> = serde_json::from_slice(&value).ok();
            let started_ms = self.reports.borrow().as_ref().map(|report| report.started_ms);
            if other.as_ref().map(|other| other.started_ms) == started_ms {
                // This very process, in a session that it lost.
                match client.delete(&self.path, Some(stat.version)).await {
                    Ok(()) | Err(ClientError::NoNode | ClientError::BadVersion) => continue,
                    Err(fault) => return Err(fault),
                }
            }
            // A live worker refreshes its node; what a killed one left goes with its session.
            let first = first.get_or_insert(stat);
            let refreshed = (first.czxid, first.mzxid) != (stat.czxid, stat.mzxid);
            if let Some(other) = other.filter(|_| refreshed || looked > self.patience) {
                self.say.send_replace(Joined::Taken(Box::new(other)));
                return Ok(false);
            }
            let reason = "waiting for the node of an earlier process of this worker to go";
            self.say.send_replace(Joined::Pending(reason.to_owned()));
            tokio::time::sleep(LOOK).await;
            looked += LOOK;
        }
    }
}

/// Every worker that is registered now, in order of their ids. Blocks for at most about `timeout`.
pub fn read_all(config: &Config, timeout: Duration) -> Result<Vec<WorkerReport>, ZooKeeperError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let read = runtime.block_on(async {
        let client = ask(config, timeout).await?;
        let parent = format!("{}/{}/workers", config.zookeeper.path.trim_end_matches('/'), config.cluster);
        let wait = tokio::time::timeout(timeout, read_reports(&client, &parent));
        match wait.await {
            Ok(answer) => answer.map_err(|source| ZooKeeperError::Client {
                doing: "reading the registry of workers",
                source,
            }),
            Err(_) => Err(ZooKeeperError::Unreachable {
                hosts: config.zookeeper.hosts.clone(),
                waited_ms: timeout.as_millis(),
            }),
        }
    });
    runtime.shutdown_background();
    read
}

/// Every worker registered below `parent`, in order of their ids.
pub(super) async fn read_reports(client: &Client, parent: &str) -> Result<Vec<WorkerReport>, ClientError> {
    let mut workers = match client.list_children(parent).await {
        Ok(workers) => workers,
        Err(ClientError::NoNode) => Vec::new(),
        Err(fault) => return Err(fault),
    };
    workers.sort();
    let mut reports = Vec::new();
    for worker in workers {
        match client.get_data(&format!("{parent}/{worker}")).await {
            // A node that cannot be read is another version's, or nobody's: status shows what it knows.
            Ok((value, _)) => reports.extend(serde_json::from_slice::<WorkerReport>(&value)),
            Err(ClientError::NoNode) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(reports)
}
