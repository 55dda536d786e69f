//! Where the demo plays: librdkafka's own in-process mock of a cluster, or a real one, with topics of its own.

use crate::config::{
    Check, Config, Control as ControlKeys, Endpoint, PrivateKeySource, Receiver, Secret, Target,
};
use crate::error::Error;
use crate::shell::kafka::log::{self, Write};
use crate::shell::kafka::{KafkaError, Topics, admin::Admin, topics};
use crate::shell::{clock, keys};
use crate::wire::{Control, RuleFile, RuleSet};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use std::collections::BTreeMap;
use std::time::Duration;

/// Partitions of the demo's topics.
pub const PARTITIONS: i32 = 2;
/// Name of the file that the rules say they come from.
const RULE_FILE: &str = "demo.yaml";

/// A Kafka with the demo's topics on it.
pub struct Stage {
    /// Points at it.
    pub config: Config,
    /// Kept for as long as the demo plays.
    mock: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl Stage {
    /// Sets it: on `brokers`, or in this process where there are none.
    pub fn set(base: &Config, brokers: Option<&str>) -> Result<Self, Error> {
        let mut config = base.clone();
        // A key of the demo's own, which ends with it.
        let key = Some(PrivateKeySource::Memory(keys::generate()?));
        config.control = ControlKeys { key, trusted: Vec::new() };
        config.cluster = format!("demo-{}", clock::wall_ms());
        config.kafka.topic_prefix.clone_from(&config.cluster);
        config.kafka.partitions = PARTITIONS;
        let mut stage = Self { config, mock: None };
        match brokers {
            Some(brokers) => {
                stage.config.kafka.brokers = brokers.to_owned();
                let admin = Admin::connect(&stage.config)?;
                topics::wanted(&stage.config).iter().try_for_each(|wanted| admin.create(wanted))?;
            }
            None => stage.mock()?,
        }
        Ok(stage)
    }

    fn mock(&mut self) -> Result<(), KafkaError> {
        let failed = |source| KafkaError::Client { doing: "starting the in-process Kafka", source };
        let mock = MockCluster::new(3).map_err(failed)?;
        let Topics { observations, alerts, rules, rejected, notifications } = self.topics();
        for topic in [observations, alerts, rejected, notifications] {
            mock.create_topic(&topic, PARTITIONS, 3).map_err(failed)?;
        }
        mock.create_topic(&rules, 1, 3).map_err(failed)?;
        self.config.kafka.brokers = mock.bootstrap_servers();
        // An empty fetch of the mock waits out its whole time.
        self.config.kafka.properties.insert("fetch.wait.max.ms".to_owned(), "10".to_owned());
        self.mock = Some(mock);
        Ok(())
    }

    /// Whether producers' stamps move the clock: the mock knows no LogAppendTime.
    #[must_use]
    pub fn producer_time(&self) -> bool {
        self.mock.is_some()
    }

    /// Names of its topics.
    #[must_use]
    pub fn topics(&self) -> Topics {
        Topics::new(&self.config.kafka.topic_prefix)
    }

    /// Puts a rule file into force on every partition.
    pub fn apply(&self, content: &str) -> Result<(), Error> {
        let set = RuleSet {
            version: 1,
            applied_ms: clock::wall_ms(),
            author: "demo".to_owned(),
            service_label: "service".to_owned(),
            limits: crate::wire::Limits::default(),
            partitions: 0,
            files: vec![RuleFile { name: RULE_FILE.to_owned(), content: content.to_owned() }],
        };
        let (control, signer) = (Control::Rules(set), keys::signer(&self.config)?);
        let topic = self.topics().observations;
        let values = (0..PARTITIONS).map(|partition| (partition, signer.seal(partition, &control)));
        let values: Vec<(i32, Vec<u8>)> = values.collect();
        let records: Vec<Write<'_>> = values
            .iter()
            .map(|(partition, value)| Write { topic: &topic, partition: *partition, key: None, value })
            .collect();
        Ok(log::write(&self.config, &records)?)
    }

    /// Has `service` checked twice a second and its notifications sent to `person`.
    pub fn wire_up(&mut self, service: &str, person: &str) {
        self.config.monitor.checks = vec![Check {
            name: "http".to_owned(),
            service: "shop".to_owned(),
            host: "127.0.0.1".to_owned(),
            target: Target::Http(service.to_owned()),
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(400),
            labels: BTreeMap::new(),
        }];
        let notify = &mut self.config.notify;
        (notify.group_wait, notify.group_interval) = (Duration::ZERO, Duration::from_secs(1));
        notify.receivers = vec![Receiver {
            name: "person".to_owned(),
            endpoint: Endpoint::Webhook(Secret::new(person)),
            authorization: None,
            timeout: Duration::from_secs(5),
        }];
    }

    /// The configuration of the worker of one zone.
    #[must_use]
    pub fn worker(&self, zone: &str) -> Config {
        let mut config = self.config.clone();
        config.zone = zone.to_owned();
        config.worker = format!("worker-{}", zone.trim_start_matches("zone-"));
        config
    }
}
