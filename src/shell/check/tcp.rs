//! The check `tcp`: open a connection and close it again.

use super::{Status, Verdict, milliseconds};
use crate::shell::clock;
use std::time::Duration;
use tokio::net::TcpStream;

/// OK when `address` (`host:port`) accepts, else CRITICAL. Performance data: `time`.
pub(super) async fn run(address: &str, timeout: Duration) -> Verdict {
    let started = clock::monotonic();
    let connected = tokio::time::timeout(timeout, TcpStream::connect(address)).await;
    let took = clock::monotonic().saturating_sub(started);
    match connected {
        Ok(Ok(_)) => Verdict::new(Status::Ok, format!("connected to {address} in {}", milliseconds(took)))
            .with_perfdata(format!("time={:.6}s;;;0", took.as_secs_f64())),
        Ok(Err(fault)) => Verdict::new(Status::Critical, format!("connect to {address}: {fault}")),
        Err(_) => Verdict::new(
            Status::Critical,
            format!("connect to {address}: no answer within {}", milliseconds(timeout)),
        ),
    }
}
