//! `bellwether bench snapshot`: what a snapshot of many series costs. Needs no cluster.

use crate::error::Error;
use crate::shell::bench::snapshot::{Costs, measure};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// Flags of `bellwether bench snapshot`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Series in the state, rounded up to whole services of a hundred.
    #[arg(long, default_value_t = 1_000_000)]
    series: usize,
    /// Samples of each series, fifteen seconds of log time apart.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Spread the series of a service over as many pages as there are: a record of a hundred samples copies a hundred.
    #[arg(long)]
    scattered: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    eprintln!("bench: {} rounds over {} series, in memory …", args.rounds, args.series);
    let costs = measure(args.series, args.rounds, args.scattered)?;
    if args.json {
        print_json(&costs)
    } else {
        print(&costs)
    }
    Ok(ExitCode::SUCCESS)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn print_json(costs: &Costs) {
    let value = json!({
        "series": costs.series, "bytes": costs.bytes, "parts": costs.parts,
        "capture_ms": ms(costs.capture),
        "longest_step_before_ms": ms(costs.before.longest), "longest_step_after_ms": ms(costs.after.longest),
        "round_before_ms": ms(costs.before.total), "round_after_ms": ms(costs.after.total),
        "evaluation_before_ms": ms(costs.before.evaluation), "evaluation_after_ms": ms(costs.after.evaluation),
        "encode_beside_ms": ms(costs.encode_beside), "encode_ms": ms(costs.encode),
        "digest_ms": ms(costs.digest), "restore_ms": ms(costs.restore),
    });
    println!("{value}");
}

fn print(costs: &Costs) {
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let (before, after) = (costs.before, costs.after);
    println!(
        "{} series: {:.1} MB raw in {} parts, {:.0} B a series",
        costs.series,
        mb(costs.bytes),
        costs.parts,
        costs.bytes as f64 / costs.series.max(1) as f64
    );
    println!("capture                  {:>9.2} ms", ms(costs.capture));
    println!(
        "longest record after it  {:>9.2} ms   (before it {:.2} ms)",
        ms(after.longest),
        ms(before.longest)
    );
    println!("all records of a round   {:>9.0} ms   (before it {:.0} ms)", ms(after.total), ms(before.total));
    println!(
        "evaluation of ten rules  {:>9.0} ms   (before it {:.0} ms)",
        ms(after.evaluation),
        ms(before.evaluation)
    );
    println!(
        "encode                   {:>9.0} ms   (beside the round {:.0} ms)",
        ms(costs.encode),
        ms(costs.encode_beside)
    );
    println!("digest                   {:>9.0} ms", ms(costs.digest));
    println!("restore                  {:>9.0} ms", ms(costs.restore));
}
