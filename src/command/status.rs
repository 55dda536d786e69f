//! `bellwether status`: partition by zone, from ZooKeeper and Kafka alone; no worker is asked.
//!
//! ZooKeeper has each worker's own report, some two seconds old. Kafka has where each partition ends, and the last
//! marker of its alerts: how far they are out, and who said so. Without ZooKeeper the markers still tell who was primary.
//! Which zones there are, Kafka's consumer groups tell: a zone that died whole has its rows until Kafka forgets the
//! offsets that its group committed (seven days, unless brokers say otherwise).

mod rows;

use super::output;
use crate::config::Config;
use crate::error::Error;
use crate::shell::clock;
use crate::shell::kafka::Topics;
use crate::shell::kafka::log::{ANSWER, Log};
use crate::shell::kafka::tail::Follower;
use crate::shell::preflight;
use crate::shell::registry::{self, WorkerReport};
use rows::{Row, Seen};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// How long ZooKeeper may take before the table is made without it.
const ZOOKEEPER_ANSWER: Duration = Duration::from_secs(3);

/// Flags of `bellwether status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON object a line, for each partition in each zone.
    #[arg(long)]
    json: bool,
}

/// Runs it. Exit 1 where a partition lacks a worker in a known zone, lacks a primary, or two digests differ.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let topics = Topics::new(&config.kafka.topic_prefix);
    let log = Log::open(config, &topics.observations)?;
    let mut ends = BTreeMap::new();
    for partition in 0..log.partitions()? {
        ends.insert(partition, log.end(partition)?);
    }
    let (reports, zookeeper) = match registry::read_all(config, ZOOKEEPER_ANSWER) {
        Ok(reports) => (reports, true),
        Err(fault) => {
            eprintln!("bellwether: {fault} [{}]", fault.code());
            eprintln!(
                "bellwether: without ZooKeeper, roles are what the last markers say, and lag is not known"
            );
            (Vec::new(), false)
        }
    };
    let follower = Follower::start(config)?;
    let mut markers = BTreeMap::new();
    for partition in ends.keys() {
        if let Some(marker) = follower.last_marker(*partition, ANSWER)?.marker {
            markers.insert(*partition, marker);
        }
    }
    let zones = preflight::zones(&log, config)?;
    print(&Seen { ends, markers, zones, zookeeper, reports, now_ms: clock::wall_ms() }, args.json)
}

fn print(seen: &Seen, json: bool) -> Result<ExitCode, Error> {
    let rows = rows::rows(seen);
    if json {
        for row in &rows {
            if !output::line(&serde_json::to_string(row).unwrap_or_default())? {
                break;
            }
        }
    } else {
        let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
        output::print(&output::table(&Row::HEADER, &cells))?;
    }
    let mut troubles = rows::troubles(&rows);
    if seen.reports.is_empty() {
        // One line instead of one for each partition; without ZooKeeper it was said above.
        troubles.clear();
        troubles.extend(seen.zookeeper.then(|| "no worker is registered in ZooKeeper".to_owned()));
    }
    troubles.iter().for_each(|trouble| eprintln!("bellwether: {trouble}"));
    Ok(ExitCode::from(u8::from(!seen.zookeeper || !troubles.is_empty())))
}
