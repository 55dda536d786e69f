//! Measured campaigns: one kind of fault many times, every figure with its n, by the harness's own clock at the arrival
//! of what a `read_committed` reader sees. Nothing is judged by time here; what is lost or doubled is.

use crate::report::{Sample, ms};
use crate::schedule::Random;
use crate::world::World;
use std::time::{Duration, Instant};

/// How long the next alert of a bereft partition is waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// Figures of a campaign, and what was wrong.
#[derive(Default)]
pub struct Figures {
    pub lines: Vec<String>,
    pub wrong: Vec<String>,
}

/// Runs one by its name; none of that name: false.
pub fn run(name: &str, world: &mut World, n: usize, figures: &mut Figures) -> bool {
    match name {
        "kill" => {
            bereave(world, n, figures, "kill -9 of the primary -> next committed alert", |world, victim| {
                world.kill_worker(victim)
            })
        }
        "silent" => {
            bereave(world, n, figures, "whole machine silent -> next committed alert", |world, victim| {
                let at = Instant::now();
                if let Some(pid) = world.pid(victim) {
                    world.guard.stop(pid, Duration::from_secs(90));
                }
                at
            })
        }
        "handover" => {
            bereave(world, n, figures, "SIGTERM -> successor's first committed alert", |world, victim| {
                let at = Instant::now();
                if let Some(pid) = world.pid(victim) {
                    crate::guard::signal(pid, "TERM");
                }
                at
            })
        }
        "without_zookeeper" => without_zookeeper(world, n, figures),
        "zombie" => zombie(world, n, figures),
        "both" => both(world, n, figures),
        _ => return false,
    }
    true
}

/// A worker that is primary, standing by none other than a living pair: every partition has two replicas.
fn victim(world: &World, random: &mut Random) -> usize {
    world.ready(LIMIT).expect("two replicas of everything");
    // Until the one that has just started has its spare handles, too; at a moment that has nothing to do with the last.
    std::thread::sleep(Duration::from_millis(1_500 + random.below(1_000)));
    (0..world.workers.len()).max_by_key(|number| world.held_by(*number).len()).expect("a worker")
}

/// Waits for the first alert of a later epoch on each of these partitions; how long each took from `from`.
fn succeeded(world: &World, bereft: &[(usize, i64)], from: Instant) -> Vec<Option<Duration>> {
    loop {
        let took: Vec<Option<Duration>> = {
            let seen = world.watch.look();
            let first = |(partition, epoch): &(usize, i64)| seen[*partition].first_alert_after(*epoch);
            bereft.iter().map(|place| first(place).map(|at| at.saturating_duration_since(from))).collect()
        };
        if took.iter().all(Option::is_some) || from.elapsed() > LIMIT {
            return took;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn bereave(
    world: &mut World,
    n: usize,
    figures: &mut Figures,
    what: &str,
    mut strike: impl FnMut(&mut World, usize) -> Instant,
) {
    let (mut sample, mut silence, mut random, mut strikes) =
        (Sample::default(), Sample::default(), Random::new(1), 0);
    while sample.len() < n {
        let victim = victim(world, &mut random);
        let bereft = world.held_by(victim);
        let at = strike(world, victim);
        strikes += 1;
        let all = succeeded(world, &bereft, at);
        let ago = crate::common::now_ms() - i64::try_from(at.elapsed().as_millis()).unwrap_or(0);
        println!(
            "strike {strikes} at {ago}: {}",
            all.iter().map(|took| ms(*took)).collect::<Vec<_>>().join(", ")
        );
        for ((partition, _), took) in bereft.iter().zip(all) {
            match took {
                Some(took) => sample.add(took),
                None => {
                    figures.wrong.push(format!("partition {partition} has no successor within {LIMIT:?}"))
                }
            }
            let longest = world.watch.look()[*partition].longest_silence(at, Instant::now());
            longest.into_iter().for_each(|longest| silence.add(longest));
        }
        world.kill_worker(victim);
        world.start_worker(victim);
        if !figures.wrong.is_empty() {
            break;
        }
    }
    figures.lines.push(format!("{what}: {}, {strikes} strikes", sample.line()));
    figures
        .lines
        .push(format!("  the reader's longest wait for an alert from the strike on: {}", silence.line()));
}

fn without_zookeeper(world: &mut World, n: usize, figures: &mut Figures) {
    let (mut sample, mut random) = (Sample::default(), Random::new(2));
    while sample.len() < n && figures.wrong.is_empty() {
        let victim = victim(world, &mut random);
        (1..=3).for_each(|node| world.kill_part(&format!("zookeeper-{node}")));
        std::thread::sleep(Duration::from_secs(3));
        let bereft = world.held_by(victim);
        let at = world.kill_worker(victim);
        for took in succeeded(world, &bereft, at) {
            match took {
                Some(took) => sample.add(took),
                None => figures.wrong.push("a partition has no successor without ZooKeeper".to_owned()),
            }
        }
        (1..=3).for_each(|node| world.start_part(&format!("zookeeper-{node}"), &[]));
        let back = |node| world.part_answers(&format!("zookeeper-{node}"));
        figures.wrong.extend((1..=3).filter_map(|node| back(node).err()));
        world.start_worker(victim);
    }
    figures.lines.push(format!("ZooKeeper dead, primary killed -> next committed alert: {}", sample.line()));
}

/// Stopped for half to twenty times its session, then awake: what it does then must be nothing.
fn zombie(world: &mut World, n: usize, figures: &mut Figures) {
    let (mut random, mut zombies, mut duels, mut most) = (Random::new(3), 0, 0, 0);
    let session = world.plan.session;
    for times in [5, 10, 30, 200].into_iter().cycle() {
        if zombies >= n || !figures.wrong.is_empty() {
            break;
        }
        let victim = victim(world, &mut random);
        let bereft = world.held_by(victim);
        // One that starts over after a slow commit has a new epoch and fights nobody.
        let handovers = |world: &World| -> Vec<usize> {
            let seen = world.watch.look();
            let changes = |partition: usize| {
                seen[partition].epochs.windows(2).filter(|pair| pair[0].worker != pair[1].worker).count()
            };
            bereft.iter().map(|(partition, _)| changes(*partition)).collect()
        };
        let before = handovers(world);
        let Some(pid) = world.pid(victim) else { continue };
        let asleep = session * times / 10;
        world.guard.stop(pid, asleep + Duration::from_secs(5));
        std::thread::sleep(asleep);
        world.guard.go_on(pid);
        let awake = Instant::now();
        if let Err(why) = world.alive_since(awake, LIMIT) {
            figures.wrong.push(why);
        }
        // Long enough for a back-off to pass and a duel to show.
        std::thread::sleep(Duration::from_secs(3).saturating_sub(awake.elapsed()));
        for (before, after) in before.iter().zip(handovers(world)) {
            zombies += 1;
            // One takeover is right. Back again is a duel.
            duels += usize::from(after - before > 1);
            most = most.max(after - before);
        }
    }
    figures.lines.push(format!(
        "zombie woken after 0.5, 1, 3, 20 sessions: n={zombies}, {duels} duels, at most {most} takeovers by one sleep; \
         commits after the fence: see verify (an epoch that goes back is a difference)"
    ));
    if duels > 0 {
        figures.wrong.push(format!("{duels} duels"));
    }
}

/// Everything killed at once; `n` records more than an hour's worth stand in the log.
fn both(world: &mut World, n: usize, figures: &mut Figures) {
    let rate = world.plan.partitions as f64 / world.plan.pace.record.as_secs_f64();
    world.load.iter().for_each(|load| load.backlog(world.plan.partitions, n));
    world.ready(LIMIT * 10).expect("it keeps up");
    let records = world.load.as_ref().map_or(0, crate::load::Load::records);
    for number in 0..world.workers.len() {
        world.kill_worker(number);
    }
    let at = Instant::now();
    (0..world.workers.len()).for_each(|number| world.start_worker(number));
    match world.alive_since(at, LIMIT * 10) {
        Ok(()) => {
            let back = at.elapsed();
            let replayed = records as f64 / back.as_secs_f64();
            figures.lines.push(format!(
                "both replicas of everything killed, {records} records in the log ({:.1} h at {rate:.0} records/s): all \
                 partitions told of an alert again after {:.1} s; {replayed:.0} records/s, {:.0} times the ingest rate",
                records as f64 / rate / 3600.0,
                back.as_secs_f64(),
                replayed / rate
            ));
        }
        Err(why) => figures.wrong.push(why),
    }
}
