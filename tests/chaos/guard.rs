//! The guardian: a process of its own that outlives the harness by a moment. It knows every process that the harness
//! started and every one that it stopped, and when the harness is gone, however it went, it lets nothing behind: what
//! stands still goes on, what was started is killed, the stack is taken down. A stopped process also goes on when its time
//! is over, whatever the harness does meanwhile.
//!
//! It is told by lines on its standard input, whose end is the harness's end.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The harness's end of the pipe.
pub struct Guard {
    child: Child,
    pipe: Mutex<Option<ChildStdin>>,
}

impl Guard {
    /// Starts it. `stack`: directory that `down` is called for.
    pub fn start(stack: &str) -> Self {
        let me = std::env::current_exe().expect("this program has a path");
        // A session of its own: what is sent to the harness's terminal or group does not reach it.
        let mut child = Command::new("setsid")
            .arg(me)
            .args(["guard", stack])
            .stdin(Stdio::piped())
            .spawn()
            .expect("setsid is there");
        let pipe = Mutex::new(child.stdin.take());
        Self { child, pipe }
    }

    fn tell(&self, line: &str) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = pipe.as_mut() {
            writeln!(pipe, "{line}").and_then(|()| pipe.flush()).expect("the guardian lives");
        }
    }

    /// This process is the harness's: it dies with it.
    pub fn own(&self, pid: u32) {
        self.tell(&format!("own {pid}"));
    }

    /// It has ended.
    pub fn gone(&self, pid: u32) {
        self.tell(&format!("gone {pid}"));
    }

    /// Stops a process (SIGSTOP) until [`Guard::go_on`], and for `ttl` at most.
    pub fn stop(&self, pid: u32, ttl: Duration) {
        self.tell(&format!("stop {pid} {}", ttl.as_millis()));
        signal(pid, "STOP");
    }

    /// Lets it go on.
    pub fn go_on(&self, pid: u32) {
        signal(pid, "CONT");
        self.tell(&format!("cont {pid}"));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that the harness started.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// The guardian's own life.
pub fn run(stack: &str) {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let (mut own, mut stopped) = (Vec::new(), BTreeMap::new());
    loop {
        let now = Instant::now();
        stopped.retain(|pid, until| {
            if *until <= now {
                signal(*pid, "CONT");
            }
            *until > now
        });
        let line = match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok()).unwrap_or(0);
        match words.first().copied() {
            Some("own") => own.push(number(1)),
            Some("gone") => own.retain(|pid| *pid != number(1)),
            Some("stop") => {
                stopped.insert(number(1), now + Duration::from_millis(number(2).into()));
            }
            Some("cont") => drop(stopped.remove(&number(1))),
            _ => {}
        }
    }
    for pid in stopped.keys().chain(&own) {
        signal(*pid, "CONT");
    }
    own.iter().for_each(|pid| signal(*pid, "KILL"));
    if !stack.is_empty() {
        let down = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/local/down");
        let _ = Command::new(down).args(["--dir", stack]).stderr(Stdio::null()).status();
    }
}
