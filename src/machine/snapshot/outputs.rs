//! What each check said last.

use super::fault::SnapshotFault;
use super::reader::Reader;
use super::writer::Writer;
use crate::machine::output::{Output, Outputs, TEXT_BYTES_MAX};

/// The least bytes of one: two texts and a time.
pub(super) const OUTPUT_BYTES_MIN: u64 = 3;

pub(super) fn write(output: &Output, to: &mut Writer<'_>) {
    to.text(&output.key);
    to.text(&output.text);
    to.signed(output.time_ms);
}

pub(super) fn read(from: &mut Reader<'_>, outputs: &mut Outputs) -> Result<(), SnapshotFault> {
    let key = from.text("a check's key")?;
    if outputs.last().is_some_and(|last| *last.key >= *key) {
        return Err(from.disorder("outputs of checks"));
    }
    let text = from.text("a check's output")?;
    if text.len() > TEXT_BYTES_MAX {
        let (count, max) = (text.len() as u64, TEXT_BYTES_MAX as u64);
        return Err(SnapshotFault::TooMany {
            what: "bytes of a check's output",
            count,
            max,
            place: from.place(),
        });
    }
    let time_ms = from.signed("when a check was made")?;
    outputs.push(Output { key: key.into(), text: text.to_owned(), time_ms });
    Ok(())
}
