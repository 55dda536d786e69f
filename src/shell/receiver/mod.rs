//! The doors to the people: one task a receiver, each with a bounded queue and a few attempts at a time, so that one
//! that hangs delays nobody else. An attempt has a time limit and is made once: when to try again is decided by
//! [`crate::notify`], which hears of every outcome.
//!
//! | answer | meaning |
//! |---|---|
//! | 2xx | taken |
//! | 408, 429, 5xx, no connection, no answer in time | not taken; `Retry-After` is kept, up to an hour |
//! | any other, a redirect among them | refused: the same again would be refused again |

mod alertmanager;
mod http;
mod payload;
mod stdout;
mod webhook;

use crate::config::{self, Endpoint};
use crate::notify::{Notification, Ticket};
use crate::shell::{clock, thread, tls};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Notifications that wait for one receiver's task. What does not fit is tried again later, by then in its newest state.
const QUEUE_MAX: usize = 1_024;
/// Attempts that one receiver sees at a time.
const ATTEMPTS_AT_ONCE: usize = 4;

/// One notification for one receiver.
#[derive(Debug)]
pub struct Job {
    /// Partition of the alerts that it is about, and which stay in this process it belongs to: both go into the answer.
    pub origin: Origin,
    /// What to say.
    pub notification: Box<Notification>,
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Partition of the alerts topic.
    pub partition: i32,
    /// Counts how often this process was given the partition: an answer to an earlier stay is of no account.
    pub stay: u64,
}

/// What became of one attempt.
#[derive(Debug)]
pub struct Answer {
    /// From the job.
    pub origin: Origin,
    /// From the notification.
    pub ticket: Ticket,
    /// Taken, or why not.
    pub outcome: Result<(), Failure>,
    /// What was said, for the log.
    pub notification: Box<Notification>,
}

/// Why a notification was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable word: `timeout`, `unreachable`, `status_500`, `queue_full`.
    pub reason: String,
    /// The peer's or the system's own words. Never a URL: a webhook's often is a secret.
    pub detail: String,
    /// Whether the same may be taken later.
    pub retryable: bool,
    /// How long the receiver asked to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    fn retryable(reason: &str, detail: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), detail: detail.into(), retryable: true, retry_after: None }
    }
}

/// The tasks of all receivers. Dropped, it cuts off what is under way.
#[derive(Debug)]
pub struct Receivers {
    queues: Vec<mpsc::Sender<Job>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Receivers {
    /// Starts a task for each receiver. `answers` hears of each job once.
    pub fn start(receivers: &[config::Receiver], answers: &Sender<Answer>) -> std::io::Result<Self> {
        tls::install();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("receivers")
            .enable_all()
            .build()?;
        let client = http::client().map_err(std::io::Error::other)?;
        let queues = receivers
            .iter()
            .map(|receiver| {
                let (queue, jobs) = mpsc::channel(QUEUE_MAX);
                let (receiver, client) = (Arc::new(receiver.clone()), client.clone());
                runtime.spawn(serve(receiver, client, jobs, answers.clone()));
                queue
            })
            .collect();
        Ok(Self { queues, runtime: Some(runtime) })
    }

    /// Posts an empty object to one receiver's URL every so often, while `well` says so, for as long as the process lives.
    /// What becomes of it is of no account: whoever misses it is to say so.
    pub fn beat(
        receiver: config::Receiver,
        every: Duration,
        well: impl Fn() -> bool + Send + 'static,
    ) -> std::io::Result<()> {
        tls::install();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = http::client().map_err(std::io::Error::other)?;
        thread::spawn("heartbeat", move || {
            runtime.block_on(async {
                let mut beats = tokio::time::interval(every);
                loop {
                    beats.tick().await;
                    if let (true, Endpoint::Webhook(url)) = (well(), &receiver.endpoint) {
                        let post = http::post(&client, url.reveal(), None, None, b"{}".to_vec());
                        if let Ok(Err(failure)) = tokio::time::timeout(receiver.timeout, post).await {
                            let Failure { reason, detail, .. } = failure;
                            tracing::debug!(reason, detail, "the heartbeat was not taken");
                        }
                    }
                }
            });
        })?;
        Ok(())
    }

    /// Queues a job for the receiver of its ticket; gives an answer at once where the queue is full.
    pub fn send(&self, job: Job) -> Result<(), Box<Answer>> {
        let full = |job: Job| {
            Box::new(Answer {
                origin: job.origin,
                ticket: job.notification.ticket.clone(),
                outcome: Err(Failure::retryable("queue_full", format!("{QUEUE_MAX} notifications wait"))),
                notification: job.notification,
            })
        };
        match self.queues.get(job.notification.ticket.receiver) {
            Some(queue) => queue.try_send(job).map_err(|refused| full(refused.into_inner())),
            None => Err(full(job)),
        }
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        // A standard output that nobody reads blocks its thread for good: it is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(
    receiver: Arc<config::Receiver>,
    client: reqwest::Client,
    mut jobs: mpsc::Receiver<Job>,
    answers: Sender<Answer>,
) {
    let mut attempts = JoinSet::new();
    while let Some(job) = jobs.recv().await {
        while attempts.len() >= ATTEMPTS_AT_ONCE {
            attempts.join_next().await;
        }
        let (receiver, client, answers) = (Arc::clone(&receiver), client.clone(), answers.clone());
        attempts.spawn(async move {
            let Job { origin, notification } = job;
            let outcome = attempt(&receiver, &client, &notification).await;
            // Nobody listens any more: the process is stopping.
            let _ =
                answers.send(Answer { origin, ticket: notification.ticket.clone(), outcome, notification });
        });
    }
}

/// One attempt, within the receiver's time limit.
async fn attempt(
    receiver: &config::Receiver,
    client: &reqwest::Client,
    notification: &Notification,
) -> Result<(), Failure> {
    let authorization = receiver.authorization.as_ref();
    let attempt = async {
        match &receiver.endpoint {
            Endpoint::Webhook(url) => webhook::send(client, url, authorization, notification).await,
            Endpoint::Alertmanager(urls) => {
                let limit = receiver.timeout;
                alertmanager::send(client, urls, authorization, limit, notification, clock::wall_ms()).await
            }
            Endpoint::Stdout => stdout::send(notification).await,
        }
    };
    match tokio::time::timeout(receiver.timeout, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(http::timed_out(receiver.timeout)),
    }
}
