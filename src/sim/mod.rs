//! A world in a box, on one thread, from one seed: the production `machine/`, `replica/` and ticker of two or three
//! workers run against a simulated Kafka, ZooKeeper and load, and everything that can go wrong does.
//!
//! ```text
//!   seed ─▶ plan (fault) ─▶ world ── observations (kafka) ─▶ workers ─▶ transactions ─▶ alerts (kafka::alerts)
//!                             │  ▲       │                     │ ▲                          │
//!                             │  └ inject│                     └─┴ locks, sessions (keeper)  │
//!                             └ story    └──────────────▶ oracle ◀──────────────────────────┘
//! ```
//!
//! The same seed is the same run, event for event: time is a number, chance is `random`, nothing is iterated that has
//! no order. [`run`] plays one; [`shrink`] drops faults from a failing one while it still fails; `planted` holds the
//! bugs that the tests plant to show that the simulator would find them.
//!
//! What it does not model: records of several megabytes, brokers' disks, the notifier. What a leader loses before its
//! followers have it is truncated and was never shown to anybody; truncation of what was shown (an unclean election) is
//! outside of the promise of exactly once, is to be detected and not survived, and is no part of a run.

mod broker;
mod fault;
mod inject;
mod kafka;
mod keeper;
mod load;
mod oracle;
pub(crate) mod planted;
mod random;
mod schedule;
mod shrink;
mod store;
mod story;
#[cfg(test)]
mod tests;
mod worker;
mod world;

pub use fault::{Aim, Call, Fault, Kind, Moment, Plan, SAFETY_MS};
pub use schedule::schedule;
pub use shrink::shrink;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use world::World;

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was wrong; none if nothing was.
    pub violation: Option<String>,
    /// How often a process became primary that was not the last one.
    pub failovers: u64,
    /// How often any became primary.
    pub promotions: u64,
    /// Most promotions of one partition within a minute.
    pub promotions_minute_max: usize,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<Kind, u64>,
    /// Records of the observations logs.
    pub records: u64,
    /// Transitions that are out.
    pub transitions: u64,
    /// Time that passed in the run, milliseconds.
    pub simulated_ms: i64,
    /// From the last fault until everything was out and every partition had a primary, milliseconds, in whole seconds.
    pub healed_in_ms: i64,
    /// One number for everything that happened: equal for equal runs.
    pub fold: u64,
    /// What happened, line by line, where it was asked for.
    pub story: Vec<String>,
}

/// Plays a plan. A panic of the code under test is a violation.
#[must_use]
pub fn run(plan: &Plan, written: bool) -> Outcome {
    let plan = Rc::new(plan.clone());
    catch_unwind(AssertUnwindSafe(|| World::new(plan, written).run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Outcome { violation: Some(format!("a panic: {text}")), ..Outcome::default() }
    })
}
