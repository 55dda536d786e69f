//! Topics: what Kafka has, and how it is changed. Each call has a deadline; a dead broker is
//! [`KafkaError::Unreachable`].

use super::log::{ANSWER, refused, unreachable};
use super::topics::{Found, Step, Wanted};
use super::{KafkaError, client};
use crate::config::Config;
use crate::shell::{clock, thread};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

/// A connection for administration.
pub struct Admin {
    client: AdminClient<DefaultClientContext>,
    options: AdminOptions,
    brokers: String,
    runtime: tokio::runtime::Runtime,
}

impl Admin {
    /// Makes the client. Does not wait for Kafka.
    pub fn connect(config: &Config) -> Result<Self, KafkaError> {
        let doing = "making the administration client";
        let client =
            client(config, "admin").create().map_err(|source| KafkaError::Client { doing, source })?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|fault| {
            KafkaError::Client { doing, source: ClientError::ClientCreation(fault.to_string()) }
        })?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
        Ok(Self { client, options, brokers: config.kafka.brokers.clone(), runtime })
    }

    /// The wanted topics that are there, by name.
    pub fn find(&self, wanted: &[Wanted]) -> Result<BTreeMap<String, Found>, KafkaError> {
        let what = "what topics there are";
        let metadata = self
            .client
            .inner()
            .fetch_metadata(None, ANSWER)
            .map_err(|source| refused(&self.brokers, what, source))?;
        let mut found = BTreeMap::new();
        for topic in metadata.topics().iter().filter(|topic| wanted.iter().any(|w| w.name == topic.name())) {
            let copies = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
            let mut has_data = false;
            for partition in topic.partitions() {
                let (low, high) =
                    self.client.inner().fetch_watermarks(topic.name(), partition.id(), ANSWER).map_err(
                        |source| refused(&self.brokers, "where a partition begins and ends", source),
                    )?;
                has_data |= high > low;
            }
            let (settings, own) = self.settings(topic.name())?;
            let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
            let replication = i32::try_from(copies.unwrap_or_default()).unwrap_or(i32::MAX);
            found.insert(topic.name().to_owned(), Found { partitions, replication, has_data, settings, own });
        }
        Ok(found)
    }

    /// Settings in force, and those of them that are the topic's own.
    #[expect(clippy::type_complexity, reason = "two maps of the same kind, read at once by one caller")]
    fn settings(
        &self,
        topic: &str,
    ) -> Result<(BTreeMap<String, String>, BTreeMap<String, String>), KafkaError> {
        let specifier = [ResourceSpecifier::Topic(topic)];
        let what = "how a topic is set";
        let resources = self.wait(what, self.client.describe_configs(&specifier, &self.options))?;
        let (mut settings, mut own) = (BTreeMap::new(), BTreeMap::new());
        for resource in resources {
            let resource = resource.map_err(|code| self.refused(what, code))?;
            for entry in resource.entries {
                let Some(value) = entry.value else { continue };
                if entry.source == ConfigSource::DynamicTopic {
                    own.insert(entry.name.clone(), value.clone());
                }
                settings.insert(entry.name, value);
            }
        }
        Ok((settings, own))
    }

    /// Whether the brokers verify that a partition was added to a transaction before they take its records (Kafka 3.6 and
    /// newer): the one that is asked stands for all. None where it does not say.
    pub fn verifies_transactions(&self) -> Result<Option<bool>, KafkaError> {
        const SETTING: &str = "transaction.partition.verification.enable";
        let what = "how a broker is set";
        let metadata = self
            .client
            .inner()
            .fetch_metadata(None, ANSWER)
            .map_err(|source| refused(&self.brokers, what, source))?;
        let Some(broker) = metadata.brokers().first() else { return Ok(None) };
        let specifier = [ResourceSpecifier::Broker(broker.id())];
        let resources = self.wait(what, self.client.describe_configs(&specifier, &self.options))?;
        // Without the right to describe the cluster there is no answer, and no finding.
        let Some(Ok(settings)) = resources.into_iter().next() else { return Ok(None) };
        let found = settings.entries.iter().find(|entry| entry.name == SETTING);
        Ok(Some(found.and_then(|entry| entry.value.as_deref()) == Some("true")))
    }

    /// Creates a topic.
    pub fn create(&self, wanted: &Wanted) -> Result<(), KafkaError> {
        let what = "to create a topic";
        let copies = TopicReplication::Fixed(wanted.replication);
        let mut topic = NewTopic::new(&wanted.name, wanted.partitions, copies);
        for (setting, value) in &wanted.settings {
            topic = topic.set(setting, value);
        }
        let results = self.wait(what, self.client.create_topics([&topic], &self.options))?;
        results
            .into_iter()
            .try_for_each(|result| result.map(drop).map_err(|(_, code)| self.refused(what, code)))
    }

    /// Waits until every wanted topic is known to the broker that answers: what the controller has made, the others
    /// hear of a moment later.
    pub fn await_all(&self, wanted: &[Wanted]) -> Result<(), KafkaError> {
        let what = "that all topics are known";
        let deadline = clock::monotonic() + ANSWER;
        loop {
            let metadata = self
                .client
                .inner()
                .fetch_metadata(None, ANSWER)
                .map_err(|source| refused(&self.brokers, what, source))?;
            let known = |name: &str| metadata.topics().iter().any(|topic| topic.name() == name);
            if wanted.iter().all(|wanted| known(&wanted.name)) {
                return Ok(());
            }
            if clock::monotonic() > deadline {
                return Err(unreachable(&self.brokers, what));
            }
            thread::pause(Duration::from_millis(100));
        }
    }

    /// Carries steps out on a topic that is there. Kafka's call replaces all settings of the topic's own, so those that
    /// were found are sent along.
    pub fn change(&self, wanted: &Wanted, found: &Found, steps: &[&Step]) -> Result<(), KafkaError> {
        let mut settings = found.own.clone();
        let mut changed = false;
        for step in steps {
            match step {
                Step::Set { setting, to, .. } => {
                    settings.insert((*setting).to_owned(), to.clone());
                    changed = true;
                }
                Step::AddPartitions { to, .. } => self.add_partitions(&wanted.name, *to)?,
                Step::Create { .. } | Step::Refuse { .. } => {}
            }
        }
        if !changed {
            return Ok(());
        }
        let what = "to change a topic's settings";
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(&wanted.name));
        for (setting, value) in &settings {
            alter = alter.set(setting, value);
        }
        let results = self.wait(what, self.client.alter_configs([&alter], &self.options))?;
        results
            .into_iter()
            .try_for_each(|result| result.map(drop).map_err(|(_, code)| self.refused(what, code)))
    }

    fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), KafkaError> {
        let what = "to add partitions";
        let partitions = NewPartitions::new(topic, usize::try_from(partitions).unwrap_or_default());
        let results = self.wait(what, self.client.create_partitions([&partitions], &self.options))?;
        results
            .into_iter()
            .try_for_each(|result| result.map(drop).map_err(|(_, code)| self.refused(what, code)))
    }

    fn wait<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, KafkaError> {
        self.runtime.block_on(answer).map_err(|source| refused(&self.brokers, what, source))
    }

    fn refused(&self, what: &'static str, code: RDKafkaErrorCode) -> KafkaError {
        refused(&self.brokers, what, ClientError::AdminOp(code))
    }
}
