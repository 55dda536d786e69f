//! What a reader of the alerts topic sees, and when: a `read_committed` consumer whose arrivals are stamped by the
//! harness's own clock. It tells who is primary, and how long a partition was silent.

use ::bellwether::wire::{AlertRecord, AlertState};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What one primary did.
#[derive(Debug, Clone)]
pub struct Epoch {
    pub epoch: i64,
    pub worker: String,
    /// When its first alert was seen.
    pub alert: Option<Instant>,
}

/// Of an alert: its name, service and host.
pub type Name = (String, String, String);

/// One partition.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Each alert's arrival and seq, in order.
    pub alerts: Vec<(Instant, i64)>,
    /// Primaries, in order.
    pub epochs: Vec<Epoch>,
    /// Alerts whose marker has not come yet: when the first came.
    open: Option<Instant>,
    /// The last state of each alert, by name, service and host.
    last: BTreeMap<Name, AlertState>,
}

impl Seen {
    /// Who wrote the last marker, and its epoch.
    pub fn primary(&self) -> Option<(&str, i64)> {
        self.epochs.last().map(|epoch| (epoch.worker.as_str(), epoch.epoch))
    }

    /// Each alert that was ever told of, and whether it fires.
    pub fn firing(&self) -> impl Iterator<Item = (Name, bool)> {
        self.last.iter().map(|(name, state)| (name.clone(), *state == AlertState::Firing))
    }

    /// The first alert of a primary that came after `epoch`.
    pub fn first_alert_after(&self, epoch: i64) -> Option<Instant> {
        self.epochs.iter().filter(|later| later.epoch > epoch).find_map(|later| later.alert)
    }

    /// The longest wait for the next alert that overlaps `from` to `to`, counted from `from` at the earliest.
    pub fn longest_silence(&self, from: Instant, to: Instant) -> Option<Duration> {
        let start = self.alerts.partition_point(|(at, _)| *at <= from);
        let mut before = from;
        let mut longest = None;
        for (at, _) in &self.alerts[start..] {
            if before > to {
                break;
            }
            longest = longest.max(Some(at.saturating_duration_since(before)));
            before = *at;
        }
        longest
    }
}

/// The reader.
pub struct Watch {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(brokers: &str, topic: &str, partitions: usize) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "chaos-watch")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "1")
            .set("log_level", "0")
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions).expect("few") {
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("a place");
        }
        consumer.assign(&list).expect("assigned");
        let seen = Arc::new(Mutex::new(vec![Seen::default(); partitions]));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                    let now = Instant::now();
                    let partition = usize::try_from(message.partition()).expect("not negative");
                    if let Ok(record) = AlertRecord::read(message.payload().unwrap_or_default()) {
                        let mut all = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        note(&mut all[partition], record, now);
                    }
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    pub fn look(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Worker and epoch of each partition's primary; none where no marker was seen.
    pub fn primaries(&self) -> Vec<Option<(String, i64)>> {
        let owned = |(worker, epoch): (&str, i64)| (worker.to_owned(), epoch);
        self.look().iter().map(|seen| seen.primary().map(owned)).collect()
    }
}

fn note(seen: &mut Seen, record: AlertRecord, now: Instant) {
    match record {
        AlertRecord::Transition(transition) => {
            seen.alerts.push((now, transition.seq));
            seen.open.get_or_insert(now);
            let label = |name: &str| transition.labels.get(name).to_owned();
            seen.last.insert((label("alertname"), label("service"), label("host")), transition.to);
        }
        AlertRecord::Marker(marker) => {
            let first = seen.open.take();
            if seen.epochs.last().is_none_or(|last| last.epoch != marker.epoch) {
                let worker = marker.worker;
                seen.epochs.push(Epoch { epoch: marker.epoch, worker, alert: first });
            } else if let Some(epoch) = seen.epochs.last_mut() {
                epoch.alert = epoch.alert.or(first);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
