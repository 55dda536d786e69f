//! From YAML to [`Config`], every fault with its place.
//!
//! The defaults, the operator's file and each `--set` are layers of one shape; a key is taken from the last layer
//! that has it. The defaults' own tree says which keys there are.

use super::reader::{FREE_MAPPING, Found, Reader, field};
use super::{
    Check, Config, Control, Endpoint, Kafka, Meta, Monitor, Notify, PrivateKeySource, PublicKeySource,
    Receiver, Snapshots, Target, ZooKeeper,
};
use crate::shell::store;
use crate::wire::Limits;
use crate::wire::keyring::PublicKey;
use crate::wire::yaml::Place;
use std::time::Duration;
use thiserror::Error;

/// The embedded defaults.
pub const DEFAULTS: &str = include_str!("../../config/bellwether.yaml");

const CHECK_KEYS: [&str; 10] =
    ["name", "service", "host", "interval", "timeout", "labels", "http", "tcp", "plugin", "scrape"];
const RECEIVER_KEYS: [&str; 6] = ["name", "webhook", "alertmanager", "stdout", "authorization", "timeout"];

/// All that is wrong with a configuration, one line each.
#[derive(Debug, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<ConfigFault>);

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}:{place}: {message}")]
pub struct ConfigFault {
    /// The file's path as given, or the `--set` flag.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// What, the value seen, the bound and the next step.
    pub message: String,
}

impl ConfigError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "config"
    }

    /// A file does not mend itself.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// Reads the defaults, lays each source (a file's name and its text; a later one wins) over them, and takes secrets
/// that say `${env:NAME}` from `environment`. An empty `worker` becomes `<zone>-<HOSTNAME>`.
pub fn load(
    sources: &[(String, String)],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let mut reader = Reader { layers: Vec::new(), faults: Vec::new(), environment };
    reader.add_layer("config/bellwether.yaml", DEFAULTS);
    for (name, text) in sources {
        reader.add_layer(name, text);
    }
    let config = reader.config();
    if reader.faults.is_empty() { Ok(config) } else { Err(ConfigError(reader.faults)) }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

impl Reader<'_> {
    fn config(&mut self) -> Config {
        let zone = self.text("zone");
        let mut worker = self.text("worker");
        if worker.is_empty() {
            let host = (self.environment)("HOSTNAME").unwrap_or_else(|| "localhost".to_owned());
            worker = format!("{zone}-{host}");
        }
        let cluster = self.text("cluster");
        for (path, name) in [("cluster", &cluster), ("zone", &zone), ("worker", &worker)] {
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if name.is_empty() || name.len() > 100 || !name.chars().all(legal) {
                let found = self.find(path);
                self.fault(&found, format!("{path} is {name:?}; it is part of group ids and lock paths: 1 to 100 of A-Z a-z 0-9 . _ -"));
            }
        }
        if zone == "notify" {
            let found = self.find("zone");
            self.fault(
                &found,
                "zone is \"notify\", the name of the notifiers' own consumer group: choose another"
                    .to_owned(),
            );
        }
        Config {
            cluster,
            zone,
            worker,
            kafka: self.kafka(),
            zookeeper: ZooKeeper {
                hosts: self.text("zookeeper.hosts"),
                path: self.text("zookeeper.path"),
                session_timeout: self.duration_at("zookeeper.session_timeout", SECOND, 5 * MINUTE),
            },
            control: self.control(),
            limits: Limits {
                series: self.integer("limits.series", 1_000, Limits::MAX.unsigned_abs()),
                alerts: self.integer("limits.alerts", 10, Limits::MAX.unsigned_abs()),
                firing_per_service: self.integer("limits.firing_per_service", 1, Limits::MAX.unsigned_abs()),
            },
            http_listen: self.text("http.listen"),
            http_advertise: self.text("http.advertise"),
            takeover_after: self.duration_at("emission.takeover_after", SECOND / 2, 5 * MINUTE),
            warm_handles: self.integer("emission.warm_handles", 1, 8),
            monitor: self.monitor(),
            snapshots: self.snapshots(),
            notify: self.notify(),
            meta: self.meta(),
        }
    }

    fn kafka(&mut self) -> Kafka {
        let properties = self.find("kafka.properties");
        let brokers = self.text("kafka.brokers");
        if brokers.is_empty() {
            let found = self.find("kafka.brokers");
            self.fault(&found, "kafka.brokers is empty: name at least one host:port".to_owned());
        }
        Kafka {
            brokers,
            topic_prefix: self.text("kafka.topic_prefix"),
            partitions: self.integer("kafka.partitions", 1, 10_000),
            replication: self.integer("kafka.replication", 1, 32),
            observations_retention: self.duration_at("kafka.observations_retention", MINUTE, 3650 * DAY),
            alerts_retention: self.duration_at("kafka.alerts_retention", MINUTE, 3650 * DAY),
            properties: self.mapping(&properties, FREE_MAPPING),
            password: self.secret_at("kafka.password"),
        }
    }

    fn snapshots(&mut self) -> Snapshots {
        let found = self.find("snapshots.url");
        let url = self.text("snapshots.url");
        if let Err(fault) = store::check_url(&url) {
            self.fault(&found, fault.to_string());
        }
        let endpoint = self.find("snapshots.endpoint");
        let at = self.text("snapshots.endpoint");
        if !at.is_empty() {
            self.check_url(&endpoint, "snapshots.endpoint", &at);
        }
        let (access_key, secret_key) =
            (self.secret_at("snapshots.access_key"), self.secret_at("snapshots.secret_key"));
        if access_key.is_some() != secret_key.is_some() {
            let found = self.find("snapshots.access_key");
            self.fault(&found, "snapshots.access_key and snapshots.secret_key go together".to_owned());
        }
        Snapshots {
            url,
            interval: self.duration_at("snapshots.interval", SECOND, 7 * DAY),
            endpoint: at,
            region: self.text("snapshots.region"),
            access_key,
            secret_key,
        }
    }

    fn control(&mut self) -> Control {
        let key = Some(self.text("control.key")).filter(|path| !path.is_empty());
        let found = self.find("control.trusted");
        let trusted = self.strings(&found, "control.trusted").into_iter().filter_map(|text| {
            if !text.starts_with("ed25519:") {
                return Some(PublicKeySource::File(text.into()));
            }
            let key = PublicKey::from_inline(&text);
            if key.is_none() {
                self.fault(&found, format!("control.trusted has {text:?}; a key in the configuration itself is ed25519: and 64 hexadecimal digits, as `bellwether keys show` prints it"));
            }
            key.map(PublicKeySource::Inline)
        });
        let trusted = trusted.collect();
        Control { key: key.map(|path| PrivateKeySource::File(path.into())), trusted }
    }

    fn monitor(&mut self) -> Monitor {
        let checks = self.items("monitor.checks", &CHECK_KEYS);
        let checks: Vec<Check> = checks.iter().filter_map(|item| self.check(item)).collect();
        self.unique("monitor.checks", checks.iter().map(|check| check.name.as_str()));
        Monitor { buffer_bytes: self.integer("monitor.buffer_bytes", 1 << 20, 64 << 30), checks }
    }

    fn check(&mut self, item: &Found) -> Option<Check> {
        let mut targets = Vec::new();
        if let Some(url) = self.url(item, "http") {
            targets.push(Target::Http(url));
        }
        if let Some(address) = self.string_of(item, "tcp") {
            targets.push(Target::Tcp(address));
        }
        if let Some(found) = field(item, "plugin") {
            targets.push(Target::Plugin(self.strings(&found, "plugin")));
        }
        if let Some(url) = self.url(item, "scrape") {
            targets.push(Target::Scrape(url));
        }
        if targets.len() != 1 {
            self.fault(
                item,
                format!(
                    "a check has exactly one of http, tcp, plugin, scrape; this one has {}",
                    targets.len()
                ),
            );
        }
        let name = self.required(item, "name")?;
        let service = self.required(item, "service")?;
        let target = targets.pop()?;
        if target == Target::Plugin(Vec::new()) {
            self.fault(item, "plugin is an empty list: name the program, then its arguments".to_owned());
        }
        let host = self.string_of(item, "host").unwrap_or_else(|| host_of(&target));
        let labels = field(item, "labels").map(|found| self.mapping(&found, "labels")).unwrap_or_default();
        let interval = self.duration_of(item, "interval", 15 * SECOND, SECOND / 10, DAY);
        let timeout = self.duration_of(item, "timeout", interval.min(5 * SECOND), SECOND / 100, DAY);
        if timeout > interval {
            self.fault(item, format!("timeout {timeout:?} is longer than interval {interval:?}: runs of one check would overlap"));
        }
        Some(Check { name, service, host, target, interval, timeout, labels })
    }

    fn notify(&mut self) -> Notify {
        let group_by = self.find("notify.group_by");
        let receivers = self.items("notify.receivers", &RECEIVER_KEYS);
        let receivers: Vec<Receiver> = receivers.iter().filter_map(|item| self.receiver(item)).collect();
        self.unique("notify.receivers", receivers.iter().map(|receiver| receiver.name.as_str()));
        Notify {
            group_by: self.strings(&group_by, "notify.group_by"),
            group_wait: self.duration_at("notify.group_wait", Duration::ZERO, DAY),
            group_interval: self.duration_at("notify.group_interval", SECOND / 10, 30 * DAY),
            repeat_interval: self.duration_at("notify.repeat_interval", SECOND, 365 * DAY),
            receivers,
        }
    }

    fn meta(&mut self) -> Meta {
        let receivers = self.items("meta.receivers", &RECEIVER_KEYS);
        let receivers: Vec<Receiver> = receivers.iter().filter_map(|item| self.receiver(item)).collect();
        self.unique("meta.receivers", receivers.iter().map(|receiver| receiver.name.as_str()));
        let heartbeat = self.secret_at("meta.heartbeat");
        if let Some(url) = &heartbeat {
            let found = self.find("meta.heartbeat");
            self.check_url(&found, "meta.heartbeat", url.reveal());
        }
        Meta { receivers, heartbeat }
    }

    fn receiver(&mut self, item: &Found) -> Option<Receiver> {
        let mut endpoints = Vec::new();
        if let Some(found) = field(item, "webhook")
            && let Some(url) = self.secret(&found, "webhook")
        {
            self.check_url(&found, "webhook", url.reveal());
            endpoints.push(Endpoint::Webhook(url));
        }
        if let Some(found) = field(item, "alertmanager") {
            let urls = self.strings(&found, "alertmanager");
            urls.iter().for_each(|url| self.check_url(&found, "alertmanager", url));
            endpoints.push(Endpoint::Alertmanager(urls));
        }
        if self.string_of(item, "stdout").is_some_and(|value| value == "true") {
            endpoints.push(Endpoint::Stdout);
        }
        if endpoints.len() != 1 {
            self.fault(
                item,
                format!(
                    "a receiver has exactly one of webhook, alertmanager, stdout: true; this one has {}",
                    endpoints.len()
                ),
            );
        }
        let name = self.required(item, "name")?;
        let authorization =
            field(item, "authorization").and_then(|found| self.secret(&found, "authorization"));
        let timeout = self.duration_of(item, "timeout", 10 * SECOND, SECOND / 100, HOUR);
        Some(Receiver { name, endpoint: endpoints.pop()?, authorization, timeout })
    }
}

fn host_of(target: &Target) -> String {
    match target {
        Target::Http(url) | Target::Scrape(url) => reqwest::Url::parse(url)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_default(),
        Target::Tcp(address) => address
            .rsplit_once(':')
            .map_or(address.as_str(), |(host, _)| host)
            .trim_matches(['[', ']'])
            .to_owned(),
        Target::Plugin(_) => "localhost".to_owned(),
    }
}

#[cfg(test)]
mod tests;
