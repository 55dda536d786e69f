//! `bellwether monitor`: runs the configured checks and produces what they find, until it is told to stop. With
//! `--once` it runs each check once, prints what it found and produces nothing: the way to try a configuration.

use crate::config::{Check, Config};
use crate::error::Error;
use crate::shell::check::{self, Clients, Outcome, Status};
use crate::shell::http::{self, Readiness};
use crate::shell::monitor::{self, Monitor, MonitorError};
use crate::shell::signal;
use prometheus_client::registry::Registry;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long a stopping monitor waits for Kafka.
const FLUSH: Duration = Duration::from_secs(5);

/// Flags of `bellwether monitor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run every check once, print a table and exit with the worst Nagios status: 2 critical, else 3 unknown, else
    /// 1 warning, else 0. Kafka is not needed.
    #[arg(long)]
    pub once: bool,
}

/// Runs it.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    if args.once { once(config) } else { serve(config) }
}

fn serve(config: &Config) -> Result<ExitCode, Error> {
    let stop = signal::listen().map_err(Error::System)?;
    let mut registry = Registry::default();
    let readiness = Arc::new(Readiness::default());
    let monitor = Monitor::start(config, &mut registry, &readiness)?;
    let port = http::serve(&config.http_listen, registry, readiness, "bellwether monitor\n")?;
    tracing::info!(checks = config.monitor.checks.len(), http = %port.address, "monitor runs");
    while !stop.wait(Duration::MAX) {}
    match monitor.stop(FLUSH) {
        0 => tracing::info!("stopped: kafka has every result"),
        bytes => tracing::warn!(
            bytes,
            "stopped: results that kafka did not take in {} s are lost",
            FLUSH.as_secs()
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn once(config: &Config) -> Result<ExitCode, Error> {
    let checks = &config.monitor.checks;
    monitor::validate(checks)?;
    let clients = Clients::new().map_err(MonitorError::Clients)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::System)?;
    let outcomes = runtime.block_on(async {
        let runs: Vec<_> = checks
            .iter()
            .map(|check| {
                let (clients, check) = (clients.clone(), check.clone());
                tokio::spawn(async move { check::run(&clients, &check).await })
            })
            .collect();
        let mut outcomes = Vec::new();
        for run in runs {
            outcomes.push(run.await.map_err(std::io::Error::other)?);
        }
        Ok(outcomes)
    });
    let outcomes: Vec<Outcome> = outcomes.map_err(Error::System)?;
    print!("{}", table(checks, &outcomes));
    let worst = outcomes.iter().map(Outcome::status).max_by_key(|status| status.severity());
    Ok(ExitCode::from(worst.map_or(0, Status::code)))
}

/// One line a check, columns aligned, control characters made visible as `·`.
fn table(checks: &[Check], outcomes: &[Outcome]) -> String {
    let mut rows = vec![["STATUS", "SERVICE", "HOST", "CHECK", "OUTPUT"].map(str::to_owned)];
    rows.extend(checks.iter().zip(outcomes).map(|(check, outcome)| {
        let row = [outcome.status().word(), &check.service, &check.host, &check.name, &outcome.summary()];
        row.map(|cell| cell.replace(char::is_control, "·"))
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[String; 5]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Target;
    use crate::shell::check::Verdict;
    use std::collections::BTreeMap;

    #[test]
    fn the_table_is_aligned_and_safe_to_print() {
        let check = |name: &str, host: &str| Check {
            name: name.to_owned(),
            service: "shop".to_owned(),
            host: host.to_owned(),
            target: Target::Tcp(String::new()),
            interval: FLUSH,
            timeout: FLUSH,
            labels: BTreeMap::new(),
        };
        let verdict = |status, output: &str| {
            Outcome::Verdict(Verdict { status, output: output.to_owned(), perfdata: String::new() })
        };
        let checks = [check("web", "größe"), check("disk-space", "b")];
        let outcomes = [verdict(Status::Ok, "fine\nlong"), verdict(Status::Critical, "\x1b[31mred")];
        let lines = [
            "STATUS    SERVICE  HOST   CHECK       OUTPUT\n",
            "OK        shop     größe  web         fine\n",
            "CRITICAL  shop     b      disk-space  ·[31mred\n",
        ];
        assert_eq!(table(&checks, &outcomes), lines.concat());
    }
}
