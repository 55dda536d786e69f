//! One run of one check: a question to the world, bounded in time and memory, and what it answered.
//!
//! | target | outcome |
//! |---|---|
//! | `http` | a [`Verdict`]: OK on 2xx and 3xx, else CRITICAL |
//! | `tcp` | a [`Verdict`]: OK when the connection opens, else CRITICAL |
//! | `plugin` | a [`Verdict`]: what the Nagios plugin says; UNKNOWN where it says nothing that can be used |
//! | `scrape` | a [`Scrape`]: the samples of a Prometheus target, or why there are none |
//!
//! A run never fails: whatever goes wrong is its outcome, in words that say where to look.

mod http;
mod plugin;
mod scrape;
mod tcp;

pub use scrape::{Scrape, ScrapedSample, target_labels};

use crate::config::{Check, Target};
use crate::wire::record::OUTPUT_BYTES_MAX;
use std::time::Duration;

/// Redirects that a GET follows.
const REDIRECTS_MAX: usize = 5;

/// What a check found: the Nagios codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Ok,
    /// Over the first threshold.
    Warning,
    /// It does not work.
    Critical,
    /// The check itself could not find out.
    Unknown,
}

impl Status {
    /// 0 to 3.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// As people read it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// How bad it is, from 0: what does not work is worse than what is not known, and that is worse than a warning.
    #[must_use]
    pub fn severity(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Unknown => 2,
            Self::Critical => 3,
        }
    }
}

/// What an active check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it is.
    pub status: Status,
    /// In words, first line first; at most [`OUTPUT_BYTES_MAX`].
    pub output: String,
    /// Nagios performance data as printed; at most [`OUTPUT_BYTES_MAX`].
    pub perfdata: String,
}

impl Verdict {
    fn new(status: Status, output: impl Into<String>) -> Self {
        Self { status, output: cut(output.into()), perfdata: String::new() }
    }

    fn with_perfdata(self, perfdata: String) -> Self {
        Self { perfdata: cut(perfdata), ..self }
    }
}

/// What a run brought.
#[derive(Debug)]
pub enum Outcome {
    /// Of an active check.
    Verdict(Verdict),
    /// Of a scrape.
    Scrape(Scrape),
}

impl Outcome {
    /// How it is. A scrape is OK or CRITICAL.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Verdict(verdict) => verdict.status,
            Self::Scrape(Scrape { samples: Ok(_), .. }) => Status::Ok,
            Self::Scrape(Scrape { samples: Err(_), .. }) => Status::Critical,
        }
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Verdict(verdict) => verdict.output.lines().next().unwrap_or_default().to_owned(),
            Self::Scrape(Scrape { samples: Ok(samples), duration, .. }) => {
                format!("up, {} samples in {}", samples.len(), milliseconds(*duration))
            }
            Self::Scrape(Scrape { samples: Err(reason), .. }) => format!("down: {reason}"),
        }
    }
}

/// The HTTP clients that all checks of a process share.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Opens a connection for every request: a check that reuses one would not notice a closed port or an expired
    /// certificate.
    fresh: reqwest::Client,
    /// Keeps one connection per target, as Prometheus does.
    kept: reqwest::Client,
}

impl Clients {
    /// TLS trusts what the operating system trusts. Where that is nothing (a bare container), plain HTTP works all the
    /// same and every HTTPS target says that its certificate's issuer is unknown.
    pub fn new() -> Result<Self, reqwest::Error> {
        // The first provider of the process stays; a second call changes nothing.
        crate::shell::tls::install();
        let builder = |idle_max: usize| {
            reqwest::Client::builder()
                .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")))
                .no_proxy()
                .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
                .pool_max_idle_per_host(idle_max)
        };
        let build = |idle_max: usize| {
            builder(idle_max).build().or_else(|fault| {
                tracing::warn!(%fault, "no root certificates on this machine: every https target will be CRITICAL");
                builder(idle_max).tls_certs_only([]).build()
            })
        };
        Ok(Self { fresh: build(0)?, kept: build(1)? })
    }
}

/// Runs a check once. Takes no longer than its timeout, and a moment for cleaning up.
pub async fn run(clients: &Clients, check: &Check) -> Outcome {
    match &check.target {
        Target::Http(url) => Outcome::Verdict(http::run(&clients.fresh, url, check.timeout).await),
        Target::Tcp(address) => Outcome::Verdict(tcp::run(address, check.timeout).await),
        Target::Plugin(command) => Outcome::Verdict(plugin::run(command, check.timeout).await),
        Target::Scrape(url) => Outcome::Scrape(scrape::run(&clients.kept, url, check).await),
    }
}

/// `12 ms`, `1.234 s`.
fn milliseconds(duration: Duration) -> String {
    match duration.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        _ => format!("{:.3} s", duration.as_secs_f64()),
    }
}

/// The innermost cause: what the operating system or the peer said, without the layers that passed it on.
fn cause(fault: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = fault;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// At most [`OUTPUT_BYTES_MAX`], whole characters.
fn cut(mut text: String) -> String {
    let mut end = text.len().min(OUTPUT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
