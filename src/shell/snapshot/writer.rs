//! The thread that stores what machines capture. One a worker: its partitions' cuts are staggered.
//!
//! A cut waits here until it is its turn. The primary's is written at once. A standby's looks for the manifest every
//! [`LOOK`] and co-signs when it is there; after [`PATIENCE`] it is written as if by a primary. A store that does not
//! answer is tried again, [`ATTEMPTS`] times in all; then the cut is given up, and the snapshot before it stays the newest.
//!
//! Before the first write the store is asked to prove that it never replaces an object. One that does is not used.

use super::metrics::Metrics;
use super::write::{Outcome, WriteFault};
use super::{Site, keep, write};
use crate::machine::snapshot::Capture;
use crate::shell::store::{Store, StoreError};
use crate::shell::{clock, thread};
use crate::wire::hex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a standby looks for the manifest …
const LOOK: Duration = Duration::from_secs(2);
/// … and how long, before it writes itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often one cut is tried.
const ATTEMPTS: u32 = 4;
/// Wait before the second attempt; it doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(5);
/// How often a store that has not proved itself yet is asked again.
const PROBE_AGAIN: Duration = Duration::from_secs(10);

/// A capture on its way to the store.
#[derive(Debug)]
pub struct Cut {
    /// Whose it is.
    pub site: Site,
    /// The state.
    pub capture: Capture,
    /// Whether this worker emits the partition.
    pub is_primary: bool,
    /// `seq` of the last transition known to be out: what retention goes by.
    pub marker_seq: i64,
}

/// What the writer has to tell the worker. Called on its thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The store cannot be used: it replaces objects. Nothing is ever written to it.
    Unfit(StoreError),
    /// Another worker has another digest at the same offset. No more snapshots of that partition are taken.
    Disputed {
        /// The partition.
        partition: i32,
        /// Where both cut: `seq`.
        seq: i64,
        /// Who had written the snapshot.
        worker: String,
    },
    /// A snapshot was given up: the one before stays the newest.
    Failed {
        /// The partition.
        partition: i32,
        /// Why.
        why: String,
    },
    /// A snapshot is stored, by this worker or by another with this one's digest.
    Stored {
        /// The partition.
        partition: i32,
    },
}

struct Job {
    cut: Cut,
    /// When to look at it next.
    due: Duration,
    /// Until when another worker's manifest is waited for.
    wait_until: Duration,
    attempts: u32,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<i32, Job>,
    /// Offset of each partition's newest snapshot that was stored, signed or restored here.
    newest: BTreeMap<i32, i64>,
    /// Partitions whose replicas disagree: no snapshot is written of them, until one of another worker can be signed.
    disputed: BTreeSet<i32>,
    unfit: bool,
    stop: bool,
}

struct Shared {
    store: Arc<Store>,
    metrics: Metrics,
    state: Mutex<State>,
    changed: Condvar,
    tell: Box<dyn Fn(Report) + Send + Sync>,
}

/// The door of the machine threads to the snapshot thread. When it is dropped the thread gives up what it is doing;
/// nothing waits for that.
pub struct Writer(Arc<Shared>);

impl Writer {
    /// Starts the thread. Fails only where the system has no thread left.
    pub fn start(
        store: Arc<Store>,
        cluster: &str,
        worker: &str,
        metrics: Metrics,
        tell: Box<dyn Fn(Report) + Send + Sync>,
    ) -> std::io::Result<Self> {
        let shared =
            Arc::new(Shared { store, metrics, state: Mutex::default(), changed: Condvar::new(), tell });
        let (working, cluster, worker) = (Arc::clone(&shared), cluster.to_owned(), worker.to_owned());
        thread::spawn("snapshots", move || working.run(&cluster, &worker))?;
        Ok(Self(shared))
    }

    /// Takes a cut. One of the same partition that still waits is dropped: the newer replaces it.
    pub fn offer(&self, cut: Cut) {
        let partition = cut.site.own.partition;
        let now = clock::monotonic();
        let mut state = self.0.lock();
        if state.unfit {
            self.0.metrics.skipped(partition, "store_unfit");
            return;
        }
        let wait_until = match (state.disputed.contains(&partition), cut.is_primary) {
            // It only looks whether the other agrees again, and gives it the time to write.
            (true, _) => now + PATIENCE * 2,
            (false, true) => now,
            (false, false) => now + PATIENCE,
        };
        let job = Job { cut, due: now, wait_until, attempts: 0 };
        if state.waiting.insert(partition, job).is_some() {
            self.0.metrics.skipped(partition, "overtaken");
            tracing::warn!(
                partition,
                "the last snapshot of partition {partition} was not stored before the next was due"
            );
        }
        drop(state);
        self.0.changed.notify_one();
    }

    /// Forgets that a partition's replicas disagreed: its state was built anew.
    pub fn rebuilt(&self, partition: i32) {
        let mut state = self.0.lock();
        state.disputed.remove(&partition);
        state.waiting.remove(&partition);
    }

    /// A partition was restored from a snapshot of this offset.
    pub fn found(&self, partition: i32, offset: i64) {
        self.0.lock().newest.insert(partition, offset);
    }

    /// Offset of a partition's newest snapshot, as far as this worker knows.
    #[must_use]
    pub fn newest(&self, partition: i32) -> Option<i64> {
        self.0.lock().newest.get(&partition).copied()
    }

    /// Whether nothing waits to be stored.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.lock().waiting.is_empty()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.lock().stop
    }

    fn run(&self, cluster: &str, worker: &str) {
        if self.prove(cluster, worker) {
            while let Some(job) = self.next() {
                self.work(job);
            }
        }
    }

    /// Until the store has shown what it does with a second write of one name. False where it cannot be used.
    fn prove(&self, cluster: &str, worker: &str) -> bool {
        let mut complained = false;
        while !self.is_stopping() {
            match self.store.probe(cluster, worker) {
                Ok(()) => {
                    tracing::info!("snapshots go to {}, which never replaces an object", self.store.url());
                    return true;
                }
                Err(fault @ StoreError::Overwrites { .. }) => {
                    tracing::error!(code = fault.code(), "no snapshots: {fault}");
                    self.lock().unfit = true;
                    (self.tell)(Report::Unfit(fault));
                    return false;
                }
                Err(fault) => {
                    if !std::mem::replace(&mut complained, true) {
                        tracing::warn!(code = fault.code(), "no snapshots yet: {fault}");
                    }
                }
            }
            let state = self.lock();
            drop(self.changed.wait_timeout_while(state, PROBE_AGAIN, |state| !state.stop));
        }
        false
    }

    /// The next cut that is due; none once the worker stops.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            let now = clock::monotonic();
            let first = state.waiting.iter().map(|(partition, job)| (job.due, *partition)).min();
            let wait = match first {
                Some((due, partition)) if due <= now => return state.waiting.remove(&partition),
                Some((due, _)) => due - now,
                None => Duration::from_secs(3600),
            };
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Back into the queue, unless a newer cut of its partition has come.
    fn again(&self, mut job: Job, after: Duration) {
        job.due = clock::monotonic() + after;
        self.lock().waiting.entry(job.cut.site.own.partition).or_insert(job);
    }

    fn work(&self, mut job: Job) {
        let Cut { site, capture, .. } = &job.cut;
        let began = clock::monotonic();
        let done = if began < job.wait_until {
            match write::find(&self.store, site, capture) {
                Ok(None) => return self.again(job, LOOK),
                Ok(Some(manifest)) => write::cosign(&self.store, site, capture, &manifest),
                Err(fault) => Err(fault),
            }
        } else if self.lock().disputed.contains(&site.own.partition) {
            return self.metrics.skipped(site.own.partition, "disputed");
        } else {
            write::write(&self.store, site, capture, &|| !self.is_stopping())
        };
        match done {
            Ok(outcome) => self.done(&job.cut, outcome, clock::monotonic().saturating_sub(began)),
            Err(WriteFault::Stopping) => {}
            Err(fault) => {
                job.attempts += 1;
                let partition = site.own.partition;
                if fault.is_retryable() && job.attempts < ATTEMPTS {
                    tracing::debug!(partition, attempts = job.attempts, %fault, "storing a snapshot is tried again");
                    let backoff = BACKOFF * (1 << (job.attempts - 1));
                    return self.again(job, backoff);
                }
                self.metrics.failed(partition);
                tracing::warn!(
                    partition,
                    "the snapshot of partition {partition} is given up, the one before stays the newest: {fault}"
                );
                (self.tell)(Report::Failed { partition, why: fault.to_string() });
            }
        }
    }

    fn done(&self, cut: &Cut, outcome: Outcome, took: Duration) {
        let (head, partition) = (cut.capture.head(), cut.site.own.partition);
        let (seq, offset) = (head.seq, head.next_offset);
        let stored = || {
            (self.tell)(Report::Stored { partition });
            self.lock().newest.insert(partition, offset);
            self.metrics.stored(partition, head.clock_ms.unwrap_or(0), seq, took);
        };
        match outcome {
            Outcome::Written { stored_bytes, raw_bytes } => {
                self.metrics.written(partition, stored_bytes);
                stored();
                tracing::info!(
                    partition,
                    seq,
                    offset,
                    stored_bytes,
                    raw_bytes,
                    "partition {partition}: snapshot stored in {took:.1?}"
                );
                match keep::thin_out(&self.store, &cut.site, cut.marker_seq) {
                    Ok(0) => {}
                    Ok(count) => {
                        self.metrics.thinned(partition, count);
                        tracing::info!(partition, count, "partition {partition}: old snapshots taken away");
                    }
                    Err(fault) => {
                        tracing::warn!(partition, code = fault.code(), "old snapshots stay for now: {fault}");
                    }
                }
            }
            Outcome::Cosigned { worker } => {
                self.metrics.cosigned(partition);
                self.lock().disputed.remove(&partition);
                stored();
                tracing::info!(
                    partition,
                    seq,
                    offset,
                    "partition {partition}: snapshot of {worker} co-signed"
                );
            }
            Outcome::Disputed { worker, theirs, ours } => {
                self.metrics.disputed(partition);
                self.lock().disputed.insert(partition);
                tracing::error!(
                    partition,
                    seq,
                    offset,
                    ours = hex::digits(&ours),
                    theirs = hex::digits(&theirs),
                    "partition {partition}: this worker and {worker} have other states at the same offset. This one writes no \
                     more snapshots of it until they agree again; alerts go on, from the primary"
                );
                (self.tell)(Report::Disputed { partition, seq, worker });
            }
        }
    }
}
