//! What stands in front: whose state it is, of which point of the log, and what is counted.

use super::fault::SnapshotFault;
use super::reader::Reader;
use super::writer::Writer;
use super::{FORMAT_VERSION, Image, MAGIC, notices};
use crate::machine::clock::Clock;
use crate::machine::intake::Counters;
use crate::machine::journal::Journal;
use crate::machine::series::SampleFault;
use crate::machine::{ENGINE_VERSION, Machine};
use crate::wire::keyring::Unauthentic;
use std::collections::BTreeMap;

/// What a manifest says of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Layout of the bytes.
    pub format_version: u16,
    /// Version of the engine's semantics that the state was made by.
    pub engine_version: i32,
    /// Partition of the observations topic.
    pub partition: i32,
    /// Offset of the first record that is not in it.
    pub next_offset: i64,
    /// `seq` of the last transition that was derived; 0 before the first.
    pub seq: i64,
    /// Chain over all transitions up to `seq`; zeros before the first.
    pub running_hash: [u8; 32],
    /// The partition's clock, milliseconds since the epoch; none before the first stamp.
    pub clock_ms: Option<i64>,
    /// Version of the rule set in force; 0 before the first.
    pub rule_set_version: i64,
}

pub(super) fn write(image: &Image<'_>, to: &mut Writer<'_>) {
    let head = image.head();
    to.bytes.extend_from_slice(&MAGIC);
    to.bytes.extend_from_slice(&head.format_version.to_le_bytes());
    to.bytes.extend_from_slice(&head.engine_version.to_le_bytes());
    to.bytes.extend_from_slice(&head.partition.to_le_bytes());
    to.bytes.extend_from_slice(&image.keyring_hash);
    to.bytes.extend_from_slice(&head.running_hash);
    to.signed(head.next_offset);
    to.number(head.seq.unsigned_abs());
    image.clock.memory().into_iter().for_each(|time| to.maybe_signed(time));
    to.signed(image.evicted_ms);
    let counters = image.counters;
    for counter in
        [counters.accepted, counters.evaluations, counters.evaluations_missed, counters.evaluation_failures]
    {
        to.number(counter);
    }
    for counts in [&counters.rejected, &counters.unauthentic] {
        to.count(counts.len());
        for (reason, count) in counts {
            to.text(reason);
            to.number(*count);
        }
    }
    notices::write(image.notices, to);
}

pub(super) fn read(from: &mut Reader<'_>, machine: &mut Machine) -> Result<(), SnapshotFault> {
    let found = from.array("the mark of a snapshot")?;
    if found != MAGIC {
        return Err(SnapshotFault::Foreign { found });
    }
    let format = u16::from_le_bytes(from.array("the format")?);
    if format != FORMAT_VERSION {
        return Err(SnapshotFault::Format { found: format });
    }
    let engine = i32::from_le_bytes(from.array("the engine's version")?);
    if engine != ENGINE_VERSION {
        return Err(SnapshotFault::Engine { found: engine });
    }
    let partition = i32::from_le_bytes(from.array("the partition")?);
    if partition != machine.options.partition {
        return Err(SnapshotFault::Partition { found: partition, own: machine.options.partition });
    }
    // Whose records counted so far is in the digest. Whose count from here on is this machine's own option: else no
    // snapshot would outlive a rotation of keys.
    let _: [u8; 32] = from.array("the hash of the keyring")?;
    let running_hash = from.array("the running hash")?;
    machine.next_offset = from.signed("the next offset")?;
    machine.journal = Journal::at(from.ordinal("the seq")?, running_hash);
    let mut clock = [None; 3];
    for time in &mut clock {
        *time = from.maybe_signed("a time of the clock")?;
    }
    machine.clock = Clock::from_memory(clock);
    machine.evicted_ms = from.signed("the last eviction")?;
    machine.counters = counters(from)?;
    machine.notices = notices::read(from)?;
    Ok(())
}

fn counters(from: &mut Reader<'_>) -> Result<Counters, SnapshotFault> {
    let mut counters = Counters {
        accepted: from.counter("samples")?,
        evaluations: from.counter("evaluations")?,
        evaluations_missed: from.counter("missed evaluations")?,
        evaluation_failures: from.counter("failed evaluations")?,
        ..Counters::default()
    };
    counters.rejected = reasons(from, "rejected samples", &SampleFault::CODES)?;
    counters.unauthentic = reasons(from, "control records not accepted", &Unauthentic::CODES)?;
    Ok(counters)
}

/// Counts by reason, in order of the reasons.
fn reasons(
    from: &mut Reader<'_>,
    what: &'static str,
    known: &[&'static str],
) -> Result<BTreeMap<&'static str, u64>, SnapshotFault> {
    let mut counts = BTreeMap::new();
    for _ in 0..from.count(what, 2)? {
        let text = from.text(what)?;
        let Some(reason) = known.iter().copied().find(|code| *code == text) else {
            return Err(from.malformed(what, text.len() as u64, "a known reason"));
        };
        if counts.last_key_value().is_some_and(|(last, _)| *last >= reason) {
            return Err(from.disorder(what));
        }
        counts.insert(reason, from.counter(what)?);
    }
    Ok(counts)
}
