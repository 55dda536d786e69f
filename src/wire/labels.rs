//! A label set, in its one canonical form.

use serde::{Deserialize, Serialize};

/// Name of the label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";
/// Metric name of the series that a check's results make.
pub const CHECK_STATUS: &str = "check_status";

/// A label set: sorted by name, names unique, no empty value (an empty value is the same as no label, as in
/// Prometheus). Two equal sets are equal field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(
    from = "std::collections::BTreeMap<String, String>",
    into = "std::collections::BTreeMap<String, String>"
)]
pub struct Labels(Vec<(Box<str>, Box<str>)>);

impl Labels {
    /// Sorts; of equal names the last wins; empty values are dropped.
    pub fn new<N: Into<Box<str>>, V: Into<Box<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let map: std::collections::BTreeMap<Box<str>, Box<str>> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self(map.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// A set that is in its canonical form already; `None` if it is not.
    #[must_use]
    pub fn from_canonical(pairs: &[(&str, &str)]) -> Option<Self> {
        let ascending = pairs.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let valued = pairs.iter().all(|(_, value)| !value.is_empty());
        (ascending && valued)
            .then(|| Self(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()))
    }

    /// The value of a label; the empty string where the set has no such label, as PromQL sees it.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        match self.0.binary_search_by(|(n, _)| (**n).cmp(name)) {
            Ok(at) => &self.0[at].1,
            Err(_) => "",
        }
    }

    /// Pairs in order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) {
        match (self.0.binary_search_by(|(n, _)| (**n).cmp(name)), value.is_empty()) {
            (Ok(at), true) => drop(self.0.remove(at)),
            (Ok(at), false) => self.0[at].1 = value.into(),
            (Err(_), true) => {}
            (Err(at), false) => self.0.insert(at, (name.into(), value.into())),
        }
    }

    /// Keeps the pairs for which `keep(name)` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// How many labels the set has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Memory of the texts and of the pointers to them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len() + 2 * size_of::<Box<str>>()).sum()
    }
}

impl From<std::collections::BTreeMap<String, String>> for Labels {
    fn from(map: std::collections::BTreeMap<String, String>) -> Self {
        Self::new(map)
    }
}

impl From<Labels> for std::collections::BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

/// `{name="value", …}` with the metric's name in front, as Prometheus prints a series.
impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{{", self.get(METRIC_NAME))?;
        let mut separator = "";
        for (name, value) in self.iter().filter(|(name, _)| *name != METRIC_NAME) {
            write!(f, "{separator}{name}={value:?}")?;
            separator = ", ";
        }
        f.write_str("}")
    }
}
