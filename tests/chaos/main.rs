//! Chaos on real processes: a stack of its own, two zones of two workers, faults from a seed, and `bellwether verify` as
//! the judge. `tests/chaos/run --help` says how it is used.
//!
//! Without arguments, as `cargo test` runs it, it tries its own parts: the proxy, the schedule, the guardian.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    clippy::wildcard_enum_match_arm,
    reason = "a harness that starts processes and threads, waits for the real world, names the few targets a fault has, and may panic"
)]

#[path = "../common/mod.rs"]
mod common;

mod campaigns;
mod diverge;
mod faults;
mod guard;
mod load;
mod parts;
mod proxy;
mod receiver;
mod report;
mod requests;
mod round;
mod schedule;
mod spoil;
mod watch;
mod world;

use load::Pace;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use world::{Plan, World};

const HELP: &str = "\
Break a running Bellwether on purpose, and have `bellwether verify` judge.

Usage: tests/chaos/run [round] [--seed S] [--faults N] [--minutes N] [--only N,…] [--schedule FILE]

  --seed S         draw the schedule from this seed [default: the time]
  --faults N       how many faults at least [default: 45]
  --minutes N      go on drawing for so long instead
  --only N,…       only faults with these numbers of the fault matrix; 0: those without one
  --schedule FILE  play this schedule: a line a fault, `time_ms fault target key=value…`
                   (`bellwether sim --seed N --schedule` writes one of a simulated run)
  --print          print the schedule and do nothing
  --partitions N   [default: 8]
  --workers N      in each zone [default: 2]
  --dir DIR        the stack's directory [default: below the target folder]
  --port N         first of a hundred ports [default: 24000]

       tests/chaos/run campaign NAME[:N][,NAME[:N]…] [--n N] [--partitions N] [--workers N] [--record-ms MS]
                           [--warm-up SECONDS]

  NAME: kill, silent, handover, without_zookeeper, zombie, both.

  --n N            how many samples of each [default: 300]; for `both`, how many records to put into the log before
  --partitions N   [default: 4]
  --workers N      in each zone [default: 1]
  --record-ms MS   between two records of a partition, each of which causes an alert [default: 100]
  --warm-up S      before the first strike, seconds: brokers that have just started compile themselves [default: 45]

  Use a release build: CHAOS_RELEASE=1 tests/chaos/run campaign kill

Exit status: 0 nothing lost, nothing doubled, everything recovered; 1 otherwise.
";

/// Flags by name, the rest in order.
struct Arguments(Vec<String>);

impl Arguments {
    fn value(&self, flag: &str) -> Option<&str> {
        let at = self.0.iter().position(|word| word == flag)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn number(&self, flag: &str) -> Option<u64> {
        self.value(flag)
            .map(|text| text.parse().unwrap_or_else(|_| panic!("{flag} {text}: expected a number")))
    }

    fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|word| word == flag)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments(std::env::args().skip(1).collect());
    match arguments.0.first().map(String::as_str) {
        Some("guard") => {
            guard::run(arguments.0.get(1).map_or("", String::as_str));
            ExitCode::SUCCESS
        }
        Some("victim") => parts::victim(),
        Some("round") if arguments.has("--help") => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Some("round") => round(&arguments),
        Some("campaign") => campaign(&arguments),
        _ => parts::run(),
    }
}

fn plan(arguments: &Arguments) -> Plan {
    let dir = arguments.value("--dir").map_or_else(
        || format!("{}/chaos-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id()),
        str::to_owned,
    );
    Plan {
        dir,
        port: arguments.number("--port").map_or(24_000, |port| port as u16),
        partitions: arguments.number("--partitions").unwrap_or(8) as usize,
        workers_per_zone: arguments.number("--workers").unwrap_or(2) as usize,
        interval: "500ms",
        pace: Pace { record: Duration::from_millis(250), records_per_change: 1 },
        session: Duration::from_secs(2),
        whole_line: true,
    }
}

fn campaign(arguments: &Arguments) -> ExitCode {
    let name = arguments.0.get(1).map_or("", String::as_str);
    let n = arguments.number("--n").unwrap_or(300) as usize;
    let plan = Plan {
        partitions: arguments.number("--partitions").unwrap_or(4) as usize,
        workers_per_zone: arguments.number("--workers").unwrap_or(1) as usize,
        interval: "50ms",
        pace: Pace {
            record: Duration::from_millis(arguments.number("--record-ms").unwrap_or(100)),
            records_per_change: 1,
        },
        session: Duration::from_secs(1),
        whole_line: false,
        ..plan(arguments)
    };
    let start = Instant::now();
    let mut world = World::start(plan);
    // Brokers that have just started compile themselves, and have no time for anything else.
    std::thread::sleep(Duration::from_secs(arguments.number("--warm-up").unwrap_or(45)));
    let mut figures = campaigns::Figures::default();
    for name in name.split(',') {
        let (name, n) = match name.split_once(':') {
            Some((name, n)) => (name, n.parse().unwrap_or_else(|_| panic!("{n}: expected a number"))),
            None => (name, n),
        };
        let begun = figures.lines.len();
        if !campaigns::run(name, &mut world, n, &mut figures) {
            figures.wrong.push(format!(
                "no campaign {name:?}: kill, silent, handover, without_zookeeper, zombie, both"
            ));
        }
        figures.lines[begun..].iter().for_each(|line| println!("{line}"));
    }
    let mut outcome =
        round::Outcome { table: report::Table::default(), lost: 0, doubled: 0, wrong: figures.wrong };
    round::rest(&mut world, &mut outcome);
    println!("lost {}, doubled {}, {:.0} s", outcome.lost, outcome.doubled, start.elapsed().as_secs_f64());
    outcome.wrong.extend(unexpected(&world));
    outcome.wrong.iter().for_each(|wrong| println!("WRONG: {wrong}"));
    if !outcome.wrong.is_empty() {
        keep(&world.plan.dir);
    }
    ExitCode::from(u8::from(!outcome.wrong.is_empty()))
}

fn round(arguments: &Arguments) -> ExitCode {
    let plan = plan(arguments);
    let seed = arguments.number("--seed").unwrap_or_else(|| common::now_ms().unsigned_abs() % 1_000_000);
    let only: Vec<u32> = arguments
        .value("--only")
        .map(|list| list.split(',').map(|number| number.parse().expect("--only: numbers")).collect())
        .unwrap_or_default();
    let minutes = arguments.number("--minutes");
    let schedule = match arguments.value("--schedule") {
        Some(file) => schedule::parse(&std::fs::read_to_string(file).expect("the schedule can be read"))
            .unwrap_or_else(|why| panic!("{file}: {why}")),
        None => {
            // More than fit: time ends the round.
            let count = minutes.map_or(arguments.number("--faults").unwrap_or(45), |minutes| minutes * 60);
            round::draw(seed, count as usize, &only, plan.partitions as u64)
        }
    };
    println!("# seed {seed}");
    if arguments.has("--print") {
        schedule.iter().for_each(|fault| println!("{fault}"));
        return ExitCode::SUCCESS;
    }
    let start = Instant::now();
    let mut world = World::start(plan);
    println!(
        "everything runs after {:.1} s; logs in {}/chaos",
        start.elapsed().as_secs_f64(),
        world.plan.dir
    );
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(minutes * 60));
    let mut outcome = round::play(&mut world, &schedule, until);
    round::rest(&mut world, &mut outcome);
    outcome.wrong.extend(unexpected(&world));
    outcome.table.print(outcome.lost, outcome.doubled);
    println!(
        "{} faults in {:.0} s, seed {seed}: lost {}, doubled {}, {} did not recover",
        outcome.table.faults(),
        start.elapsed().as_secs_f64(),
        outcome.lost,
        outcome.doubled,
        outcome.table.not_recovered()
    );
    outcome.wrong.iter().for_each(|wrong| println!("WRONG: {wrong}"));
    if !outcome.wrong.is_empty() {
        keep(&world.plan.dir);
    }
    ExitCode::from(u8::from(!outcome.wrong.is_empty()))
}

/// The logs outlive the stack when something was wrong.
fn keep(dir: &str) {
    let kept = format!("{dir}-logs");
    let _ = std::process::Command::new("cp").args(["-r", &format!("{dir}/chaos"), &kept]).status();
    println!("the logs are kept in {kept}");
}

/// Lines at ERROR level that no fault explains.
fn unexpected(world: &World) -> Vec<String> {
    let explained = |line: &String| {
        // The second process of one id says why it does not run; a foreign transaction is what 45 is about.
        (line.contains("stopped: ") && line.contains("is taken: a worker of"))
            || line.contains("a transaction is open")
            // Its record, which notify meets where it reads on behind it.
            || (line.contains("a record of the alerts topic is skipped") && line.contains("byte 0x6e"))
            || line.contains("settings_differ")
            || world.flipped.iter().any(|partition| {
                let differs = ["histories differ", "other states at the same offset"];
                differs.iter().any(|words| line.contains(words))
                    && line.contains(&format!("partition={partition} "))
            })
            || (world.is_log_cut && line.contains("log_out_of_range"))
    };
    let found: Vec<String> = world.errors().into_iter().filter(|line| !explained(line)).collect();
    let more = found.len().saturating_sub(10);
    let mut few: Vec<String> = found.into_iter().take(10).collect();
    if more > 0 {
        few.push(format!("… and {more} more lines at ERROR level"));
    }
    few
}
