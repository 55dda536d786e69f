//! Bytes to types and back; mirrors `schemas/`. Every function is total: it returns a [`Fault`] or a value, never
//! panics, and never takes memory by a length that it has not checked.
//!
//! | topic | schema | type |
//! |---|---|---|
//! | observations | `observations.avsc` | [`Batch`] (borrowed, hot path), [`ObservationsWriter`] |
//! | observations | `control.avsc` | [`Control`], sealed by [`keyring::Signer`] |
//! | alerts | `transition.avsc`, `marker.avsc` | [`AlertRecord`] |
//! | rules | `rule_set.avsc` | [`RuleSet`] |
//! | rejected | `rejected.avsc` | [`Rejected`] |
//! | notifications | `notification.avsc` | [`NotifyEntry`] |

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod batch;
mod bounds;
mod codec;
mod cursor;
pub mod exposition;
mod fault;
pub mod hex;
pub mod keyring;
pub mod labels;
pub mod manifest;
mod notification;
mod partition;
mod pem;
pub mod perfdata;
pub mod record;
mod schema;
mod writer;
pub mod yaml;

pub use batch::{Batch, CheckResult, Checks, Sample, Samples};
pub use fault::Fault;
pub use labels::Labels;
pub use notification::{Delivery, HeldAlert, NotifyEntry, NotifyPosition, NotifyReason};
pub use partition::partition_of;
pub use record::{
    AlertId, AlertRecord, AlertState, Control, Inbound, Limits, Marker, Quarantine, Reason, Rejected,
    RuleFile, RuleSet, Suppression, Tick, Transition,
};
pub use writer::ObservationsWriter;
