//! Series and their samples. Most of a snapshot is here, so this is where bytes are saved:
//!
//! - ids and first-seen numbers against what the next one would be,
//! - times as differences of differences: a sample on time is a zero,
//! - values as bits against the value before (XOR), the zero bytes at either end left out: one byte says how many are
//!   left out behind (high half) and how many follow (low half).

use super::fault::SnapshotFault;
use super::reader::Reader;
use super::writer::{Kin, Writer, canonical};
use crate::machine::series::{Loading, Misfit, Point, Ring, SAMPLES_MAX, Series, SeriesId, Store};

/// The least bytes of a series: id, first-seen number, labels, samples.
pub(super) const SERIES_BYTES_MIN: u64 = 4;
/// The least bytes of a sample: its time and its value.
const SAMPLE_BYTES_MIN: u64 = 2;
/// Ids that a snapshot may name, so that a damaged one cannot claim memory for free ids without end. A series takes
/// 0.5 KB and more: so many do not fit into one worker's memory.
const IDS_MAX: u64 = 1 << 24;

pub(super) fn write<'a>(id: SeriesId, series: &'a Series, base_ms: i64, to: &mut Writer<'a>) {
    let id = u64::from(id.0);
    to.number(id.wrapping_sub(to.before.next_id));
    to.before.next_id = id + 1;
    to.signed(series.first_seen.wrapping_sub(to.before.next_seen).cast_signed());
    to.before.next_seen = series.first_seen.wrapping_add(1);
    to.labels(Kin::Whole, &series.labels);
    let points = series.ring.iter();
    to.count(points.len());
    if points.len() == 0 {
        to.signed(series.newest_ms);
        return;
    }
    let (mut last_ms, mut last_step, mut last_bits) = (base_ms, 0, 0_u64);
    for (at, point) in points.enumerate() {
        let step = point.time_ms.wrapping_sub(last_ms);
        to.signed(if at == 0 { step } else { step.wrapping_sub(last_step) });
        if at > 0 {
            last_step = step;
        }
        last_ms = point.time_ms;
        let bits = canonical(point.value);
        write_bits(bits ^ last_bits, to);
        last_bits = bits;
    }
}

fn write_bits(bits: u64, to: &mut Writer<'_>) {
    if bits == 0 {
        return to.bytes.push(0);
    }
    let behind = bits.trailing_zeros() / 8;
    let kept = 8 - behind - bits.leading_zeros() / 8;
    to.bytes.push((behind << 4 | kept).to_le_bytes()[0]);
    let bytes = (bits >> (8 * behind)).to_le_bytes();
    to.bytes.extend_from_slice(&bytes[..kept as usize]);
}

fn read_bits(from: &mut Reader<'_>) -> Result<u64, SnapshotFault> {
    const WHAT: &str = "a sample's value";
    let lengths = from.byte(WHAT)?;
    if lengths == 0 {
        return Ok(0);
    }
    let (behind, kept) = (u32::from(lengths >> 4), u32::from(lengths & 15));
    if behind + kept > 8 || kept == 0 {
        return Err(from.malformed(WHAT, u64::from(lengths), "eight bytes in all"));
    }
    let taken = from.take(WHAT, u64::from(kept))?;
    let mut bytes = [0; 8];
    bytes[..taken.len()].copy_from_slice(taken);
    if taken.first() == Some(&0) || taken.last() == Some(&0) {
        return Err(from.malformed(WHAT, u64::from(lengths), "without the zero bytes at its ends"));
    }
    Ok(u64::from_le_bytes(bytes) << (8 * behind))
}

/// Reads a series into the store: its id and the time of its newest sample. `next_id` is the lowest id that it may have.
pub(super) fn read(
    from: &mut Reader<'_>,
    store: &mut Store,
    loading: &mut Loading,
    base_ms: i64,
    (next_id, seen): (&mut u64, u64),
) -> Result<(SeriesId, i64), SnapshotFault> {
    let id = from.number("a series' id")?.wrapping_add(from.before.next_id);
    if id < *next_id {
        return Err(from.disorder("ids of series"));
    }
    // A number is new only where a series was.
    let Some(short) = u32::try_from(id).ok().filter(|_| id < seen.min(IDS_MAX)) else {
        return Err(from.malformed("a series' id", id, "below 2^24 and the number of series ever seen"));
    };
    (*next_id, from.before.next_id) = (id + 1, id + 1);
    let first_seen = from.before.next_seen.wrapping_add(from.signed("a first-seen number")?.cast_unsigned());
    if first_seen >= seen {
        return Err(from.malformed(
            "a first-seen number",
            first_seen,
            "below the number of series ever seen",
        ));
    }
    from.before.next_seen = first_seen + 1;
    let labels = from.labels(Kin::Whole)?;
    let samples = read_samples(from, base_ms)?;
    let newest_ms = samples.0;
    let put = loading.put(store, SeriesId(short), first_seen, labels, samples);
    put.map_err(|misfit| refused(misfit, from))?;
    Ok((SeriesId(short), newest_ms))
}

/// The newest time and the ring.
fn read_samples(from: &mut Reader<'_>, base_ms: i64) -> Result<(i64, Ring), SnapshotFault> {
    let count = from.count("samples", SAMPLE_BYTES_MIN)?;
    if count > SAMPLES_MAX {
        let (count, max) = (count as u64, SAMPLES_MAX as u64);
        return Err(SnapshotFault::TooMany { what: "samples", count, max, place: from.place() });
    }
    if count == 0 {
        return Ok((from.signed("a series' newest time")?, Ring::default()));
    }
    let mut points = Vec::with_capacity(count);
    let (mut last_ms, mut step, mut bits) = (base_ms, 0_i64, 0_u64);
    for at in 0..count {
        let change = from.signed("a sample's time")?;
        let time_ms = if at == 0 {
            last_ms.wrapping_add(change)
        } else {
            step = step.wrapping_add(change);
            last_ms.wrapping_add(step)
        };
        if at > 0 && time_ms <= last_ms {
            return Err(from.disorder("samples of a series"));
        }
        last_ms = time_ms;
        bits ^= read_bits(from)?;
        points.push(Point { time_ms, value: from.value("a sample's value", bits)? });
    }
    Ok((last_ms, Ring::from(points)))
}

/// A misfit in the words of a fault.
pub(super) fn refused(misfit: Misfit, from: &Reader<'_>) -> SnapshotFault {
    match misfit {
        Misfit::LabelsTwice => from.disorder("labels of series"),
        Misfit::Unselected => {
            from.malformed("the selectors of a series", 0, "at least one: else it is not kept")
        }
        Misfit::FirstSeenTwice => from.disorder("first-seen numbers"),
    }
}
