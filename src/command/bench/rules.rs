//! `bellwether bench rules`: what rule files cost over the series of many hosts, and what they cost a Prometheus that is at
//! hand. Needs no cluster.

use crate::error::Error;
use crate::shell::bench::host::Host;
use crate::shell::bench::prometheus::{self, Peer};
use crate::shell::bench::rules::{Costs, WARM_UP, measure, prepare};
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
    /// Series, rounded up to whole hosts of about five hundred, named as node_exporter names them, and what else the
    /// rules select.
    #[arg(long, default_value_t = 100_000)]
    series: usize,
    /// Rule file; more than one may be given.
    #[arg(long, default_value = "config/rules/host.yaml", value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Rounds that are timed, fifteen seconds of log time apart, after some that only fill the ranges.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Prometheus to run on the same rules and series; by default the one on the PATH, if there is one.
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    /// How long it runs, seconds: longer than the ranges of most rules. 0 leaves it out.
    #[arg(long, default_value_t = 330)]
    peer_seconds: u64,
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
    let (set, host) = prepare(rule_files.clone())?;
    let costs = measure(set, &host, args.series, args.rounds, ROUND_MS)?;
    let peer = peer(args, &rule_files, (host, costs.hosts))?;
    if args.json {
        print_json(&costs, peer.as_ref());
        return Ok(ExitCode::SUCCESS);
    }
    print(&costs);
    if let Some(peer) = peer {
        print_peer(&costs, &peer);
    }
    Ok(ExitCode::SUCCESS)
}

/// What a Prometheus takes for the same, where one is wanted and found.
fn peer(args: &Args, rule_files: &[RuleFile], hosts: (Host, usize)) -> Result<Option<Peer>, Error> {
    let seconds = args.peer_seconds;
    if seconds == 0 {
        return Ok(None);
    }
    let Some(program) = args.prometheus.clone().or_else(prometheus::on_path) else {
        eprintln!("bench: no prometheus on the PATH and none named with --prometheus: ours alone");
        return Ok(None);
    };
    eprintln!("bench: {} over the same for {seconds} s …", program.display());
    let round_s = ROUND_MS.unsigned_abs() / 1000;
    Ok(Some(prometheus::measure(&program, rule_files, hosts, (round_s, seconds))?))
}

fn print_peer(costs: &Costs, peer: &Peer) {
    let times = |theirs: f64, ours: f64| format!("{:.1} times ours", theirs / ours);
    let (step, ours) = (peer.step.as_secs_f64(), costs.step.as_secs_f64());
    println!("prometheus, {:.0} series in its head, {:.0} evaluations failed:", peer.series, peer.failures);
    println!("  one step, all groups {:>9.2} ms            ({})", step * 1e3, times(step, ours));
    println!("  processor            {:>9.3} s a second     ({})", peer.cpu, times(peer.cpu, costs.busy));
    println!(
        "  resident memory      {:>9.0} MB            ({})",
        peer.resident_bytes / 1e6,
        times(peer.resident_bytes, costs.resident_bytes as f64)
    );
}

fn print_json(costs: &Costs, peer: Option<&Peer>) {
    let peer = peer.map(|peer| {
        json!({
            "series": peer.series, "step_ms": peer.step.as_secs_f64() * 1e3, "cpu": peer.cpu,
            "resident_bytes": peer.resident_bytes, "failures": peer.failures,
        })
    });
    let value = json!({
        "hosts": costs.hosts, "series": costs.series, "held": costs.held, "rules": costs.rules, "groups": costs.groups,
        "rounds": costs.rounds, "apply_ns": costs.apply_ns, "step_ms": costs.step.as_secs_f64() * 1e3,
        "best_step_ms": costs.best_step.as_secs_f64() * 1e3, "busy": costs.busy, "prometheus": peer,
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
        "one step, all groups {:>9.2} ms            (best {:.2}, worst {:.2} ms; {:.0} ns a series held)",
        costs.step.as_secs_f64() * 1e3,
        costs.best_step.as_secs_f64() * 1e3,
        costs.worst_step.as_secs_f64() * 1e3,
        costs.step.as_secs_f64() * 1e9 / costs.held.max(1) as f64
    );
    println!(
        "memory               {:>9.0} B a series held ({:.0} MB resident in all)",
        costs.bytes,
        costs.resident_bytes as f64 / 1e6
    );
}
