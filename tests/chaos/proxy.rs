//! A TCP proxy of the harness's own, in front of each zone's Kafka, ZooKeeper and S3. It delays, stalls, drips, truncates,
//! resets and refuses; it answers for S3; and it reads the framing of Kafka's requests, so that one kind of them can be
//! held back, swallowed, or carried out without an answer.
//!
//! It lives in the harness: a harness that dies takes every fault of the network with it, and each fault has an end of
//! its own (a TTL) beside that.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, watch};

/// Kafka's number of EndTxn.
pub const END_TXN: i16 = 26;

/// What stands behind a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Kafka,
    ZooKeeper,
    S3,
}

/// One listener: a zone's way to one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId {
    pub zone: char,
    pub service: Service,
    pub index: u16,
}

/// How one direction passes on what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    #[default]
    Open,
    /// Nothing passes; what came passes when it opens again.
    Stall,
    /// Each chunk waits, milliseconds: at least, and up to so much more.
    Delay(u64, u64),
    /// Bytes a second.
    Drip(u64),
}

/// What happens to Kafka requests of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The first copy arrives so many milliseconds late, even if its connection is gone by then; the rest passes.
    Late { key: i16, ms: u64 },
    /// It never arrives: the connection breaks under it.
    Swallow { key: i16 },
    /// It is carried out, and the connection breaks before the answer.
    Unanswered { key: i16 },
    /// It waits, and all that comes behind it on its connection, until the fault is over.
    Block { key: i16 },
}

/// The faults of a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// From the client to the server.
    pub up: Flow,
    /// From the server to the client.
    pub down: Flow,
    /// New connections are closed at once.
    pub refuse: bool,
    /// The next chunk is cut in half, and the connection closed.
    pub truncate: bool,
    /// To HTTP requests the proxy answers this status itself.
    pub answer: Option<u16>,
    /// A kind of Kafka request.
    pub hold: Option<Hold>,
    /// Each change resets every connection.
    pub resets: u64,
}

impl State {
    /// Nothing passes in either direction.
    pub fn cut() -> Self {
        Self { up: Flow::Stall, down: Flow::Stall, ..Self::default() }
    }
}

struct Link {
    id: LinkId,
    target: u16,
    state: watch::Sender<State>,
    generation: AtomicU64,
    held: Arc<AtomicU64>,
}

/// All links, on a thread or two of their own.
pub struct Proxy {
    runtime: Runtime,
    links: BTreeMap<LinkId, Arc<Link>>,
}

impl Proxy {
    pub fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("proxy")
            .enable_all()
            .build()?;
        Ok(Self { runtime, links: BTreeMap::new() })
    }

    /// Listens on a port of the loopback, and passes on to another. Port 0 takes any; the port is returned.
    pub fn listen(&mut self, id: LinkId, port: u16, target: u16) -> io::Result<u16> {
        let listener = self.runtime.block_on(TcpListener::bind(("127.0.0.1", port)))?;
        let port = listener.local_addr()?.port();
        let link = Arc::new(Link {
            id,
            target,
            state: watch::Sender::new(State::default()),
            generation: AtomicU64::new(0),
            held: Arc::default(),
        });
        self.links.insert(id, Arc::clone(&link));
        self.runtime.spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(Arc::clone(&link), client));
                }
            }
        });
        Ok(port)
    }

    /// Puts a fault on every link that `which` chooses. It ends by itself after `ttl`.
    pub fn set(&self, which: impl Fn(LinkId) -> bool, fault: &State, ttl: Duration) {
        for link in self.links.values().filter(|link| which(link.id)) {
            let generation = link.generation.fetch_add(1, Ordering::SeqCst) + 1;
            link.change(fault.clone(), false);
            let link = Arc::clone(link);
            self.runtime.spawn(async move {
                tokio::time::sleep(ttl).await;
                if link.generation.load(Ordering::SeqCst) == generation {
                    link.change(State::default(), false);
                }
            });
        }
    }

    /// Ends every fault of the links that `which` chooses; `reset` breaks what is connected.
    pub fn heal(&self, which: impl Fn(LinkId) -> bool, reset: bool) {
        for link in self.links.values().filter(|link| which(link.id)) {
            link.generation.fetch_add(1, Ordering::SeqCst);
            link.change(State::default(), reset);
        }
    }

    /// Breaks every connection of these links; new ones pass.
    pub fn reset(&self, which: impl Fn(LinkId) -> bool) {
        for link in self.links.values().filter(|link| which(link.id)) {
            link.state.send_modify(|state| state.resets += 1);
        }
    }

    /// How many Kafka requests were held back, swallowed, or left without an answer so far.
    pub fn held(&self) -> u64 {
        self.links.values().map(|link| link.held.load(Ordering::SeqCst)).sum()
    }
}

impl Link {
    fn change(&self, to: State, reset: bool) {
        self.state.send_modify(|state| {
            let resets = state.resets + u64::from(reset);
            *state = State { resets, ..to };
        });
    }
}

async fn serve(link: Arc<Link>, client: TcpStream) {
    let _ = client.set_nodelay(true);
    let mut state = link.state.subscribe();
    if state.borrow().refuse {
        let _ = client.set_zero_linger();
        return;
    }
    let status = state.borrow().answer;
    if let Some(status) = status {
        answer(client, status).await;
        return;
    }
    // A SYN does not get through a cut either.
    let stalled = |state: &State| [state.up, state.down].contains(&Flow::Stall);
    while stalled(&state.borrow_and_update()) {
        if state.changed().await.is_err() {
            return;
        }
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", link.target)).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = server.set_nodelay(true);
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let to_server = Arc::new(Mutex::new(to_server));
    let resets = state.borrow().resets;
    let mut broken = link.state.subscribe();
    tokio::select! {
        _ = upward(&link, from_client, Arc::clone(&to_server)) => {}
        _ = downward(&link, &mut from_server, &mut to_client) => {}
        _ = broken.wait_for(|state| state.resets != resets || state.refuse) => {
            // No orderly end: the peer shall see a reset.
            let _ = to_client.as_ref().set_zero_linger();
            let _ = from_server.as_ref().set_zero_linger();
        }
    }
}

async fn upward(link: &Arc<Link>, mut from: OwnedReadHalf, to: Arc<Mutex<OwnedWriteHalf>>) -> io::Result<()> {
    let mut state = link.state.subscribe();
    let mut chunk = vec![0; 64 << 10];
    loop {
        if link.id.service != Service::Kafka {
            let length = from.read(&mut chunk).await?;
            if length == 0 {
                return Ok(());
            }
            pass(&mut state, |state| state.up, &chunk[..length], &mut *to.lock().await).await?;
            continue;
        }
        let frame = read_frame(&mut from).await?;
        let hold = state.borrow().hold;
        let key = i16::from_be_bytes([frame[4], frame[5]]);
        match hold {
            Some(Hold::Late { key: held, ms }) if held == key => {
                link.held.fetch_add(1, Ordering::SeqCst);
                // One only: what the client sends again overtakes it.
                link.state.send_modify(|state| state.hold = None);
                let to = Arc::clone(&to);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    let _ = to.lock().await.write_all(&frame).await;
                });
            }
            Some(Hold::Swallow { key: held }) if held == key => {
                link.held.fetch_add(1, Ordering::SeqCst);
                link.state.send_modify(|state| state.hold = None);
                return Ok(());
            }
            Some(Hold::Unanswered { key: held }) if held == key => {
                link.held.fetch_add(1, Ordering::SeqCst);
                link.state.send_modify(|state| state.hold = None);
                to.lock().await.write_all(&frame).await?;
                // The server must have read it before the connection goes: closing at once could lose it.
                tokio::time::sleep(Duration::from_millis(2)).await;
                return Ok(());
            }
            Some(Hold::Block { key: held }) if held == key => {
                link.held.fetch_add(1, Ordering::SeqCst);
                let over = |state: &State| state.hold != hold;
                let _ = state.wait_for(over).await;
                to.lock().await.write_all(&frame).await?;
            }
            _ => pass(&mut state, |state| state.up, &frame, &mut *to.lock().await).await?,
        }
    }
}

/// One request with its length in front. At least ten bytes: a request begins with its kind, version and number.
async fn read_frame(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let bytes = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if !(6..=200 << 20).contains(&bytes) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; 4 + bytes];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

async fn downward(link: &Arc<Link>, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<()> {
    let mut state = link.state.subscribe();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        pass(&mut state, |state| state.down, &chunk[..length], to).await?;
    }
}

/// Writes a chunk, as the link's state of the moment has it.
async fn pass(
    state: &mut watch::Receiver<State>,
    flow: impl Fn(&State) -> Flow,
    bytes: &[u8],
    to: &mut OwnedWriteHalf,
) -> io::Result<()> {
    loop {
        let (now, truncate) = {
            let state = state.borrow_and_update();
            (flow(&state), state.truncate)
        };
        if truncate && bytes.len() > 1 {
            to.write_all(&bytes[..bytes.len() / 2]).await?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match now {
            Flow::Open => return to.write_all(bytes).await,
            Flow::Delay(ms, jitter) => {
                let more = bytes
                    .iter()
                    .fold(bytes.len() as u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
                tokio::time::sleep(Duration::from_millis(ms + more % (jitter + 1))).await;
                return to.write_all(bytes).await;
            }
            Flow::Drip(rate) => {
                let part = usize::try_from(rate / 20).unwrap_or(usize::MAX).max(1);
                let mut rest = bytes;
                while !rest.is_empty() && flow(&state.borrow()) == now {
                    let length = part.min(rest.len());
                    to.write_all(&rest[..length]).await?;
                    rest = &rest[length..];
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                return to.write_all(rest).await;
            }
            Flow::Stall => {
                if state.changed().await.is_err() {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
    }
}

/// An HTTP server that says no.
async fn answer(mut client: TcpStream, status: u16) {
    let mut head = vec![0; 64 << 10];
    let _ = tokio::time::timeout(Duration::from_secs(2), client.read(&mut head)).await;
    let body = "<Error><Code>Chaos</Code><Message>the proxy says so</Message></Error>";
    let text = format!(
        "HTTP/1.1 {status} Chaos\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = client.write_all(text.as_bytes()).await;
    let _ = client.shutdown().await;
}
