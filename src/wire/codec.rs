//! Records of every topic to bytes and back. Written as Avro single-object encoding by the current schema; read from
//! any published one.

use super::keyring::{FORMAT, KeyId, SIGNATURE_BYTES, Sealed, message};
use super::record::TIME_MS_MAX;
use super::schema::{self, HEADER_BYTES, Kind};
use super::{
    AlertId, AlertRecord, Batch, Control, Fault, Inbound, Labels, Limits, Marker, Quarantine, Rejected,
    RuleSet, Tick, Transition, hex,
};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

impl<'a> Inbound<'a> {
    /// Reads one record of the observations topic. A batch by the current schema is borrowed and nothing is allocated;
    /// an older writer's is brought to the current schema first.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let framed = schema::open(bytes)?;
        match framed.kind() {
            Kind::Observations => match framed.current_body() {
                Some(body) => Batch::parse(body),
                None => Batch::parse_owned(framed.upgraded_body()?),
            }
            .map(Self::Observations),
            Kind::Control => {
                let record: ControlRecord = framed.decode()?;
                let command = record.command.checked()?;
                // Every version of the schema begins with the signature: it covers the writer's own bytes.
                let body = framed.body().get(SIGNATURE_BYTES..).unwrap_or_default();
                let ControlRecord { signature, key_id, format, log, partition, .. } = record;
                let fingerprint = framed.fingerprint();
                Ok(Self::Control(Sealed {
                    fingerprint,
                    signature,
                    body,
                    key_id,
                    format,
                    log,
                    partition,
                    command,
                }))
            }
            Kind::Transition | Kind::Marker | Kind::RuleSet | Kind::Rejected | Kind::Notification => {
                Err(framed.unexpected())
            }
        }
    }
}

/// `control.avsc`: the seal round the union.
#[derive(Deserialize)]
#[serde(rename = "Control")]
struct ControlRecord {
    #[serde(with = "hex")]
    signature: [u8; SIGNATURE_BYTES],
    key_id: KeyId,
    format: i32,
    log: String,
    partition: i32,
    command: Control,
}

#[derive(Serialize)]
#[serde(rename = "Control")]
struct ControlRef<'a> {
    #[serde(with = "hex")]
    signature: [u8; SIGNATURE_BYTES],
    key_id: KeyId,
    format: i32,
    log: &'a str,
    partition: i32,
    command: &'a Control,
}

impl Control {
    /// The record's bytes; `sign` makes the signature of a message. [`super::keyring::Signer::seal`] is for callers.
    pub(super) fn encode(
        &self,
        key_id: KeyId,
        log: &str,
        partition: i32,
        sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES],
    ) -> Vec<u8> {
        let signature = [0; SIGNATURE_BYTES];
        let record = ControlRef { signature, key_id, format: FORMAT, log, partition, command: self };
        let mut bytes = schema::encode(Kind::Control, &record);
        let fingerprint = schema::current_fingerprint(Kind::Control);
        let (head, body) = bytes.split_at_mut(HEADER_BYTES + SIGNATURE_BYTES);
        head[HEADER_BYTES..].copy_from_slice(&sign(&message(fingerprint, body)));
        bytes
    }

    fn checked(self) -> Result<Self, Fault> {
        match self {
            Self::Tick(Tick { wall_ms, .. }) => {
                within(
                    "command.wall_ms",
                    wall_ms,
                    0..=TIME_MS_MAX,
                    "0 to 253402300799999 ms since the epoch",
                )?;
                Ok(self)
            }
            Self::Rules(rules) => rules.checked().map(Self::Rules),
            Self::Quarantine(Quarantine { offset, .. }) => {
                within("command.offset", offset, 0..=i64::MAX, "0 or more")?;
                Ok(self)
            }
        }
    }
}

impl RuleSet {
    /// Reads one record of the rules topic.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let framed = schema::open(bytes)?;
        if framed.kind() != Kind::RuleSet {
            return Err(framed.unexpected());
        }
        framed.decode::<Self>()?.checked()
    }

    /// The record's bytes. Readers refuse more than [`super::record::RECORD_BYTES_MAX`] of them: who writes looks.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        schema::encode(Kind::RuleSet, self)
    }

    fn checked(self) -> Result<Self, Fault> {
        within("version", self.version, 1..=i64::MAX, "1 or more")?;
        let service_label = i64::try_from(self.service_label.len()).unwrap_or(i64::MAX);
        within("service_label", service_label, 1..=1024, "1 to 1024 bytes")?;
        let Limits { series, alerts, firing_per_service } = self.limits;
        for limit in [series, alerts, firing_per_service] {
            within("limits", limit, 1..=Limits::MAX, "1 to 1000000000")?;
        }
        within("partitions", self.partitions, 0..=Self::PARTITIONS_MAX, "0 to 1000000")?;
        Ok(self)
    }
}

impl AlertRecord {
    /// Reads one record of the alerts topic.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let framed = schema::open(bytes)?;
        match framed.kind() {
            Kind::Transition => {
                let transition: Transition = framed.decode()?;
                within("seq", transition.seq, 1..=i64::MAX, "1 or more")?;
                Ok(Self::Transition(Box::new(transition)))
            }
            Kind::Marker => {
                let marker: Marker = framed.decode()?;
                within("seq", marker.seq, 0..=i64::MAX, "0 or more")?;
                Ok(Self::Marker(marker))
            }
            Kind::Observations | Kind::Control | Kind::RuleSet | Kind::Rejected | Kind::Notification => {
                Err(framed.unexpected())
            }
        }
    }

    /// The record's bytes: equal records are equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Transition(transition) => transition.encode(),
            Self::Marker(marker) => schema::encode(Kind::Marker, marker),
        }
    }
}

impl Transition {
    /// The record's bytes: equal transitions are equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        schema::encode(Kind::Transition, self)
    }

    /// The running hash after this transition: BLAKE3 over the hash before it and the bytes of [`Self::encode`].
    /// Before the first transition it is 32 zero bytes.
    #[must_use]
    pub fn chain(&self, previous: &[u8; 32]) -> [u8; 32] {
        *blake3::Hasher::new().update(previous).update(&self.encode()).finalize().as_bytes()
    }
}

impl Rejected {
    /// Reads one record of the rejected topic.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let framed = schema::open(bytes)?;
        if framed.kind() != Kind::Rejected {
            return Err(framed.unexpected());
        }
        framed.decode()
    }

    /// The record's bytes. Who makes the record cuts its value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        schema::encode(Kind::Rejected, self)
    }
}

impl AlertId {
    /// The identity of the alert that `rule` has for `labels`: the first 16 bytes of BLAKE3 over the rule's name and
    /// each label's name and value in order, every text behind its length in 8 bytes, little end first.
    #[must_use]
    pub fn of(rule: &str, labels: &Labels) -> Self {
        let mut hasher = blake3::Hasher::new();
        let texts = labels.iter().flat_map(|(name, value)| [name, value]);
        for text in [rule].into_iter().chain(texts) {
            hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(id)
    }
}

fn within(
    field: &'static str,
    value: i64,
    range: std::ops::RangeInclusive<i64>,
    bound: &'static str,
) -> Result<(), Fault> {
    if range.contains(&value) { Ok(()) } else { Err(Fault::OutOfBounds { field, value, bound }) }
}
