//! `bellwether bench baselines`: what a moving baseline costs over many series. Needs no cluster.

use crate::error::Error;
use crate::shell::bench::baselines::{Costs, measure};
use serde_json::json;
use std::process::ExitCode;

/// Flags of `bellwether bench baselines`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Series, each with a window of twelve panes.
    #[arg(long, default_value_t = 1_000_000)]
    series: usize,
    /// Passes over all series, each beside a bare one; the medians are printed.
    #[arg(long, default_value_t = 9)]
    passes: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    eprintln!("bench: {} passes over {} series in random order, in memory …", args.passes, args.series);
    let costs = measure(args.series, args.passes);
    if args.json {
        print_json(&costs);
    } else {
        print(&costs);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(costs: &Costs) {
    let value = json!({
        "series": costs.series, "passes": costs.passes, "bare_ns": costs.bare_ns, "judge_ns": costs.judge_ns,
        "ratio": costs.ratio, "merge_ns": costs.merge_ns, "bytes_per_series": costs.bytes,
    });
    println!("{value}");
}

fn print(costs: &Costs) {
    println!("{} series, {} passes, {:.0} B a series", costs.series, costs.passes, costs.bytes);
    println!("bare 64 bytes, read and written  {:>7.1} ns a sample", costs.bare_ns);
    println!("judged and learned               {:>7.1} ns a sample", costs.judge_ns);
    println!("judged : bare                    {:>7.2}", costs.ratio);
    println!("panes merged anew                {:>7.1} ns a series", costs.merge_ns);
}
