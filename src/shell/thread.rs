//! The door to threads: named, so that `top -H` and a panic message tell which one.

#![allow(clippy::disallowed_methods, reason = "door: the only file that starts threads")]

use std::thread::JoinHandle;
use std::time::Duration;

/// Starts a named thread. Fails only where the operating system has no thread left.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(body)
}

/// Waits. Only for back-off between attempts at an outside thing that offers nothing to wait on.
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
