//! Layers of YAML, and reading one value of them: the last layer that has a key gives it, and what is wrong with it
//! is noted with its place while the rest is read on.

use super::Secret;
use super::load::ConfigFault;
use crate::machine::rules::duration::parse_ms;
use crate::wire::yaml::{self, Node, Place, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// The one mapping whose keys are not ours: librdkafka's.
pub(super) const FREE_MAPPING: &str = "kafka.properties";

pub(super) struct Layer {
    file: String,
    root: Node,
}

/// A value that was found, and which layer it came from.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) file: String,
    pub(super) node: Node,
}

pub(super) struct Reader<'a> {
    pub(super) layers: Vec<Layer>,
    pub(super) faults: Vec<ConfigFault>,
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    pub(super) fn add_layer(&mut self, file: &str, text: &str) {
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
}

/// Reading one value.
impl Reader<'_> {
    pub(super) fn fault(&mut self, found: &Found, message: String) {
        self.faults.push(ConfigFault { file: found.file.clone(), place: found.node.place, message });
    }

    /// The value of a dotted path in the last layer that has it. Every path is in the defaults.
    pub(super) fn find(&self, path: &str) -> Found {
        let at = |layer: &Layer| {
            let node = path.split('.').try_fold(&layer.root, |node, key| child(node, key))?;
            Some(Found { file: layer.file.clone(), node: node.clone() })
        };
        let missing =
            Found { file: path.to_owned(), node: Node { place: Place::default(), value: Value::Null } };
        self.layers.iter().rev().find_map(at).unwrap_or(missing)
    }

    pub(super) fn scalar(&mut self, found: &Found, name: &str) -> String {
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

    pub(super) fn text(&mut self, path: &str) -> String {
        let found = self.find(path);
        self.scalar(&found, path)
    }

    pub(super) fn integer<T: TryFrom<u64> + Default>(&mut self, path: &str, min: u64, max: u64) -> T {
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

    pub(super) fn duration(&mut self, found: &Found, name: &str, min: Duration, max: Duration) -> Duration {
        let text = self.scalar(found, name);
        let zero = ["0", "0s"].contains(&text.as_str()).then_some(Duration::ZERO);
        let milliseconds = parse_ms(&text).and_then(|ms| u64::try_from(ms).ok());
        match zero.or_else(|| milliseconds.map(Duration::from_millis)) {
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

    pub(super) fn duration_at(&mut self, path: &str, min: Duration, max: Duration) -> Duration {
        let found = self.find(path);
        self.duration(&found, path, min, max)
    }

    pub(super) fn duration_of(
        &mut self,
        item: &Found,
        key: &str,
        default: Duration,
        min: Duration,
        max: Duration,
    ) -> Duration {
        field(item, key).map_or(default, |found| self.duration(&found, key, min, max))
    }

    pub(super) fn secret(&mut self, found: &Found, name: &str) -> Option<Secret> {
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

    pub(super) fn secret_at(&mut self, path: &str) -> Option<Secret> {
        let found = self.find(path);
        self.secret(&found, path)
    }

    pub(super) fn string_of(&mut self, item: &Found, key: &str) -> Option<String> {
        field(item, key).map(|found| self.scalar(&found, key)).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&mut self, item: &Found, key: &str) -> Option<String> {
        let value = self.string_of(item, key);
        if value.is_none() {
            self.fault(item, format!("{key} is missing"));
        }
        value
    }

    pub(super) fn url(&mut self, item: &Found, key: &str) -> Option<String> {
        let url = self.string_of(item, key)?;
        self.check_url(item, key, &url);
        Some(url)
    }

    /// Names the field and not the URL, which may be a secret.
    pub(super) fn check_url(&mut self, found: &Found, key: &str, url: &str) {
        let parsed = reqwest::Url::parse(url);
        if !parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            self.fault(
                found,
                format!("{key} is no URL; it begins with http:// or https:// and names a host"),
            );
        }
    }

    pub(super) fn strings(&mut self, found: &Found, name: &str) -> Vec<String> {
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

    pub(super) fn mapping(&mut self, found: &Found, name: &str) -> BTreeMap<String, String> {
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
    pub(super) fn items(&mut self, path: &str, keys: &[&str]) -> Vec<Found> {
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

    pub(super) fn unique<'n>(&mut self, path: &str, names: impl Iterator<Item = &'n str>) {
        let found = self.find(path);
        let mut seen = std::collections::BTreeSet::new();
        for name in names.filter(|name| !seen.insert(name.to_owned())) {
            self.fault(&found, format!("{path} has the name {name:?} twice"));
        }
    }
}

pub(super) fn child<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Mapping(pairs) = &node.value else { return None };
    pairs.iter().find(|(name, _)| name.name == key).map(|(_, node)| node)
}

pub(super) fn field(item: &Found, key: &str) -> Option<Found> {
    child(&item.node, key).map(|node| Found { file: item.file.clone(), node: node.clone() })
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
