//! `bellwether sim`: plays runs of the simulator, counts them, and where one fails tells its story, shrunk.

use crate::command::output;
use crate::error::Error;
use crate::shell::clock;
use crate::sim::{self, Fault, Outcome, Plan};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// Runs at most that shrinking a failing run may take.
const SHRINK_TRIES: usize = 300;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(2);

/// Flags of `bellwether sim`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Play this seed alone, and say what came of it.
    #[arg(long, value_name = "N", conflicts_with_all = ["runs", "from"])]
    seed: Option<u64>,
    /// With --seed: tell the run, line by line. Where it fails, the run with the fewest faults that still fails.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// With --seed: do not play; print its faults as a schedule that `tests/chaos/run --schedule` plays on real processes.
    #[arg(long, requires = "seed", conflicts_with_all = ["trace", "json"])]
    schedule: bool,
    /// How many seeds to play.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    runs: u64,
    /// The first of them.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    from: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What came of many runs.
#[derive(Default)]
struct Sum {
    runs: u64,
    failovers: u64,
    promotions: u64,
    transitions: u64,
    records: u64,
    simulated_ms: i64,
    healed_in_ms_max: i64,
    promotions_minute_max: usize,
    faults: BTreeMap<&'static str, u64>,
    violations: Vec<(u64, String)>,
}

/// Runs it: exit 0 if nothing was violated, 1 if something was.
pub fn run(args: &Args) -> Result<ExitCode, Error> {
    match args.seed {
        Some(seed) => one(args, seed),
        None => many(args),
    }
}

// ---- one seed

fn one(args: &Args, seed: u64) -> Result<ExitCode, Error> {
    let drawn = Plan::draw(seed);
    if args.schedule {
        output::print(&sim::schedule(&drawn))?;
        return Ok(ExitCode::SUCCESS);
    }
    let first = sim::run(&drawn, false);
    let failed = first.violation.is_some();
    let plan = if failed { sim::shrink(&drawn, SHRINK_TRIES) } else { drawn.clone() };
    let outcome = if failed || args.trace { sim::run(&plan, args.trace) } else { first };
    if args.json {
        output::line(&one_json(&drawn, &plan, &outcome).to_string())?;
    } else {
        output::print(&tell(&drawn, &plan, &outcome))?;
    }
    Ok(ExitCode::from(u8::from(failed)))
}

fn tell(drawn: &Plan, plan: &Plan, outcome: &Outcome) -> String {
    let kinds: Vec<&str> = drawn.kinds.iter().map(|kind| kind.code()).collect();
    let mut text = format!(
        "seed {}: {} workers, {} partitions, {} faults drawn\nfaults on: {}\n",
        plan.seed,
        plan.workers,
        plan.partitions,
        drawn.faults.len(),
        kinds.join(", ")
    );
    if plan.faults.len() < drawn.faults.len() {
        text += &format!("shrunk to {} faults:\n", plan.faults.len());
        plan.faults.iter().for_each(|fault| text += &format!("  {}\n", describe(fault)));
    }
    outcome.story.iter().for_each(|line| text += &format!("{line}\n"));
    text += &format!(
        "{} failovers, {} promotions, {} records, {} transitions out, {} s simulated, fold {:016x}\n",
        outcome.failovers,
        outcome.promotions,
        outcome.records,
        outcome.transitions,
        outcome.simulated_ms / 1000,
        outcome.fold
    );
    match &outcome.violation {
        Some(what) => text + &format!("VIOLATED: {what}\n"),
        None => text + "nothing violated\n",
    }
}

fn describe(fault: &Fault) -> String {
    format!(
        "at {}.{:03} s {} for {} ms, partition {}, {:?}, {:?}",
        fault.at_ms / 1000,
        fault.at_ms % 1000,
        fault.kind.code(),
        fault.span_ms,
        fault.partition,
        fault.aim,
        fault.moment
    )
}

fn one_json(drawn: &Plan, plan: &Plan, outcome: &Outcome) -> Value {
    json!({
        "seed": plan.seed,
        "workers": plan.workers,
        "partitions": plan.partitions,
        "kinds": drawn.kinds.iter().map(|kind| kind.code()).collect::<Vec<_>>(),
        "faults_drawn": drawn.faults.len(),
        "faults": plan.faults.iter().map(describe).collect::<Vec<_>>(),
        "failovers": outcome.failovers,
        "promotions": outcome.promotions,
        "records": outcome.records,
        "transitions": outcome.transitions,
        "simulated_ms": outcome.simulated_ms,
        "fold": format!("{:016x}", outcome.fold),
        "violation": outcome.violation,
        "story": outcome.story,
    })
}

// ---- many seeds

fn many(args: &Args) -> Result<ExitCode, Error> {
    let begun = clock::monotonic();
    let (mut sum, mut told) = (Sum::default(), begun);
    for seed in args.from..args.from.saturating_add(args.runs) {
        let outcome = sim::run(&Plan::draw(seed), false);
        if let Some(what) = &outcome.violation {
            eprintln!("\rseed {seed}: {what}\n  bellwether sim --seed {seed} --trace tells the story");
        }
        sum.add(seed, outcome);
        let now = clock::monotonic();
        if now - told >= PROGRESS {
            told = now;
            progress(&sum, args.runs, now - begun);
        }
    }
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    let took = clock::monotonic() - begun;
    if args.json {
        output::line(&sum.to_json(args.from, took).to_string())?;
    } else {
        output::print(&sum.text(args.from, took))?;
    }
    Ok(ExitCode::from(u8::from(!sum.violations.is_empty())))
}

fn progress(sum: &Sum, runs: u64, took: Duration) {
    let line = format!(
        "sim: {} of {runs} runs, {} failovers, {:.0} a second, {} violations",
        sum.runs,
        sum.failovers,
        rate(sum.failovers, took),
        sum.violations.len()
    );
    if std::io::stderr().is_terminal() { eprint!("\r{line}") } else { eprintln!("{line}") }
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(0.001)
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.runs += 1;
        self.failovers += outcome.failovers;
        self.promotions += outcome.promotions;
        self.transitions += outcome.transitions;
        self.records += outcome.records;
        self.simulated_ms += outcome.simulated_ms;
        self.healed_in_ms_max = self.healed_in_ms_max.max(outcome.healed_in_ms);
        self.promotions_minute_max = self.promotions_minute_max.max(outcome.promotions_minute_max);
        for (kind, count) in outcome.faults {
            *self.faults.entry(kind.code()).or_default() += count;
        }
        self.violations.extend(outcome.violation.map(|what| (seed, what)));
    }

    fn text(&self, from: u64, took: Duration) -> String {
        let faults: u64 = self.faults.values().sum();
        let mut text = format!(
            "{} runs from seed {from} in {:.1} s: {:.0} runs and {:.0} failovers a second\n\
             {} failovers, {} promotions (at most {} of a partition in a minute), {} hours simulated\n\
             {} records, {} transitions out, everything out at most {} s after the last fault\n\
             {faults} faults:\n",
            self.runs,
            took.as_secs_f64(),
            rate(self.runs, took),
            rate(self.failovers, took),
            self.failovers,
            self.promotions,
            self.promotions_minute_max,
            self.simulated_ms / 3_600_000,
            self.records,
            self.transitions,
            self.healed_in_ms_max / 1000,
        );
        self.faults.iter().for_each(|(kind, count)| text += &format!("  {kind:<20} {count}\n"));
        text += &format!("{} violations\n", self.violations.len());
        self.violations.iter().for_each(|(seed, what)| text += &format!("  seed {seed}: {what}\n"));
        text
    }

    fn to_json(&self, from: u64, took: Duration) -> Value {
        let violations: Vec<Value> =
            self.violations.iter().map(|(seed, what)| json!({ "seed": seed, "what": what })).collect();
        json!({
            "runs": self.runs,
            "from": from,
            "seconds": took.as_secs_f64(),
            "runs_per_second": rate(self.runs, took),
            "failovers": self.failovers,
            "failovers_per_second": rate(self.failovers, took),
            "promotions": self.promotions,
            "promotions_minute_max": self.promotions_minute_max,
            "records": self.records,
            "transitions": self.transitions,
            "simulated_ms": self.simulated_ms,
            "healed_in_ms_max": self.healed_in_ms_max,
            "faults": self.faults,
            "violations": violations,
        })
    }
}
