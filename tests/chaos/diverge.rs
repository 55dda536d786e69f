//! Replicas that would decide differently: one that believes other keys, and one with a bit flipped in its memory.

use crate::common::get;
use crate::world::World;
use regex::bytes::Regex;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// How long a worker may take to say what is wrong.
const SAYS: Duration = Duration::from_secs(60);
/// Memory that is read at once.
const CHUNK: usize = 4 << 20;

/// Waits until a worker says something, by its metrics, its readiness or its log; how long that took.
fn said(what: &str, mut ask: impl FnMut() -> bool) -> Result<Duration, String> {
    let start = Instant::now();
    while !ask() {
        if start.elapsed() > SAYS {
            return Err(format!("{what}: not within {SAYS:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(start.elapsed())
}

/// Fault 42: a worker comes back with a key of its own. It may not stand by, and says why; with its old one it may.
pub fn config_drift(world: &mut World) -> Result<(), String> {
    let number =
        (0..world.workers.len()).min_by_key(|number| world.held_by(*number).len()).ok_or("nobody")?;
    let folder = format!("{}/chaos/foreign-{}", world.plan.dir, crate::common::now_ms());
    crate::common::succeed(&["keys", "generate", "--out", &folder]);
    world.kill_worker(number);
    let http = world.workers[number].http.clone();
    world.workers[number].environment.clear();
    let key = format!("control.key={folder}/control.key");
    world.workers[number].child = Some(world.spawn_worker(number, &http, &["--set", &key]));
    let refused = said("a worker with another key says that it may not stand by", || {
        get(&http, "/-/ready").is_some_and(|(status, why)| status == 503 && why.contains("does not believe"))
    });
    let hosts = world.roles(number);
    world.kill_worker(number);
    world.start_worker(number);
    refused?;
    if !hosts.is_empty() {
        return Err(format!("it hosts {hosts:?} all the same"));
    }
    Ok(())
}

/// Fault 51: one letter of a service's name is changed in the memory of a worker that stands by for it. Its history
/// differs from there on: it must notice by the next markers, and the partition's alerts must not.
pub fn bit_flip(world: &mut World) -> Result<(), String> {
    let (partition, number) = (0..world.plan.partitions)
        .flat_map(|partition| (0..world.workers.len()).map(move |number| (partition, number)))
        .filter(|(partition, number)| {
            world.roles(*number).get(partition).is_some_and(|role| role == "standby")
        })
        .min_by_key(|(_, number)| world.held_by(*number).len())
        .ok_or("nobody stands by")?;
    let http = world.workers[number].http.clone();
    let divergences = || {
        let metrics = get(&http, "/metrics").map(|(_, text)| text).unwrap_or_default();
        let name = format!("bellwether_divergences_total{{partition=\"{partition}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    let before = divergences();
    world.flipped.insert(partition);
    let pid = world.pid(number).ok_or("it does not run")?;
    let service = format!("svc-{partition}");
    let flipped = flip(pid, &service).map_err(|why| format!("the memory of process {pid}: {why}"))?;
    let noticed = said("the replica whose memory is wrong notices", || divergences() > before);
    // It would page wrongly if it rose: a worker that says so is to be restarted, as its alert tells people.
    world.kill_worker(number);
    world.start_worker(number);
    print!("  {flipped} places, noticed after {} ms", noticed?.as_millis());
    Ok(())
}

/// Sets bit 5 of the last letter before the dash wherever `text` stands in a process's private memory. How many places.
fn flip(pid: u32, text: &str) -> std::io::Result<usize> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"))?;
    let needle = Regex::new(&format!("{}\\b", regex::escape(text))).map_err(std::io::Error::other)?;
    let letter = text.find('-').unwrap_or(1) - 1;
    let mut chunk = vec![0; CHUNK];
    let mut places = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let name = words.nth(3).unwrap_or_default();
        if !rights.starts_with("rw") || !(name.is_empty() || name == "[heap]") {
            continue;
        }
        let Some((from, to)) = range.split_once('-') else { continue };
        let address = |text| u64::from_str_radix(text, 16).map_err(std::io::Error::other);
        let (mut from, to) = (address(from)?, address(to)?);
        while from < to {
            let wanted = usize::try_from(to - from).unwrap_or(CHUNK).min(CHUNK);
            // Memory that is given back meanwhile.
            let Ok(read) = memory.read_at(&mut chunk[..wanted], from) else { break };
            for found in needle.find_iter(&chunk[..read]) {
                let at = found.start() + letter;
                memory.write_at(&[chunk[at] ^ 0x20], from + at as u64)?;
                places += 1;
            }
            from += read.max(1) as u64;
        }
    }
    Ok(places)
}
