//! `bellwether bench rules`: what rule files cost over the series of many hosts. Needs no cluster.

use crate::error::Error;
use crate::shell::bench::rules::{Costs, WARM_UP, measure};
use crate::shell::files;
use crate::wire::RuleFile;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Log time between two rounds of samples, milliseconds.
const ROUND_MS: i64 = 15_000;

/// Flags of `bellwether bench rules`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Series, rounded up to whole hosts of about five hundred, named as node_exporter names them.
    #[arg(long, default_value_t = 100_000)]
    series: usize,
    /// Rule file; more than one may be given.
    #[arg(long, default_value = "config/rules/host.yaml", value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Rounds that are timed, fifteen seconds of log time apart, after some that only fill the ranges.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    let mut rule_files = Vec::new();
    for path in &args.rules {
        rule_files.push(RuleFile { name: path.display().to_string(), content: files::read_text(path)? });
    }
    eprintln!("bench: {WARM_UP} + {} rounds over {} series, in memory …", args.rounds, args.series);
    let costs = measure(rule_files, args.series, args.rounds, ROUND_MS)?;
    if args.json {
        print_json(&costs);
    } else {
        print(&costs);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(costs: &Costs) {
    let value = json!({
        "hosts": costs.hosts, "series": costs.series, "held": costs.held, "rules": costs.rules, "groups": costs.groups,
        "rounds": costs.rounds, "apply_ns": costs.apply_ns, "step_ms": costs.step.as_secs_f64() * 1e3,
        "worst_step_ms": costs.worst_step.as_secs_f64() * 1e3, "bytes_per_series": costs.bytes,
        "resident_bytes": costs.resident_bytes, "firing": costs.firing, "failures": costs.failures,
    });
    println!("{value}");
}

fn print(costs: &Costs) {
    println!(
        "{} series of {} hosts, {} of them selected by {} rules in {} groups; {} alerts fire, {} evaluations failed",
        costs.series, costs.hosts, costs.held, costs.rules, costs.groups, costs.firing, costs.failures
    );
    println!(
        "apply, rules on      {:>9.0} ns a sample   ({:.2} M samples/s)",
        costs.apply_ns,
        1e3 / costs.apply_ns
    );
    println!(
        "one step, all groups {:>9.2} ms            (worst {:.2} ms; {:.0} ns a series held)",
        costs.step.as_secs_f64() * 1e3,
        costs.worst_step.as_secs_f64() * 1e3,
        costs.step.as_secs_f64() * 1e9 / costs.held.max(1) as f64
    );
    println!(
        "memory               {:>9.0} B a series held ({:.0} MB resident in all)",
        costs.bytes,
        costs.resident_bytes as f64 / 1e6
    );
}
