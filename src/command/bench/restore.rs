//! `bellwether bench restore`: how fast a state of many series comes back from the snapshot store.

use crate::config::Config;
use crate::error::Error;
use crate::shell::bench::restore::{self, Measured};
use crate::shell::snapshot::read::Spent;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Flags of `bellwether bench restore`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Series of the state, rounded up to whole services of a hundred.
    #[arg(long, default_value_t = 1_000_000)]
    series: usize,
    /// Rounds over all series, fifteen seconds of log time apart: samples that a series holds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Restores.
    #[arg(long, default_value_t = 5)]
    passes: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it. Needs snapshots.url and no Kafka.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let measured = restore::measure(config, args.series, args.rounds, args.passes)?;
    if args.json {
        println!("{}", to_json(&measured));
    } else {
        print(&measured);
    }
    Ok(ExitCode::SUCCESS)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn spent_json(spent: &Spent) -> Value {
    json!({
        "total_ms": ms(spent.total), "download_ms": ms(spent.download), "unpack_ms": ms(spent.unpack),
        "wait_ms": ms(spent.wait), "hash_ms": ms(spent.hash), "take_ms": ms(spent.take),
    })
}

fn to_json(measured: &Measured) -> Value {
    json!({
        "series": measured.series, "parts": measured.parts,
        "raw_bytes": measured.raw_bytes, "stored_bytes": measured.stored_bytes,
        "capture_ms": ms(measured.capture), "write_ms": ms(measured.write),
        "restores": measured.passes.iter().map(spent_json).collect::<Vec<_>>(),
        "median": spent_json(&measured.median()), "bound": measured.bound(),
    })
}

fn print(measured: &Measured) {
    let spent = measured.median();
    println!(
        "{} series: {:.1} MB, {:.1} MB stored in {} parts; captured in {:.1} ms, written and read back in {:.0} ms",
        measured.series,
        measured.raw_bytes as f64 / 1e6,
        measured.stored_bytes as f64 / 1e6,
        measured.parts,
        ms(measured.capture),
        ms(measured.write)
    );
    println!(
        "restored in {:.0} ms (median of {}), {:.0} ms at the longest; bound by {}",
        ms(spent.total),
        measured.passes.len(),
        ms(measured.longest()),
        measured.bound()
    );
    println!(
        "  four fetching threads together: download {:.0} ms, decompress and hash parts {:.0} ms",
        ms(spent.download),
        ms(spent.unpack)
    );
    println!(
        "  the taking thread: waits {:.0} ms, hashes the whole {:.0} ms, decodes and indexes {:.0} ms",
        ms(spent.wait),
        ms(spent.hash),
        ms(spent.take)
    );
}
