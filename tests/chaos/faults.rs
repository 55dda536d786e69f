//! Every fault that the harness can do to real processes: its number in `reliability.md`, its name in a schedule, and how
//! it is done and undone. Each returns only when it has undone what it did; whatever it leaves to time has a TTL.

use crate::common::free_port;
use crate::diverge;
use crate::guard::signal;
use crate::proxy::{END_TXN, Flow, Hold, LinkId, Service, State};
use crate::requests;
use crate::schedule::{Fault, Target};
use crate::spoil;
use crate::world::{World, run};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Every name, with its number (0: none of its own) and how long it lasts if the schedule does not say, milliseconds.
pub const CATALOGUE: &[(&str, u32, u64)] = &[
    ("crash", 1, 2_000),
    ("crash_standby", 2, 1_000),
    ("pause", 3, 3_000),
    ("machine_gone", 3, 4_000),
    ("hang", 4, 4_000),
    ("zookeeper_node", 5, 2_000),
    ("zookeeper_down", 6, 5_000),
    ("session_lost", 7, 4_500),
    ("zookeeper_cut", 8, 3_000),
    ("kafka_cut", 9, 4_000),
    ("s3_cut", 10, 3_000),
    ("flap", 11, 4_000),
    ("broker_kill", 12, 3_000),
    ("leader_moves", 13, 2_000),
    ("min_isr", 14, 4_000),
    ("worker_clock", 18, 3_000),
    ("broker_clock", 19, 6_000),
    ("s3_error", 20, 3_000),
    ("s3_slow", 21, 3_000),
    ("snapshot_damaged", 22, 0),
    ("snapshot_missing", 23, 0),
    ("snapshot_foreign", 24, 0),
    ("s3_unanswered", 25, 3_000),
    ("garbage", 26, 500),
    ("log_cut", 30, 0),
    ("crash_all", 35, 1_000),
    ("zone_lost", 36, 3_000),
    ("rebalance", 40, 4_000),
    ("config_drift", 42, 0),
    ("duplicate_id", 43, 1_000),
    ("hanging_txn", 45, 4_000),
    ("end_txn_late", 46, 3_000),
    ("end_txn_lost", 46, 1_000),
    ("end_txn_unanswered", 46, 1_000),
    ("slow_network", 46, 3_000),
    ("torn_network", 46, 500),
    ("coordinator", 47, 3_000),
    ("notify_kill", 49, 1_000),
    ("storm", 50, 3_000),
    ("bit_flip", 51, 0),
    ("stop", 0, 500),
    ("kafka_stall", 0, 2_000),
    ("quiet", 0, 3_000),
    ("rules", 33, 500),
];

/// Number and length of a fault by its name.
pub fn known(code: &str) -> Option<(u32, u64)> {
    CATALOGUE.iter().find(|(name, ..)| *name == code).map(|(_, number, ms)| (*number, *ms))
}

/// How long a worker with a wrong clock may take to begin.
const CLOCK_OFF: Duration = Duration::from_secs(60);

/// What a fault did.
pub struct Done {
    /// When it began.
    pub from: Instant,
    /// When it was undone.
    pub to: Instant,
    /// Partitions that lost their primary by it, with the epoch that ended; none: all partitions may have felt it.
    pub bereft: Vec<(usize, i64)>,
}

/// What the alive part of the world needs back before the next fault.
pub fn inject(world: &mut World, fault: &Fault) -> Result<Done, String> {
    let (_, default_ms) = known(&fault.code).ok_or_else(|| format!("no such fault: {}", fault.code))?;
    let span = Duration::from_millis(fault.span_ms(default_ms));
    let from = Instant::now();
    let mut done = Done { from, to: from, bereft: Vec::new() };
    match fault.code.as_str() {
        "crash" | "crash_standby" | "stop" | "pause" | "machine_gone" | "crash_all" | "zone_lost"
        | "worker_clock" => {
            on_workers(world, fault, span, &mut done)?;
        }
        "hang" | "zookeeper_cut" | "session_lost" | "kafka_cut" | "s3_cut" | "flap" | "s3_error"
        | "s3_slow" | "s3_unanswered" | "end_txn_late" | "end_txn_lost" | "end_txn_unanswered"
        | "slow_network" | "torn_network" => {
            on_network(world, fault, span);
        }
        "zookeeper_node" | "zookeeper_down" | "broker_kill" | "coordinator" | "min_isr" | "broker_clock"
        | "kafka_stall" => {
            on_stack(world, fault, span, &mut done)?;
        }
        "snapshot_damaged" | "snapshot_missing" | "snapshot_foreign" => spoil::snapshots(world, fault)?,
        "log_cut" => spoil::log_cut(world)?,
        "config_drift" => diverge::config_drift(world)?,
        "bit_flip" => diverge::bit_flip(world)?,
        _ => on_the_rest(world, fault, span)?,
    }
    done.to = Instant::now();
    Ok(done)
}

fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// The worker that a target means.
fn worker(world: &World, target: Target) -> Result<usize, String> {
    let other_zone = |partition: usize| {
        let primary = world.primary(partition)?;
        let zone = world.workers[primary].zone;
        let hosts = |number: &usize| {
            world.workers[*number].zone != zone && world.roles(*number).contains_key(&partition)
        };
        (0..world.workers.len()).find(hosts)
    };
    match target {
        Target::Primary(partition) => world.primary(partition % world.plan.partitions),
        Target::Standby(partition) => other_zone(partition % world.plan.partitions),
        Target::Worker(number) => Some(number % world.workers.len()),
        Target::Zone(_) | Target::Node(_) | Target::None => Some(0),
    }
    .filter(|number| world.workers[*number].child.is_some())
    .ok_or_else(|| format!("nobody is {target} now"))
}

fn on_workers(world: &mut World, fault: &Fault, span: Duration, done: &mut Done) -> Result<(), String> {
    let numbers = match fault.code.as_str() {
        "crash_all" => (0..world.workers.len()).collect(),
        "zone_lost" => {
            let zone = zone_of(fault);
            (0..world.workers.len()).filter(|number| world.workers[*number].zone == zone).collect()
        }
        // The one that is primary of the fewest.
        "crash_standby" if fault.target == Target::None => {
            (0..world.workers.len()).min_by_key(|number| world.held_by(*number).len()).into_iter().collect()
        }
        _ => vec![worker(world, fault.target)?],
    };
    let numbers: Vec<usize> = numbers;
    done.bereft = numbers.iter().flat_map(|number| world.held_by(*number)).collect();
    match fault.code.as_str() {
        "pause" => {
            let pid = world.pid(numbers[0]).ok_or("it does not run")?;
            done.from = Instant::now();
            world.guard.stop(pid, span + Duration::from_secs(2));
            pause(span);
            world.guard.go_on(pid);
            if span < world.plan.session {
                done.bereft.clear(); // it may have kept everything
            }
            return Ok(());
        }
        "machine_gone" => {
            // Silent first, as a machine without power is; dead after.
            let pid = world.pid(numbers[0]).ok_or("it does not run")?;
            done.from = Instant::now();
            world.guard.stop(pid, span + Duration::from_secs(2));
            pause(span);
            world.kill_worker(numbers[0]);
        }
        "stop" => done.from = world.stop_worker(numbers[0]).0,
        _ => {
            done.from = Instant::now();
            for number in &numbers {
                world.kill_worker(*number);
            }
        }
    }
    if !matches!(fault.code.as_str(), "machine_gone" | "worker_clock") {
        pause(span);
    }
    if fault.code == "worker_clock" {
        let environment = shifted(world, fault.key("shift"))?;
        numbers.iter().for_each(|number| world.workers[*number].environment.clone_from(&environment));
        numbers.iter().for_each(|number| world.start_worker(*number));
        let lives = world.ready(CLOCK_OFF);
        pause(span);
        for number in &numbers {
            world.kill_worker(*number);
            world.workers[*number].environment.clear();
        }
        lives.map_err(|why| format!("with its clock off: {why}"))?;
    }
    numbers.into_iter().for_each(|number| world.start_worker(number));
    Ok(())
}

/// The environment under which a process's wall clock is shifted, its monotonic clock is not: `clock.c`, which is compiled
/// at its first use.
pub fn shifted(world: &World, seconds: &str) -> Result<Vec<(String, String)>, String> {
    let library = format!("{}/chaos/clock.so", world.plan.dir);
    if !Path::new(&library).exists() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chaos/clock.c");
        let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o", &library, source]).output();
        let made = made.map_err(|fault| format!("cc: {fault}"))?;
        if !made.status.success() {
            return Err(format!("cc {source}: {}", String::from_utf8_lossy(&made.stderr)));
        }
    }
    Ok(vec![("LD_PRELOAD".to_owned(), library), ("CLOCK_SHIFT".to_owned(), seconds.to_owned())])
}

fn zone_of(fault: &Fault) -> char {
    match fault.target {
        Target::Zone(zone) => zone,
        Target::Worker(number) if number % 2 == 1 => 'b',
        _ => 'a',
    }
}

/// The zone whose network a fault meets: that of the target's worker, if it names one.
fn zone(world: &World, fault: &Fault) -> char {
    match fault.target {
        Target::Primary(_) | Target::Standby(_) => {
            worker(world, fault.target).map_or('a', |number| world.workers[number].zone)
        }
        _ => zone_of(fault),
    }
}

fn one_way(way: &str, flow: Flow) -> State {
    match way {
        "up" => State { up: flow, ..State::default() },
        "down" => State { down: flow, ..State::default() },
        _ => State { up: flow, down: flow, ..State::default() },
    }
}

fn on_network(world: &World, fault: &Fault, span: Duration) {
    let zone = zone(world, fault);
    let of = move |service: Service| move |link: LinkId| link.zone == zone && link.service == service;
    let (kafka, keeper, s3) = (of(Service::Kafka), of(Service::ZooKeeper), of(Service::S3));
    let ttl = span + Duration::from_secs(2);
    let proxy = &world.proxy;
    let hold = |hold: Hold| State { hold: Some(hold), ..State::default() };
    match fault.code.as_str() {
        "flap" => {
            // A second of each, in one direction.
            let until = Instant::now() + span;
            while Instant::now() < until {
                proxy.set(kafka, &one_way(fault.key("way"), Flow::Stall), Duration::from_secs(1));
                proxy.set(keeper, &one_way(fault.key("way"), Flow::Stall), Duration::from_secs(1));
                pause(Duration::from_millis(500));
                proxy.heal(kafka, false);
                proxy.heal(keeper, false);
                pause(Duration::from_millis(500));
            }
            return;
        }
        // Alerts do not get out, heartbeats do.
        "hang" => proxy.set(kafka, &hold(Hold::Block { key: END_TXN }), ttl),
        "kafka_cut" => proxy.set(kafka, &one_way(fault.key("way"), Flow::Stall), ttl),
        "zookeeper_cut" => proxy.set(keeper, &one_way(fault.key("way"), Flow::Stall), ttl),
        "session_lost" => proxy.set(keeper, &State::cut(), ttl),
        "s3_cut" => proxy.set(s3, &State::cut(), ttl),
        "s3_error" => {
            let status = fault.key("status").parse().unwrap_or(503);
            proxy.set(s3, &State { answer: Some(status), ..State::default() }, ttl);
            proxy.reset(s3);
        }
        "s3_slow" => proxy.set(s3, &one_way("", Flow::Drip(1_000)), ttl),
        "s3_unanswered" => proxy.set(s3, &one_way("down", Flow::Stall), ttl),
        "end_txn_late" => {
            let ms = u64::try_from(span.as_millis()).unwrap_or(0);
            proxy.set(kafka, &hold(Hold::Late { key: END_TXN, ms }), ttl);
        }
        "end_txn_lost" => proxy.set(kafka, &hold(Hold::Swallow { key: END_TXN }), ttl),
        "end_txn_unanswered" => proxy.set(kafka, &hold(Hold::Unanswered { key: END_TXN }), ttl),
        "slow_network" => proxy.set(kafka, &one_way("", Flow::Delay(20, 60)), ttl),
        _ => proxy.set(kafka, &State { truncate: true, ..State::default() }, ttl),
    }
    pause(span);
    // What was cut is broken after: the ends have lost their state, as after a real cut.
    let reset = matches!(fault.code.as_str(), "kafka_cut" | "zookeeper_cut" | "session_lost" | "s3_cut");
    proxy.heal(|link| link.zone == zone, reset && fault.key("heal") != "clean");
}

fn node_of(fault: &Fault) -> u16 {
    match fault.target {
        Target::Node(node) => (node.max(1) - 1) % 3 + 1,
        Target::Worker(number) => u16::try_from(number % 3).unwrap_or(0) + 1,
        _ => 1,
    }
}

fn on_stack(world: &mut World, fault: &Fault, span: Duration, done: &mut Done) -> Result<(), String> {
    let node = node_of(fault);
    let others: Vec<u16> = (1..=3).filter(|other| *other != node).collect();
    match fault.code.as_str() {
        "zookeeper_node" => {
            let part = format!("zookeeper-{node}");
            world.kill_part(&part);
            pause(span);
            world.start_part(&part, &[]);
        }
        "zookeeper_down" => {
            for other in &others {
                world.kill_part(&format!("zookeeper-{other}"));
            }
            let victim = worker(world, Target::Primary(fault.span_ms(0) as usize % world.plan.partitions))?;
            done.bereft = world.held_by(victim);
            pause(Duration::from_millis(500));
            done.from = world.kill_worker(victim);
            pause(span);
            for other in &others {
                world.start_part(&format!("zookeeper-{other}"), &[]);
            }
            for other in &others {
                world.part_answers(&format!("zookeeper-{other}"))?;
            }
            world.start_worker(victim);
        }
        "broker_kill" | "coordinator" => {
            let part = format!("kafka-{node}");
            world.kill_part(&part);
            pause(span);
            world.start_part(&part, &[]);
            world.part_answers(&part)?;
        }
        // Two of three stand still: no write to alerts or observations is acknowledged.
        "min_isr" | "kafka_stall" => {
            let nodes = if fault.code == "min_isr" { others } else { vec![1, 2, 3] };
            let pids: Vec<u32> = nodes.iter().map(|node| world.part_pid(&format!("kafka-{node}"))).collect();
            pids.iter().for_each(|pid| world.guard.stop(*pid, span + Duration::from_secs(3)));
            pause(span);
            pids.iter().for_each(|pid| world.guard.go_on(*pid));
        }
        _ => {
            // A broker whose clock is off, leader of what it can be.
            let part = format!("kafka-{node}");
            let shift = if fault.key("shift").is_empty() { "+3600" } else { fault.key("shift") };
            let environment = shifted(world, shift)?;
            let borrowed: Vec<(&str, &str)> =
                environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            world.kill_part(&part);
            world.start_part(&part, &borrowed);
            let led = world.part_answers(&part).and_then(|()| lead(world, node));
            pause(span);
            world.kill_part(&part);
            world.start_part(&part, &[]);
            world.part_answers(&part)?;
            led?;
        }
    }
    Ok(())
}

/// Makes a broker leader of every partition of observations and alerts, as soon as it is in sync.
fn lead(world: &World, node: u16) -> Result<(), String> {
    let topics = [format!("{}.observations", world.cluster), format!("{}.alerts", world.cluster)];
    let replicas: Vec<i32> = (0..3).map(|n| i32::from((node - 1 + n) % 3 + 1)).collect();
    let start = Instant::now();
    loop {
        let asked = requests::reassign(world.plan.port, &topics, world.plan.partitions, &replicas)
            .and_then(|()| requests::elect(world.plan.port, &topics, world.plan.partitions));
        match asked {
            Ok(()) => return Ok(()),
            Err(_) if start.elapsed() < Duration::from_secs(60) => pause(Duration::from_millis(300)),
            Err(fault) => return Err(fault),
        }
    }
}

fn on_the_rest(world: &mut World, fault: &Fault, span: Duration) -> Result<(), String> {
    let partition = match fault.target {
        Target::Primary(partition) | Target::Standby(partition) => partition % world.plan.partitions,
        _ => 0,
    };
    match fault.code.as_str() {
        "leader_moves" => {
            let until = Instant::now() + span;
            let mut node = node_of(fault);
            while Instant::now() < until {
                lead(world, node)?;
                node = node % 3 + 1;
                pause(Duration::from_millis(500));
            }
        }
        "garbage" => {
            world.load.iter().for_each(|load| load.garbage(partition));
            pause(span);
        }
        "quiet" => {
            world.load.iter().for_each(|load| load.quiet(true));
            pause(span);
            world.load.iter().for_each(|load| load.quiet(false));
        }
        "storm" => {
            let series = fault.key("series").parse().unwrap_or(2_000);
            world.load.iter().for_each(|load| load.storm(partition, series, true));
            pause(span);
            world.load.iter().for_each(|load| load.storm(partition, series, false));
        }
        "rules" => {
            let rules = format!("{}/chaos/rules.yaml", world.plan.dir);
            run(&["--config", &world.config, "rules", "apply", "--yes", "--no-alerts", &rules]);
            pause(span);
        }
        "notify_kill" => {
            // While it waits for the receiver: sent, and not noted yet.
            world.receiver.iter().for_each(|receiver| receiver.delay(300));
            pause(span / 2);
            world.kill_notify();
            world.receiver.iter().for_each(|receiver| receiver.delay(0));
            pause(span / 2);
            world.start_notify();
        }
        "rebalance" => rebalance(world, span),
        "duplicate_id" => duplicate_id(world)?,
        "hanging_txn" => {
            let transaction =
                requests::open_transaction(&world.brokers, &format!("{}.alerts", world.cluster), partition)?;
            pause(span);
            transaction.abort();
        }
        other => return Err(format!("{other} is not written")),
    }
    Ok(())
}

/// A third worker joins a zone's group and leaves it, again and again.
fn rebalance(world: &mut World, span: Duration) {
    let until = Instant::now() + span;
    let mut number = 0;
    while Instant::now() < until {
        let zone_worker = number % 2;
        let address = format!("127.0.0.1:{}", free_port());
        let id = format!("worker=x{number}");
        let mut guest = world.spawn_worker(zone_worker, &address, &["--set", &id]);
        pause(Duration::from_millis(1_000));
        signal(guest.id(), "TERM");
        let _ = guest.wait();
        world.guard.gone(guest.id());
        number += 1;
    }
}

/// A second process of a live worker's id must refuse to run: exit code 2, and the first is not disturbed.
fn duplicate_id(world: &World) -> Result<(), String> {
    let address = format!("127.0.0.1:{}", free_port());
    let mut second = world.spawn_worker(0, &address, &[]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Some(status) = second.try_wait().map_err(|fault| fault.to_string())? {
            world.guard.gone(second.id());
            return if status.code() == Some(2) {
                Ok(())
            } else {
                Err(format!("the second ended with {status}"))
            };
        }
        pause(Duration::from_millis(50));
    }
    let _ = second.kill();
    let _ = second.wait();
    Err("a second worker of one id runs".to_owned())
}
