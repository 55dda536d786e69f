//! `bellwether notify`: tells the configured receivers what fires and what is resolved, until it is told to stop.

use crate::config::Config;
use crate::error::Error;
use crate::shell::http::{self, Readiness};
use crate::shell::notify::Notifier;
use crate::shell::signal;
use prometheus_client::registry::Registry;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Flags of `bellwether notify`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let stop = signal::listen().map_err(Error::System)?;
    let mut registry = Registry::default();
    let readiness = Arc::new(Readiness::default());
    let notifier = Notifier::start(config, &mut registry, &readiness)?;
    let port = http::serve(&config.http_listen, registry, readiness, "bellwether notify\n")?;
    tracing::info!(receivers = config.notify.receivers.len(), http = %port.address, "notify runs");
    while !stop.wait(Duration::from_secs(60)) {}
    notifier.stop();
    Ok(ExitCode::SUCCESS)
}
