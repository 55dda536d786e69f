//! What the topics should be, and what of it may be changed: wanted and found in, changes and refusals out. Pure.

use super::Topics;
use crate::config::Config;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Largest message: a record of 1 MiB, its key and Kafka's frame; a rejected record's envelope too.
const MESSAGE_BYTES_MAX: usize = 1_200_000;

/// A topic as the design wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// Copies of each.
    pub replication: i32,
    /// Topic settings, by Kafka's names.
    pub settings: BTreeMap<&'static str, String>,
}

/// A topic as Kafka has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// How many partitions.
    pub partitions: i32,
    /// Copies of each: the fewest of any partition.
    pub replication: i32,
    /// Whether any partition holds a record.
    pub has_data: bool,
    /// Settings in force, by Kafka's names.
    pub settings: BTreeMap<String, String>,
    /// Of them, those set on the topic itself.
    pub own: BTreeMap<String, String>,
}

/// One difference between wanted and found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Name of the topic.
    pub topic: String,
    /// What is to be done.
    #[serde(flatten)]
    pub step: Step,
}

/// What is to be done about a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Step {
    /// The topic is not there.
    Create {
        /// How many partitions.
        partitions: i32,
        /// Copies of each.
        replication: i32,
        /// Topic settings.
        settings: BTreeMap<&'static str, String>,
    },
    /// A setting differs.
    Set {
        /// Kafka's name of it.
        setting: &'static str,
        /// What it is.
        from: String,
        /// What it should be.
        to: String,
    },
    /// More partitions are wanted, and the operator has said so twice.
    AddPartitions {
        /// How many there are.
        from: i32,
        /// How many there should be.
        to: i32,
    },
    /// Too dangerous for a command.
    Refuse {
        /// Why, and what to do instead.
        reason: String,
    },
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let topic = &self.topic;
        match &self.step {
            Step::Create { partitions, replication, settings } => {
                let settings: Vec<String> =
                    settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(
                    f,
                    "+ {topic}: create, partitions={partitions}, replication={replication}, {}",
                    settings.join(", ")
                )
            }
            Step::Set { setting, from, to } => write!(f, "~ {topic}: {setting} {from} -> {to}"),
            Step::AddPartitions { from, to } => write!(f, "~ {topic}: partitions {from} -> {to}"),
            Step::Refuse { reason } => write!(f, "! {topic}: refused: {reason}"),
        }
    }
}

/// The five topics, as the configuration wants them.
#[must_use]
pub fn wanted(config: &Config) -> Vec<Wanted> {
    let kafka = &config.kafka;
    let names = Topics::new(&kafka.topic_prefix);
    let topic = |name: String, partitions: i32, policy: &str, retention: Option<Duration>| {
        let in_sync = if kafka.replication >= 3 { 2 } else { 1 };
        let mut settings = BTreeMap::from([
            ("cleanup.policy", policy.to_owned()),
            ("min.insync.replicas", in_sync.to_string()),
            ("unclean.leader.election.enable", "false".to_owned()),
            ("max.message.bytes", MESSAGE_BYTES_MAX.to_string()),
        ]);
        if let Some(retention) = retention {
            settings.insert("retention.ms", retention.as_millis().to_string());
        }
        Wanted { name, partitions, replication: kafka.replication, settings }
    };
    let observations_retention = Some(kafka.observations_retention);
    let mut observations = topic(names.observations, kafka.partitions, "delete", observations_retention);
    observations.settings.insert("message.timestamp.type", "LogAppendTime".to_owned());
    vec![
        observations,
        topic(names.alerts, kafka.partitions, "delete", Some(kafka.alerts_retention)),
        topic(names.rules, 1, "compact", None),
        topic(names.rejected, kafka.partitions, "delete", observations_retention),
        topic(names.notifications, kafka.partitions, "compact", None),
    ]
}

/// What differs. `add_partitions`: the operator has asked for more partitions of an existing topic.
#[must_use]
pub fn compare(wanted: &[Wanted], found: &BTreeMap<String, Found>, add_partitions: bool) -> Vec<Change> {
    wanted
        .iter()
        .flat_map(|wanted| {
            let steps = match found.get(&wanted.name) {
                None => vec![Step::Create {
                    partitions: wanted.partitions,
                    replication: wanted.replication,
                    settings: wanted.settings.clone(),
                }],
                Some(found) => differences(wanted, found, add_partitions),
            };
            steps.into_iter().map(|step| Change { topic: wanted.name.clone(), step })
        })
        .collect()
}

fn differences(wanted: &Wanted, found: &Found, add_partitions: bool) -> Vec<Step> {
    let mut steps: Vec<Step> = partitions(wanted, found, add_partitions).into_iter().collect();
    if found.replication < wanted.replication {
        steps.push(Step::Refuse {
            reason: format!(
                "replication is {}, kafka.replication says {}: copies are added by kafka-reassign-partitions, one \
                 partition after the other",
                found.replication, wanted.replication
            ),
        });
    }
    for (setting, to) in &wanted.settings {
        let from = found.settings.get(*setting).map_or("", String::as_str);
        if from != to {
            steps.push(set(setting, from, to, found.has_data));
        }
    }
    steps
}

fn partitions(wanted: &Wanted, found: &Found, add_partitions: bool) -> Option<Step> {
    let (from, to) = (found.partitions, wanted.partitions);
    if from == to {
        return None;
    }
    if to < from {
        return Some(Step::Refuse {
            reason: format!(
                "it has {from} partitions, {to} are wanted: Kafka cannot take partitions away. Set \
                 kafka.partitions to {from}, or use another kafka.topic_prefix"
            ),
        });
    }
    Some(if add_partitions {
        Step::AddPartitions { from, to }
    } else {
        Step::Refuse {
            reason: format!(
                "it has {from} partitions, {to} are wanted: with another count, services move to other partitions \
                 and leave the state of their alerts behind. Set kafka.partitions to {from}, or say \
                 --add-partitions while nothing fires"
            ),
        }
    })
}

fn set(setting: &'static str, from: &str, to: &str, has_data: bool) -> Step {
    let reason = match setting {
        "message.timestamp.type" if has_data => format!(
            "{setting} is {from}, {to} is wanted, and it holds records: their times are the producers', and the \
             machine's clock would jump. Use another kafka.topic_prefix, or delete the topic with its records"
        ),
        "cleanup.policy" => format!(
            "{setting} is {from}, {to} is wanted: another policy throws away records that the old one keeps. If \
             that is meant, change it with kafka-configs"
        ),
        _ => return Step::Set { setting, from: from.to_owned(), to: to.to_owned() },
    };
    Step::Refuse { reason }
}
