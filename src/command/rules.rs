//! `bellwether rules`.

use crate::config::Config;
use crate::error::Error;
use std::process::ExitCode;

/// Flags of `bellwether rules`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_args: &Args, _config: &Config) -> Result<ExitCode, Error> {
    Ok(ExitCode::from(2))
}
