//! `bellwether notify` as a library: reads the alerts topic, decides by [`crate::notify`], delivers by
//! [`super::receiver`], remembers in the notifications topic.
//!
//! ```text
//!  group bellwether.<cluster>.notify ── who decides for which partition ──┐
//!  alerts p, read committed ──▶ Sequence ──▶ Dispatcher p ──▶ Receivers ──▶ people
//!                                                ▲   │ Record, Forget
//!                       restored at the start ── notifications p, compacted
//! ```
//!
//! One thread owns every dispatcher; receivers have a runtime of their own. The order is deliver, then record: a process
//! that dies in between, or whose partition moves while a notification is under way, leaves one that the next owner
//! sends again, with the same idempotency key.

mod host;
mod metrics;
mod open;
mod partition;
mod store;

use crate::config::Config;
use crate::shell::http::Readiness;
use crate::shell::kafka::assignment::{Applied, Assignment, Giving};
use crate::shell::kafka::{KafkaError, Topics};
use crate::shell::receiver::Receivers;
use crate::shell::thread;
use metrics::Metrics;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use thiserror::Error;

/// Why notifications cannot be sent.
#[derive(Debug, Error)]
pub enum NotifyError {
    /// Nobody to tell.
    #[error(
        "notify.receivers: none is configured, so nobody would be told. Add one, for instance {{name: log, stdout: true}}"
    )]
    NoReceivers,
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The operating system has no thread left, or the HTTP client could not be made.
    #[error("notify: cannot start its threads: {0}")]
    Threads(std::io::Error),
}

impl NotifyError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoReceivers => "notify_no_receivers",
            Self::Kafka(fault) => fault.code(),
            Self::Threads(_) => "notify_threads",
        }
    }

    /// Whether the same call may succeed later, with nothing changed by an operator.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoReceivers => false,
            Self::Kafka(fault) => fault.is_retryable(),
            Self::Threads(_) => true,
        }
    }
}

/// A running notifier. Dropped, it goes without a word, as a killed process would.
#[derive(Debug)]
pub struct Notifier {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Notifier {
    /// Joins the notifiers of the cluster. Kafka may be away: `readiness` then says so.
    pub fn start(
        config: &Config,
        registry: &mut Registry,
        readiness: &Arc<Readiness>,
    ) -> Result<Self, NotifyError> {
        if config.notify.receivers.is_empty() {
            return Err(NotifyError::NoReceivers);
        }
        let topics = Topics::new(&config.kafka.topic_prefix);
        let metrics = Metrics::new(registry, config.notify.receivers.iter().map(|r| r.name.as_str()));
        let (answers, answered) = channel();
        let receivers = Receivers::start(&config.notify.receivers, &answers).map_err(NotifyError::Threads)?;
        let applied = Arc::new(Applied::default());
        let (events, group) = channel();
        let host =
            host::Host::new(config, &topics, host::Inputs { answers, answered, group }, receivers, metrics)?;
        // The notifiers are a zone of their own for Kafka's group coordinator: bellwether.<cluster>.notify.
        let mut member = config.clone();
        member.zone = "notify".to_owned();
        member.worker = format!("{}-notify", config.worker);
        let assignment = Assignment::start(
            &member,
            &topics.alerts,
            Giving::AtOnce,
            Arc::clone(&applied),
            Arc::clone(readiness),
            events,
        )?;
        let (stop, stopped) = channel();
        let readiness = Arc::clone(readiness);
        let thread = thread::spawn("notify", move || host.run(&stopped, assignment, &applied, &readiness))
            .map_err(NotifyError::Threads)?;
        Ok(Self { stop, thread })
    }

    /// A planned stop: waits for what is under way (at most five seconds), records it, and leaves the group.
    pub fn stop(self) {
        if self.stop.send(()).is_ok() {
            let _ = self.thread.join();
        }
    }
}
