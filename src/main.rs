//! The binary: flags, configuration, logs, then one command.

use bellwether::cli::{Cli, Command};
use bellwether::command;
use bellwether::error::Error;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    bellwether::shell::telemetry::init(
        cli.log_format,
        cli.log.as_deref().unwrap_or(cli.command.default_log()),
    );
    match run(&cli) {
        Ok(code) => code,
        Err(fault) => {
            eprintln!("bellwether: {fault} [{}]", fault.code());
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let config = command::configuration(cli)?;
    match &cli.command {
        Command::Demo(args) => command::demo::run(args, &config),
        Command::Worker(args) => command::worker::run(args, &config),
        Command::Monitor(args) => command::monitor::run(args, &config),
        Command::Notify(args) => command::notify::run(args, &config),
        Command::Topics(args) => command::topics::run(args, &config),
        Command::Preflight(args) => command::preflight::run(args, &config),
        Command::Rules(args) => command::rules::run(args, &config),
        Command::Keys(args) => command::keys::run(args, &config),
        Command::Alerts(args) => command::alerts::run(args, &config),
        Command::Status(args) => command::status::run(args, &config),
        Command::Snapshots(args) => command::snapshots::run(args, &config),
        Command::Verify(args) => command::verify::run(args, &config),
        Command::Sim(args) => command::sim::run(args),
        Command::Bench(args) => command::bench::run(args, &config),
    }
}
