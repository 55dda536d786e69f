//! Framing, and every version of every schema that was ever published.
//!
//! A record begins with `C3 01` and the CRC-64-AVRO fingerprint of its writer's schema, little end first (Avro's
//! single-object encoding), or with `00` and four bytes of a schema registry's id (Confluent framing). Bellwether
//! asks no registry: such a record is read as the current observations schema, and the walker, which checks it whole,
//! is what tells when it is none.
//!
//! To change a schema: copy the old file to `schemas/published/<name>.<fingerprint>.avsc`, point its line of
//! [`PUBLISHED`] there, and put a line for the new one before it. A test holds the fingerprints against the files.

use super::Fault;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, from_value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::OnceLock;

#[cfg(test)]
mod tests;

/// The two bytes that begin Avro's single-object encoding.
const SINGLE_OBJECT: [u8; 2] = [0xC3, 0x01];
/// The byte that begins Confluent's framing.
const CONFLUENT: u8 = 0x00;
/// Marker and fingerprint.
pub(super) const HEADER_BYTES: usize = 10;
/// What apache-avro may take for one string or one array. A process sets it once; ours is the first call.
const ALLOCATION_BYTES_MAX: usize = 16 << 20;

/// Which schema a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Observations,
    Control,
    Transition,
    Marker,
    RuleSet,
    Rejected,
    Notification,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Observations => "observations",
            Self::Control => "control",
            Self::Transition => "transition",
            Self::Marker => "marker",
            Self::RuleSet => "rule_set",
            Self::Rejected => "rejected",
            Self::Notification => "notification",
        }
    }
}

/// One published version of a schema.
#[derive(Debug)]
struct Published {
    kind: Kind,
    fingerprint: u64,
    json: &'static str,
}

/// Every version that was ever published; of each kind the current one first.
const PUBLISHED: &[Published] = &[
    Published {
        kind: Kind::Observations,
        fingerprint: 0x7c5c_aa56_34be_9cea,
        json: include_str!("../../schemas/observations.avsc"),
    },
    Published {
        kind: Kind::Control,
        fingerprint: 0x9833_d028_cb39_63bf,
        json: include_str!("../../schemas/control.avsc"),
    },
    Published {
        kind: Kind::Transition,
        fingerprint: 0x2e0d_23a5_743b_3d11,
        json: include_str!("../../schemas/transition.avsc"),
    },
    Published {
        kind: Kind::Marker,
        fingerprint: 0xff0c_4acb_39e9_923e,
        json: include_str!("../../schemas/marker.avsc"),
    },
    Published {
        kind: Kind::RuleSet,
        fingerprint: 0xa3fb_fdc8_4c00_d416,
        json: include_str!("../../schemas/rule_set.avsc"),
    },
    Published {
        kind: Kind::Rejected,
        fingerprint: 0x470f_22e3_a429_1c20,
        json: include_str!("../../schemas/rejected.avsc"),
    },
    Published {
        kind: Kind::Notification,
        fingerprint: 0x4c67_df4b_17f9_4610,
        json: include_str!("../../schemas/notification.avsc"),
    },
];

/// A body whose framing was read, and the version that wrote it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framed<'a> {
    version: usize,
    body: &'a [u8],
}

/// Reads the framing.
pub(super) fn open(bytes: &[u8]) -> Result<Framed<'_>, Fault> {
    use super::record::RECORD_BYTES_MAX;
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(Fault::Oversize { bytes: bytes.len(), max: RECORD_BYTES_MAX });
    }
    let truncated = Fault::Truncated { at: bytes.len() };
    match bytes {
        [CONFLUENT, _, _, _, _, body @ ..] => Ok(Framed { version: current(Kind::Observations), body }),
        [CONFLUENT, ..] | [] | [0xC3] => Err(truncated),
        [0xC3, 0x01, rest @ ..] => {
            let (fingerprint, body) = rest.split_first_chunk::<8>().ok_or(truncated)?;
            let fingerprint = u64::from_le_bytes(*fingerprint);
            let version = PUBLISHED.iter().position(|published| published.fingerprint == fingerprint);
            Ok(Framed { version: version.ok_or(Fault::UnknownSchema { fingerprint })?, body })
        }
        [first, ..] => Err(Fault::UnknownFraming { first: *first }),
    }
}

impl<'a> Framed<'a> {
    pub(super) fn kind(&self) -> Kind {
        PUBLISHED[self.version].kind
    }

    /// The body as its writer wrote it.
    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The fingerprint of the writer's schema.
    pub(super) fn fingerprint(&self) -> u64 {
        PUBLISHED[self.version].fingerprint
    }

    /// The body, where the writer's schema is the current one of its kind.
    pub(super) fn current_body(&self) -> Option<&'a [u8]> {
        (self.version == current(self.kind())).then_some(self.body)
    }

    /// Decodes a record of this kind, by schema resolution where its writer was older.
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let (writer, reader) = (codec(self.version), codec(current(self.kind())));
        resolve(writer, reader, self.body, self.kind().name())
    }

    /// The record brought to the current schema, as a body.
    pub(super) fn upgraded_body(&self) -> Result<Vec<u8>, Fault> {
        let (writer, reader) = (codec(self.version), codec(current(self.kind())));
        upgrade(writer, reader, self.body, self.kind().name())
    }

    /// The fault of a record that stands where its schema does not belong.
    pub(super) fn unexpected(&self) -> Fault {
        Fault::UnexpectedSchema { schema: self.kind().name() }
    }
}

/// Writes the framing of the current version.
pub(super) fn put_header(out: &mut Vec<u8>, kind: Kind) {
    out.extend_from_slice(&SINGLE_OBJECT);
    out.extend_from_slice(&current_fingerprint(kind).to_le_bytes());
}

/// Fingerprint of the current version.
pub(super) fn current_fingerprint(kind: Kind) -> u64 {
    PUBLISHED[current(kind)].fingerprint
}

/// Encodes by the current schema. Same value, same bytes: fields in the schema's order, one block an array or a map,
/// maps in order of their names because [`super::Labels`] are.
pub(super) fn encode<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    put_header(&mut out, kind);
    let written = codec(current(kind)).writer.write_ser(&mut out, value);
    // The types mirror the schemas, which a test holds for each of them: no value of theirs fails.
    assert!(written.is_ok(), "type and schema {} differ: {written:?}", kind.name());
    out
}

/// Index in [`PUBLISHED`] of the newest version.
fn current(kind: Kind) -> usize {
    PUBLISHED.iter().position(|published| published.kind == kind).unwrap_or_default()
}

/// One version, ready to read and to write.
struct Codec {
    schema: &'static Schema,
    reader: GenericDatumReader<'static>,
    writer: GenericDatumWriter<'static>,
}

fn codec(version: usize) -> &'static Codec {
    static SCHEMAS: OnceLock<Vec<Schema>> = OnceLock::new();
    static CODECS: OnceLock<Vec<Codec>> = OnceLock::new();
    let codecs = CODECS.get_or_init(|| {
        SCHEMAS
            .get_or_init(|| PUBLISHED.iter().map(|published| parse(published.json)).collect())
            .iter()
            .map(Codec::new)
            .collect()
    });
    &codecs[version]
}

/// A schema of this file's own: that it parses is what the tests are for.
fn parse(json: &str) -> Schema {
    apache_avro::util::max_allocation_bytes(ALLOCATION_BYTES_MAX);
    Schema::parse_str(json).unwrap_or_else(|fault| unreachable!("embedded schema: {fault}"))
}

impl Codec {
    fn new(schema: &'static Schema) -> Self {
        let reader = GenericDatumReader::builder(schema).human_readable(false).build();
        let writer = GenericDatumWriter::builder(schema).human_readable(false).build();
        match (reader, writer) {
            (Ok(reader), Ok(writer)) => Self { schema, reader, writer },
            (Err(fault), _) | (_, Err(fault)) => unreachable!("embedded schema: {fault}"),
        }
    }
}

/// CRC-64-AVRO of the schema's parsing canonical form.
#[cfg(test)]
fn fingerprint(schema: &Schema) -> u64 {
    schema
        .fingerprint::<apache_avro::rabin::Rabin>()
        .bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

fn resolve<T: DeserializeOwned>(
    writer: &Codec,
    reader: &Codec,
    mut body: &[u8],
    schema: &'static str,
) -> Result<T, Fault> {
    if std::ptr::eq(writer, reader) {
        let value = writer.reader.read_deser(&mut body).map_err(|_| Fault::Mismatch { schema })?;
        return whole(value, body);
    }
    let value = resolved(writer, reader, body, schema)?;
    from_value(&value).map_err(|_| Fault::Mismatch { schema })
}

fn upgrade(writer: &Codec, reader: &Codec, body: &[u8], schema: &'static str) -> Result<Vec<u8>, Fault> {
    let value = resolved(writer, reader, body, schema)?;
    reader.writer.write_value_to_vec(value).map_err(|_| Fault::Mismatch { schema })
}

/// Reads by the writer's schema and resolves to the reader's.
fn resolved(writer: &Codec, reader: &Codec, mut body: &[u8], schema: &'static str) -> Result<Value, Fault> {
    let value = writer.reader.read_value(&mut body).map_err(|_| Fault::Mismatch { schema })?;
    let value = whole(value, body)?;
    // apache-avro reads a string that the bytes end in as null; only this look tells.
    if !value.validate(writer.schema) {
        return Err(Fault::Mismatch { schema });
    }
    value.resolve(reader.schema).map_err(|_| Fault::Mismatch { schema })
}

fn whole<T>(value: T, rest: &[u8]) -> Result<T, Fault> {
    if rest.is_empty() { Ok(value) } else { Err(Fault::TrailingBytes { bytes: rest.len() }) }
}
