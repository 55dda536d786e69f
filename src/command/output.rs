//! What one-shot commands print: data on standard output, in aligned columns or as JSON lines. A reader that goes
//! away (`| head`) ends the printing quietly.

use crate::error::Error;
use crate::shell::files;
use std::io::{self, IsTerminal, Write};

/// Rows in columns, each as wide as its widest cell, two blanks apart; no blanks at a line's end.
#[must_use]
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Prints a line. `false` once nobody reads any more.
pub fn line(text: &str) -> Result<bool, Error> {
    print(&format!("{text}\n"))
}

/// Prints a text. `false` once nobody reads any more.
pub fn print(text: &str) -> Result<bool, Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(Error::File { path: "standard output".to_owned(), source }),
    }
}

/// Whether to colour: standard output is a terminal, and NO_COLOR is not set.
#[must_use]
pub fn coloured() -> bool {
    io::stdout().is_terminal() && files::environment("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A time for people: RFC 3339, UTC, seconds.
#[must_use]
pub fn time(ms: i64) -> String {
    jiff::Timestamp::from_second(ms.div_euclid(1000))
        .map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["1".to_owned(), "größer".to_owned()], vec!["100".to_owned(), String::new()]];
        assert_eq!(table(&["P", "NAME"], &rows), "P    NAME\n1    größer\n100\n");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_700_000_000_999), "2023-11-14T22:13:20Z");
    }
}
