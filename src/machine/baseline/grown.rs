//! Arrays that grow by rows, one row for each series of a page.

use ndarray::{Array1, Array2, s};

/// Rows that a page begins with: a baseline of three series should not take the room of a thousand.
const ROWS_MIN: usize = 16;

/// Room for `slot` in a page that has `rows` rows: how many it must have, by doubling.
fn rows_for(slot: usize, rows: usize) -> usize {
    (slot + 1).next_power_of_two().max(ROWS_MIN).max(rows)
}

/// Makes room for a slot; new rows hold the default.
pub(super) fn column<T: Copy + Default>(array: &mut Array1<T>, slot: usize) {
    let rows = array.len();
    if slot >= rows {
        let mut grown = Array1::from_elem(rows_for(slot, rows), T::default());
        grown.slice_mut(s![..rows]).assign(array);
        *array = grown;
    }
}

/// The same for rows of `columns` columns.
pub(super) fn table<T: Copy + Default>(array: &mut Array2<T>, slot: usize, columns: usize) {
    let rows = array.nrows();
    if slot >= rows {
        let mut grown = Array2::from_elem((rows_for(slot, rows), columns), T::default());
        if rows > 0 {
            grown.slice_mut(s![..rows, ..]).assign(array);
        }
        *array = grown;
    }
}
