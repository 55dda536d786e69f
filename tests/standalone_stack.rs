//! `worker --standalone` beside a cluster, on the real stack: it takes every partition over, the cluster's workers stand
//! back, and they take over again when it is stopped or killed. Every seq is out once, and `verify` agrees.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    reason = "a test that starts processes and threads, waits for the real world, and may panic"
)]

mod common;
#[path = "common/rig.rs"]
mod rig;

use common::{Process, free_port, get, now_ms, succeed, wait_for};
use rig::{LIMIT, PARTITIONS, Reader, Rig};
use std::time::Duration;

const STANDALONE: &str = "emergency";

/// Starts one beside the rig's workers, and waits until it is primary of every partition.
fn stand_alone(rig: &Rig, reader: &mut Reader) -> Process {
    let address = format!("127.0.0.1:{}", free_port());
    let listen = format!("http.listen={address}");
    let folder = rig.scratch.0.join(format!("snapshots-{}", now_ms())).display().to_string();
    let arguments = [
        "--config",
        &rig.file,
        "--set",
        &listen,
        // No lock server and no store: what it does not need must not be in its way.
        "--set",
        "zookeeper.hosts=127.0.0.1:1",
        "--set",
        "snapshots.url=s3://nobody/there",
        "worker",
        "--standalone",
        "--id",
        STANDALONE,
        "--snapshot-dir",
        &folder,
    ];
    let process = Process::bellwether(&rig.scratch, &format!("{STANDALONE}-{}", now_ms()), &arguments);
    reader.read("the standalone worker's alerts", |seen| seen.values().all(|seen| seen.worker == STANDALONE));
    wait_for("its readiness", LIMIT, || get(&address, "/-/ready").filter(|(status, _)| *status == 200));
    process
}

/// Promotions of the cluster's own workers, as they count them.
fn promotions(rig: &Rig) -> u64 {
    let count = |text: String| -> u64 {
        let counted = text.lines().filter(|line| line.starts_with("bellwether_promotions_total{"));
        counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    rig.workers.iter().map(|worker| count(get(&worker.address, "/metrics").expect("it lives").1)).sum()
}

#[test]
fn a_standalone_worker_takes_over_beside_a_cluster_and_the_cluster_takes_back() {
    // Longer than a loaded machine may take for a commit: here only the claim keeps the cluster back. And a load that such a
    // machine bears: commits of over a second would have the standalone worker start over, which is not what this tries.
    let rig = Rig::start("standalone", "10s", Duration::from_millis(200));
    let mut reader = Reader::start(&rig.config);
    let all = usize::try_from(PARTITIONS).expect("a few");
    reader.read("alerts on every partition", |seen| {
        seen.len() == all && seen.values().all(|seen| seen.seq > 20)
    });
    for end in [
        |process: &mut Process| assert_eq!(process.terminate(), Some(0)),
        |process: &mut Process| process.kill(),
    ] {
        let mut standalone = stand_alone(&rig, &mut reader);
        let before = promotions(&rig);
        reader.read_for(Duration::from_secs(6));
        assert!(reader.seen.values().all(|seen| seen.worker == STANDALONE), "{:?}", reader.seen);
        assert_eq!(promotions(&rig), before, "the cluster stands back although its locks are free");
        end(&mut standalone);
        reader.read("the cluster's alerts", |seen| seen.values().all(|seen| seen.worker != STANDALONE));
    }
    println!("{}", succeed(&["--config", &rig.file, "verify"]));
}
