//! A Kafka: observations partitions stamped by brokers whose clocks differ, and alerts partitions written in
//! transactions ([`alerts`]).

pub(in crate::sim) mod alerts;

use alerts::{AlertsLog, Coordinator};
use std::collections::VecDeque;
use std::rc::Rc;

/// Brokers that an observations partition's leader may move to.
pub(in crate::sim) const BROKERS: usize = 3;

/// One record of an observations partition.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Record {
    pub(in crate::sim) offset: i64,
    pub(in crate::sim) append_ms: i64,
    pub(in crate::sim) value: Option<Rc<[u8]>>,
}

/// An observations partition.
#[derive(Debug, Default)]
pub(in crate::sim) struct ObservationsLog {
    /// Those that retention has left.
    pub(in crate::sim) records: Vec<Record>,
    pub(in crate::sim) low: i64,
    pub(in crate::sim) high: i64,
    /// Which broker leads it, and how often that changed.
    pub(in crate::sim) leader: usize,
    pub(in crate::sim) leader_epoch: u32,
    /// What only the leader has yet: above the high watermark, shown to nobody, gone with the leader.
    pub(in crate::sim) unreplicated: VecDeque<Unreplicated>,
    /// The followers copy nothing before this time.
    pub(in crate::sim) lags_until_ms: i64,
}

/// A record above the high watermark. Its offset is settled when nothing can take it away.
#[derive(Debug)]
pub(in crate::sim) struct Unreplicated {
    pub(in crate::sim) what: &'static str,
    pub(in crate::sim) append_ms: i64,
    pub(in crate::sim) value: Option<Rc<[u8]>>,
}

impl ObservationsLog {
    /// A record that the leader has stamped has reached its followers.
    pub(in crate::sim) fn append(&mut self, append_ms: i64, value: Option<Rc<[u8]>>) {
        let offset = self.high;
        self.high += 1;
        self.records.push(Record { offset, append_ms, value });
    }

    /// Offsets that hold nothing: control batches, aborted data.
    pub(in crate::sim) fn skip(&mut self, offsets: i64) {
        self.high += offsets;
    }

    /// Retention takes what is before `low`.
    pub(in crate::sim) fn cut(&mut self, low: i64) {
        let gone = self.find(low);
        self.records.drain(..gone);
        self.low = low;
    }

    /// Index of the first record at or after `offset`.
    pub(in crate::sim) fn find(&self, offset: i64) -> usize {
        self.records.partition_point(|record| record.offset < offset)
    }
}

/// See the module.
#[derive(Debug)]
pub(in crate::sim) struct Kafka {
    pub(in crate::sim) observations: Vec<ObservationsLog>,
    pub(in crate::sim) alerts: Vec<AlertsLog>,
    pub(in crate::sim) coordinators: Vec<Coordinator>,
    /// How far each broker's clock is ahead of the true time, milliseconds.
    pub(in crate::sim) skew_ms: [i64; BROKERS],
    /// Nobody is answered before this time: a broker is down, a leader is being elected.
    pub(in crate::sim) stalled_until_ms: i64,
}

impl Kafka {
    pub(in crate::sim) fn new(partitions: usize, targets: impl Fn(usize) -> usize) -> Self {
        Self {
            observations: (0..partitions).map(|_| ObservationsLog::default()).collect(),
            alerts: (0..partitions).map(|_| AlertsLog::default()).collect(),
            coordinators: (0..partitions).map(|at| Coordinator::new(targets(at))).collect(),
            skew_ms: [0; BROKERS],
            stalled_until_ms: 0,
        }
    }
}
