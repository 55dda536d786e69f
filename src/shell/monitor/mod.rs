//! The monitor: runs checks, each on its own interval, and produces what they found.
//!
//! ```text
//!  schedule ──▶ check::run ──▶ encode ──▶ outbox ──▶ produce ──▶ observations, keyed by service
//!  a task a check, jittered    records    bounded,   idempotent,
//!                                         counted    murmur2
//! ```
//!
//! A check result carries the time when it finished, a scrape the time when it began (as in Prometheus); neither
//! changes while it waits for Kafka. Nothing a check does holds up another: tasks share two threads and never block them.

mod encode;
mod metrics;
mod outbox;
mod produce;
mod schedule;

use crate::config::{Check, Config, Target};
use crate::shell::check::{self, Clients, Outcome};
use crate::shell::clock;
use crate::shell::http::Readiness;
use crate::shell::kafka::KafkaError;
use crate::wire::Fault;
use encode::{Encoded, Seen};
use metrics::{Kind, Metrics, Run, Why};
use produce::Sender;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Threads that all checks share.
const THREADS: usize = 2;
/// How long the runtime waits for what its threads are in the middle of, after the flush.
const WIND_DOWN: Duration = Duration::from_millis(200);

/// Why the monitor could not start.
#[derive(Debug, Error)]
pub enum MonitorError {
    /// Nothing to do.
    #[error(
        "monitor.checks is empty: there is nothing to check. Add one, for instance {{name: web, service: shop, http: \"http://127.0.0.1/\"}}"
    )]
    NoChecks,
    /// A check whose results would be refused by every reader.
    #[error(
        "monitor.checks: the results of check {check:?} cannot be written: {fault}. The labels host and check are set by its own keys"
    )]
    Check {
        /// Its name.
        check: String,
        /// What the schema says.
        fault: Fault,
    },
    /// The HTTP clients.
    #[error("cannot set up HTTP clients: {0}")]
    Clients(#[from] reqwest::Error),
    /// The threads.
    #[error("cannot start the monitor's threads: {0}")]
    Threads(#[from] std::io::Error),
    /// The producer.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

impl MonitorError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoChecks => "monitor_no_checks",
            Self::Check { .. } => "monitor_check",
            Self::Clients(_) => "monitor_clients",
            Self::Threads(_) => "monitor_threads",
            Self::Kafka(fault) => fault.code(),
        }
    }

    /// Whether the same start may succeed later, with nothing changed by an operator.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoChecks | Self::Check { .. } | Self::Clients(_) | Self::Threads(_) => false,
            Self::Kafka(fault) => fault.is_retryable(),
        }
    }
}

/// A running monitor. Dropped without [`Monitor::stop`], it stops at once and flushes nothing.
pub struct Monitor {
    /// `None` once it is shut down.
    runtime: Option<Runtime>,
    checks: JoinSet<()>,
    sender: Arc<Sender>,
}

/// What the tasks of all checks share.
struct Shared {
    clients: Clients,
    sender: Arc<Sender>,
    metrics: Metrics,
}

impl Monitor {
    /// Starts every check of `config` on threads of its own and returns. Kafka may be away: its condition `kafka` in
    /// `readiness` says so, and results are kept.
    pub fn start(
        config: &Config,
        registry: &mut Registry,
        readiness: &Arc<Readiness>,
    ) -> Result<Self, MonitorError> {
        validate(&config.monitor.checks)?;
        let metrics = Metrics::new(registry);
        let sender = Arc::new(Sender::new(config, metrics.clone())?);
        let shared = Arc::new(Shared { clients: Clients::new()?, sender: Arc::clone(&sender), metrics });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("monitor")
            .enable_all()
            .build()?;
        let mut checks = JoinSet::new();
        for check in config.monitor.checks.clone() {
            checks.spawn_on(watch(Arc::clone(&shared), check), runtime.handle());
        }
        readiness.not_ready("kafka", produce::NOT_YET);
        runtime.spawn(Arc::clone(&sender).look(Arc::clone(readiness)));
        Ok(Self { runtime: Some(runtime), checks, sender })
    }

    /// Starts no further run, waits up to `within` for Kafka to take what was found, and stops. Returns the bytes that
    /// Kafka has not acknowledged. Not to be called from async code.
    pub fn stop(mut self, within: Duration) -> usize {
        let Some(runtime) = self.runtime.take() else { return 0 };
        self.checks.abort_all();
        let left = runtime.block_on(self.sender.flush(within));
        runtime.shutdown_timeout(WIND_DOWN);
        left
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Refuses at the start what every run would stumble over.
pub fn validate(checks: &[Check]) -> Result<(), MonitorError> {
    if checks.is_empty() {
        return Err(MonitorError::NoChecks);
    }
    for check in checks {
        encode::writable(check).map_err(|fault| MonitorError::Check { check: check.name.clone(), fault })?;
    }
    Ok(())
}

/// The life of one check.
async fn watch(shared: Arc<Shared>, check: Check) {
    let kind = Kind { kind: kind(&check.target) };
    let service: Arc<str> = check.service.as_str().into();
    let identity = [check.service.as_str(), check.host.as_str(), check.name.as_str()];
    let mut due = clock::monotonic() + schedule::first_delay(&identity, check.interval, clock::wall_ms());
    let mut seen = Seen::new();
    loop {
        tokio::time::sleep(due.saturating_sub(clock::monotonic())).await;
        let started = clock::monotonic();
        let started_ms = clock::wall_ms();
        let outcome = check::run(&shared.clients, &check).await;
        let now = clock::monotonic();
        let run = Run {
            service: check.service.clone(),
            check: check.name.clone(),
            status: outcome.status().word(),
        };
        shared.metrics.runs.get_or_create(&run).inc();
        let took = now.saturating_sub(started).as_secs_f64();
        shared.metrics.run_seconds.get_or_create(&kind).observe(took);
        let encoded = match outcome {
            Outcome::Verdict(verdict) => encode::verdict(&check, &verdict, clock::wall_ms()),
            Outcome::Scrape(scrape) => {
                let service = check.service.clone();
                let mut last = std::mem::take(&mut seen);
                // Megabytes again: not on the threads that all checks share.
                let encoded = tokio::task::spawn_blocking(move || {
                    (encode::scrape(&service, scrape, started_ms, &mut last), last)
                });
                let Ok((encoded, last)) = encoded.await else { return };
                seen = last;
                encoded
            }
        };
        hand_over(&shared, &service, &check, encoded);
        let skipped;
        (due, skipped) = schedule::next(due, check.interval, clock::monotonic());
        shared.metrics.skipped.get_or_create(&kind).inc_by(skipped);
    }
}

fn hand_over(shared: &Shared, service: &Arc<str>, check: &Check, encoded: Result<Encoded, Fault>) {
    let encoded = match encoded {
        Ok(encoded) => encoded,
        Err(fault) => return tracing::error!(%fault, check = check.name, "a result cannot be written"),
    };
    for (reason, count) in encoded.refused {
        shared.metrics.refused.get_or_create(&Why { reason: reason.to_owned() }).inc_by(count);
    }
    for record in encoded.records {
        shared.sender.send(service, record);
    }
}

fn kind(target: &Target) -> &'static str {
    match target {
        Target::Http(_) => "http",
        Target::Tcp(_) => "tcp",
        Target::Plugin(_) => "plugin",
        Target::Scrape(_) => "scrape",
    }
}
