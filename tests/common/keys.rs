//! The one key of the tests: every control record that a test writes is signed by it, every machine and worker that a
//! test makes trusts it.

#![allow(dead_code, reason = "each test that includes this module uses a part of it")]

use bellwether::config::{Config, PrivateKeySource};
use bellwether::wire::keyring::{Keyring, Signer, SigningKey, log_name, private_pem};
use std::sync::Arc;

const SEED: [u8; 32] = *b"the one key of Bellwether's test";

/// Signs for the log of machines that live in a test alone.
pub fn signer() -> Signer {
    Signer::new(SigningKey::from_seed(&SEED), "test/test.observations")
}

/// Signs for the same log, with a key that nobody trusts.
pub fn stranger() -> Signer {
    Signer::new(SigningKey::from_seed(&[0; 32]), "test/test.observations")
}

/// What those machines trust.
pub fn keyring() -> Arc<Keyring> {
    signer().keyring()
}

/// Signs for the log of a configuration.
pub fn signer_of(config: &Config) -> Signer {
    let topic = format!("{}.observations", config.kafka.topic_prefix);
    Signer::new(SigningKey::from_seed(&SEED), &log_name(&config.cluster, &topic))
}

/// Gives the key to a configuration that workers of this process are started with.
pub fn give(config: &mut Config) {
    config.control.key = Some(PrivateKeySource::Memory(SigningKey::from_seed(&SEED)));
}

/// The private key's file, for processes.
pub fn private() -> String {
    private_pem(&SEED)
}
