//! The door to the keys of control records: reads what `control` of the configuration names, and makes new ones.
//!
//! A private key is a file and never a value: the configuration, the environment and the command line are shown to too
//! many. One that others than its owner may read is refused.

use super::files;
use super::kafka::Topics;
use crate::config::{Config, PrivateKeySource, PublicKeySource};
use crate::wire::keyring::{self, Keyring, PublicKey, Signer, SigningKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Name of the file of a private key that [`generate_into`] makes.
const PRIVATE: &str = "control.key";
/// Name of the file of its public half.
const PUBLIC: &str = "control.pub";

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A process that writes control records has none to sign them with.
    #[error(
        "control.key names no private key, and control records (ticks, rules) are signed. Make one with `bellwether \
         keys generate --out DIR` and set control.key to DIR/{PRIVATE}, the same for every worker and `rules apply`"
    )]
    NoKey,
    /// A process that reads control records trusts nobody.
    #[error(
        "neither control.key nor control.trusted names a key, so no tick and no rule set of the log could be believed. \
         Set control.trusted to the public keys that the workers sign with: `bellwether keys show` prints them"
    )]
    NobodyTrusted,
    /// The file cannot be read.
    #[error("{path}: {source}. It is a file of control.key or control.trusted")]
    Unreadable {
        /// Path as given.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Others than the owner may read the private key.
    #[error("{path} has the mode {mode:04o}: a private key is its owner's alone. Run: chmod 600 {path}")]
    Exposed {
        /// Path as given.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is no private key.
    #[error(
        "{path} holds no Ed25519 private key (PEM, PKCS#8). `bellwether keys generate --out DIR` makes one, and so does \
         `openssl genpkey -algorithm ed25519`"
    )]
    NotPrivate {
        /// Path as given.
        path: String,
    },
    /// The file is no public key.
    #[error(
        "{path} holds no Ed25519 public key: expected PEM (PUBLIC KEY) or one line ed25519:…, as `bellwether keys show` \
         prints it"
    )]
    NotPublic {
        /// Path as given.
        path: String,
    },
    /// A new key would take another's place.
    #[error("{path} exists, and a key is never overwritten. Give --out another folder")]
    Exists {
        /// Path.
        path: String,
    },
    /// The file cannot be written.
    #[error("{path}: {source}")]
    Unwritable {
        /// Path.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes to make a key of")]
    NoRandomness,
}

impl KeyError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoKey => "no_control_key",
            Self::NobodyTrusted => "no_trusted_key",
            Self::Unreadable { .. } => "key_unreadable",
            Self::Exposed { .. } => "key_exposed",
            Self::NotPrivate { .. } => "no_private_key",
            Self::NotPublic { .. } => "no_public_key",
            Self::Exists { .. } => "key_exists",
            Self::Unwritable { .. } => "key_unwritable",
            Self::NoRandomness => "no_randomness",
        }
    }

    /// A file does not mend itself.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// What signs this process's control records. An error where the configuration names no key.
pub fn signer(config: &Config) -> Result<Signer, KeyError> {
    let key = signing_key(config)?.ok_or(KeyError::NoKey)?;
    Ok(Signer::new(key, &log_name(config)))
}

/// Whose control records count in this installation's log: `control.trusted`, and the public half of `control.key`. An
/// error where there is neither.
pub fn keyring(config: &Config) -> Result<Arc<Keyring>, KeyError> {
    let mut trusted: Vec<PublicKey> = signing_key(config)?.iter().map(SigningKey::public).collect();
    for source in &config.control.trusted {
        trusted.push(match source {
            PublicKeySource::File(path) => read_public(path)?,
            PublicKeySource::Inline(key) => *key,
        });
    }
    if trusted.is_empty() {
        return Err(KeyError::NobodyTrusted);
    }
    Ok(Arc::new(Keyring::new(&log_name(config), trusted)))
}

/// A new key, in memory only.
pub fn generate() -> Result<SigningKey, KeyError> {
    seed().map(|seed| SigningKey::from_seed(&seed))
}

/// A new key as two files in a folder, which is made if need be: their paths, private and public, and the public half.
pub fn generate_into(folder: &Path) -> Result<(PathBuf, PathBuf, PublicKey), KeyError> {
    let seed = seed()?;
    let public = SigningKey::from_seed(&seed).public();
    let paths = (folder.join(PRIVATE), folder.join(PUBLIC));
    for path in [&paths.0, &paths.1] {
        if path.exists() {
            return Err(KeyError::Exists { path: path.display().to_string() });
        }
    }
    write(&paths.0, &keyring::private_pem(&seed), 0o600)?;
    write(&paths.1, &public.to_pem(), 0o644)?;
    Ok((paths.0, paths.1, public))
}

/// The public key of a file, which may hold either half.
pub fn public_of(path: &Path) -> Result<PublicKey, KeyError> {
    let text = read(path)?;
    if text.contains("PRIVATE KEY") { read_private(path).map(|key| key.public()) } else { read_public(path) }
}

/// The log that the keys speak in.
fn log_name(config: &Config) -> String {
    keyring::log_name(&config.cluster, &Topics::new(&config.kafka.topic_prefix).observations)
}

fn signing_key(config: &Config) -> Result<Option<SigningKey>, KeyError> {
    match &config.control.key {
        None => Ok(None),
        Some(PrivateKeySource::Memory(key)) => Ok(Some(key.clone())),
        Some(PrivateKeySource::File(path)) => read_private(path).map(Some),
    }
}

fn read_private(path: &Path) -> Result<SigningKey, KeyError> {
    let shown = || path.display().to_string();
    let mode = files::mode(path).map_err(|source| KeyError::Unreadable { path: shown(), source })?;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: shown(), mode });
    }
    SigningKey::from_pem(&read(path)?).ok_or_else(|| KeyError::NotPrivate { path: shown() })
}

fn read_public(path: &Path) -> Result<PublicKey, KeyError> {
    PublicKey::from_text(&read(path)?).ok_or_else(|| KeyError::NotPublic { path: path.display().to_string() })
}

fn read(path: &Path) -> Result<String, KeyError> {
    files::read(path).map_err(|source| KeyError::Unreadable { path: path.display().to_string(), source })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
    files::write_new(path, text, mode).map_err(|source| {
        let path = path.display().to_string();
        let exists = source.kind() == std::io::ErrorKind::AlreadyExists;
        if exists { KeyError::Exists { path } } else { KeyError::Unwritable { path, source } }
    })
}

fn seed() -> Result<[u8; 32], KeyError> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::NoRandomness)?;
    Ok(seed)
}
