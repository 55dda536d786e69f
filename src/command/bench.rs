//! `bellwether bench`: the worker's path against a bare consumer on the same topics, in one run, and the time from a
//! decision to a reader. Figures, no verdict: they belong to the machine and the hour they were taken on.

mod baselines;
mod restore;
mod rules;
mod snapshot;

use crate::config::Config;
use crate::error::Error;
use crate::shell::bench::catchup::{self, Held, Pass};
use crate::shell::bench::latency::{self, Latency};
use crate::shell::bench::load::{self, Load, Shape};
use crate::shell::bench::{Topic, percentile};
use crate::shell::clock;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Flags of `bellwether bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Measure one thing only.
    #[command(subcommand)]
    only: Option<Only>,
    /// Series of either topic, rounded up to whole services of a hundred.
    #[arg(long, default_value_t = 100_000)]
    series: usize,
    /// Rounds over all series in the topic of batches; half as many in the topic of single samples.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Passes of either side over each topic, in turn; the medians are printed.
    #[arg(long, default_value_t = 3)]
    passes: usize,
    /// Alerts whose way from decision to reader is timed.
    #[arg(long, default_value_t = 500)]
    alerts: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What may be measured by itself.
#[derive(Debug, clap::Subcommand)]
enum Only {
    /// What a moving baseline costs over many series in random order, beside a bare touch of as many rows. Needs no cluster.
    Baselines(baselines::Args),
    /// How fast a state of many series comes back from the snapshot store. Needs snapshots.url, and no Kafka.
    Restore(restore::Args),
    /// What rule files cost over the series of many hosts: applying samples, one evaluation of all groups, memory. Needs
    /// no cluster.
    Rules(rules::Args),
    /// What a snapshot of many series costs the worker, and how fast one is encoded and restored. Needs no cluster.
    Snapshot(snapshot::Args),
}

/// Both sides over one topic.
struct Comparison {
    shape: Shape,
    load: Load,
    bare: Pass,
    worker: Pass,
    held: Held,
    /// Worker's rate through the bare consumer's, pass by pass: min, median, max.
    ratio: [f64; 3],
}

/// Runs it. Needs a cluster; its topics are named after the time and deleted at the end.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    match &args.only {
        Some(Only::Baselines(args)) => return baselines::run(args),
        Some(Only::Restore(args)) => return restore::run(args, config),
        Some(Only::Rules(args)) => return rules::run(args),
        Some(Only::Snapshot(args)) => return snapshot::run(args),
        None => {}
    }
    let prefix = format!("{}.bench-{}", config.kafka.topic_prefix, clock::wall_ms());
    let mut comparisons = Vec::new();
    for (shape, rounds) in [(Shape::Batches, args.rounds), (Shape::Singles, args.rounds.div_ceil(2))] {
        comparisons.push(compare(args, config, &prefix, shape, rounds)?);
    }
    eprintln!("bench: {} alerts, one transaction each …", args.alerts);
    let latency = latency::measure(config, &prefix, args.alerts)?;
    if args.json {
        let topics: Vec<Value> = comparisons.iter().map(Comparison::to_json).collect();
        println!("{}", json!({ "topics": topics, "latency": to_json(&latency) }));
    } else {
        comparisons.iter().for_each(Comparison::print);
        print(&latency);
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(
    args: &Args,
    config: &Config,
    prefix: &str,
    shape: Shape,
    rounds: usize,
) -> Result<Comparison, Error> {
    let topic = format!("{prefix}.{shape:?}").to_lowercase();
    // The producer's time stamps space the rounds out; the broker's own would press them into seconds.
    let settings =
        [("message.timestamp.type", "CreateTime"), ("retention.ms", "-1"), ("max.message.bytes", "1100000")];
    let _topic = Topic::create(config, &topic, 1, &settings)?;
    eprintln!("bench: producing {rounds} rounds over {} series as {shape:?} …", args.series);
    let load = load::produce(config, &topic, shape, args.series, rounds)?;
    let (mut bare, mut worker, mut held) = (Vec::new(), Vec::new(), None);
    for pass in 0..args.passes.max(1) {
        eprintln!(
            "bench: pass {} over {} records, {} samples, {} MB …",
            pass + 1,
            load.records,
            load.samples,
            load.bytes / 1_000_000
        );
        bare.push(catchup::bare(config, &topic, &load)?);
        let (seconds, state) = catchup::worker(config, &topic, &load)?;
        worker.push(seconds);
        // Resident memory grows once: later passes reuse what the first one's machine gave back.
        held.get_or_insert(state);
    }
    let mut ratios: Vec<f64> =
        bare.iter().zip(&worker).map(|(bare, worker)| bare.seconds / worker.seconds).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = [ratios[0], percentile(&ratios, 50), ratios[ratios.len() - 1]];
    let held = held.unwrap_or(Held { series: 0, bytes: 0, resident_bytes: 0, transitions: 0, samples: 0 });
    Ok(Comparison { shape, load, bare: median(bare), worker: median(worker), held, ratio })
}

/// The pass of median length.
fn median(mut passes: Vec<Pass>) -> Pass {
    passes.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    passes[(passes.len() - 1) / 2]
}

impl Comparison {
    fn ns_per_sample(&self, seconds: f64) -> f64 {
        seconds * 1e9 / self.load.samples as f64
    }

    fn to_json(&self) -> Value {
        let side = |pass: &Pass| {
            json!({
                "samples_per_second": self.load.samples as f64 / pass.seconds,
                "ns_per_sample": self.ns_per_sample(pass.seconds),
                "process_cpu_ns_per_sample": self.ns_per_sample(pass.cpu_seconds),
                "machine_thread_ns_per_sample": self.ns_per_sample(pass.machine_seconds),
            })
        };
        json!({
            "samples_per_record": self.shape.samples_per_record(),
            "records": self.load.records, "samples": self.load.samples, "bytes": self.load.bytes,
            "bare_consumer": side(&self.bare), "worker": side(&self.worker),
            "ratio": { "min": self.ratio[0], "median": self.ratio[1], "max": self.ratio[2] },
            "series": self.held.series, "transitions": self.held.transitions,
            "bytes_per_series": self.held.bytes as f64 / self.held.series as f64,
            "resident_bytes_per_series": self.held.resident_bytes as f64 / self.held.series as f64,
        })
    }

    fn print(&self) {
        println!(
            "\n{} samples in {} records of {}, {} MB, {} series, ten rules ({} transitions)",
            self.load.samples,
            self.load.records,
            self.shape.samples_per_record(),
            self.load.bytes / 1_000_000,
            self.held.series,
            self.held.transitions
        );
        println!(
            "{:<16}{:>14}{:>12}{:>16}{:>18}",
            "", "samples/s", "ns/sample", "process CPU ns", "machine thread ns"
        );
        for (name, pass) in [("bare consumer", &self.bare), ("worker's path", &self.worker)] {
            println!(
                "{name:<16}{:>14.0}{:>12.0}{:>16.0}{:>18.0}",
                self.load.samples as f64 / pass.seconds,
                self.ns_per_sample(pass.seconds),
                self.ns_per_sample(pass.cpu_seconds),
                self.ns_per_sample(pass.machine_seconds)
            );
        }
        let [min, median, max] = self.ratio;
        println!("worker : bare  {median:.2} (min {min:.2}, max {max:.2})");
        println!(
            "memory a series {:.0} B by the machine's count, {:.0} B resident",
            self.held.bytes as f64 / self.held.series as f64,
            self.held.resident_bytes as f64 / self.held.series as f64
        );
    }
}

fn to_json(latency: &Latency) -> Value {
    let quantiles =
        |sorted: &[f64]| json!({ "p50_ms": percentile(sorted, 50), "p99_ms": percentile(sorted, 99) });
    json!({ "alerts": latency.seen_ms.len(), "committed": quantiles(&latency.committed_ms), "seen": quantiles(&latency.seen_ms) })
}

fn print(latency: &Latency) {
    println!("\n{} alerts, from decision to", latency.seen_ms.len());
    for (name, sorted) in
        [("committed", &latency.committed_ms), ("seen by a read_committed reader", &latency.seen_ms)]
    {
        println!(
            "{name:<34} p50 {:>6.1} ms   p99 {:>6.1} ms",
            percentile(sorted, 50),
            percentile(sorted, 99)
        );
    }
}
