//! Who may speak to the machine in its own log: Ed25519 keys, and the seal on every control record (H22).
//!
//! Kafka's ACLs cannot tell one record of a topic from another, so whoever may produce samples may also produce what
//! looks like a tick or a rule change. A control record is therefore signed, and the machine does nothing for one whose
//! signature does not hold but count it.
//!
//! ```text
//!  record     = framing (C3 01, fingerprint of the schema) · signature, 64 bytes · the rest of the body
//!  signed     = CONTEXT · fingerprint · the rest of the body: key id, format, log, partition, command
//!  accepted   = a trusted key of that id, this log, this partition, and the signature holds (checked in that order)
//! ```
//!
//! The log's name (cluster and topic) and the partition are under the signature: a record that was caught elsewhere is
//! worth nothing here. One that is written again where it belongs changes nothing either: a rule set is ignored unless
//! its version is above the current one, and an old tick's wall clock lies in the past, to which the clock never goes
//! back and which settles no step forward.
//!
//! Verification is deterministic (RFC 8032, no randomness on either side), so every reader of a log with the same
//! keyring decides alike. A keyring is an option of the machine and its hash part of the machine's digest: two workers
//! with other keyrings are seen as different.
//!
//! To rotate: trust the new key everywhere, then sign with it, then stop trusting the old one and apply the rules again,
//! so that they stand in the log under the new key.

use super::fault::Fault;
use super::{Control, hex, pem};
use crate::sim::planted::{Bug, planted};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// What every signed message begins with, so that no signature of another kind of record can be passed off as this.
pub(super) const CONTEXT: &[u8; 26] = b"bellwether control record\n";
/// Version of the signed form.
pub(super) const FORMAT: i32 = 1;
/// Bytes of a signature, the first field of the record.
pub(super) const SIGNATURE_BYTES: usize = 64;

/// What a public key in one line begins with; 64 hexadecimal digits follow.
const INLINE: &str = "ed25519:";
/// DER in front of the 32 bytes of a public key (SubjectPublicKeyInfo, RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER in front of the 32 bytes of a private key (PKCS#8 version 1, as OpenSSL writes it).
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The name of a key: the first 8 bytes of BLAKE3 over the public key. 16 hexadecimal digits in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(#[serde(with = "hex")] pub [u8; 8]);

/// As 16 hexadecimal digits.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The public half of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&blake3::hash(&self.0).as_bytes()[..8]);
        KeyId(id)
    }

    /// Reads `ed25519:` and 64 hexadecimal digits; none if it is something else.
    #[must_use]
    pub fn from_inline(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix(INLINE)?;
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Reads a PEM file (`PUBLIC KEY`, as OpenSSL and `bellwether keys generate` write it), or a file of the one line
    /// that [`Self::from_inline`] reads; none if it is something else.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let Some(der) = pem::decode("PUBLIC KEY", text) else { return Self::from_inline(text) };
        let key = der.strip_prefix(&SPKI)?;
        key.try_into().ok().map(Self)
    }

    /// As PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &[&SPKI[..], &self.0].concat())
    }
}

/// In one line, as [`PublicKey::from_inline`] reads it.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(INLINE)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The private half. Clones share it; it is never printed.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Ed25519KeyPair>,
    public: PublicKey,
}

impl SigningKey {
    /// The key of a seed of 32 bytes. Whoever knows the seed can sign: in production it comes from the system's random
    /// source and nowhere else.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        // ring refuses a seed for its length alone.
        match Ed25519KeyPair::from_seed_unchecked(seed) {
            Ok(pair) => Self::new(pair),
            Err(fault) => unreachable!("a seed of 32 bytes: {fault}"),
        }
    }

    /// Reads a PEM file (`PRIVATE KEY`): PKCS#8 of version 1, as OpenSSL and `bellwether keys generate` write it, or of
    /// version 2, which holds the public key, too. None if it is no Ed25519 key, or its halves do not fit.
    #[must_use]
    pub fn from_pem(text: &str) -> Option<Self> {
        let der = pem::decode("PRIVATE KEY", text)?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok().map(Self::new)
    }

    fn new(pair: Ed25519KeyPair) -> Self {
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Self { pair: Arc::new(pair), public: PublicKey(public) }
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }
}

/// The file of the private key that a seed makes, as PEM.
#[must_use]
pub fn private_pem(seed: &[u8; 32]) -> String {
    pem::encode("PRIVATE KEY", &[&PKCS8[..], seed].concat())
}

/// The name of its public half, and nothing else.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.id())
    }
}

/// Signs the control records of one log.
#[derive(Debug, Clone)]
pub struct Signer {
    key: SigningKey,
    log: Arc<str>,
}

impl Signer {
    /// `log` as [`log_name`] makes it.
    #[must_use]
    pub fn new(key: SigningKey, log: &str) -> Self {
        Self { key, log: log.into() }
    }

    /// Id of the key that signs.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key.public().id()
    }

    /// The bytes of a control record for one partition.
    #[must_use]
    pub fn seal(&self, partition: i32, control: &Control) -> Vec<u8> {
        control.encode(self.key.public.id(), &self.log, partition, |message| {
            let mut signature = [0; SIGNATURE_BYTES];
            signature.copy_from_slice(self.key.pair.sign(message).as_ref());
            signature
        })
    }

    /// A keyring that trusts this signer and nobody else.
    #[must_use]
    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::new(Keyring::new(&self.log, [self.key.public]))
    }
}

/// Name of a log, as its control records carry it.
#[must_use]
pub fn log_name(cluster: &str, topic: &str) -> String {
    format!("{cluster}/{topic}")
}

/// A control record as it was read: anybody may have written it. [`Keyring::open`] tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Sealed<'a> {
    pub(super) fingerprint: u64,
    pub(super) signature: [u8; SIGNATURE_BYTES],
    /// The record's bytes behind the signature.
    pub(super) body: &'a [u8],
    pub(super) key_id: KeyId,
    pub(super) format: i32,
    pub(super) log: String,
    pub(super) partition: i32,
    pub(super) command: Control,
}

/// What is signed: the context, the schema, and the body behind the signature.
pub(super) fn message(fingerprint: u64, body: &[u8]) -> Vec<u8> {
    [CONTEXT, &fingerprint.to_le_bytes()[..], body].concat()
}

/// Why a control record was not accepted. The code is the `reason` of the counter and of a record in the rejected topic.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unauthentic {
    /// The signature is all zeros.
    #[error("it is not signed")]
    Unsigned,
    /// A version of the signed form that this version does not know.
    #[error("its signed form is of version {format}, known is {FORMAT}")]
    UnknownFormat {
        /// Version seen.
        format: i32,
    },
    /// No trusted key has this id.
    #[error("key {id} is not trusted: `control.trusted` lists the keys that are")]
    UnknownKey {
        /// Id seen.
        id: KeyId,
    },
    /// It was signed for another log.
    #[error("it was signed for the log {log:?}")]
    OtherLog {
        /// Name seen, cut.
        log: String,
    },
    /// It was signed for another partition.
    #[error("it was signed for partition {partition}")]
    OtherPartition {
        /// Partition seen.
        partition: i32,
    },
    /// The signature does not hold.
    #[error("its signature does not hold")]
    BadSignature,
}

impl Unauthentic {
    /// Every code.
    pub const CODES: [&'static str; 6] = [
        "unsigned",
        "unknown_signature_format",
        "unknown_key",
        "other_log",
        "other_partition",
        "bad_signature",
    ];

    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::UnknownFormat { .. } => "unknown_signature_format",
            Self::UnknownKey { .. } => "unknown_key",
            Self::OtherLog { .. } => "other_log",
            Self::OtherPartition { .. } => "other_partition",
            Self::BadSignature => "bad_signature",
        }
    }
}

impl From<Unauthentic> for Fault {
    fn from(why: Unauthentic) -> Self {
        Self::Unauthentic(why)
    }
}

/// The keys whose control records are accepted in one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    log: String,
    keys: BTreeMap<KeyId, PublicKey>,
}

impl Keyring {
    /// `log` as [`log_name`] makes it. Of no keys: nothing is accepted.
    #[must_use]
    pub fn new(log: &str, keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self { log: log.to_owned(), keys: keys.into_iter().map(|key| (key.id(), key)).collect() }
    }

    /// The keys, in order of their ids.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = PublicKey> {
        self.keys.values().copied()
    }

    /// BLAKE3 over the log's name and the keys: what two machines must have in common to agree.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.log.len() as u64).to_le_bytes());
        hasher.update(self.log.as_bytes());
        self.keys.values().for_each(|key| _ = hasher.update(&key.0));
        hasher.finalize().into()
    }

    /// The command, if a trusted key signed it for this partition of this log. About 0.1 ms: cheap questions first.
    pub fn open(&self, partition: i32, sealed: Sealed<'_>) -> Result<Control, Unauthentic> {
        if planted(Bug::UnsignedAccepted) {
            return Ok(sealed.command);
        }
        let Sealed { format, key_id: id, .. } = sealed;
        if sealed.signature == [0; SIGNATURE_BYTES] {
            return Err(Unauthentic::Unsigned);
        }
        if format != FORMAT {
            return Err(Unauthentic::UnknownFormat { format });
        }
        let key = self.keys.get(&id).ok_or(Unauthentic::UnknownKey { id })?;
        if sealed.log != self.log {
            return Err(Unauthentic::OtherLog { log: sealed.log.chars().take(100).collect() });
        }
        if sealed.partition != partition {
            return Err(Unauthentic::OtherPartition { partition: sealed.partition });
        }
        UnparsedPublicKey::new(&ED25519, &key.0)
            .verify(&message(sealed.fingerprint, sealed.body), &sealed.signature)
            .map_err(|_| Unauthentic::BadSignature)?;
        Ok(sealed.command)
    }
}

#[cfg(test)]
mod tests;
