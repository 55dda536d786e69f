//! Functions of labels: `label_replace`, `label_join`, `sort_by_label`.

use super::vector::Item;
use crate::machine::series::anchored;
use crate::wire::Labels;
use crate::wire::labels::METRIC_NAME;
use regex::Regex;
use std::cmp::Ordering;

/// `label_replace(v, destination, replacement, source, pattern)`.
#[derive(Debug)]
pub(super) struct Replace {
    pub(super) destination: String,
    pub(super) replacement: String,
    pub(super) source: String,
    pub(super) pattern: Regex,
}

impl Replace {
    /// Compiles the pattern, which must match a whole value.
    pub(super) fn pattern(pattern: &str) -> Result<Regex, regex::Error> {
        anchored(pattern)
    }

    /// The element with the label set, if its source matches; else as it is.
    pub(super) fn apply<'a>(&self, item: Item<'a>) -> Item<'a> {
        let Some(captures) = self.pattern.captures(item.get(&self.source)) else { return item };
        let mut value = String::new();
        captures.expand(&self.replacement, &mut value);
        with_label(item, &self.destination, &value)
    }
}

/// `label_join(v, destination, separator, sources…)`.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) destination: String,
    pub(super) separator: String,
    pub(super) sources: Vec<String>,
}

impl Join {
    /// The element with the label set.
    pub(super) fn apply<'a>(&self, item: Item<'a>) -> Item<'a> {
        let values: Vec<&str> = self.sources.iter().map(|source| item.get(source)).collect();
        let value = values.join(&self.separator);
        with_label(item, &self.destination, &value)
    }
}

/// A name that is set on purpose is no more on its way out.
fn with_label<'a>(item: Item<'a>, name: &str, value: &str) -> Item<'a> {
    let loses_name = item.loses_name() && name != METRIC_NAME;
    let number = item.value;
    let mut labels = item.into_labels();
    labels.set(name, value);
    let item = Item::new(labels, number);
    if loses_name { item.without_name(true) } else { item }
}

/// The order of two label sets by some of their labels, numbers inside the values by their size; then by all labels.
pub(super) fn by_labels(names: &[String], a: &Labels, b: &Labels) -> Ordering {
    let differing = names.iter().map(|name| (a.get(name), b.get(name))).find(|(a, b)| a != b);
    differing.map_or(Ordering::Equal, |(a, b)| natural(a, b)).then_with(|| a.cmp(b))
}

/// Natural order: runs of digits compare as numbers, all else as text.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        match (left.is_empty(), right.is_empty()) {
            (true, true) => return a.cmp(b),
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        let (one, other);
        (one, left) = chunk(left);
        (other, right) = chunk(right);
        let order = match (one.parse::<u64>(), other.parse::<u64>()) {
            (Ok(one), Ok(other)) => one.cmp(&other),
            (Ok(_) | Err(_), _) => one.cmp(other),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The run of digits, or of anything else, that a text opens with, and the rest.
fn chunk(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_inside_labels_compare_by_size() {
        let mut values = ["cpu10", "cpu9", "cpu", "9", "10", "1a10", "1a9", "cpu09"];
        values.sort_by(|a, b| natural(a, b));
        assert_eq!(values, ["1a9", "1a10", "9", "10", "cpu", "cpu09", "cpu9", "cpu10"]);
    }
}
