//! One thin file per subcommand: wires shells to machines. Each has its `Args` (flags with their help) and a `run`,
//! which returns the exit code: 0 ok, 1 found something, 2 could not run (through [`crate::error::Error`]).

pub mod alerts;
pub mod bench;
pub mod demo;
pub mod monitor;
pub mod notify;
pub mod rules;
pub mod status;
pub mod topics;
pub mod worker;

use crate::cli::Cli;
use crate::config::{self, Config};
use crate::error::Error;

/// The configuration that the command line asks for.
pub fn configuration(_cli: &Cli) -> Result<Config, Error> {
    Ok(config::load("", "", &|_| None)?)
}
