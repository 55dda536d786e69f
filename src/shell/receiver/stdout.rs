//! The receiver `stdout`: the webhook's payload, one line a notification.

use super::{Failure, payload};
use crate::notify::Notification;
use std::io::Write;

/// One attempt. A pipe that nobody reads blocks a thread of its own, and the time limit ends the wait.
pub(super) async fn send(notification: &Notification) -> Result<(), Failure> {
    let mut line = payload::webhook(notification);
    line.push(b'\n');
    let write = move || {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&line).and_then(|()| stdout.flush())
    };
    match tokio::task::spawn_blocking(write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(fault)) => Err(Failure::retryable("unreachable", fault.to_string())),
        Err(fault) => Err(Failure::retryable("unreachable", fault.to_string())),
    }
}
