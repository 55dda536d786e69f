//! What Kafka says of a partition: all that is needed to choose a snapshot, of one moment.

use crate::config::Config;
use crate::replica::choice::Facts;
use crate::shell::kafka::KafkaError;
use crate::shell::kafka::consumer::Data;
use crate::shell::kafka::tail::Follower;
use crate::shell::kafka::topic_id::topic_id;
use std::time::Duration;

/// How long one read of the end of the alerts may take.
const READ_BACK: Duration = Duration::from_secs(5);

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The log's range and the last marker.
    pub facts: Facts,
    /// What this zone's group has committed on the partition; none if nothing.
    pub committed: Option<i64>,
    /// Partitions of the topic.
    pub partition_count: i32,
    /// Kafka's id of it; empty where the broker tells none.
    pub topic_id: String,
}

/// Asks. Blocks for some seconds at most; an error is worth another try unless a topic is missing.
pub fn ask(
    config: &Config,
    topic: &str,
    data: &Data,
    follower: &Follower,
    partition: i32,
) -> Result<Asked, KafkaError> {
    let topic_id = topic_id(config, topic)?;
    let partition_count = data.partition_count()?;
    let (low, high) = data.range(partition)?;
    let committed = data.committed(partition)?;
    let marker = follower.last_marker(partition, READ_BACK)?.marker;
    Ok(Asked { facts: Facts { low, high, marker }, committed, partition_count, topic_id })
}
