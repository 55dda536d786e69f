//! Snapshots in the store: written from captures, read back into machines, thinned out.
//!
//! ```text
//!  machine thread ── Action::Cut ─▶ capture ─▶ queue ─▶ snapshot thread ─▶ primary: parts, then the manifest ─▶ store
//!                                                                      └▶ standby: waits for the manifest, co-signs
//!  a partition that begins ◀── machine ◀── parts, several at once ◀── replica::choice ◀── manifests ◀────────── store
//! ```
//!
//! One thread a worker writes ([`Writer`]), so that no machine ever waits for a store; a capture that a newer one of its
//! partition overtakes is dropped. Whoever is primary writes; the others wait for the manifest, compare their own digest
//! with it and put a co-signature beside it, or write themselves where none appears in time: nothing needs a live peer.
//! A part is read back and compared as soon as it is stored, and the manifest comes last, so a manifest that can be read
//! names parts that were good.
//!
//! The files: [`pack`] (one part), [`read`] (listing, choosing, fetching), [`write`](mod@write) (one snapshot),
//! [`keep`] (retention), [`ask`] and [`replay`] (what Kafka says, and how long a replay takes), `writer` (the thread),
//! `metrics`.

pub mod ask;
pub mod keep;
mod metrics;
pub mod pack;
pub mod read;
pub mod replay;
#[cfg(test)]
mod tests;
pub mod write;
mod writer;

pub use metrics::Metrics;
pub use writer::{Cut, Report, Writer};

use crate::config::Config;
use crate::machine;
use crate::replica::choice::Own;

/// Stands for the topic's id in names where the broker tells none.
const NO_TOPIC_ID: &str = "none";

/// Whose snapshots these are, and who writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// What a snapshot must be of.
    pub own: Own,
    /// Name of the observations topic.
    pub topic: String,
    /// This worker.
    pub worker: String,
    /// Its zone.
    pub zone: String,
}

impl Site {
    /// Of one partition of a configuration's cluster. `topic_id` is empty where the broker tells none.
    #[must_use]
    pub fn new(config: &Config, topic: &str, topic_id: &str, partition: i32, partition_count: i32) -> Self {
        Self {
            own: Own {
                cluster: config.cluster.clone(),
                topic_id: topic_id.to_owned(),
                partition,
                partition_count,
                engine_version: machine::ENGINE_VERSION,
                state_format: i32::from(machine::snapshot::FORMAT_VERSION),
            },
            topic: topic.to_owned(),
            worker: config.worker.clone(),
            zone: config.zone.clone(),
        }
    }

    /// What the names of all of this partition's snapshots begin with, those of other engine versions among them.
    #[must_use]
    pub fn prefix(&self) -> String {
        let Own { cluster, topic_id, partition, .. } = &self.own;
        let topic_id = if topic_id.is_empty() { NO_TOPIC_ID } else { topic_id };
        format!("{cluster}/{topic_id}/{partition}/")
    }

    /// The folder of one of this engine's snapshots.
    #[must_use]
    pub fn folder(&self, name: &str) -> String {
        format!("{}{}/{name}", self.prefix(), self.own.engine_version)
    }
}
