//! A record that makes the engine panic: noted outside of the process, and after the second time in quarantine, so that
//! this worker, its peer and every restore skip it alike (H24). One record then costs two short rebuilds, and not the
//! pair.

use super::Shared;
use crate::machine::ENGINE_VERSION;
use crate::shell::quarantine::{self, CRASHES};
use crate::wire::Quarantine;

/// The machine panicked while it had this record.
pub(super) fn noted(shared: &Shared, partition: i32, offset: i64) {
    let count = shared.crashes.note(partition, offset);
    if count < CRASHES {
        tracing::error!(
            partition,
            offset,
            count,
            "partition {partition}: the record at offset {offset} made the engine panic; the next time it is put into quarantine"
        );
        return;
    }
    let reason = format!("engine {ENGINE_VERSION} panicked at it {count} times");
    let record = Quarantine { offset, engine_version: ENGINE_VERSION, reason };
    match quarantine::put(&shared.config, &shared.signer, partition, &record) {
        Ok(()) => tracing::error!(
            partition,
            offset,
            count,
            "partition {partition}: the record at offset {offset} is in quarantine: every worker skips it. Please report it"
        ),
        Err(fault) => tracing::error!(
            partition,
            offset,
            code = fault.code(),
            "partition {partition}: the record at offset {offset} could not be put into quarantine, which is tried again \
             when it makes the engine panic again: {fault}"
        ),
    }
}

#[cfg(test)]
mod tests;
