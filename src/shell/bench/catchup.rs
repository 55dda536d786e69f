//! Catching up: a bare consumer and the worker's path on the same topic, in turn.

use super::failed;
use super::load::{self, Load};
use crate::config::Config;
use crate::machine::{Action, Event, Machine, Options, Position};
use crate::shell::kafka::KafkaError;
use crate::shell::kafka::consumer::{self, Data, Delivery};
use crate::shell::{clock, files};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Offset, TopicPartitionList};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// One pass over a topic.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// From the first record to the end of the log, seconds: connections are made before.
    pub seconds: f64,
    /// Processor time of the whole process meanwhile, all threads, seconds.
    pub cpu_seconds: f64,
    /// Processor time of the thread that steps the machine, seconds; 0 for the bare consumer.
    pub machine_seconds: f64,
}

/// What the worker's path held at the end of a pass.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Series that rules select.
    pub series: u64,
    /// Bytes that the machine says it holds.
    pub bytes: u64,
    /// Growth of the process's resident memory over the pass, bytes.
    pub resident_bytes: u64,
    /// Transitions that the ten rules gave.
    pub transitions: u64,
    /// Samples that the machine accepted.
    pub samples: u64,
}

/// Reads the topic with a `BaseConsumer` of the worker's own settings and looks at each record's length.
pub fn bare(config: &Config, topic: &str, load: &Load) -> Result<Pass, KafkaError> {
    let doing = failed("consuming the bench's topic");
    let consumer: BaseConsumer = consumer::settings(config).create().map_err(&doing)?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning).map_err(&doing)?;
    consumer.assign(&assignment).map_err(&doing)?;
    let mut stopwatch = Stopwatch::start();
    let (mut records, mut bytes) = (0_u64, 0_u64);
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                if records == 0 {
                    stopwatch = Stopwatch::start();
                }
                records += 1;
                bytes += message.payload_len() as u64;
            }
            Some(Err(ClientError::PartitionEOF(_))) if records >= load.records => break,
            Some(Err(ClientError::PartitionEOF(_))) | None => {}
            Some(Err(fault)) => return Err(doing(fault)),
        }
    }
    assert_eq!(
        (records, bytes),
        (load.records, load.bytes),
        "the bare consumer read another topic than was produced"
    );
    Ok(stopwatch.stop(0.0))
}

/// Reads the topic as a worker does: its data consumer, its batches, its machine with ten rules.
pub fn worker(config: &Config, topic: &str, load: &Load) -> Result<(Pass, Held), KafkaError> {
    let resident_before = resident_bytes();
    let data = Data::start(config, topic)?;
    let options = Options {
        partition: 0,
        keyring: load::signer().keyring(),
        hash_key: 7,
        producer_time: true,
        snapshot_interval_ms: 0,
    };
    let mut machine = Machine::new(options);
    let (lane, batches) = sync_channel(4);
    let (mut stopwatch, mut thread_before) = (Stopwatch::start(), thread_seconds());
    data.assign(0, 0, lane);
    let (mut records, mut transitions, mut actions) = (0_u64, 0_u64, Vec::new());
    for delivery in batches {
        match delivery {
            Delivery::Batch(batch) => {
                if records == 0 {
                    (stopwatch, thread_before) = (Stopwatch::start(), thread_seconds());
                }
                for record in batch.iter() {
                    let position = Position {
                        offset: record.offset,
                        append_ms: record.append_ms,
                        log_append: record.log_append,
                    };
                    machine.step(Event::read(position, record.value), &mut actions);
                    records += 1;
                }
                transitions +=
                    actions.iter().filter(|action| matches!(action, Action::Emit(_))).count() as u64;
                actions.clear();
            }
            Delivery::End if records >= load.records => break,
            Delivery::End => {}
            Delivery::Broken(broken) => {
                return Err(failed("consuming the bench's topic")(ClientError::ClientCreation(
                    broken.to_string(),
                )));
            }
        }
    }
    let pass = stopwatch.stop(thread_seconds() - thread_before);
    let summary = machine.summary();
    let held = Held {
        series: summary.series as u64,
        bytes: summary.bytes as u64,
        resident_bytes: resident_bytes().saturating_sub(resident_before),
        transitions,
        samples: summary.samples_accepted,
    };
    assert_eq!(held.samples, load.samples, "the machine took another number of samples than was produced");
    Ok((pass, held))
}

struct Stopwatch {
    wall: Duration,
    cpu: f64,
}

impl Stopwatch {
    fn start() -> Self {
        Self { wall: clock::monotonic(), cpu: process_seconds() }
    }

    fn stop(&self, machine_seconds: f64) -> Pass {
        Pass {
            seconds: (clock::monotonic() - self.wall).as_secs_f64(),
            cpu_seconds: process_seconds() - self.cpu,
            machine_seconds,
        }
    }
}

/// A field of a line of /proc; 0 where the system has none.
fn proc_field(path: &str, field: usize) -> u64 {
    let text = files::read_text(Path::new(path)).unwrap_or_default();
    // The second field of `stat` is a name in brackets that may hold blanks.
    let rest = text.rsplit_once(") ").map_or(text.as_str(), |(_, rest)| rest);
    rest.split_whitespace().nth(field).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// User and system time of all threads, seconds, in the kernel's hundredths.
fn process_seconds() -> f64 {
    (proc_field("/proc/self/stat", 11) + proc_field("/proc/self/stat", 12)) as f64 / 100.0
}

/// Time on a processor of the calling thread, seconds, in nanoseconds' resolution.
fn thread_seconds() -> f64 {
    proc_field("/proc/thread-self/schedstat", 0) as f64 / 1e9
}

pub(super) fn resident_bytes() -> u64 {
    // In pages of 4 KiB, as Linux has them on x86-64 and by default on aarch64.
    proc_field("/proc/self/statm", 1) * 4096
}
