//! The check `plugin`: a program after the Nagios plugin API. Its exit code is the status, its first line the output,
//! what follows `|` the performance data.
//!
//! A plugin runs in a process group of its own. When it overruns its timeout the whole group is killed, grandchildren
//! and all, and the result is UNKNOWN: nothing that a check started may pile up. A plugin that ends while one of its
//! children still holds its output is done; the child is killed with the group. A child that let go of the output, or
//! made a session of its own, is a daemon on purpose and is left alone.

use super::{Status, Verdict, milliseconds};
use crate::wire::perfdata;
use crate::wire::record::OUTPUT_BYTES_MAX;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// How long the output may stay open after the plugin's end.
const GRACE: Duration = Duration::from_millis(100);
/// How long a killed plugin is waited for. One that hangs in the kernel is left to it.
const REAP: Duration = Duration::from_secs(1);

/// Runs `command` (program and arguments), for at most `timeout`.
pub(super) async fn run(command: &[String], timeout: Duration) -> Verdict {
    let Some((program, arguments)) = command.split_first() else {
        return Verdict::new(Status::Unknown, "plugin: no program is configured");
    };
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(fault) => {
            return Verdict::new(Status::Unknown, format!("cannot run plugin {program:?}: {fault}"));
        }
    };
    let mut group = Group::of(&child);
    match tokio::time::timeout(timeout, finish(&mut child, &mut group)).await {
        Ok(Ok(ended)) => ended.verdict(),
        Ok(Err(fault)) => {
            Verdict::new(Status::Unknown, format!("cannot wait for plugin {program:?}: {fault}"))
        }
        Err(_) => {
            drop(group);
            let _ = tokio::time::timeout(REAP, child.wait()).await;
            let limit = milliseconds(timeout);
            let what =
                format!("plugin {program:?} had no result within {limit}: it and its children were killed");
            Verdict::new(Status::Unknown, what)
        }
    }
}

/// A process group, killed when dropped: at a timeout, and when the monitor stops in the middle of a run.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// The group has ended by itself.
    fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // An error says that no process of the group is left.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// A plugin that came to its end.
struct Ended {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

async fn finish(child: &mut Child, group: &mut Group) -> std::io::Result<Ended> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut printed, mut complained) = (Vec::new(), Vec::new());
    let (status, let_go) = {
        let reading = async { tokio::join!(drain(stdout, &mut printed), drain(stderr, &mut complained)) };
        tokio::pin!(reading);
        tokio::select! {
            _ = &mut reading => (child.wait().await?, true),
            status = child.wait() => (status?, tokio::time::timeout(GRACE, &mut reading).await.is_ok()),
        }
    };
    if let_go {
        group.release();
    }
    Ok(Ended { status, stdout: printed, stderr: complained })
}

/// Reads to the end and keeps the first [`OUTPUT_BYTES_MAX`] bytes, so that a plugin that talks without end neither
/// blocks nor takes memory.
async fn drain(from: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut chunk = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let room = OUTPUT_BYTES_MAX - into.len();
        into.extend_from_slice(&chunk[..length.min(room)]);
    }
}

impl Ended {
    fn verdict(&self) -> Verdict {
        let (mut text, perfdata) = perfdata::split(&String::from_utf8_lossy(&self.stdout));
        if text.is_empty() {
            let stderr = String::from_utf8_lossy(&self.stderr);
            text = match stderr.trim() {
                "" => "the plugin printed nothing".to_owned(),
                stderr => format!("the plugin printed nothing but, on standard error: {stderr}"),
            };
        }
        let (status, text) = match (self.status.code(), self.status.signal()) {
            (Some(0), _) => (Status::Ok, text),
            (Some(1), _) => (Status::Warning, text),
            (Some(2), _) => (Status::Critical, text),
            (Some(3), _) => (Status::Unknown, text),
            (Some(code), _) => (Status::Unknown, format!("exit code {code} (a plugin has 0 to 3): {text}")),
            (None, Some(signal)) => (Status::Unknown, format!("killed by signal {signal}: {text}")),
            (None, None) => (Status::Unknown, format!("ended without an exit code: {text}")),
        };
        Verdict::new(status, text).with_perfdata(perfdata)
    }
}
