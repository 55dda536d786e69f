//! `bellwether demo`: the main job in a minute, as a timeline, with a verdict.

mod story;

use crate::config::Config;
use crate::error::Error;
use crate::shell::demo::stage::Stage;
use std::process::ExitCode;
use story::Story;

/// Flags of `bellwether demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Play on this cluster, with topics of the demo's own, and not on a mock inside this process.
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,
}

/// Plays it. Exit code 0 if the verdict is equal, 1 if not.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let stage = Stage::set(config, args.brokers.as_deref())?;
    println!(
        "Bellwether's main job in about a minute: a service degrades, the primary is killed half-way through the"
    );
    println!("rule's `for`, the standby goes on, one person is told once. Kafka: {}\n", whereabouts(args));
    let topics = stage.config.kafka.topic_prefix.clone();
    let mut story = Story::begin(stage)?;
    let verdict = match story.play() {
        Ok(()) => story.verdict()?,
        Err(stuck) => {
            println!("\nStuck: {stuck}.");
            false
        }
    };
    println!("\nVerdict: {}\n", if verdict { "equal" } else { "DIFFERENT" });
    if args.brokers.is_some() {
        println!("Its five topics stay on the cluster for you to look at: {topics}.*\n");
    } else {
        println!(
            "The mock cannot prove fencing: it aborts no transaction and stamps no time of its own, and the lock is"
        );
        println!("this process's. `tests/run` shows the same on a real Kafka and ZooKeeper, with kill -9.\n");
    }
    println!("Try next:");
    println!(
        "  deploy/local/up                                     a real Kafka, ZooKeeper and S3 on this machine"
    );
    println!("  bellwether demo --brokers 127.0.0.1:19010           the same story on it");
    println!("  bellwether rules check your-rules.yaml              what of your Prometheus rules runs here");
    Ok(if verdict { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn whereabouts(args: &Args) -> String {
    args.brokers.clone().unwrap_or_else(|| "a mock inside this process".to_owned())
}
