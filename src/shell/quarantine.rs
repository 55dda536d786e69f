//! Records that every reader of a log skips, because they make the engine panic (H24).
//!
//! A worker whose engine panicked writes a signed `Quarantine` twice: into the rules topic (compacted, key
//! `quarantine/<partition>/<offset>`), where every worker and `bellwether verify` read it *before* they replay, and then
//! into the partition's own log, where the machine tells of it as an alert. The bytes are the same, and so is the seal:
//! who may produce to the rules topic cannot make anybody skip a record.

use super::kafka::log::{Log, Write, write};
use super::kafka::{KafkaError, Topics};
use crate::config::Config;
use crate::wire::keyring::{Keyring, Signer};
use crate::wire::{Control, Inbound, Quarantine};
use std::collections::BTreeSet;

/// Panics at one record that make it quarantined.
pub const CRASHES: u32 = 2;

/// Offsets of a partition that are skipped.
pub fn read(config: &Config, partition: i32, keyring: &Keyring) -> Result<BTreeSet<i64>, KafkaError> {
    let mut offsets = BTreeSet::new();
    let log = Log::open(config, &Topics::new(&config.kafka.topic_prefix).rules)?;
    log.read_all(0..1, |record| {
        let Ok(Inbound::Control(sealed)) = Inbound::read(&record.value) else { return };
        match keyring.open(partition, sealed) {
            Ok(Control::Quarantine(quarantine)) => drop(offsets.insert(quarantine.offset)),
            // Of another partition, or nobody's that is trusted: the log of the partition that it names tells.
            Ok(Control::Tick(_) | Control::Rules(_)) | Err(_) => {}
        }
    })?;
    Ok(offsets)
}

/// Makes every reader skip a record from its next start on, and tells of it in the log.
pub fn put(
    config: &Config,
    signer: &Signer,
    partition: i32,
    quarantine: &Quarantine,
) -> Result<(), KafkaError> {
    let topics = Topics::new(&config.kafka.topic_prefix);
    let key = format!("quarantine/{partition}/{}", quarantine.offset);
    let value = signer.seal(partition, &Control::Quarantine(quarantine.clone()));
    // In this order: who reads of it in the log, and then starts, finds it.
    write(config, &[Write { topic: &topics.rules, partition: 0, key: Some(key.as_bytes()), value: &value }])?;
    write(config, &[Write { topic: &topics.observations, partition, key: None, value: &value }])
}
