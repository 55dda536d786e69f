//! The bench's input: rounds of samples over a fixed set of series, fifteen seconds of log time apart, as batches of a
//! service or one sample a record, with ten rules in front.

use super::failed;
use crate::config::Config;
use crate::shell::kafka::{self, KafkaError};
use crate::wire::keyring::{Signer, SigningKey};
use crate::wire::{Control, Fault, Labels, ObservationsWriter, RuleFile, RuleSet};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use std::time::Duration;

/// Log time between two rounds, milliseconds: a common scrape interval.
pub const ROUND_MS: i64 = 15_000;
/// Series of one service, and samples of one batch.
pub const SERVICE_SERIES: usize = 100;
/// First round's time stamp, milliseconds since the epoch: a fixed day, so that every run is the same.
pub(super) const START_MS: i64 = 1_750_000_005_000;
const METRICS: [&str; 5] =
    ["cpu_busy_ratio", "requests_total", "errors_total", "queue_length", "disk_free_bytes"];

/// Ten rules as people write them, over all series.
const RULES: &str = r#"
groups:
- name: bench
  interval: 15s
  rules:
  - {alert: Busy, expr: cpu_busy_ratio > 0.99, for: 1m}
  - {alert: BusyService, expr: avg by (service) (cpu_busy_ratio) > 0.9, for: 1m}
  - {alert: NoRequests, expr: 'rate(requests_total[1m]) == 0', for: 2m}
  - {alert: Errors, expr: 'rate(errors_total[1m]) > 50'}
  - {alert: ErrorRatio, expr: 'sum by (service) (rate(errors_total[1m])) / sum by (service) (rate(requests_total[1m])) > 2'}
  - {alert: Queue, expr: 'queue_length > 1000 and queue_length offset 1m > 1000'}
  - {alert: QueueGrows, expr: 'delta(queue_length[1m]) > 1000'}
  - {alert: Disk, expr: disk_free_bytes < 100}
  - {alert: DiskFlaps, expr: 'changes(disk_free_bytes[1m]) > 8'}
  - {record: 'service:requests:rate1m', expr: 'sum by (service) (rate(requests_total[1m]))'}
"#;

/// How samples are put into records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A hundred samples a record.
    Batches,
    /// One sample a record.
    Singles,
}

impl Shape {
    /// Samples in one record.
    #[must_use]
    pub fn samples_per_record(self) -> usize {
        match self {
            Self::Batches => SERVICE_SERIES,
            Self::Singles => 1,
        }
    }
}

/// What was produced.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Records, the rule change among them.
    pub records: u64,
    /// Samples.
    pub samples: u64,
    /// Bytes of the values.
    pub bytes: u64,
}

/// Produces `rounds` rounds over `series` series into partition 0 of `topic`.
pub fn produce(
    config: &Config,
    topic: &str,
    shape: Shape,
    series: usize,
    rounds: usize,
) -> Result<Load, KafkaError> {
    let doing = failed("producing the bench's load");
    let producer: BaseProducer = kafka::client(config, "bench")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "200000")
        .create()
        .map_err(&doing)?;
    let mut load = Load { records: 0, samples: 0, bytes: 0 };
    let mut send = |value: &[u8], time_ms: i64, samples: usize| -> Result<(), KafkaError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(value).timestamp(time_ms);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((fault, returned)) if fault.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    producer.poll(Duration::from_millis(20));
                    record = returned;
                }
                Err((fault, _)) => return Err(doing(fault)),
            }
        }
        producer.poll(Duration::ZERO);
        load.records += 1;
        load.samples += samples as u64;
        load.bytes += value.len() as u64;
        Ok(())
    };
    send(&rules(), START_MS, 0)?;
    for round in 0..rounds {
        let time_ms = START_MS + 1 + i64::try_from(round).unwrap_or(i64::MAX / ROUND_MS) * ROUND_MS;
        for service in 0..series.div_ceil(SERVICE_SERIES) {
            for value in records(shape, service, round, time_ms).map_err(|_| unfit())? {
                send(&value, time_ms, shape.samples_per_record())?;
            }
        }
    }
    producer.flush(Duration::from_secs(60)).map_err(&doing)?;
    Ok(load)
}

/// The bench's own samples are within every bound; this names the step if a bound is ever lowered below them.
fn unfit() -> KafkaError {
    failed("encoding the bench's load")(rdkafka::error::KafkaError::Canceled)
}

/// Signs the bench's rules. Its log is nobody else's, so everybody may know this key.
#[must_use]
pub fn signer() -> Signer {
    Signer::new(SigningKey::from_seed(&[b'b'; 32]), "bench")
}

pub(super) fn rules() -> Vec<u8> {
    let file = RuleFile { name: "bench.yaml".to_owned(), content: RULES.to_owned() };
    let set = RuleSet {
        version: 1,
        applied_ms: START_MS,
        author: "bench".to_owned(),
        service_label: "service".to_owned(),
        limits: crate::wire::Limits::default(),
        partitions: 0,
        files: vec![file],
    };
    signer().seal(0, &Control::Rules(set))
}

/// One round's records of one service.
pub(super) fn records(
    shape: Shape,
    service: usize,
    round: usize,
    time_ms: i64,
) -> Result<Vec<Vec<u8>>, Fault> {
    let name = format!("service-{service:04}");
    let mut out = Vec::new();
    let mut writer = ObservationsWriter::new(&name)?;
    for series in 0..SERVICE_SERIES {
        let metric = METRICS[series % METRICS.len()];
        let host = format!("host-{:02}.{name}.example", series / METRICS.len());
        let labels = Labels::new([("instance", host.as_str()), ("job", name.as_str())]);
        let noise = (service * 31 + series * 17 + round * 7) % 97;
        let value = match metric {
            "cpu_busy_ratio" => noise as f64 / 100.0,
            "requests_total" | "errors_total" => (round * 600 + noise) as f64,
            _ => (500 + noise) as f64,
        };
        writer.sample(metric, &labels, time_ms, value)?;
        if shape == Shape::Singles {
            out.push(std::mem::replace(&mut writer, ObservationsWriter::new(&name)?).finish());
        }
    }
    if shape == Shape::Batches {
        out.push(writer.finish());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::rules;
    use crate::wire::Inbound;

    #[test]
    fn the_ten_rules_load() {
        let bytes = rules();
        let Ok(Inbound::Control(sealed)) = Inbound::read(&bytes) else { panic!("a control record") };
        let Ok(Control::Rules(set)) = signer().keyring().open(0, sealed) else { panic!("a rule change") };
        let faults = rules::load(&set).err().unwrap_or_default();
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(RULES.matches("expr").count(), 10);
    }

    #[test]
    fn both_shapes_carry_the_same_samples() {
        let batch = records(Shape::Batches, 3, 1, 5).expect("it fits");
        let singles = records(Shape::Singles, 3, 1, 5).expect("it fits");
        assert_eq!((batch.len(), singles.len()), (1, SERVICE_SERIES));
    }
}
