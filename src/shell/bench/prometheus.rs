//! A real Prometheus beside ours, on the same rules and series: it scrapes the bench's hosts over loopback and tells of
//! itself what its rules cost. The values come from the same functions, a round for every scrape.

use super::host::Host;
use super::percentile;
use crate::shell::{clock, files, http, tls};
use crate::wire::RuleFile;
use axum::routing::get;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use thiserror::Error;

/// Between two looks at Prometheus's own metrics.
const LOOK: Duration = Duration::from_secs(15);
/// How long Prometheus may take to answer at all.
const START: Duration = Duration::from_secs(60);
const EVALUATED: &str = "prometheus_rule_group_last_duration_seconds";
const FAILED: &str = "prometheus_rule_evaluation_failures_total";

/// What Prometheus says of one run.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Series in its head.
    pub series: f64,
    /// One evaluation of every group: the medians of each group's last one, added up.
    pub step: Duration,
    /// Processor seconds of the whole process, scrapes and storage among them, a second.
    pub cpu: f64,
    /// Resident memory of the process, bytes.
    pub resident_bytes: f64,
    /// Evaluations that failed.
    pub failures: f64,
}

/// Why Prometheus gave no figures.
#[derive(Debug, Error)]
pub enum PeerFault {
    /// Its folder, its process or its port.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The port that it scrapes.
    #[error(transparent)]
    Http(#[from] http::HttpError),
    /// It ended, or never answered.
    #[error("prometheus {0}; its last words: {1}")]
    Gone(&'static str, String),
    /// It answers, and has evaluated nothing.
    #[error("prometheus evaluated no rules within {0} s: give it longer with --peer-seconds")]
    Nothing(u64),
    /// Talking to it.
    #[error("asking prometheus for its metrics: {0}")]
    Ask(#[from] reqwest::Error),
}

impl PeerFault {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "bench_prometheus"
    }

    /// Another run may find a free port, or more time.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        true
    }
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> PeerFault {
    move |source| PeerFault::Io { doing, source }
}

/// The program `prometheus` on the PATH.
#[must_use]
pub fn on_path() -> Option<PathBuf> {
    let path = files::environment("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("prometheus")).find(|file| files::exists(file))
}

/// Runs `program` over these rules and so many of a host for `seconds`, with a scrape every `round_s`, and asks it what
/// that cost.
pub fn measure(
    program: &Path,
    rules: &[RuleFile],
    (host, hosts): (Host, usize),
    (round_s, seconds): (u64, u64),
) -> Result<Peer, PeerFault> {
    let rounds = Arc::new(AtomicUsize::new(0));
    let scraped = move || {
        let text = exposition(&host, hosts, rounds.fetch_add(1, Ordering::Relaxed), round_s as f64);
        async move { text }
    };
    let target = http::serve_app("127.0.0.1:0", axum::Router::new().route("/metrics", get(scraped)))?;
    let folder = Folder::new(clock::wall_ms()).map_err(failed("making prometheus's folder"))?;
    configure(&folder.0, rules, &target.address.to_string(), round_s)
        .map_err(failed("writing prometheus's configuration"))?;
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.map_err(failed("looking for a free port"))?.to_string();
    let mut server = Server(start(program, &folder.0, &address).map_err(failed("starting prometheus"))?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed("starting a runtime"))?;
    runtime.block_on(watch(&mut server, &folder.0, &address, seconds))
}

/// Asks it until the time is over; the figures are those of the second half, when its ranges are filled.
async fn watch(server: &mut Server, folder: &Path, address: &str, seconds: u64) -> Result<Peer, PeerFault> {
    tls::install();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{address}/metrics");
    let began = clock::monotonic();
    let passed = || clock::monotonic().saturating_sub(began);
    let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut first: Option<(f64, Metrics)> = None;
    let mut last: Option<(f64, Metrics)> = None;
    while passed().as_secs() < seconds {
        tokio::time::sleep(LOOK.min(Duration::from_secs(seconds.div_ceil(4)))).await;
        if server.0.try_wait().map_err(failed("waiting for prometheus"))?.is_some() {
            return Err(PeerFault::Gone("has ended", last_words(folder)));
        }
        let answer = client.get(&url).timeout(START).send().await;
        let text = match answer {
            Ok(answer) => answer.text().await?,
            Err(_) if passed() < START => continue,
            Err(_) => return Err(PeerFault::Gone("does not answer", last_words(folder))),
        };
        if passed().as_secs() * 2 < seconds {
            continue;
        }
        let metrics = Metrics::read(&text);
        for (labels, value) in metrics.all(EVALUATED).filter(|(_, value)| *value > 0.0) {
            groups.entry(labels.to_owned()).or_default().push(value);
        }
        let now = (passed().as_secs_f64(), metrics);
        first.get_or_insert_with(|| now.clone());
        last = Some(now);
    }
    let (Some((from_s, before)), Some((to_s, after))) = (first, last) else {
        return Err(PeerFault::Nothing(seconds));
    };
    if groups.is_empty() {
        return Err(PeerFault::Nothing(seconds));
    }
    let median = |durations: &mut Vec<f64>| {
        durations.sort_by(f64::total_cmp);
        percentile(durations, 50)
    };
    let spent = after.sum("process_cpu_seconds_total") - before.sum("process_cpu_seconds_total");
    Ok(Peer {
        series: after.sum("prometheus_tsdb_head_series"),
        step: Duration::from_secs_f64(groups.values_mut().map(median).sum()),
        cpu: spent / (to_s - from_s).max(1.0),
        resident_bytes: after.sum("process_resident_memory_bytes"),
        failures: after.sum(FAILED),
    })
}

/// The end of its log.
fn last_words(folder: &Path) -> String {
    let log = files::read(&folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// What every host tells, as a scrape has it.
fn exposition(host: &Host, hosts: usize, round: usize, round_s: f64) -> String {
    let mut text = String::new();
    for number in 0..hosts {
        let line = |name: &str, labels: &crate::wire::Labels, value: f64| {
            let mut separator = '{';
            text.push_str(name);
            for (label, value) in labels.iter() {
                write!(text, "{separator}{label}={value:?}")?;
                separator = ',';
            }
            writeln!(text, "}} {value}")
        };
        // Writing to a string cannot fail.
        _ = host.samples(number, round, round_s, line);
    }
    text
}

fn configure(folder: &Path, rules: &[RuleFile], target: &str, round_s: u64) -> io::Result<()> {
    let mut names = String::new();
    for (number, rule_file) in rules.iter().enumerate() {
        let name = format!("rules-{number}.yml");
        files::write_new(&folder.join(&name), &rule_file.content, 0o600)?;
        // Writing to a string cannot fail.
        _ = writeln!(names, "- {name}");
    }
    let text = format!(
        "global: {{scrape_interval: {round_s}s, scrape_timeout: {round_s}s, evaluation_interval: 15s}}\n\
         rule_files:\n{names}\
         scrape_configs:\n- job_name: bench\n  honor_labels: true\n  static_configs: [{{targets: [{target:?}]}}]\n"
    );
    files::write_new(&folder.join("prometheus.yml"), &text, 0o600)
}

fn start(program: &Path, folder: &Path, address: &str) -> io::Result<Child> {
    let log = std::fs::File::create(folder.join("log"))?;
    Command::new(program)
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
}

/// Ends with the measurement.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // An error says that it has ended already.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Goes with the measurement.
struct Folder(PathBuf);

impl Folder {
    fn new(now_ms: i64) -> io::Result<Self> {
        let name = format!("bellwether-bench-{}-{now_ms}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left lies among the temporary files.
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Prometheus's own metrics: name, labels as written, value.
#[derive(Debug, Clone)]
struct Metrics(Vec<(String, String, f64)>);

impl Metrics {
    fn read(text: &str) -> Self {
        let line = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            Some((name.to_owned(), labels.to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter(|text| !text.starts_with('#')).filter_map(line).collect())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let named = self.0.iter().filter(move |(other, _, _)| other == name);
        named.map(|(_, labels, value)| (labels.as_str(), *value))
    }

    fn sum(&self, name: &str) -> f64 {
        self.all(name).map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_metrics_are_read_by_name_and_added_up() {
        let text = "# HELP x y\nprocess_cpu_seconds_total 1.5\n\
                    prometheus_rule_group_last_duration_seconds{rule_group=\"/a b;g\"} 0.25\n\
                    prometheus_rule_group_last_duration_seconds{rule_group=\"/a b;h\"} 1e-3\n";
        let metrics = Metrics::read(text);
        assert_eq!((metrics.sum("process_cpu_seconds_total"), metrics.sum(EVALUATED)), (1.5, 0.251));
        assert_eq!(metrics.all(EVALUATED).count(), 2);
        assert_eq!(metrics.sum("process_cpu"), 0.0);
    }

    #[test]
    fn a_scrape_has_a_line_for_every_series_and_moves_with_the_round() {
        let host = Host::default();
        let (first, second) = (exposition(&host, 2, 0, 15.0), exposition(&host, 2, 1, 15.0));
        assert_eq!(first.lines().count(), 2 * host.series());
        assert!(
            first.contains("\nnode_load1{instance=\"host-00001.example:9100\",job=\"node\"} "),
            "{first}"
        );
        assert_ne!(first, second);
    }
}
