//! One thin file per subcommand: wires shells to machines. Each has its `Args` (flags with their help) and a `run`,
//! which returns the exit code: 0 ok, 1 found something, 2 could not run (through [`crate::error::Error`]).

use crate::cli::Cli;
use crate::config::{self, Config};
use crate::error::Error;
use crate::shell::files;

pub mod alerts;
pub mod bench;
pub mod demo;
pub mod keys;
pub mod monitor;
pub mod notify;
pub mod output;
pub mod preflight;
pub mod rules;
pub mod sim;
pub mod snapshots;
pub mod status;
pub mod topics;
pub mod verify;
pub mod worker;

/// The configuration that the command line asks for: the defaults, then the file, then each `--set`.
pub fn configuration(cli: &Cli) -> Result<Config, Error> {
    let mut sources = Vec::new();
    if let Some(path) = &cli.config {
        sources.push((path.display().to_string(), files::read_text(path)?));
    }
    sources.extend(cli.set.iter().map(|flag| (format!("--set {flag}"), one_key(flag))));
    Ok(config::load(&sources, &files::environment)?)
}

/// `a.b=value` as YAML: `a: {b: "value"}`; a value that begins with a bracket is a list or a mapping in YAML's words.
fn one_key(flag: &str) -> String {
    let (path, value) = flag.split_once('=').unwrap_or((flag, ""));
    let depth = path.matches('.').count();
    let value = if value.starts_with(['[', '{']) { value.to_owned() } else { format!("{value:?}") };
    format!("{}: {value}{}", path.replace('.', ": {"), "}".repeat(depth))
}
