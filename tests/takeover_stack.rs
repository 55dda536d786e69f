//! Takeover by real processes on the real stack: two workers in two zones, a load under which transactions are open all
//! the time, and a primary that is killed with -9 or asked to stop. Every seq is out once; how long it took from the
//! signal to the next committed alert is printed, and judged by nobody here.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    reason = "a test that starts processes and threads, waits for the real world, and may panic"
)]

mod common;
#[path = "common/rig.rs"]
mod rig;

use common::{Process, get, wait_for};
use rig::{LIMIT, PARTITIONS, Reader, Rig, Seen};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn print(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    println!(
        "{what}: n={} p50={:?} p90={:?} p99={:?} worst={:?}",
        took.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
    println!("  {took:?}");
}

/// Ends the primary of most partitions so many times, and reads on until its successor has written an alert.
fn rounds(test: &str, count: usize, end: impl Fn(&mut Process)) -> Vec<Duration> {
    let mut rig = Rig::start(test, "2s", Duration::from_millis(50));
    let mut reader = Reader::start(&rig.config);
    let all = usize::try_from(PARTITIONS).expect("a few");
    reader.read("alerts on every partition", |seen| {
        seen.len() == all && seen.values().all(|seen| seen.seq > 20)
    });
    let mut took = Vec::new();
    for _ in 0..count {
        reader.read_for(Duration::from_secs(3));
        let emits =
            |zone: &str, seen: &BTreeMap<i32, Seen>| seen.values().filter(|seen| seen.worker == zone).count();
        let victim = usize::from(emits("zone-b", &reader.seen) > emits("zone-a", &reader.seen));
        let zone = rig.workers[victim].zone;
        let before = reader.seen.clone();
        let ended = Instant::now();
        end(&mut rig.workers[victim].process);
        reader.read("the successor's first alerts", |seen| seen.values().all(|seen| seen.worker != zone));
        for (partition, seen) in &reader.seen {
            if before[partition].worker == zone {
                took.push(seen.begun.saturating_duration_since(ended));
            }
        }
        wait_for("its end", LIMIT, || (!rig.workers[victim].process.is_running()).then_some(()));
        rig.restart(victim);
    }
    for worker in &rig.workers {
        let (_, metrics) = get(&worker.address, "/metrics").expect("it lives");
        let divergences = metrics.lines().filter(|line| line.starts_with("bellwether_divergences_total"));
        assert!(divergences.into_iter().all(|line| line.ends_with(" 0")), "{metrics}");
    }
    took
}

fn sigterm(process: &mut Process) {
    let pid = process.id().to_string();
    let status = std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there");
    assert!(status.success());
}

#[test]
fn a_primary_that_is_killed_or_stopped_is_succeeded_and_every_seq_is_out_once() {
    print("kill -9 to the next committed alert", rounds("kill", 2, Process::kill));
    print("SIGTERM to the next committed alert", rounds("stop", 2, sigterm));
}

#[test]
#[ignore = "takes ten minutes: for figures"]
fn figures_of_kill() {
    print("kill -9 to the next committed alert", rounds("kills", 25, Process::kill));
}

#[test]
#[ignore = "takes ten minutes: for figures"]
fn figures_of_stop() {
    print("SIGTERM to the next committed alert", rounds("stops", 25, sigterm));
}
