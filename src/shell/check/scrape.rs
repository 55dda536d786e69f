//! The check `scrape`: one scrape of a Prometheus target, with the target's labels laid over what it exposes.
//!
//! Labels as Prometheus has them with `honor_labels: false`: the target's are `job` (name of the check), `instance`
//! (`host:port` of the URL) and those of the check's configuration, which may replace the two; an exposed label of the
//! same name is kept as `exported_<name>`.

use super::{cause, milliseconds};
use crate::config::Check;
use crate::shell::clock;
use crate::wire::Labels;
use crate::wire::exposition::{self, Exposed, Format};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use std::time::Duration;

/// Largest answer that is read, bytes.
const BODY_BYTES_MAX: usize = 16 << 20;
/// What is asked for, best first.
const ACCEPTED: &str =
    "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// One scrape.
#[derive(Debug)]
pub struct Scrape {
    /// The labels of the target, which `up` carries whatever happened.
    pub target: Labels,
    /// What the target exposed, or why nothing can be used.
    pub samples: Result<Vec<ScrapedSample>, String>,
    /// From the request to the last sample read.
    pub duration: Duration,
}

/// One sample of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapedSample {
    /// Metric name.
    pub name: Box<str>,
    /// Labels, the target's among them.
    pub labels: Labels,
    /// The target's own timestamp, milliseconds since the epoch; mostly there is none.
    pub time_ms: Option<i64>,
    /// Its value.
    pub value: f64,
}

/// Scrapes once.
pub(super) async fn run(client: &reqwest::Client, url: &str, check: &Check) -> Scrape {
    let started = clock::monotonic();
    let target = target_labels(check, url);
    let samples = match tokio::time::timeout(check.timeout, get(client, url, check.timeout)).await {
        Ok(Ok((format, body))) => {
            let target = target.clone();
            // Reading megabytes takes a while: not on the threads that all checks share.
            let read = tokio::task::spawn_blocking(move || read(format, &body, &target)).await;
            read.unwrap_or_else(|fault| Err(format!("the answer could not be read: {fault}")))
        }
        Ok(Err(reason)) => Err(format!("GET {url}: {reason}")),
        Err(_) => Err(format!("GET {url}: no answer within {}", milliseconds(check.timeout))),
    };
    Scrape { target, samples, duration: clock::monotonic().saturating_sub(started) }
}

/// The labels that every series of this target carries.
#[must_use]
pub fn target_labels(check: &Check, url: &str) -> Labels {
    let instance = reqwest::Url::parse(url)
        .ok()
        .and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
    let mut labels =
        Labels::new([("job", check.name.as_str()), ("instance", instance.as_deref().unwrap_or(url))]);
    for (name, value) in &check.labels {
        labels.set(name, value);
    }
    labels
}

async fn get(client: &reqwest::Client, url: &str, timeout: Duration) -> Result<(Format, Vec<u8>), String> {
    let request = client
        .get(url)
        .header(ACCEPT, ACCEPTED)
        .header("X-Prometheus-Scrape-Timeout-Seconds", timeout.as_secs_f64().to_string());
    let mut response = request.send().await.map_err(|fault| cause(&fault))?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("HTTP {}, expected 200", response.status()));
    }
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let format = Format::of(content_type.unwrap_or_default());
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|fault| format!("the body broke off: {}", cause(&fault)))?
    {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(format!("the body is over the bound of {BODY_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((format, body))
}

fn read(format: Format, body: &[u8], target: &Labels) -> Result<Vec<ScrapedSample>, String> {
    let exposed = exposition::parse(format, body).map_err(|fault| fault.to_string())?;
    let samples = exposed.into_iter().map(|sample| ScrapedSample {
        name: sample.name.into(),
        labels: merged(&sample, target),
        time_ms: sample.time_ms,
        value: sample.value,
    });
    Ok(samples.collect())
}

/// The target's labels over the exposed ones. An exposed label that gives way takes `exported_` in front, as often as
/// it needs to be unique; shorter names first, so that the outcome does not hang on the order of the line.
fn merged(sample: &Exposed<'_>, target: &Labels) -> Labels {
    let mut labels = Labels::new(sample.labels.iter().map(|(name, value)| (*name, &**value)));
    let mut giving_way: Vec<(&str, &str)> = sample
        .labels
        .iter()
        .map(|(name, value)| (*name, &**value))
        .filter(|(name, value)| !value.is_empty() && !target.get(name).is_empty())
        .collect();
    giving_way.sort_by_key(|(name, _)| name.len());
    for (name, value) in target.iter() {
        labels.set(name, value);
    }
    for (name, value) in giving_way {
        let mut renamed = format!("exported_{name}");
        while !labels.get(&renamed).is_empty() {
            renamed.insert_str(0, "exported_");
        }
        labels.set(&renamed, value);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Target;

    fn labels(line: &str) -> String {
        let target = Labels::new([("instance", "h:1"), ("job", "node")]);
        let samples = read(Format::Text, line.as_bytes(), &target).expect("it is exposition");
        samples[0].labels.to_string()
    }

    #[test]
    fn the_targets_labels_win_and_the_exposed_ones_are_kept_under_another_name() {
        assert_eq!(labels("a{x=\"1\"} 1"), "{instance=\"h:1\", job=\"node\", x=\"1\"}");
        assert_eq!(labels("a{job=\"b\"} 1"), "{exported_job=\"b\", instance=\"h:1\", job=\"node\"}");
        assert_eq!(labels("a{job=\"\"} 1"), "{instance=\"h:1\", job=\"node\"}");
        assert_eq!(
            labels("a{exported_job=\"c\",job=\"b\"} 1"),
            "{exported_exported_job=\"b\", exported_job=\"c\", instance=\"h:1\", job=\"node\"}"
        );
    }

    #[test]
    fn instance_is_host_and_port_and_the_configuration_may_replace_it() {
        let mut check = Check {
            name: "node".to_owned(),
            service: "s".to_owned(),
            host: "h".to_owned(),
            target: Target::Scrape(String::new()),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            labels: [("env".to_owned(), "prod".to_owned())].into(),
        };
        let of = |check: &Check, url| target_labels(check, url).get("instance").to_owned();
        assert_eq!(of(&check, "https://h/metrics"), "h:443");
        assert_eq!(of(&check, "http://[::1]:9100/metrics"), "[::1]:9100");
        assert_eq!(target_labels(&check, "http://h/").get("env"), "prod");
        check.labels.insert("instance".to_owned(), "mine".to_owned());
        assert_eq!(of(&check, "http://h/"), "mine");
    }

    #[test]
    fn a_bad_line_refuses_the_scrape_with_its_place() {
        let refused = read(Format::Text, b"a 1\nb x", &Labels::default()).expect_err("no number");
        assert_eq!(refused, "line 2, column 3: expected a number, saw \"x\"");
    }
}
