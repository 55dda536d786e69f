//! The command line: every subcommand, each with its help beside its flags.

use crate::command;
use crate::shell::telemetry::LogFormat;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Alerts from check results and metrics on Kafka, each emitted exactly once.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version, propagate_version = true)]
pub struct Cli {
    /// Configuration file; without it the defaults hold.
    #[arg(long, short, global = true, value_name = "FILE", env = "BELLWETHER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set one key of the configuration over the file, for instance --set kafka.brokers=b1:9092,b2:9092. Repeatable.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How log lines on standard error look.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged: a level, or a filter such as bellwether=debug,warn. The default is info for worker, monitor and
    /// notify, and warn for all else.
    #[arg(long, global = true, value_name = "FILTER", env = "BELLWETHER_LOG")]
    pub log: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the main job in a minute, with nothing installed: degrade, kill the primary, one alert, one resolve.
    Demo(command::demo::Args),
    /// Evaluate rules on the partitions that this zone's group assigns, and emit alerts where primary.
    Worker(command::worker::Args),
    /// Run checks and scrapes, and produce their results.
    Monitor(command::monitor::Args),
    /// Deliver alerts to receivers.
    Notify(command::notify::Args),
    /// Create the topics, or show what would change.
    Topics(command::topics::Args),
    /// Look for what would cost alerts later: topics, brokers, zones, clocks; each finding with its remedy.
    Preflight(command::preflight::Args),
    /// Check, apply and list rule sets.
    Rules(command::rules::Args),
    /// Make and show the keys that sign control records.
    Keys(command::keys::Args),
    /// Print what is pending and firing, or follow the stream of transitions.
    Alerts(command::alerts::Args),
    /// Print partition by zone: role, lag, epoch, seq, digest.
    Status(command::status::Args),
    /// List and verify snapshots, and show what a worker would restore.
    Snapshots(command::snapshots::Args),
    /// Replay the observations log and compare the alerts topic with it, record by record.
    Verify(command::verify::Args),
    /// Play runs of the simulator: the workers' own code against everything that can go wrong, from a seed.
    Sim(command::sim::Args),
    /// Measure the worker's path against a bare consumer on the same topic.
    Bench(command::bench::Args),
}

impl Command {
    /// What is logged where the command line does not say.
    #[must_use]
    pub fn default_log(&self) -> &'static str {
        match self {
            Self::Worker(_) | Self::Monitor(_) | Self::Notify(_) => "info",
            // The demo kills a worker: its warnings would only say so.
            Self::Demo(_) => "error",
            Self::Topics(_)
            | Self::Preflight(_)
            | Self::Rules(_)
            | Self::Keys(_)
            | Self::Alerts(_)
            | Self::Status(_)
            | Self::Snapshots(_)
            | Self::Verify(_)
            | Self::Sim(_)
            | Self::Bench(_) => "warn",
        }
    }
}
