//! From YAML to [`Config`], every fault with its place.
//!
//! The defaults, the operator's file and each `--set` are layers of one shape; a key is taken from the last layer
//! that has it. The defaults' own tree says which keys there are.

use super::{Check, Config, Endpoint, Kafka, Monitor, Notify, Receiver, Secret, Target, ZooKeeper};
use crate::wire::yaml::{self, Node, Place, Value};
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

/// The embedded defaults.
pub const DEFAULTS: &str = include_str!("../../config/bellwether.yaml");

const CHECK_KEYS: [&str; 10] =
    ["name", "service", "host", "interval", "timeout", "labels", "http", "tcp", "plugin", "scrape"];
const RECEIVER_KEYS: [&str; 6] = ["name", "webhook", "alertmanager", "stdout", "authorization", "timeout"];
/// The one mapping whose keys are not ours: librdkafka's.
const FREE_MAPPING: &str = "kafka.properties";

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

struct Layer {
    file: String,
    root: Node,
}

/// A value that was found, and which layer it came from.
#[derive(Clone)]
struct Found {
    file: String,
    node: Node,
}

struct Reader<'a> {
    layers: Vec<Layer>,
    faults: Vec<ConfigFault>,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    fn add_layer(&mut self, file: &str, text: &str) {
        match yaml::parse(text) {
            Ok(root) => {
                if let Some(defaults) = self.layers.first() {
                    let mut faults = Vec::new();
                    unknown_keys(&root, &defaults.root, "", &mut |place, message| {
                        faults.push(ConfigFault { file: file.to_owned(), place, message });
                    });
                    self.faults.extend(faults);
                }
                self.layers.push(Layer { file: file.to_owned(), root });
            }
            Err(fault) => self.faults.push(ConfigFault {
                file: file.to_owned(),
                place: fault.place,
                message: fault.message,
            }),
        }
    }

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
            http_listen: self.text("http.listen"),
            takeover_after: self.duration_at("emission.takeover_after", SECOND / 2, 5 * MINUTE),
            monitor: self.monitor(),
            notify: self.notify(),
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

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Reading one value.
impl Reader<'_> {
    fn fault(&mut self, found: &Found, message: String) {
        self.faults.push(ConfigFault { file: found.file.clone(), place: found.node.place, message });
    }

    /// The value of a dotted path in the last layer that has it. Every path is in the defaults.
    fn find(&self, path: &str) -> Found {
        let at = |layer: &Layer| {
            let node = path.split('.').try_fold(&layer.root, |node, key| child(node, key))?;
            Some(Found { file: layer.file.clone(), node: node.clone() })
        };
        let missing =
            Found { file: path.to_owned(), node: Node { place: Place::default(), value: Value::Null } };
        self.layers.iter().rev().find_map(at).unwrap_or(missing)
    }

    fn scalar(&mut self, found: &Found, name: &str) -> String {
        match &found.node.value {
            Value::Null => String::new(),
            Value::Scalar(text) if text.contains("${env:") => {
                self.fault(found, format!("{name} is no secret: ${{env:…}} is read in secret fields alone. Use --set {name}=… for a value that differs from host to host"));
                String::new()
            }
            Value::Scalar(text) => text.clone(),
            Value::Sequence(_) | Value::Mapping(_) => {
                self.fault(found, format!("{name} is one value, not a list or a mapping"));
                String::new()
            }
        }
    }

    fn text(&mut self, path: &str) -> String {
        let found = self.find(path);
        self.scalar(&found, path)
    }

    fn integer<T: TryFrom<u64> + Default>(&mut self, path: &str, min: u64, max: u64) -> T {
        let found = self.find(path);
        let text = self.scalar(&found, path);
        let value = text.parse::<u64>().ok().filter(|value| (min..=max).contains(value));
        match value.and_then(|value| T::try_from(value).ok()) {
            Some(value) => value,
            None => {
                self.fault(&found, format!("{path} is {text:?}; it is a whole number from {min} to {max}"));
                T::default()
            }
        }
    }

    fn duration(&mut self, found: &Found, name: &str, min: Duration, max: Duration) -> Duration {
        let text = self.scalar(found, name);
        let zero = ["0", "0s"].contains(&text.as_str()).then_some(Duration::ZERO);
        match zero.or_else(|| promql_parser::util::parse_duration(&text).ok()) {
            Some(value) if (min..=max).contains(&value) => value,
            Some(_) => {
                self.fault(found, format!("{name} is {text}; it is from {min:?} to {max:?}"));
                min
            }
            None => {
                self.fault(
                    found,
                    format!("{name} is {text:?}, which is no duration; write 500ms, 30s, 5m, 1h30m or 7d"),
                );
                min
            }
        }
    }

    fn duration_at(&mut self, path: &str, min: Duration, max: Duration) -> Duration {
        let found = self.find(path);
        self.duration(&found, path, min, max)
    }

    fn duration_of(
        &mut self,
        item: &Found,
        key: &str,
        default: Duration,
        min: Duration,
        max: Duration,
    ) -> Duration {
        field(item, key).map_or(default, |found| self.duration(&found, key, min, max))
    }

    fn secret(&mut self, found: &Found, name: &str) -> Option<Secret> {
        let Value::Scalar(text) = &found.node.value else { return None };
        let Some(variable) = text.strip_prefix("${env:").and_then(|rest| rest.strip_suffix('}')) else {
            return (!text.is_empty()).then(|| Secret::new(text.as_str()));
        };
        let value = (self.environment)(variable).filter(|value| !value.is_empty());
        if value.is_none() {
            self.fault(found, format!("{name} names the environment variable {variable}, which is not set"));
        }
        value.map(Secret::new)
    }

    fn secret_at(&mut self, path: &str) -> Option<Secret> {
        let found = self.find(path);
        self.secret(&found, path)
    }

    fn string_of(&mut self, item: &Found, key: &str) -> Option<String> {
        field(item, key).map(|found| self.scalar(&found, key)).filter(|text| !text.is_empty())
    }

    fn required(&mut self, item: &Found, key: &str) -> Option<String> {
        let value = self.string_of(item, key);
        if value.is_none() {
            self.fault(item, format!("{key} is missing"));
        }
        value
    }

    fn url(&mut self, item: &Found, key: &str) -> Option<String> {
        let url = self.string_of(item, key)?;
        self.check_url(item, key, &url);
        Some(url)
    }

    /// Names the field and not the URL, which may be a secret.
    fn check_url(&mut self, found: &Found, key: &str, url: &str) {
        let parsed = reqwest::Url::parse(url);
        if !parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            self.fault(
                found,
                format!("{key} is no URL; it begins with http:// or https:// and names a host"),
            );
        }
    }

    fn strings(&mut self, found: &Found, name: &str) -> Vec<String> {
        match &found.node.value {
            Value::Null => Vec::new(),
            Value::Sequence(items) => {
                let items: Vec<Found> =
                    items.iter().map(|node| Found { file: found.file.clone(), node: node.clone() }).collect();
                items.iter().map(|item| self.scalar(item, name)).collect()
            }
            Value::Scalar(_) | Value::Mapping(_) => {
                self.fault(found, format!("{name} is a list: write [one, two]"));
                Vec::new()
            }
        }
    }

    fn mapping(&mut self, found: &Found, name: &str) -> BTreeMap<String, String> {
        match &found.node.value {
            Value::Null => BTreeMap::new(),
            Value::Mapping(pairs) => {
                let pairs: Vec<(String, Found)> = pairs
                    .iter()
                    .map(|(key, node)| {
                        (key.name.clone(), Found { file: found.file.clone(), node: node.clone() })
                    })
                    .collect();
                pairs.into_iter().map(|(key, value)| (key, self.scalar(&value, name))).collect()
            }
            Value::Scalar(_) | Value::Sequence(_) => {
                self.fault(found, format!("{name} is a mapping: write key: value lines below it"));
                BTreeMap::new()
            }
        }
    }

    /// The mappings of a list, their keys checked.
    fn items(&mut self, path: &str, keys: &[&str]) -> Vec<Found> {
        let found = self.find(path);
        let Value::Sequence(nodes) = &found.node.value else {
            if found.node.value != Value::Null {
                self.fault(&found, format!("{path} is a list: each entry begins with '- '"));
            }
            return Vec::new();
        };
        let mut items = Vec::new();
        for node in nodes {
            let item = Found { file: found.file.clone(), node: node.clone() };
            let Value::Mapping(pairs) = &node.value else {
                self.fault(&item, format!("an entry of {path} is a mapping with a name"));
                continue;
            };
            for (key, _) in pairs.iter().filter(|(key, _)| !keys.contains(&key.name.as_str())) {
                let message = unknown(path, &key.name, keys.iter().copied());
                self.faults.push(ConfigFault { file: item.file.clone(), place: key.place, message });
            }
            items.push(item);
        }
        items
    }

    fn unique<'n>(&mut self, path: &str, names: impl Iterator<Item = &'n str>) {
        let found = self.find(path);
        let mut seen = std::collections::BTreeSet::new();
        for name in names.filter(|name| !seen.insert(name.to_owned())) {
            self.fault(&found, format!("{path} has the name {name:?} twice"));
        }
    }
}

fn child<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Mapping(pairs) = &node.value else { return None };
    pairs.iter().find(|(name, _)| name.name == key).map(|(_, node)| node)
}

fn field(item: &Found, key: &str) -> Option<Found> {
    child(&item.node, key).map(|node| Found { file: item.file.clone(), node: node.clone() })
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

fn unknown<'a>(section: &str, key: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let place = if section.is_empty() { "the configuration".to_owned() } else { section.to_owned() };
    match yaml::suggestion(key, known.clone()) {
        Some(near) => format!("{place} has no key {key:?}; did you mean {near:?}?"),
        None => format!("{place} has no key {key:?}; it has {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// Reports every key of `node` that the defaults' tree does not have at the same path.
fn unknown_keys(node: &Node, defaults: &Node, path: &str, report: &mut dyn FnMut(Place, String)) {
    let Value::Mapping(known) = &defaults.value else { return };
    if path == FREE_MAPPING || node.value == Value::Null {
        return;
    }
    let Value::Mapping(pairs) = &node.value else {
        report(
            node.place,
            format!(
                "{} is a mapping: write key: value lines",
                if path.is_empty() { "the configuration" } else { path }
            ),
        );
        return;
    };
    for (key, value) in pairs {
        match child(defaults, &key.name) {
            Some(default) => {
                let below = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
                unknown_keys(value, default, &below, report);
            }
            None => {
                report(key.place, unknown(path, &key.name, known.iter().map(|(key, _)| key.name.as_str())))
            }
        }
    }
}

#[cfg(test)]
mod tests;
