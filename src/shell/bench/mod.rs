//! Measurements against a peer or a bound, in one run, on a real cluster: the worker's path next to a bare consumer on
//! the same topics, the memory of a series, and the time from a decision to a reader; and in memory alone what a snapshot costs.

pub mod baselines;
pub mod catchup;
pub mod host;
pub mod latency;
pub mod load;
pub mod prometheus;
pub mod restore;
pub mod rules;
pub mod snapshot;
pub mod state;

use super::kafka::KafkaError;
use crate::config::Config;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError as ClientError;
use std::time::Duration;

/// A topic of one run, taken away when it ends.
pub struct Topic {
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    name: String,
}

fn failed(doing: &'static str) -> impl Fn(ClientError) -> KafkaError {
    move |source| KafkaError::Client { doing, source }
}

impl Topic {
    /// Makes a topic of one partition, with these settings on top of the broker's.
    pub fn create(
        config: &Config,
        name: &str,
        replication: i32,
        settings: &[(&str, &str)],
    ) -> Result<Self, KafkaError> {
        let doing = failed("creating the bench's topic");
        let admin: AdminClient<_> = super::kafka::client(config, "bench").create().map_err(&doing)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|fault| doing(ClientError::ClientCreation(fault.to_string())))?;
        let topic = NewTopic::new(name, 1, TopicReplication::Fixed(replication));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
        for answer in runtime.block_on(admin.create_topics([&topic], &options)).map_err(&doing)? {
            answer.map_err(|(_, code)| doing(ClientError::AdminOp(code)))?;
        }
        Ok(Self { admin, runtime, name: name.to_owned() })
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let deleted = self.runtime.block_on(self.admin.delete_topics(&[&self.name], &AdminOptions::new()));
        if let Err(fault) = deleted {
            tracing::warn!(%fault, topic = self.name, "the bench's topic could not be deleted");
        }
    }
}

/// The value at or below which `percent` of the sorted values lie, by nearest rank; NaN of none.
#[must_use]
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (percent * sorted.len()).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_nearest_rank() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (100.0, 198.0));
        assert!(percentile(&[], 50).is_nan());
    }
}
