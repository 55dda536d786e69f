//! A round: a schedule of faults against a running world, then the oracle.

use crate::faults::{self, Done};
use crate::report::Table;
use crate::schedule::{Fault, Random, Target};
use crate::world::World;
use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

/// A partition that has told nothing for so long after a fault is undone has not recovered: a broker that was killed may take
/// over a minute to come back on a machine that others share.
const RECOVER: Duration = Duration::from_secs(150);
/// How long the world may take to come to rest.
const REST: Duration = Duration::from_secs(150);

/// Each fault once, in an order drawn from the seed, then such as move primaries until there are `count`; `only` those of
/// these numbers, if any are given.
pub fn draw(seed: u64, count: usize, only: &[u32], partitions: u64) -> Vec<Fault> {
    let mut random = Random::new(seed);
    let wanted = |number: u32| only.is_empty() || only.contains(&number);
    let mut codes: Vec<&str> =
        faults::CATALOGUE.iter().filter(|(_, number, _)| wanted(*number)).map(|(code, ..)| *code).collect();
    for at in (1..codes.len()).rev() {
        codes.swap(at, usize::try_from(random.below(at as u64 + 1)).unwrap_or(0));
    }
    let again: Vec<&str> = if only.is_empty() {
        vec![
            "crash",
            "crash",
            "pause",
            "stop",
            "end_txn_late",
            "end_txn_lost",
            "session_lost",
            "storm",
            "crash_all",
        ]
    } else {
        codes.clone()
    };
    while codes.len() < count && !again.is_empty() {
        codes.push(random.pick(&again));
    }
    codes.into_iter().map(|code| one(code, &mut random, partitions)).collect()
}

fn one(code: &str, random: &mut Random, partitions: u64) -> Fault {
    let (_, span_ms) = faults::known(code).unwrap_or((0, 1_000));
    let partition = usize::try_from(random.below(partitions)).unwrap_or(0);
    let zone = random.pick(&['a', 'b']);
    let way = random.pick(&["both", "both", "up", "down"]);
    let span = match code {
        // 0.5, 1, 3 times the session; 20 times in the campaigns.
        "pause" => random.pick(&[500, 1_000, 3_000]),
        "end_txn_late" => random.pick(&[500, 1_500, 4_000]),
        _ => span_ms,
    };
    let span = span.to_string();
    let target = match code {
        "zookeeper_node" | "broker_kill" | "coordinator" | "min_isr" | "broker_clock" | "leader_moves" => {
            Target::Node(u16::try_from(random.below(3)).unwrap_or(0) + 1)
        }
        "crash" | "pause" | "machine_gone" | "stop" | "hang" | "storm" | "garbage" | "hanging_txn"
        | "end_txn_late" | "end_txn_lost" | "end_txn_unanswered" | "worker_clock" => {
            Target::Primary(partition)
        }
        "zookeeper_cut" | "session_lost" | "kafka_cut" | "s3_cut" | "flap" | "s3_error" | "s3_slow"
        | "s3_unanswered" | "slow_network" | "torn_network" | "zone_lost" => Target::Zone(zone),
        _ => Target::None,
    };
    let mut keys = vec![("span", span.as_str())];
    match code {
        "zookeeper_cut" | "kafka_cut" | "flap" => keys.push(("way", way)),
        "worker_clock" | "broker_clock" => keys.push(("shift", random.pick(&["+3600", "-3600"]))),
        "snapshot_damaged" => keys.push(("how", random.pick(&["flip", "cut", "pad", "empty"]))),
        "s3_error" => keys.push(("status", random.pick(&["500", "503", "409"]))),
        _ => {}
    }
    Fault::new(0, code, target, &keys)
}

/// What came of a round.
pub struct Outcome {
    pub table: Table,
    pub lost: u64,
    pub doubled: u64,
    pub wrong: Vec<String>,
}

/// Plays a schedule, or draws from it again and again until `until`.
pub fn play(world: &mut World, schedule: &[Fault], until: Option<Instant>) -> Outcome {
    let start = Instant::now();
    let mut outcome = Outcome { table: Table::default(), lost: 0, doubled: 0, wrong: Vec::new() };
    for fault in schedule {
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        if faults::known(&fault.code).is_none() {
            println!("skipped, no counterpart among processes: {fault}");
            continue;
        }
        let due = Duration::from_millis(fault.at_ms);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        if let Err(why) = world.ready(RECOVER) {
            outcome.wrong.push(format!("before {fault}: {why}"));
        }
        print!("{:>6.1} s  {fault}", start.elapsed().as_secs_f64());
        let _ = std::io::stdout().flush();
        match faults::inject(world, fault) {
            Ok(done) => judge(world, fault, &done, &mut outcome),
            Err(why) => {
                println!("  NOT DONE: {why}");
                outcome.wrong.push(format!("{fault}: {why}"));
            }
        }
    }
    outcome
}

fn judge(world: &World, fault: &Fault, done: &Done, outcome: &mut Outcome) {
    let (number, _) = faults::known(&fault.code).unwrap_or((0, 0));
    let recovered = world.alive_since(done.to, RECOVER);
    let row = outcome.table.row(number, &fault.code);
    row.times += 1;
    let mut worst = Duration::ZERO;
    for (partition, seen) in world.watch.look().iter().enumerate() {
        let bereft = done.bereft.iter().find(|(other, _)| *other == partition);
        let took = match bereft {
            Some((_, epoch)) => seen
                .first_alert_after(*epoch)
                .map(|at| at.saturating_duration_since(done.from))
                .or_else(|| seen.longest_silence(done.from, done.to)),
            None if done.bereft.is_empty() => seen.longest_silence(done.from, done.to),
            None => None,
        };
        if let Some(took) = took {
            row.silence.add(took);
            worst = worst.max(took);
        }
    }
    println!(
        "  worst {:.0} ms, {:.1} s in all",
        worst.as_secs_f64() * 1e3,
        done.from.elapsed().as_secs_f64()
    );
    if let Err(why) = recovered {
        row.not_recovered += 1;
        outcome.wrong.push(format!("{fault}: {why}"));
    }
}

/// The load becomes calm, everything comes out, and the oracle looks at all of it.
pub fn rest(world: &mut World, outcome: &mut Outcome) {
    if let Err(why) = world.ready(RECOVER) {
        outcome.wrong.push(format!("at the end: {why}"));
    }
    world.load.iter().for_each(|load| load.calm(true));
    std::thread::sleep(Duration::from_secs(5));
    let start = Instant::now();
    let (code, verdicts, talk) = loop {
        let flags: &[&str] =
            if world.is_log_cut { &["--at-rest", "--from-snapshot"] } else { &["--at-rest"] };
        let answer = world.verify(flags);
        let waits = answer.1.iter().any(|verdict| verdict["difference"]["kind"] == "missing");
        if !waits || start.elapsed() > REST {
            break answer;
        }
        std::thread::sleep(Duration::from_secs(1));
    };
    let sum = |field: &str| verdicts.iter().filter_map(|verdict| verdict[field].as_u64()).sum::<u64>();
    (outcome.lost, outcome.doubled) = (sum("lost"), sum("doubled"));
    println!(
        "verify: exit {code:?}: {} partitions, {} records, {} transitions, {} markers, {} epochs, lost {}, doubled {}, changed {}",
        verdicts.len(),
        sum("records"),
        sum("found"),
        sum("markers"),
        sum("epochs"),
        outcome.lost,
        outcome.doubled,
        sum("changed")
    );
    if code != Some(0) || verdicts.len() != world.plan.partitions {
        let texts = verdicts.iter().filter(|verdict| verdict["equal"] != true);
        let texts: Vec<String> =
            texts.map(|verdict| format!("{}: {}", verdict["partition"], verdict["text"])).collect();
        outcome.wrong.push(format!("verify: exit {code:?}: {}{talk}", texts.join("\n")));
    }
    if world.receiver.is_some() {
        people(world, outcome);
    }
}

/// What the receiver was told last of each alert is what the topic says last.
fn people(world: &World, outcome: &mut Outcome) {
    let Some(receiver) = &world.receiver else { return };
    let start = Instant::now();
    let disagree = loop {
        let last = receiver.last();
        let mut disagree = BTreeSet::new();
        for seen in world.watch.look().iter() {
            for (alert, firing) in seen.firing() {
                let told = last.get(&alert).map_or("", String::as_str);
                let agrees = if firing { told == "firing" } else { told != "firing" };
                if !agrees {
                    disagree.insert(format!("{alert:?}: firing {firing}, told {told:?}"));
                }
            }
        }
        if disagree.is_empty() || start.elapsed() > REST {
            break disagree;
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    let (told, repeats) = (receiver.told().len(), receiver.repeats());
    println!(
        "receiver: {told} notifications, {repeats} repeated (notify killed {} times), {} alerts told wrongly",
        world.notify_kills,
        disagree.len()
    );
    if !disagree.is_empty() {
        let few: Vec<String> = disagree.into_iter().take(5).collect();
        outcome.wrong.push(format!("receiver: {}", few.join("; ")));
    }
    // In flight at a kill: one notification a group at most, and there is a group a service.
    let bound = world.notify_kills * (3 * world.plan.partitions as u64);
    if repeats > bound {
        outcome.wrong.push(format!("receiver: {repeats} repeats, at most {bound} were in flight"));
    }
}
