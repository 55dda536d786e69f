//! The receiver `webhook`: POST of Alertmanager's version 4 payload, with an `Idempotency-Key`.
//!
//! HTTP alone cannot tell a lost request from a lost answer, so delivery is at least once. The key closes it: it is the
//! same for each attempt and after a restart, and a receiver that remembers keys shows each notification once.

use super::{Failure, http, payload};
use crate::config::Secret;
use crate::notify::Notification;

/// One attempt.
pub(super) async fn send(
    client: &reqwest::Client,
    url: &Secret,
    authorization: Option<&Secret>,
    notification: &Notification,
) -> Result<(), Failure> {
    let key = Some(notification.idempotency_key.as_str());
    http::post(client, url.reveal(), authorization, key, payload::webhook(notification)).await
}
