//! Figures: percentiles with their n, and the table at the end.

use std::collections::BTreeMap;
use std::time::Duration;

/// A sample of durations.
#[derive(Debug, Clone, Default)]
pub struct Sample(Vec<Duration>);

impl Sample {
    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
        self.0.sort_unstable();
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nearest rank: the smallest value that `percent` of the sample do not exceed.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    pub fn worst(&self) -> Option<Duration> {
        self.0.last().copied()
    }

    /// `n=…, p50 …, p99 …, worst …`
    pub fn line(&self) -> String {
        format!(
            "n={}, p50 {}, p99 {}, worst {}",
            self.len(),
            ms(self.percentile(50)),
            ms(self.percentile(99)),
            ms(self.worst())
        )
    }
}

pub fn ms(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |duration| format!("{:.0} ms", duration.as_secs_f64() * 1e3))
}

/// One row.
#[derive(Debug, Clone, Default)]
pub struct Row {
    pub name: String,
    pub times: u64,
    pub silence: Sample,
    pub not_recovered: u64,
}

/// Rows by fault.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<(u32, String), Row>,
}

impl Table {
    pub fn row(&mut self, number: u32, name: &str) -> &mut Row {
        let row = self.rows.entry((number, name.to_owned())).or_default();
        name.clone_into(&mut row.name);
        row
    }

    pub fn faults(&self) -> u64 {
        self.rows.values().map(|row| row.times).sum()
    }

    pub fn not_recovered(&self) -> u64 {
        self.rows.values().map(|row| row.not_recovered).sum()
    }

    /// Lost and doubled are known for the whole run: the oracle looks once, at its end, at everything.
    pub fn print(&self, lost: u64, doubled: u64) {
        println!(
            "  no  fault                       times  lost  doubled     n       p50       p99     worst"
        );
        for ((number, _), row) in &self.rows {
            let number = if *number == 0 { "-".to_owned() } else { number.to_string() };
            println!(
                "{number:>4}  {:<27} {:>5} {lost:>5} {doubled:>8} {:>5} {:>9} {:>9} {:>9}{}",
                row.name,
                row.times,
                row.silence.len(),
                ms(row.silence.percentile(50)),
                ms(row.silence.percentile(99)),
                ms(row.silence.worst()),
                if row.not_recovered > 0 { "  NOT RECOVERED" } else { "" }
            );
        }
    }
}
