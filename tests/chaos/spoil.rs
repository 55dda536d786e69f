//! What goes wrong with the snapshots in the store, and with the log that they stand on. The store of `deploy/local` keeps
//! each object in a file, so that what no S3 call can do is done to the file.

use crate::guard::signal;
use crate::schedule::Fault;
use crate::world::World;
use ::bellwether::wire::manifest::{self, MANIFEST_NAME, read_folder};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::{Offset, TopicPartitionList};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A snapshot that everybody waits for: each is due within this, and a little for whoever writes it.
const NEXT_SNAPSHOT: Duration = Duration::from_secs(120);

/// The folder of the newest finished snapshot of a partition, and the offset from which the log goes on.
fn newest(world: &World, partition: usize) -> Option<(PathBuf, i64)> {
    // Bucket, the prefix of snapshots.url, then <cluster>/<topic id>/<partition>/<engine>/<seq>-<offset>.
    let bucket = PathBuf::from(&world.plan.dir).join("stack/s3/bellwether");
    let cluster = bucket.join(&world.cluster).join(&world.cluster);
    let below = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let topics = below(&cluster).into_iter().flat_map(|topic| below(&topic.join(partition.to_string())));
    let snapshots = topics.flat_map(|engine| below(&engine));
    let finished = snapshots.filter(|folder| folder.join(MANIFEST_NAME).exists());
    let offset = |folder: &PathBuf| read_folder(folder.file_name()?.to_str()?).map(|(_, offset)| offset);
    finished.filter_map(|folder| offset(&folder).map(|offset| (folder, offset))).max_by_key(|(_, at)| *at)
}

/// The objects of a snapshot, the manifest first.
fn objects(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.is_file()).collect();
    files.sort_by_key(|file| !file.ends_with(MANIFEST_NAME));
    files
}

fn damage(file: &Path, how: &str) -> std::io::Result<()> {
    let mut bytes = std::fs::read(file)?;
    let middle = bytes.len() / 2;
    match how {
        "cut" => bytes.truncate(middle),
        "pad" => bytes.push(0),
        "empty" => bytes.clear(),
        _ => bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 0x10),
    }
    std::fs::write(file, bytes)
}

/// Spoils the newest snapshot of every partition, then kills a worker that must do without them.
pub fn snapshots(world: &mut World, fault: &Fault) -> Result<(), String> {
    let count = world.plan.partitions;
    let start = Instant::now();
    let newest: Vec<(PathBuf, i64)> = loop {
        match (0..count).map(|partition| newest(world, partition)).collect::<Option<_>>() {
            Some(newest) => break newest,
            None if start.elapsed() > NEXT_SNAPSHOT => {
                return Err("no snapshot of every partition".to_owned());
            }
            None => std::thread::sleep(Duration::from_millis(200)),
        }
    };
    let spoilt: std::io::Result<()> = newest.iter().enumerate().try_for_each(|(at, (folder, _))| {
        match fault.code.as_str() {
            "snapshot_missing" => std::fs::remove_dir_all(folder),
            // Another partition's, under a name that is newer than all.
            "snapshot_foreign" => {
                let (other, _) = &newest[(at + 1) % count];
                let name = folder.file_name().and_then(|name| read_folder(name.to_str()?));
                let (seq, offset) = name.unwrap_or_default();
                let stranger = folder.with_file_name(manifest::folder(seq + 1, offset + 1));
                std::fs::create_dir_all(&stranger)?;
                objects(other).iter().try_for_each(|file| {
                    let name = file.file_name().unwrap_or_default();
                    std::fs::copy(file, stranger.join(name)).map(|_| ())
                })
            }
            _ => {
                let objects = objects(folder);
                // The manifest of one partition, a part of the next.
                objects.get(at % 2).map_or(Ok(()), |object| damage(object, fault.key("how")))
            }
        }
    });
    spoilt.map_err(|why| format!("the store's files: {why}"))?;
    let number =
        (0..world.workers.len()).min_by_key(|number| world.held_by(*number).len()).ok_or("nobody")?;
    let log = format!("{}/chaos/{}.log", world.plan.dir, world.workers[number].id);
    let length = |log: &str| std::fs::metadata(log).map_or(0, |about| about.len());
    let before = usize::try_from(length(&log)).unwrap_or(0);
    world.kill_worker(number);
    // The clock that an earlier fault gave it is not what this one is about.
    world.workers[number].environment.clear();
    world.start_worker(number);
    world.ready(NEXT_SNAPSHOT)?;
    let start = Instant::now();
    while world.roles(number).is_empty() {
        if start.elapsed() > NEXT_SNAPSHOT {
            return Err(format!("{} hosts nothing", world.workers[number].id));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let text = std::fs::read(&log).map_err(|why| format!("{log}: {why}"))?;
    let said = String::from_utf8_lossy(text.get(before..).unwrap_or_default()).into_owned();
    // What is not there cannot be refused.
    if fault.code != "snapshot_missing" && !said.contains("is not used") {
        return Err(format!("{} refused none of the spoilt snapshots", world.workers[number].id));
    }
    Ok(())
}

/// Retention takes what a stopped worker has not read yet; it wakes up behind the log's beginning.
pub fn log_cut(world: &mut World) -> Result<(), String> {
    let number =
        (0..world.workers.len()).min_by_key(|number| world.held_by(*number).len()).ok_or("nobody")?;
    let pid = world.pid(number).ok_or("it does not run")?;
    let partitions: Vec<usize> = (0..world.plan.partitions).collect();
    let before: Vec<i64> =
        partitions.iter().map(|p| newest(world, *p).map_or(0, |(_, offset)| offset)).collect();
    world.guard.stop(pid, NEXT_SNAPSHOT * 3);
    let start = Instant::now();
    let newer = loop {
        let now: Vec<i64> =
            partitions.iter().map(|p| newest(world, *p).map_or(0, |(_, offset)| offset)).collect();
        if now.iter().zip(&before).all(|(now, before)| now > before) {
            break now;
        }
        if start.elapsed() > NEXT_SNAPSHOT {
            world.guard.go_on(pid);
            return Err(format!("no newer snapshots within {NEXT_SNAPSHOT:?}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    // What is about to go is judged now: a replay from the beginning is not possible after.
    let (code, _, talk) = world.verify(&[]);
    if code != Some(0) {
        signal(pid, "CONT");
        return Err(format!("verify before the cut: exit {code:?}: {talk}"));
    }
    let mut list = TopicPartitionList::new();
    for (partition, offset) in newer.into_iter().enumerate() {
        let partition = i32::try_from(partition).map_err(|why| why.to_string())?;
        list.add_partition_offset(
            &format!("{}.observations", world.cluster),
            partition,
            Offset::Offset(offset),
        )
        .map_err(|why| why.to_string())?;
    }
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &world.brokers)
        .create()
        .map_err(|why| why.to_string())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|why| why.to_string())?;
    runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).map_err(|why| why.to_string())?;
    world.is_log_cut = true;
    world.guard.go_on(pid);
    world.ready(NEXT_SNAPSHOT)
}
