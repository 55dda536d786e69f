//! Proof of death: a worker keeps one connection to the HTTP port of every worker of another zone, and learns within
//! a few milliseconds that such a process is gone.
//!
//! ```text
//!  registry ──▶ one task a peer:  connect ─▶ GET /-/alive, "that worker?" ─▶ wait for the end of the connection
//!                                    ▲                                               │ broken
//!                                    └───────────────── connect again ◀──────────────┘
//!                                                          └─ refused ──▶ its process is gone: all listeners hear it
//! ```
//!
//! When a process dies, the kernel closes its sockets: whoever reads from one sees its end at once, where a session
//! timeout only waits. (A process's memory is freed before its sockets are closed: gigabytes take a few hundred
//! milliseconds.) A broken connection alone proves nothing; that a *new* connect to the same address is **refused** says
//! that the machine is there and nobody listens. Nothing else counts: a timeout, an unreachable host, or a connect that is
//! accepted after all leave it to the lock and to the takeover bound.
//!
//! - Only a port that has once said that it is that very worker's counts: what another process, a stranger on the same
//!   port, or this worker itself (the peer registered a loopback address) refuses says nothing about the peer.
//! - A process that starts again at the same address before the next connect is not noticed: the connect is accepted.
//! - A live process whose port is refused (an operator's firewall that rejects with a reset, a proxy in between, a port
//!   that was closed early) is taken for dead. That is harmless: its successor fences it, and each seq is out once all the
//!   same. The HTTP server is the last thing that a worker closes, after it has given its locks back.
//! - One connection for each pair of processes, not of partitions; all of them on the ZooKeeper session's runtime,
//!   whose thread does nothing else. Each is asked again every few seconds, so that a middlebox does not forget it and a
//!   machine that was switched off and came back is noticed. A peer that is silent is waited for.
//! - Peers that were known stay watched when ZooKeeper is away: then this is the fastest takeover that is left.

use super::registry::{self, WorkerReport};
use super::zookeeper::{Session, ZooKeeper, open, over};
use crate::config::Config;
use std::collections::BTreeMap;
use std::io::{Error as IoError, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use zookeeper_client::{Client, Error as ClientError};

/// Between two questions to a peer.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// First and longest patience with one connect. Over it the peer is unreachable, which proves nothing. Short at first: a
/// connect that reaches a port in the moment of its end may be dropped without a word, and is sent again after a second.
const CONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// First and longest wait between two connects.
const RETRY: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));
/// After a death. It may start again.
const AFTER_DEATH: Duration = Duration::from_millis(500);
/// The registry is read at least this often, whatever its watch says.
const READ_EVERY: Duration = Duration::from_secs(10);
/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Where the news of a dead worker goes. Called on the runtime of the ZooKeeper session; must not block.
pub type DeathListener = Box<dyn Fn(&str) + Send>;

/// What a worker's `/-/alive` answers: its identity, so that a stranger on its port is told apart.
#[must_use]
pub fn identity(cluster: &str, worker: &str) -> String {
    format!("bellwether worker {cluster} {worker}\n")
}

/// The peers of one worker process. Clones share them.
#[derive(Clone, Default)]
pub struct Peers(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    listeners: BTreeMap<i32, DeathListener>,
    deaths: u64,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}

impl Peers {
    /// Watches the workers of other zones, as the registry names them, until the session is closed.
    #[must_use]
    pub fn watch(keeper: &ZooKeeper, config: &Config) -> Self {
        let peers = Self::default();
        let registry = Registry {
            parent: format!("{}/workers", keeper.root()),
            cluster: config.cluster.clone(),
            worker: config.worker.clone(),
            zone: config.zone.clone(),
            shared: peers.clone(),
            watched: BTreeMap::new(),
        };
        keeper.spawn(registry.run(keeper.session()));
        peers
    }

    /// Tells a partition's emission thread of every worker that is proved dead, until [`Peers::unlisten`].
    pub fn listen(&self, partition: i32, tell: DeathListener) {
        self.lock().listeners.insert(partition, tell);
    }

    /// Tells it no more.
    pub fn unlisten(&self, partition: i32) {
        self.lock().listeners.remove(&partition);
    }

    /// How many workers were found dead.
    #[must_use]
    pub fn deaths(&self) -> u64 {
        self.lock().deaths
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, worker: &str, address: &str) {
        tracing::info!(
            worker,
            address,
            "worker {worker} is gone: its connection broke and its port refuses a new one"
        );
        let mut shared = self.lock();
        shared.deaths += 1;
        shared.listeners.values().for_each(|tell| tell(worker));
    }
}

/// Keeps one task for each peer that is registered.
struct Registry {
    parent: String,
    cluster: String,
    worker: String,
    zone: String,
    shared: Peers,
    /// By worker: the address that it registered, none while it is not registered. Closed when its task has ended.
    watched: BTreeMap<String, watch::Sender<Option<String>>>,
}

impl Registry {
    async fn run(mut self, mut session: Session) {
        while let Some(client) = open(&mut session).await {
            tokio::select! {
                biased;
                () = over(&mut session, &client) => {}
                Err(fault) = self.in_session(&client) => tracing::debug!(%fault, "reading the registry of workers again"),
            }
            drop(client);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Until a call fails.
    async fn in_session(&mut self, client: &Client) -> Result<(), ClientError> {
        super::zookeeper::make_path(client, &self.parent).await?;
        loop {
            let (_, changed) = client.list_and_watch_children(&self.parent).await?;
            let reports = registry::read_reports(client, &self.parent).await?;
            self.learn(&reports);
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep(READ_EVERY) => {}
            }
        }
    }

    /// The registered workers of other zones. (Those of this zone host other partitions.)
    fn learn(&mut self, reports: &[WorkerReport]) {
        self.watched.retain(|_, address| !address.is_closed());
        let peers = reports.iter().filter(|report| report.worker != self.worker && report.zone != self.zone);
        let registered: BTreeMap<&String, &String> = peers
            .filter(|report| !report.http.is_empty())
            .map(|report| (&report.worker, &report.http))
            .collect();
        for (worker, address) in &self.watched {
            let now = registered.get(worker).map(|address| (*address).clone());
            address.send_if_modified(|known| std::mem::replace(known, now.clone()) != now);
        }
        for (worker, address) in registered {
            if !self.watched.contains_key(worker) {
                let (say, told) = watch::channel(Some(address.clone()));
                let peer = Peer {
                    worker: worker.clone(),
                    identity: identity(&self.cluster, worker),
                    address: told,
                    shared: self.shared.clone(),
                };
                tokio::spawn(peer.run());
                self.watched.insert(worker.clone(), say);
            }
        }
    }
}

/// How a connection, or the attempt to make one, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    /// Nobody listens there.
    Refused,
    /// No answer in time, no way there, or some other fault.
    Unreachable,
    /// It ended before it had said who it is.
    Ended,
    /// It said that it is someone else.
    Stranger,
    /// It was that worker, until the connection broke.
    Broken,
}

/// One peer's task.
struct Peer {
    worker: String,
    identity: String,
    address: watch::Receiver<Option<String>>,
    shared: Peers,
}

impl Peer {
    async fn run(mut self) {
        let (mut known, mut said) = (None::<String>, false);
        let (mut wait, mut patience) = (RETRY.0, CONNECT.0);
        loop {
            // A peer that left the registry is watched while it is connected: it may only have lost its session.
            let registered = self.address.borrow_and_update().clone();
            let Some(address) = known.clone().or(registered.clone()) else { return };
            let contact = self.contact(&address, patience).await;
            patience = (patience * 2).min(CONNECT.1);
            match contact {
                Contact::Broken => {
                    known = Some(address);
                    (wait, patience) = (RETRY.0, CONNECT.0);
                    continue;
                }
                Contact::Refused if known.is_some() => {
                    known = None;
                    self.shared.tell(&self.worker, &address);
                    wait = AFTER_DEATH;
                }
                Contact::Stranger => {
                    known = None;
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(
                            worker = self.worker,
                            address,
                            "http.listen of worker {} is registered as {address}, but another process answers there: its \
                             death will be noticed later. Set http.advertise to an address that other machines reach",
                            self.worker
                        );
                    }
                    wait = RETRY.1;
                }
                // Not to be reached where it is no longer registered: whatever is refused there later is not it.
                Contact::Unreachable if registered.as_ref() != Some(&address) => known = None,
                Contact::Refused | Contact::Unreachable | Contact::Ended => {}
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = self.address.changed() => if changed.is_err() { return },
            }
            wait = (wait * 2).min(RETRY.1);
        }
    }

    /// From connect to the end of the connection.
    async fn contact(&self, address: &str, patience: Duration) -> Contact {
        let mut stream = match tokio::time::timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(fault)) if fault.kind() == ErrorKind::ConnectionRefused => return Contact::Refused,
            Ok(Err(_)) | Err(_) => return Contact::Unreachable,
        };
        let _ = stream.set_nodelay(true);
        match ask(&mut stream, address).await {
            Ok(answer) if answer == self.identity => {}
            Ok(_) => return Contact::Stranger,
            Err(_) => return Contact::Ended,
        }
        tracing::debug!(worker = self.worker, address, "watching the process of worker {}", self.worker);
        loop {
            let mut more = [0];
            match tokio::time::timeout(ASK_EVERY, stream.read(&mut more)).await {
                // Its end, or more than was asked for.
                Ok(_) => return Contact::Broken,
                Err(_) => match ask(&mut stream, address).await {
                    Ok(answer) if answer == self.identity => {}
                    Ok(_) | Err(_) => return Contact::Broken,
                },
            }
        }
    }
}

/// One question on a connection that stays open. Waits for as long as the other end is silent: only its end counts.
async fn ask(stream: &mut TcpStream, host: &str) -> Result<String, IoError> {
    stream.write_all(format!("GET /-/alive HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        if let Some(body) = body(&answer) {
            return Ok(body);
        }
        if answer.len() >= ANSWER_BYTES_MAX {
            return Ok(String::new());
        }
        let mut part = [0; 512];
        match stream.read(&mut part).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&part[..length]),
        }
    }
}

/// The body of an answer that is complete; an empty one where it is no such answer.
fn body(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap_or(0))
    });
    if !head.starts_with("HTTP/1.1 200 ") {
        return Some(String::new());
    }
    let length = length.unwrap_or(0);
    (body.len() >= length).then(|| body.get(..length).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::http::{HttpServer, Readiness, serve};
    use std::sync::mpsc;

    fn server(listen: &str, worker: &str) -> HttpServer {
        let identity = identity("c", worker);
        serve(
            listen,
            prometheus_client::registry::Registry::default(),
            Arc::new(Readiness::default()),
            &identity,
        )
        .expect("a port")
    }

    fn watching(address: &str) -> (Peer, watch::Sender<Option<String>>, mpsc::Receiver<String>) {
        let (say, told) = watch::channel(Some(address.to_owned()));
        let (news, deaths) = mpsc::channel();
        let shared = Peers::default();
        shared.listen(3, Box::new(move |worker| news.send(worker.to_owned()).expect("the test listens")));
        (Peer { worker: "a1".to_owned(), identity: identity("c", "a1"), address: told, shared }, say, deaths)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    }

    /// A connection is watched as soon as the server has been asked who it is.
    fn contact(peer: Peer, address: &str, server: HttpServer) -> Contact {
        let runtime = runtime();
        let address = address.to_owned();
        let contact = runtime.spawn(async move { peer.contact(&address, CONNECT.1).await });
        let end = runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            tokio::task::spawn_blocking(move || drop(server)).await
        });
        runtime.block_on(async {
            let contact = contact.await.expect("no panic");
            end.await.expect("no panic").expect("no panic");
            contact
        })
    }

    #[test]
    fn only_the_end_of_that_very_workers_connection_counts() {
        let own = server("127.0.0.1:0", "a1");
        let address = own.address.to_string();
        let (peer, _address, _deaths) = watching(&address);
        assert_eq!(contact(peer, &address, own), Contact::Broken);

        let other = server("127.0.0.1:0", "b7");
        let address = other.address.to_string();
        let (peer, _address, _deaths) = watching(&address);
        assert_eq!(contact(peer, &address, other), Contact::Stranger);

        let (peer, _address, _deaths) = watching(&address);
        assert_eq!(
            runtime().block_on(peer.contact(&address, CONNECT.1)),
            Contact::Refused,
            "nobody listens there now"
        );
    }

    #[test]
    fn a_process_that_is_gone_is_told_once_and_again_after_it_came_back() {
        let first = server("127.0.0.1:0", "a1");
        let address = first.address.to_string();
        let (peer, _address, deaths) = watching(&address);
        let (runtime, mut alive) = (runtime(), Some(first));
        runtime.spawn(peer.run());
        for _ in 0..2 {
            // Until the peer is connected, the end of the server proves nothing to it.
            let dead = loop {
                drop(alive.take());
                if let Ok(worker) = deaths.recv_timeout(Duration::from_secs(1)) {
                    break worker;
                }
                alive = Some(server(&address, "a1"));
                let _ = deaths.recv_timeout(Duration::from_secs(1));
            };
            assert_eq!(dead, "a1");
            assert!(deaths.try_recv().is_err(), "once");
            alive = Some(server(&address, "a1"));
            let _ = deaths.recv_timeout(Duration::from_secs(1));
        }
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"), None);
        assert_eq!(body(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"), Some("abc".to_owned()));
        assert_eq!(body(b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nabc"), Some(String::new()));
        assert_eq!(body(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\nabc"), Some(String::new()));
    }
}
