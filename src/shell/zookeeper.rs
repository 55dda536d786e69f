//! The door to ZooKeeper: one session a process, kept alive on a runtime and a thread of its own, so that busy threads
//! never starve its pings. There need not be a ZooKeeper at start, and it may go at any time: the session is sought
//! until it is found, and a session that expired is followed by a new one. All hosts are in the connect string; the
//! client tries them in random order.

use crate::config::Config;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use zookeeper_client::{Acls, Client, CreateMode, Error as ClientError, SessionState};

/// Between two attempts to find a session.
const RETRY: Duration = Duration::from_millis(500);
/// How long [`ZooKeeper::close`] waits for the ensemble to confirm.
const CLOSE: Duration = Duration::from_secs(1);

/// What a call to ZooKeeper can answer.
#[derive(Debug, Error)]
pub enum ZooKeeperError {
    /// No host answered in time.
    #[error(
        "zookeeper.hosts: none of {hosts:?} gave a session within {waited_ms} ms. Is ZooKeeper up, and can this machine reach it?"
    )]
    Unreachable {
        /// As configured.
        hosts: String,
        /// How long was waited, milliseconds.
        waited_ms: u128,
    },
    /// The client's own answer.
    #[error("zookeeper, while {doing}: {source}")]
    Client {
        /// What was being done.
        doing: &'static str,
        /// The client's reason.
        source: ClientError,
    },
    /// The system has no thread or file descriptor left.
    #[error("zookeeper: cannot start its runtime: {0}")]
    Runtime(#[from] std::io::Error),
}

impl ZooKeeperError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "zookeeper_unreachable",
            Self::Client { .. } => "zookeeper_client",
            Self::Runtime(_) => "zookeeper_runtime",
        }
    }

    /// Whether the same call may succeed later, with nothing changed by an operator.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Client { .. } => true,
            Self::Runtime(_) => false,
        }
    }
}

/// The session as the tasks see it: none while there is none, or while it is being closed.
pub(super) type Session = watch::Receiver<Option<Client>>;

/// This process's session. Dropped without [`ZooKeeper::close`] it goes as a killed process goes: its ephemeral nodes
/// stay until the session times out.
#[derive(Debug)]
pub struct ZooKeeper {
    root: String,
    session: Session,
    /// What stands between this process and a session; none if nothing does.
    trouble: watch::Receiver<Option<String>>,
    stop: watch::Sender<bool>,
    runtime: Mutex<Option<Runtime>>,
}

impl ZooKeeper {
    /// Starts to seek a session; does not wait for one.
    pub fn start(config: &Config) -> Result<Self, ZooKeeperError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("zookeeper")
            .enable_all()
            .build()?;
        let (publish, session) = watch::channel(None);
        let (say, trouble) =
            watch::channel(Some(format!("seeking a session with {}", config.zookeeper.hosts)));
        let (stop, stopped) = watch::channel(false);
        let hosts = config.zookeeper.hosts.clone();
        runtime.spawn(keep_session(hosts, config.zookeeper.session_timeout, publish, say, stopped));
        let root = format!("{}/{}", config.zookeeper.path.trim_end_matches('/'), config.cluster);
        Ok(Self { root, session, trouble, stop, runtime: Mutex::new(Some(runtime)) })
    }

    /// Whether there is a session, and else why not: what `/-/ready` says.
    pub fn state(&self) -> Result<(), String> {
        self.trouble.borrow().clone().map_or(Ok(()), Err)
    }

    /// Node of this cluster: `<zookeeper.path>/<cluster>`.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    pub(super) fn session(&self) -> Session {
        self.session.clone()
    }

    /// Runs a task on the runtime of the session; not at all once the session is closed.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            runtime.spawn(task);
        }
    }

    /// Ends the session in a planned way: its ephemeral nodes go at once.
    pub fn close(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(runtime) = runtime else { return };
        let client = self.session.borrow().clone();
        self.stop.send_replace(true);
        if let Some(client) = client {
            let mut states = client.state_watcher();
            drop(client);
            runtime.block_on(async {
                let _ =
                    tokio::time::timeout(CLOSE, async { while !states.changed().await.is_terminated() {} })
                        .await;
            });
        }
        runtime.shutdown_background();
    }

    /// Ends everything at once and tells the ensemble nothing, as kill -9 would.
    pub fn abandon(&self) {
        if let Some(runtime) = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.abandon();
    }
}

async fn keep_session(
    hosts: String,
    timeout: Duration,
    publish: watch::Sender<Option<Client>>,
    say: watch::Sender<Option<String>>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = one_session(&hosts, timeout, &publish, &say) => {}
            _ = stopped.wait_for(|stop| *stop) => {
                publish.send_replace(None);
                return;
            }
        }
        publish.send_replace(None);
        tokio::time::sleep(RETRY).await;
    }
}

/// From connect to the session's end.
async fn one_session(
    hosts: &str,
    timeout: Duration,
    publish: &watch::Sender<Option<Client>>,
    say: &watch::Sender<Option<String>>,
) {
    let client = match Client::connector().with_session_timeout(timeout).connect(hosts).await {
        Ok(client) => client,
        Err(fault) => {
            let reason = format!("no session with any of {hosts}: {fault}");
            if say.borrow().as_ref() != Some(&reason) {
                tracing::warn!(hosts, %fault, "no ZooKeeper; takeover by unseen transitions alone until it is back");
            }
            say.send_replace(Some(reason));
            return;
        }
    };
    if client.session_timeout() > timeout {
        tracing::warn!(
            asked_ms = timeout.as_millis(),
            granted_ms = client.session_timeout().as_millis(),
            "the ensemble grants longer sessions than zookeeper.session_timeout: a lock is found free later"
        );
    }
    tracing::info!(session = %client.session_id(), "ZooKeeper session open");
    let mut states = client.state_watcher();
    publish.send_replace(Some(client));
    say.send_replace(None);
    loop {
        match states.changed().await {
            SessionState::SyncConnected | SessionState::ConnectedReadOnly => say.send_replace(None),
            SessionState::Disconnected => say.send_replace(Some(format!("connection to {hosts} lost"))),
            state @ (SessionState::AuthFailed | SessionState::Expired | SessionState::Closed) => {
                tracing::warn!(%state, "ZooKeeper session over");
                say.send_replace(Some(format!("session over: {state}")));
                return;
            }
        };
    }
}

/// Waits until there is a session; none when the process ends.
pub(super) async fn open(session: &mut Session) -> Option<Client> {
    session.wait_for(Option::is_some).await.ok()?.clone()
}

/// Waits until the session that `client` belongs to is given up, by its end or by [`ZooKeeper::close`]. A task that
/// holds a client drops it then: the session is closed when the last one is.
pub(super) async fn over(session: &mut Session, client: &Client) {
    let id = client.session_id();
    let other = |open: &Option<Client>| open.as_ref().is_none_or(|open| open.session_id() != id);
    let _ = session.wait_for(other).await;
}

/// Makes a node and its ancestors; one that is there is left alone.
pub(super) async fn make_path(client: &Client, path: &str) -> Result<(), ClientError> {
    client.mkdir(path, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await
}

/// A session for one question, on the caller's runtime.
pub(super) async fn ask(config: &Config, timeout: Duration) -> Result<Client, ZooKeeperError> {
    let hosts = &config.zookeeper.hosts;
    let connect = Client::connector().with_session_timeout(timeout).connect(hosts);
    match tokio::time::timeout(timeout, connect).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(ClientError::NoHosts | ClientError::Timeout)) | Err(_) => {
            Err(ZooKeeperError::Unreachable { hosts: hosts.clone(), waited_ms: timeout.as_millis() })
        }
        Ok(Err(source)) => Err(ZooKeeperError::Client { doing: "connecting", source }),
    }
}
