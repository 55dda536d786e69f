//! `bellwether worker`.

use crate::config::Config;
use crate::error::Error;
use crate::shell::http::{Readiness, advertised, serve};
use crate::shell::lock::{InProcessLocks, LockService};
use crate::shell::peers;
use crate::shell::signal;
use crate::shell::worker::{Metrics, Worker, WorkerOptions};
use crate::shell::zookeeper::ZooKeeper;
use prometheus_client::registry::Registry;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How often the worker is asked whether it can go on.
const LOOK: Duration = Duration::from_millis(500);

/// Flags of `bellwether worker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Availability zone of this worker, over `zone` of the configuration.
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Identity of this worker, unique within the cluster and the same after a restart, over `worker` of the configuration.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// The emergency lever: one worker, without ZooKeeper and S3, primary of every partition. Safe to start beside a
    /// cluster, sick or not: the cluster's workers stand back, and take over again when this one stops.
    #[arg(long)]
    pub standalone: bool,
    /// With --standalone: where snapshots are kept.
    #[arg(long, value_name = "DIR", requires = "standalone", default_value = "bellwether-snapshots")]
    pub snapshot_dir: PathBuf,
}

/// Runs it until SIGTERM or SIGINT. Exit code 2 where another process lives under its id.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let mut config = config.clone();
    identify(&mut config, args);
    if args.standalone {
        stand_alone(&mut config, args)?;
    }
    let stop = signal::listen().map_err(Error::System)?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let readiness = Arc::new(Readiness::default());
    let identity = peers::identity(&config.cluster, &config.worker);
    // Declared first, so that it is closed last: a refused port says that this process is gone.
    let http = serve(&config.http_listen, registry, Arc::clone(&readiness), &identity)?;
    let advertised = advertised(http.address, &config.http_advertise, &config.kafka.brokers);
    tracing::info!("listening on http://{}: /-/healthy, /-/ready, /metrics", http.address);
    let keeper = if args.standalone { None } else { Some(Arc::new(ZooKeeper::start(&config)?)) };
    let lock = match &keeper {
        Some(keeper) => LockService::ZooKeeper(Arc::clone(keeper)),
        None => LockService::Standalone(InProcessLocks::new(Duration::ZERO)),
    };
    let worker = Worker::start(WorkerOptions {
        config,
        lock,
        producer_time: false,
        metrics,
        readiness,
        http: advertised,
    })?;
    let mut refused = None;
    while refused.is_none() && !stop.wait(LOOK) {
        refused = worker.refused();
    }
    worker.stop();
    if let Some(keeper) = keeper {
        keeper.close();
    }
    Ok(match refused {
        Some(why) => {
            tracing::error!("stopped: {why}");
            ExitCode::from(2)
        }
        None => ExitCode::SUCCESS,
    })
}

/// Nothing of the cluster's but Kafka: an id of its own, so that its markers tell it from the cluster's workers, and
/// snapshots on disk.
fn stand_alone(config: &mut Config, args: &Args) -> Result<(), Error> {
    if args.id.is_none() {
        config.worker = format!("standalone-{}", config.worker);
    }
    let folder = std::path::absolute(&args.snapshot_dir)
        .map_err(|source| Error::File { path: args.snapshot_dir.display().to_string(), source })?;
    config.snapshots.url = format!("file://{}", folder.display());
    Ok(())
}

/// The flags go over the configuration. An id that was made from the zone follows the zone.
fn identify(config: &mut Config, args: &Args) {
    if let Some(zone) = &args.zone {
        let rest = config.worker.strip_prefix(&format!("{}-", config.zone));
        if let Some(rest) = rest {
            config.worker = format!("{zone}-{rest}");
        }
        config.zone.clone_from(zone);
    }
    if let Some(id) = &args.id {
        config.worker.clone_from(id);
    }
}
