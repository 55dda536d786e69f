//! `bellwether rules list`: the sets in the rules topic, newest first, and which partitions evaluate which.
//!
//! What a partition evaluates its primary says, through ZooKeeper; without one, the last marker of its alerts says it as
//! of the last transition.

use super::{sets, short_hash};
use crate::command::output;
use crate::config::Config;
use crate::error::Error;
use crate::replica::Role;
use crate::shell::kafka::Topics;
use crate::shell::kafka::log::{ANSWER, Log};
use crate::shell::kafka::tail::Follower;
use crate::shell::registry;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// How long ZooKeeper may take before the table is made without it.
const ZOOKEEPER_ANSWER: Duration = Duration::from_secs(3);

/// Runs it.
pub(super) fn run(config: &Config, json: bool) -> Result<ExitCode, Error> {
    let topics = Topics::new(&config.kafka.topic_prefix);
    let mut sets = sets(config, &topics)?;
    sets.sort_by_key(|set| -set.version);
    let active = if sets.is_empty() { BTreeMap::new() } else { active(config, &topics)? };
    let mut rows = Vec::new();
    for set in &sets {
        let files: Vec<&str> = set.files.iter().map(|file| file.name.as_str()).collect();
        let there = active.iter().filter(|(_, version)| **version == set.version);
        let partitions: Vec<i32> = there.map(|(partition, _)| *partition).collect();
        if json {
            let line = serde_json::json!({
                "version": set.version, "active": partitions, "applied_ms": set.applied_ms, "author": set.author,
                "service_label": set.service_label, "files": files, "hash": short_hash(set),
            });
            if !output::line(&line.to_string())? {
                break;
            }
            continue;
        }
        rows.push(vec![
            set.version.to_string(),
            spans(&partitions),
            output::time(set.applied_ms),
            set.author.clone(),
            short_hash(set),
            files.join(" "),
        ]);
    }
    if !json {
        output::print(&output::table(
            &["VERSION", "ACTIVE ON", "APPLIED", "AUTHOR", "HASH", "FILES"],
            &rows,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The version that each partition evaluates, where it is known.
fn active(config: &Config, topics: &Topics) -> Result<BTreeMap<i32, i64>, Error> {
    let reports = registry::read_all(config, ZOOKEEPER_ANSWER).unwrap_or_else(|fault| {
        eprintln!("bellwether: {fault} [{}]: what is active is what the last markers say", fault.code());
        Vec::new()
    });
    let mut active = BTreeMap::new();
    for (partition, report) in reports.iter().flat_map(|report| &report.partitions) {
        if report.role == Role::Primary.code() {
            active.insert(*partition, report.rule_set_version);
        }
    }
    let follower = Follower::start(config)?;
    for partition in 0..Log::open(config, &topics.observations)?.partitions()? {
        if active.contains_key(&partition) {
            continue;
        }
        if let Some(marker) = follower.last_marker(partition, ANSWER)?.marker {
            active.insert(partition, marker.rule_set_version);
        }
    }
    Ok(active)
}

/// `0-3 7`: numbers in ascending order, those that follow one another as one span.
fn spans(numbers: &[i32]) -> String {
    let mut spans: Vec<(i32, i32)> = Vec::new();
    for number in numbers {
        match spans.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => spans.push((*number, *number)),
        }
    }
    let text =
        |(first, last): (i32, i32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    spans.into_iter().map(text).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::spans;

    #[test]
    fn partitions_that_follow_one_another_are_one_span() {
        for (numbers, expected) in
            [(&[][..], ""), (&[3], "3"), (&[0, 1, 2, 3], "0-3"), (&[0, 2, 3, 7, 8, 10], "0 2-3 7-8 10")]
        {
            assert_eq!(spans(numbers), expected);
        }
    }
}
