//! What the tests on the real stack share: its addresses, processes that never outlive their test, a port, an HTTP call.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    dead_code,
    reason = "tests start processes, wait for the real world, may panic, and use a part of this each"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An address of the stack that tests/run started. Fails, never skips.
pub fn stack(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: this test needs the real stack. Run tests/run"))
}

/// Now, milliseconds since the epoch.
pub fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis())
        .expect("before 2262")
}

/// Polls until `ready` gives a value; panics with `what` after `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < limit, "after {limit:?} still waiting for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port of the loopback that nobody uses now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("loopback has ports").local_addr().expect("it is bound").port()
}

/// One HTTP GET; the status and the body, or nothing if nobody answers.
pub fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let address: SocketAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())?;
    Some((status, body))
}

/// A scratch folder of one test, kept below the target folder so that logs can be read after a failure.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Makes it anew.
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the target folder can be written");
        Self(path)
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("the scratch folder can be written");
        path.to_string_lossy().into_owned()
    }
}

/// A key of the test's own, as `bellwether keys generate` makes it: the line of a configuration.
pub fn control_key(scratch: &Scratch) -> String {
    let folder = scratch.0.join("keys");
    if !folder.exists() {
        succeed(&["keys", "generate", "--out", &folder.to_string_lossy()]);
    }
    format!("control: {{key: '{}'}}\n", folder.join("control.key").display())
}

/// A process that is killed when dropped; its output goes to a log in the scratch folder.
pub struct Process {
    /// Its name in messages.
    pub name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `bellwether` with these arguments.
    pub fn bellwether(scratch: &Scratch, name: &str, arguments: &[&str]) -> Self {
        let log = scratch.0.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).expect("the scratch folder can be written");
        let child = Command::new(env!("CARGO_BIN_EXE_bellwether"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file)
            .spawn()
            .expect("the binary was built");
        Self { name: name.to_owned(), child, log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// SIGTERM, then waits for its end; its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there");
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status.code();
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{} did not stop within 20 s; {}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_none()
    }

    /// Panics with its log if it has ended.
    pub fn assert_running(&mut self) {
        let ended = self.child.try_wait().expect("it is ours");
        assert!(ended.is_none(), "{} ended with {ended:?}:\n{}", self.name, self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- {} ----\n{}", self.name, self.log());
        }
    }
}

/// Runs `bellwether` to its end.
pub fn bellwether(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bellwether")).args(arguments).output().expect("the binary was built")
}

/// Runs `bellwether`, which must answer 0, and returns its standard output.
pub fn succeed(arguments: &[&str]) -> String {
    let output = bellwether(arguments);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "bellwether {arguments:?}: {:?}\n{talk}", output.status.code());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
