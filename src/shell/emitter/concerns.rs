//! What an emission thread finds wrong with its partition, told to [`Meta`] when it begins and when it is over.

use crate::replica::{Reason, Replica};
use crate::shell::clock;
use crate::shell::meta::{Kind, Meta};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Alerts that wait for longer are somebody's business, milliseconds.
const OVERDUE_MS: i64 = 30_000;
/// Takeovers from a holder of the lock that lives and does not emit, and the time in which so many are told.
const USURPED: (usize, Duration) = (3, Duration::from_secs(600));

/// See the module.
pub(super) struct Concerns {
    meta: Meta,
    partition: i32,
    open: BTreeSet<Kind>,
    usurped: VecDeque<Duration>,
}

impl Concerns {
    pub(super) fn new(meta: &Meta, partition: i32) -> Self {
        Self { meta: meta.clone(), partition, open: BTreeSet::new(), usurped: VecDeque::new() }
    }

    /// It took over although the lock is held, for this reason.
    pub(super) fn took_over(&mut self, reason: Reason) {
        if reason == Reason::TransitionUnseen {
            self.usurped.push_back(clock::monotonic());
        }
    }

    /// The histories differ, from this `seq` on. For as long as this thread lives.
    pub(super) fn diverged(&mut self, seq: i64, worker: &str) {
        let text = format!(
            "this worker and {worker} derived different alerts from the same log, at seq {seq} or before. Alerts go on, \
             from the primary; this worker takes no snapshots of the partition. `bellwether verify` says who is right"
        );
        self.set(Kind::Diverged, Some(text));
    }

    /// Looks at everything else.
    pub(super) fn look(&mut self, replica: &Replica, trouble: Option<&str>) {
        let refusal = replica.refusal();
        self.set(
            Kind::EmissionRefused,
            refusal.map(|reason| format!("[{}] {}", reason.code(), reason.remedy().unwrap_or_default())),
        );
        let overdue_ms = replica.overdue_ms();
        self.set(
            Kind::NotEmitting,
            (overdue_ms > OVERDUE_MS).then(|| {
                let (waiting, trouble) = (replica.waiting(), trouble.unwrap_or("nobody emits them"));
                format!("{waiting} alerts wait, none has gone out for {} s: {trouble}", overdue_ms / 1000)
            }),
        );
        let (most, within) = USURPED;
        let now = clock::monotonic();
        self.usurped.retain(|at| now.saturating_sub(*at) < within);
        let often = self.usurped.len() >= most;
        self.set(
            Kind::Usurping,
            often.then(|| {
                format!(
                    "took over {most} times in ten minutes from a holder of the lock that lives and does not emit: look at \
                     the worker that holds it"
                )
            }),
        );
    }

    fn set(&mut self, kind: Kind, text: Option<String>) {
        match text {
            Some(text) if !self.open.contains(&kind) => {
                if self.meta.raise(kind, self.partition, text) {
                    self.open.insert(kind);
                }
            }
            None if self.open.contains(&kind) => {
                if self.meta.resolve(kind, self.partition) {
                    self.open.remove(&kind);
                }
            }
            Some(_) | None => {}
        }
    }
}

/// Where the partition is no longer hosted here, this worker has no more to say about it. A divergence stays open: it is
/// true of what was hosted.
impl Drop for Concerns {
    fn drop(&mut self) {
        for kind in [Kind::EmissionRefused, Kind::NotEmitting, Kind::Usurping] {
            self.set(kind, None);
        }
    }
}
