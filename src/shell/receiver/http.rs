//! One POST, and what its answer means.

use super::Failure;
use crate::config::Secret;
use crate::shell::clock;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use std::time::Duration;

/// How much of an answer is read, bytes. The rest is left with the connection.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How much of it is shown.
const SHOWN_BYTES_MAX: usize = 200;
/// Longest wait that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// The client that all receivers share. It follows no redirect: where a notification goes is the operator's word.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    let builder = || {
        reqwest::Client::builder()
            .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
    };
    builder().build().or_else(|fault| {
        tracing::warn!(%fault, "no root certificates on this machine: every https receiver will fail");
        builder().tls_certs_only([]).build()
    })
}

/// The failure of an attempt that took longer than its limit.
pub(super) fn timed_out(limit: Duration) -> Failure {
    Failure::retryable("timeout", format!("no answer within {} ms", limit.as_millis()))
}

/// Sends a JSON body. `Ok` is 2xx.
pub(super) async fn post(
    client: &reqwest::Client,
    url: &str,
    authorization: Option<&Secret>,
    idempotency_key: Option<&str>,
    body: Vec<u8>,
) -> Result<(), Failure> {
    let mut request = client.post(url).header(CONTENT_TYPE, "application/json").body(body);
    if let Some(key) = idempotency_key {
        request = request.header("Idempotency-Key", header(key, "idempotency key")?);
    }
    if let Some(secret) = authorization {
        let mut value = header(secret.reveal(), "authorization")?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    // The URL is taken out of the fault: a webhook's often is a secret.
    let mut response = request
        .send()
        .await
        .map_err(|fault| Failure::retryable("unreachable", innermost(&fault.without_url())))?;
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let mut text = Vec::new();
    while text.len() < BODY_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        text.extend_from_slice(&chunk[..chunk.len().min(BODY_BYTES_MAX - text.len())]);
    }
    judge(status, retry_after, &text)
}

fn judge(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let retryable = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES_MAX)]);
    Err(Failure {
        reason: format!("status_{}", status.as_u16()),
        detail: shown.trim().to_owned(),
        retryable,
        retry_after,
    })
}

fn header(text: &str, what: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| Failure {
        reason: "bad_header".to_owned(),
        detail: format!("the {what} has a byte that no HTTP header may have"),
        retryable: false,
        retry_after: None,
    })
}

/// Seconds, or a date, as RFC 9110 has it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
            Duration::from_millis(u64::try_from(at.saturating_sub(clock::wall_ms())).unwrap_or(0))
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn innermost(fault: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = fault;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(value: &'static str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]))
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        assert_eq!(waits("7"), Some(Duration::from_secs(7)));
        assert_eq!(waits("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(waits("99999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(waits("soon"), None);
    }

    #[test]
    fn only_what_may_be_taken_later_is_retryable() {
        let retryable =
            |code| judge(StatusCode::from_u16(code).expect("a code"), None, b"").map_err(|f| f.retryable);
        for code in [408, 429, 500, 503] {
            assert_eq!(retryable(code), Err(true), "{code}");
        }
        for code in [302, 400, 401, 404, 413] {
            assert_eq!(retryable(code), Err(false), "{code}");
        }
        assert_eq!(retryable(202), Ok(()));
    }
}
