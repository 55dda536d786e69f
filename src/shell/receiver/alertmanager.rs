//! The receiver `alertmanager`: `POST /api/v2/alerts` to every Alertmanager of a cluster, never to one through a load
//! balancer: they share what they have sent, not what they have been told.
//!
//! One that took everything is enough, since each is told again within a minute; the others are logged. If every
//! `bellwether notify` is gone, an Alertmanager ends by itself, after four minutes, what it is no longer told.

use super::{Failure, http, payload};
use crate::config::Secret;
use crate::notify::Notification;
use std::time::Duration;
use tokio::task::JoinSet;

/// Alerts in one request, as Prometheus bounds it.
const BATCH_MAX: usize = 256;

/// One attempt at all of them, side by side.
pub(super) async fn send(
    client: &reqwest::Client,
    urls: &[String],
    authorization: Option<&Secret>,
    limit: Duration,
    notification: &Notification,
    now_ms: i64,
) -> Result<(), Failure> {
    let bodies: Vec<Vec<u8>> =
        notification.alerts.chunks(BATCH_MAX).map(|alerts| payload::postable(alerts, now_ms)).collect();
    let mut attempts = JoinSet::new();
    for url in urls {
        let (client, bodies, authorization) = (client.clone(), bodies.clone(), authorization.cloned());
        let (base, url) = (url.clone(), format!("{}/api/v2/alerts", url.trim_end_matches('/')));
        // A little less than the whole attempt's limit: one that hangs must not hide that another took it.
        let limit = limit.mul_f64(0.9);
        attempts.spawn(async move {
            let all = async {
                for body in bodies {
                    http::post(&client, &url, authorization.as_ref(), None, body).await?;
                }
                Ok(())
            };
            let outcome = tokio::time::timeout(limit, all).await;
            (base, outcome.unwrap_or_else(|_| Err(http::timed_out(limit))))
        });
    }
    let (mut taken, mut failures) = (0, Vec::new());
    while let Some(joined) = attempts.join_next().await {
        match joined {
            Ok((_, Ok(()))) => taken += 1,
            Ok((url, Err(failure))) => failures.push((url, failure)),
            Err(fault) => {
                failures.push((String::new(), Failure::retryable("unreachable", fault.to_string())))
            }
        }
    }
    if taken > 0 {
        for (url, failure) in &failures {
            let (reason, detail) = (&failure.reason, &failure.detail);
            tracing::warn!(receiver = %notification.receiver, url, reason, detail, "one Alertmanager of several was not told");
        }
        return Ok(());
    }
    // What may be taken later counts, if there is any.
    let worth_a_retry = failures.iter().position(|(_, failure)| failure.retryable).unwrap_or(0);
    match failures.into_iter().nth(worth_a_retry) {
        Some((url, failure)) => Err(Failure { detail: format!("{url}: {}", failure.detail), ..failure }),
        None => Err(Failure::retryable("unreachable", "no Alertmanager is listed")),
    }
}
