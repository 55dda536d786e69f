//! `bellwether alerts`: what the alerts topic says, read as every reader has to: committed records only, a `seq` that
//! was seen is dropped, at a gap it waits.

use super::output;
use crate::config::Config;
use crate::error::Error;
use crate::notify::Sequence;
use crate::shell::kafka::Topics;
use crate::shell::kafka::log::{Log, Read, Record};
use crate::shell::{clock, signal};
use crate::wire::{AlertId, AlertRecord, AlertState, Labels, Transition};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Flags of `bellwether alerts`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print every transition from the beginning of the topic, then each as it comes, until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// One JSON object a line: the transition with its partition.
    #[arg(long)]
    json: bool,
    /// Only this partition.
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
}

/// Runs it.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let topic = Topics::new(&config.kafka.topic_prefix).alerts;
    let log = Log::open(config, &topic)?;
    let count = log.partitions()?;
    let partitions: Vec<i32> =
        (0..count).filter(|partition| args.partition.is_none_or(|only| only == *partition)).collect();
    if partitions.is_empty() {
        eprintln!(
            "bellwether: --partition {}: {topic} has the partitions 0 to {}",
            args.partition.unwrap_or_default(),
            count - 1
        );
        return Ok(ExitCode::from(2));
    }
    if args.follow { follow(args, &log, &partitions) } else { current(args, &log, &partitions) }
}

/// Puts the records of all partitions in order.
#[derive(Default)]
struct Reader {
    sequences: BTreeMap<i32, Sequence>,
}

impl Reader {
    /// Takes a record as it was read; gives the transitions that are in order now.
    fn take(&mut self, record: &Record, mut each: impl FnMut(Box<Transition>)) {
        let (partition, offset) = (record.partition, record.offset);
        match AlertRecord::read(&record.value) {
            Ok(AlertRecord::Marker(_)) => {}
            Ok(AlertRecord::Transition(transition)) => {
                let sequence = self.sequences.entry(partition).or_default();
                sequence.push(offset, transition, 0);
                while let Some((_, transition)) = sequence.pop() {
                    each(transition);
                }
            }
            Err(fault) => {
                tracing::warn!(partition, offset, %fault, "a record of the alerts topic cannot be read");
            }
        }
    }

    /// The partitions that wait at a gap.
    fn waiting(&self) -> impl Iterator<Item = i32> {
        self.sequences.iter().filter(|(_, sequence)| sequence.is_waiting()).map(|(partition, _)| *partition)
    }
}

/// Alerts by state and identity: firing ones first.
type Alerts = BTreeMap<(i32, AlertId), Box<Transition>>;

fn current(args: &Args, log: &Log, partitions: &[i32]) -> Result<ExitCode, Error> {
    let (mut reader, mut alerts) = (Reader::default(), Alerts::new());
    log.read_all(partitions.iter().copied(), |record| {
        reader.take(&record, |transition| update(&mut alerts, record.partition, transition));
    })?;
    for partition in reader.waiting() {
        eprintln!("bellwether: partition {partition} lacks a transition; what comes after it is not shown");
    }
    let mut shown: Vec<(i32, &Transition)> =
        alerts.iter().map(|((partition, _), transition)| (*partition, &**transition)).collect();
    shown.sort_by_key(|(_, transition)| std::cmp::Reverse(transition.to));
    if args.json {
        for (partition, transition) in shown {
            if !output::line(&json(partition, transition))? {
                break;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    if shown.is_empty() {
        eprintln!("bellwether: nothing is pending or firing");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = shown.iter().map(|(_, transition)| row(transition)).collect();
    let table = output::table(&["STATE", "SINCE", "RULE", "LABELS", "VALUE"], &rows);
    output::print(&if output::coloured() { colour(&table) } else { table })?;
    Ok(ExitCode::SUCCESS)
}

fn follow(args: &Args, log: &Log, partitions: &[i32]) -> Result<ExitCode, Error> {
    let stop = signal::listen().map_err(Error::System)?;
    let mut reader = Reader::default();
    let mut heard = clock::monotonic();
    let coloured = output::coloured();
    log.rewind(partitions.iter().copied())?;
    while !stop.wait(Duration::ZERO) {
        match log.next(Duration::from_millis(200))? {
            Read::Record(record) => {
                let mut lines = Vec::new();
                reader.take(&record, |transition| {
                    let text = if args.json {
                        json(record.partition, &transition)
                    } else {
                        line(record.partition, &transition)
                    };
                    lines.push(if coloured && !args.json { colour(&text) } else { text });
                });
                for line in lines {
                    if !output::line(&line)? {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
            }
            Read::End(_) => {}
            Read::Nothing => {
                let now = clock::monotonic();
                if now - heard > Duration::from_secs(30) {
                    for partition in reader.waiting() {
                        eprintln!("bellwether: partition {partition} waits for a transition that is missing");
                    }
                    heard = now;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps what is pending or firing.
fn update(alerts: &mut Alerts, partition: i32, transition: Box<Transition>) {
    let key = (partition, transition.alert);
    match transition.to {
        AlertState::Inactive => drop(alerts.remove(&key)),
        AlertState::Pending | AlertState::Firing => drop(alerts.insert(key, transition)),
    }
}

fn state(state: AlertState) -> &'static str {
    match state {
        AlertState::Inactive => "inactive",
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
    }
}

fn row(transition: &Transition) -> Vec<String> {
    vec![
        state(transition.to).to_owned(),
        output::time(transition.active_since_ms),
        transition.rule.escape_debug().to_string(),
        labels(&transition.labels),
        number(transition.value),
    ]
}

fn line(partition: i32, transition: &Transition) -> String {
    format!(
        "{} {partition}/{} {} -> {} {} {} value={} reason={}{}",
        output::time(transition.event_ms),
        transition.seq,
        state(transition.from),
        state(transition.to),
        transition.rule.escape_debug(),
        labels(&transition.labels),
        number(transition.value),
        serde_json::to_value(transition.reason).ok().as_ref().and_then(|word| word.as_str()).unwrap_or("?"),
        transition
            .suppressed_by
            .as_ref()
            .map(|by| format!(" suppressed_by={}", by.rule.escape_debug()))
            .unwrap_or_default(),
    )
}

/// The labels but the rule's name, which has a column of its own.
fn labels(labels: &Labels) -> String {
    let mut others = labels.clone();
    others.retain(|name| name != "alertname");
    others.to_string()
}

/// The transition with its partition. JSON knows no NaN and no infinity: they are strings, as Prometheus writes them.
fn json(partition: i32, transition: &Transition) -> String {
    let mut value = serde_json::to_value(transition).unwrap_or_default();
    value["partition"] = partition.into();
    if !transition.value.is_finite() {
        value["value"] = number(transition.value).into();
    }
    value.to_string()
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

/// Colours the first state word of each line: red for firing, yellow for pending.
fn colour(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| {
            match (line.contains("-> firing ") || line.starts_with("firing "), line.contains("pending ")) {
                (true, _) => line.replacen("firing ", "\u{1b}[31mfiring\u{1b}[0m ", 1),
                (false, true) => line.replacen("pending ", "\u{1b}[33mpending\u{1b}[0m ", 1),
                (false, false) => line.to_owned(),
            }
        })
        .collect()
}
