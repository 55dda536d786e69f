//! The check `http`: GET a URL over a connection of its own. The answer is read to its end or to a bound, so that a
//! server which sends headers and then hangs is found out.

use super::{Status, Verdict, cause, milliseconds};
use crate::shell::clock;
use std::time::Duration;

/// How much of the answer is read, bytes. More is not asked for.
const BODY_BYTES_MAX: usize = 1 << 20;

/// OK on 2xx and 3xx (a redirect that leads nowhere further), else CRITICAL. Performance data: `time` and `size`.
pub(super) async fn run(client: &reqwest::Client, url: &str, timeout: Duration) -> Verdict {
    let started = clock::monotonic();
    let answer = tokio::time::timeout(timeout, get(client, url)).await;
    let took = clock::monotonic().saturating_sub(started);
    match answer {
        Ok(Ok((code, size))) => {
            let good = code.is_success() || code.is_redirection();
            let status = if good { Status::Ok } else { Status::Critical };
            let reason = code.canonical_reason().filter(|_| !good).map_or(String::new(), |r| format!(" {r}"));
            Verdict::new(status, format!("HTTP {}{reason} in {}", code.as_u16(), milliseconds(took)))
                .with_perfdata(format!("time={:.6}s;;;0 size={size}B;;;0", took.as_secs_f64()))
        }
        Ok(Err(reason)) => Verdict::new(Status::Critical, format!("GET {url}: {reason}")),
        Err(_) => {
            Verdict::new(Status::Critical, format!("GET {url}: no answer within {}", milliseconds(timeout)))
        }
    }
}

/// The status code and how much of the body was read.
async fn get(client: &reqwest::Client, url: &str) -> Result<(reqwest::StatusCode, usize), String> {
    let mut response = client.get(url).send().await.map_err(|fault| cause(&fault))?;
    let code = response.status();
    let mut size = 0;
    while size < BODY_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => size += chunk.len(),
            Ok(None) => break,
            Err(fault) => {
                return Err(format!("HTTP {}, then the body broke off: {}", code.as_u16(), cause(&fault)));
            }
        }
    }
    Ok((code, size))
}
