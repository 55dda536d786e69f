//! `bellwether verify`: does the alerts topic hold what the log says, each transition once? For anyone who may read both
//! topics: it needs no worker, no ZooKeeper and no trust.

use super::output;
use crate::config::Config;
use crate::error::Error;
use crate::shell::verify::{Beginning, Question, Verdict, Verifier, VerifyError};
use serde_json::json;
use std::process::ExitCode;

/// Flags of `bellwether verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this partition.
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// Begin with a snapshot instead of the log's first record: the oldest that the log still reaches, or the newest. What
    /// came before it is not judged.
    #[arg(long, value_name = "WHICH", value_enum, num_args = 0..=1, default_missing_value = "oldest")]
    from_snapshot: Option<Which>,
    /// Nothing is being written any more: what the replay derives beyond the last marker must be out, too. Without it, that
    /// is counted as not due yet.
    #[arg(long)]
    at_rest: bool,
    /// One JSON object a line, for each partition.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Which {
    Oldest,
    Newest,
}

const HEADER: [&str; 10] = [
    "PARTITION",
    "FROM",
    "RECORDS",
    "TRANSITIONS",
    "MARKERS",
    "EPOCHS",
    "NOT DUE",
    "LOST",
    "DOUBLED",
    "VERDICT",
];

/// Runs it. Exit 0 where every partition is equal, 1 where one differs, 2 where one could not be judged and none differs.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let from = match args.from_snapshot {
        None => Beginning::Log,
        Some(Which::Oldest) => Beginning::OldestSnapshot,
        Some(Which::Newest) => Beginning::NewestSnapshot,
    };
    let question = Question { from, at_rest: args.at_rest, producer_time: false };
    let mut verifier = Verifier::open(config, question)?;
    let count = verifier.partitions()?;
    let partitions = match args.partition {
        None => 0..count,
        Some(only) if (0..count).contains(&only) => only..only + 1,
        Some(partition) => {
            let topic = format!("{}.observations", config.kafka.topic_prefix);
            return Err(VerifyError::NoPartition { partition, topic, last: count - 1 }.into());
        }
    };
    let (mut rows, mut differences, mut unjudged) = (Vec::new(), Vec::new(), 0);
    for partition in partitions {
        match verifier.verify(partition) {
            Ok(verdict) => {
                if args.json && !output::line(&json(&verdict))? {
                    break;
                }
                rows.push(row(&verdict));
                let place = |difference| format!("partition {partition}: {difference}");
                differences.extend(verdict.difference.map(place));
            }
            // Nobody answers: the other partitions would only say so again.
            Err(fault) if fault.is_retryable() => return Err(fault.into()),
            Err(fault) => {
                eprintln!("bellwether: {fault} [{}]", fault.code());
                rows.push(vec![partition.to_string(), "-".to_owned(), "not judged".to_owned()]);
                unjudged += 1;
            }
        }
    }
    if !args.json {
        output::print(&output::table(&HEADER, &rows))?;
        for difference in &differences {
            output::line(difference)?;
        }
    }
    Ok(ExitCode::from(match (differences.len(), unjudged) {
        (0, 0) => 0,
        (0, _) => 2,
        _ => 1,
    }))
}

fn row(verdict: &Verdict) -> Vec<String> {
    let not_due = match verdict.not_due {
        0 => "0".to_owned(),
        count => format!("{count}, {:.1} s", verdict.not_due_ms as f64 / 1e3),
    };
    vec![
        verdict.partition.to_string(),
        verdict.from_offset.to_string(),
        verdict.records.to_string(),
        verdict.found.to_string(),
        verdict.markers.to_string(),
        verdict.epochs.to_string(),
        not_due,
        verdict.lost.to_string(),
        verdict.doubled.to_string(),
        if verdict.is_equal() { "equal" } else { "DIFFERENT" }.to_owned(),
    ]
}

/// The verdict, with the difference in words beside its parts.
fn json(verdict: &Verdict) -> String {
    let mut value = serde_json::to_value(verdict).unwrap_or_default();
    value["equal"] = json!(verdict.is_equal());
    value["text"] = json!(verdict.difference.as_ref().map(ToString::to_string));
    value.to_string()
}
