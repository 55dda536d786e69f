//! The load: a service on each partition whose series cross their threshold again and again, so that every partition
//! has an alert to tell of many times a second; and, on demand, storms, garbage and quiet.

use ::bellwether::wire::{Labels, ObservationsWriter};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Series of one service.
const SERIES: usize = 4;

/// How fast.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two records of a partition.
    pub record: Duration,
    /// Records between two changes of a service: one series of it crosses at each.
    pub records_per_change: u64,
}

/// Rules for it: `interval` of the group.
pub fn rules(interval: &str) -> String {
    format!(
        "groups:\n- name: chaos\n  interval: {interval}\n  rules:\n  \
         - {{alert: Busy, expr: load > 0.5, annotations: {{summary: '{{{{ $labels.host }}}} is at {{{{ $value }}}}'}}}}\n\
         - name: slow\n  interval: 1s\n  rules:\n  \
         - {{alert: BusyLong, expr: load > 0.5, for: 2s}}\n  \
         - {{alert: Storm, expr: storm > 0.5}}\n  \
         - {{alert: Busiest, expr: 'max by (service) (load) > 0.5', for: 1s}}\n"
    )
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    quiet: AtomicBool,
    calm: AtomicBool,
    records: AtomicU64,
    extra: Mutex<Vec<(i32, Vec<u8>)>>,
}

/// The producer.
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub fn producer(brokers: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // More at a time, and librdkafka spins while a broker is slow.
        .set("max.in.flight.requests.per.connection", "1")
        .set("linger.ms", "2")
        .set("message.timeout.ms", "0")
        .set("log_level", "0")
        .create()
        .expect("a producer")
}

impl Load {
    pub fn start(brokers: &str, topic: &str, partitions: usize, pace: Pace) -> Self {
        let shared = Arc::new(Shared::default());
        let (brokers, topic, told) = (brokers.to_owned(), topic.to_owned(), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let producer = producer(&brokers);
            let mut round = 0;
            let mut next = Instant::now();
            while !told.stop.load(Ordering::Relaxed) {
                if !told.quiet.load(Ordering::Relaxed) {
                    for partition in 0..partitions {
                        let calm = told.calm.load(Ordering::Relaxed);
                        send(&producer, &topic, partition, &batch(partition, round, pace, calm));
                    }
                    told.records.fetch_add(partitions as u64, Ordering::Relaxed);
                    round += 1;
                }
                for (partition, value) in told.extra.lock().unwrap_or_else(PoisonError::into_inner).drain(..)
                {
                    send(&producer, &topic, usize::try_from(partition).unwrap_or(0), &value);
                }
                producer.poll(Duration::ZERO);
                next += pace.record;
                let now = Instant::now();
                if next > now {
                    std::thread::sleep(next - now);
                } else if now - next > Duration::from_secs(1) {
                    next = now; // after a stall nothing is made up for
                }
            }
            let _ = producer.flush(Duration::from_secs(60));
        });
        Self { shared, thread: Some(thread) }
    }

    /// Nothing is produced while it is set.
    pub fn quiet(&self, on: bool) {
        self.shared.quiet.store(on, Ordering::Relaxed);
    }

    /// Two series of each service go above their threshold, the others below, and stay there.
    pub fn calm(&self, on: bool) {
        self.shared.calm.store(on, Ordering::Relaxed);
    }

    /// Bytes that nobody can read.
    pub fn garbage(&self, partition: usize) {
        self.extra(partition, b"\xc3\x01this is no record".to_vec());
    }

    /// So many alerts begin, or end, with one record.
    pub fn storm(&self, partition: usize, series: usize, on: bool) {
        for part in 0..series.div_ceil(1000) {
            let mut writer = ObservationsWriter::new(&format!("storm-{partition}")).expect("a service");
            for host in (part * 1000)..((part + 1) * 1000).min(series) {
                let labels = Labels::new([("host", format!("h{host}"))]);
                writer.sample("storm", &labels, now_ms(), f64::from(u8::from(on))).expect("it fits");
            }
            self.extra(partition, writer.finish());
        }
    }

    /// So many records more, as fast as they go.
    pub fn backlog(&self, partitions: usize, records: usize) {
        let pace = Pace { record: Duration::ZERO, records_per_change: 1 };
        let left = || self.shared.extra.lock().unwrap_or_else(PoisonError::into_inner).len();
        for round in 0..records / partitions {
            for partition in 0..partitions {
                self.extra(partition, batch(partition, round as u64, pace, false));
            }
            while left() > 5_000 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        while left() > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shared.records.fetch_add(records as u64, Ordering::Relaxed);
    }

    fn extra(&self, partition: usize, value: Vec<u8>) {
        let partition = i32::try_from(partition).expect("few");
        self.shared.extra.lock().unwrap_or_else(PoisonError::into_inner).push((partition, value));
    }

    pub fn records(&self) -> u64 {
        self.shared.records.load(Ordering::Relaxed)
    }
}

/// At each change one series crosses: series 0 to 3 up, then 0 to 3 down, and so on.
fn batch(partition: usize, round: u64, pace: Pace, calm: bool) -> Vec<u8> {
    let change = round / pace.records_per_change;
    let mut writer = ObservationsWriter::new(&format!("svc-{partition}")).expect("a service");
    let time_ms = now_ms();
    for series in 0..SERIES {
        let place = (change + partition as u64) % (2 * SERIES as u64);
        let place = if calm { 1 } else { place };
        let up = (place >= series as u64) && (place < (series + SERIES) as u64);
        let labels = Labels::new([("host", format!("h{series}"))]);
        writer.sample("load", &labels, time_ms, f64::from(u8::from(up))).expect("it fits");
    }
    writer.finish()
}

fn send(producer: &BaseProducer, topic: &str, partition: usize, value: &[u8]) {
    let partition = i32::try_from(partition).expect("few");
    let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(value);
    while let Err((_, refused)) = producer.send(record) {
        producer.poll(Duration::from_millis(10));
        record = refused;
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
