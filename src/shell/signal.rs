//! The door to signals: SIGTERM and SIGINT ask a long-running command for its planned stop.

use super::thread;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Whether the process has been asked to stop.
#[derive(Debug)]
pub struct Stop(Receiver<()>);

impl Stop {
    /// Waits. `true` as soon as a signal has come; a second one is answered the same way.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        self.0.recv_timeout(timeout).is_ok()
    }
}

/// Takes both signals over, on a thread of its own.
pub fn listen() -> io::Result<Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _in_runtime = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let (say, stop) = channel();
    thread::spawn("signal", move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("asked to stop");
                if say.send(()).is_err() {
                    return;
                }
            }
        });
    })?;
    Ok(Stop(stop))
}
