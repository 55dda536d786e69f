//! What baselines know of a series, right behind its samples: for each baseline that looks at it, in their order, the
//! sample before (of a counter) and then its models in theirs. Who looks at it follows from the rules, so nobody is
//! named here; nor are the merged panes, which follow from the panes.
//!
//! | model | bytes |
//! |---|---|
//! | `moving` | 0 if the window is empty; else 1, the open pane's number against the pane of the newest sample, and each pane from the open one back: its count and, where that is not 0, mean and sum of squares |
//! | `seasonal`, `ewma` | how many parts of the season know something, and each: its number against the next one's, count, weight, mean, sum of squares |

use super::fault::SnapshotFault;
use super::reader::Reader;
use super::writer::Writer;
use crate::machine::baseline::{Baselines, Cells, Fading, LEARNED_MAX, Memory, Moments, Moving, Watch};
use crate::machine::series::{SeriesId, Store};
use std::ops::RangeInclusive;

/// The least bytes of a part of a season: its number, count, weight, mean, sum of squares.
const CELL_BYTES_MIN: u64 = 26;
/// No mean is greater: numbers beyond [`LEARNED_MAX`] are not learned, and rounding adds little.
const MEAN_MAX: f64 = 2.0 * LEARNED_MAX;
/// No sum of squares is greater: 2^32 distances of twice [`LEARNED_MAX`].
const SQUARES_MAX: f64 = 1e291;

pub(super) fn write(baselines: &Baselines, watch: &Watch, newest_ms: i64, to: &mut Writer<'_>) {
    for slot in watch.slots() {
        let book = baselines.book(*slot);
        if book.definition.counter {
            to.float(book.before(slot.row()));
        }
        for memory in &book.models {
            match memory {
                Memory::Moving(moving) => write_panes(moving, slot.row(), newest_ms, to),
                Memory::Seasonal(_, cells) | Memory::Ewma(cells, _) => write_cells(cells, slot.row(), to),
            }
        }
    }
}

fn write_panes(moving: &Moving, row: usize, newest_ms: i64, to: &mut Writer<'_>) {
    let panes = moving.panes(row);
    to.bytes.push(u8::from(panes.is_some()));
    let Some((open, panes)) = panes else { return };
    to.signed(open.wrapping_sub(moving.pane_of(newest_ms)));
    for pane in panes {
        to.number(u64::from(pane.count));
        if pane.count > 0 {
            to.float(pane.mean);
            to.float(pane.squares);
        }
    }
}

fn write_cells(cells: &Cells, row: usize, to: &mut Writer<'_>) {
    to.count(cells.cells(row).count());
    let mut next = 0;
    for (bucket, cell) in cells.cells(row) {
        to.count(bucket - next);
        next = bucket + 1;
        to.number(u64::from(cell.count));
        [cell.weight, cell.mean, cell.squares].into_iter().for_each(|number| to.float(number));
    }
}

/// Reads what baselines know of a series that has just been put into the store.
pub(super) fn read(
    from: &mut Reader<'_>,
    store: &mut Store,
    id: SeriesId,
    newest_ms: i64,
) -> Result<(), SnapshotFault> {
    let (baselines, watch) = store.baselines_of(id);
    for slot in watch.slots() {
        let book = baselines.book_mut(*slot);
        if book.definition.counter {
            *book.before_mut(slot.row()) = from.float("a counter's sample before")?;
        }
        for memory in &mut book.models {
            match memory {
                Memory::Moving(moving) => read_panes(from, moving, slot.row(), newest_ms)?,
                Memory::Seasonal(_, cells) | Memory::Ewma(cells, _) => read_cells(from, cells, slot.row())?,
            }
        }
    }
    Ok(())
}

fn read_panes(
    from: &mut Reader<'_>,
    moving: &mut Moving,
    row: usize,
    newest_ms: i64,
) -> Result<(), SnapshotFault> {
    if !from.flag("whether a window holds samples")? {
        return Ok(());
    }
    let open = from.signed("the number of a pane")?.wrapping_add(moving.pane_of(newest_ms));
    if open > moving.pane_of(newest_ms) || open < moving.pane_of(i64::MIN) + 64 {
        return Err(from.malformed(
            "the number of a pane",
            open.cast_unsigned(),
            "no later than the newest sample",
        ));
    }
    let mut panes = vec![Moments::default(); moving.window()];
    for pane in &mut panes {
        pane.count = count(from, 0)?;
        if pane.count > 0 {
            pane.mean = within(from, "a mean", -MEAN_MAX..=MEAN_MAX)?;
            pane.squares = within(from, "a sum of squares", 0.0..=SQUARES_MAX)?;
        }
    }
    if panes.iter().all(|pane| pane.count == 0) {
        return Err(from.malformed("the samples of a window", 0, "at least one: else it is empty"));
    }
    moving.restore(row, open, &panes);
    Ok(())
}

fn read_cells(from: &mut Reader<'_>, cells: &mut Cells, row: usize) -> Result<(), SnapshotFault> {
    let mut next = 0_u64;
    for _ in 0..from.count("parts of a season", CELL_BYTES_MIN)? {
        let number = from.number("a part of a season")?.saturating_add(next);
        let bucket = usize::try_from(number).ok().filter(|bucket| *bucket < cells.buckets());
        let Some(bucket) = bucket else {
            return Err(from.malformed("a part of a season", number, "below the number of parts"));
        };
        next = number + 1;
        let count = count(from, 1)?;
        let weight = within(from, "a weight", 1.0..=f64::from(count))?;
        let mean = within(from, "a mean", -MEAN_MAX..=MEAN_MAX)?;
        let squares = within(from, "a sum of squares", 0.0..=SQUARES_MAX)?;
        cells.restore(row, bucket, Fading { weight, mean, squares, count });
    }
    Ok(())
}

fn count(from: &mut Reader<'_>, least: u32) -> Result<u32, SnapshotFault> {
    let count = from.number("a count of samples")?;
    let fits = u32::try_from(count).ok().filter(|count| *count >= least);
    fits.ok_or_else(|| {
        from.malformed("a count of samples", count, "32 bits; above 0 where it is a part of a season")
    })
}

/// A number that a machine may have come to; -0 is none where it is in no bounds.
fn within(
    from: &mut Reader<'_>,
    what: &'static str,
    bounds: RangeInclusive<f64>,
) -> Result<f64, SnapshotFault> {
    let number = from.float(what)?;
    let minus_zero = number == 0.0 && number.is_sign_negative() && *bounds.start() >= 0.0;
    if bounds.contains(&number) && !minus_zero {
        return Ok(number);
    }
    Err(from.malformed(what, number.to_bits(), "a number that samples can lead to"))
}
