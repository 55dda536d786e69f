//! # Bellwether
//!
//! Alerts from check results and metrics on Kafka, each emitted exactly once through the loss of a process, a
//! machine or a zone. This page is the map of the code.
//!
//! ```text
//!  monitors ──▶ observations, partition p ──┬──▶ worker in zone a ─┐  one of them, the primary of p, writes
//!                                           └──▶ worker in zone b ─┴─▶ alerts, partition p ──▶ notify ──▶ people
//! ```
//!
//! ## Layers
//!
//! - [`wire`]: bytes to types and back. Total functions, no I/O.
//! - [`machine`]: PURE. The partition's log in, transitions of alerts out.
//! - [`replica`]: PURE. Who may emit which transition, and when.
//! - [`notify`]: PURE. Which transition becomes which notification to whom, and why.
//! - [`sim`]: `machine` and `replica` in a world in a box, with every fault, and the oracle. Its `planted` switches (tests
//!   only) are the one thing of it that the pure layers name.
//! - [`shell`]: thin. Each file alone names its outside thing: Kafka, ZooKeeper, HTTP, the clock, processes.
//! - [`command`]: one thin file per subcommand: wires shells to machines.
//!
//! ## The way of one record
//!
//! 1. `shell/monitor/produce.rs`: a check's result becomes a record of observations, keyed by its service.
//! 2. `shell/kafka/consumer.rs`: the worker's one polling thread hands it to its partition's machine thread in a batch.
//! 3. `wire/batch.rs`: the hand-written walker checks it whole and borrows from it.
//! 4. `machine/mod.rs`: `step`. The clock moves (`clock.rs`), groups that are due are evaluated (`schedule.rs`,
//!    `evaluate.rs`, `promql/evaluate.rs`), alerts change their state (`alert.rs`), then the samples go into the store
//!    (`intake.rs`, `series/`), and past the baselines that look at them (`baseline/`).
//! 5. `replica/state.rs`: the transition waits with the standby, or goes out with the primary.
//!    (`replica/promotion.rs` says when a standby rises, `choice.rs` from which snapshot a worker begins.)
//! 6. `shell/emitter/run.rs`, `shell/kafka/producer.rs`: a fenced transaction writes it, with its marker, to alerts.
//! 7. `notify/dispatcher.rs`: its group decides who is told, when, and why.
//! 8. `shell/receiver/webhook.rs`: the person is told.
//!
//! ## Invariants
//!
//! 1. The machine's state after record *n* of a partition depends on records 0..=n and on nothing else.
//! 2. Every transition carries a dense sequence number of its partition, `seq`, from 1. The alerts partition itself
//!    says what is out: its last marker.
//! 3. A primary writes only after: lock, `init_transactions`, read-back. In that order, always.
//! 4. The pure layers import no clock, no randomness, no I/O, no async, no hash map (`tests/tidy.rs` and Clippy).

pub mod cli;
pub mod command;
pub mod config;
pub mod error;
pub mod machine;
pub mod notify;
pub mod replica;
pub mod shell;
pub mod sim;
pub mod wire;
