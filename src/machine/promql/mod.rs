//! PromQL: text to a [`Plan`] when rules load; a plan and a store to a [`Value`] at each grid point.
//!
//! ```text
//!  text ──promql-parser──▶ AST ──compile──▶ Plan: nodes over selectors ──bind──▶ over SelectionIds
//!                                             │
//!  Store: selections → series → samples ──────┴── evaluate(at) ──▶ scalar, or elements in order of their labels
//! ```
//!
//! The meaning is Prometheus 3's, to the digit: the same steps in the same order, Neumaier's sums where it has them,
//! `pow` and `atan2` from `libm` so that every machine agrees. What may surprise:
//!
//! - Windows are open on the left, as in Prometheus 3: a range `[5m]` at *t* holds `(t-5m, t]`, and an instant selector
//!   sees the newest sample in `(t-5m, t]`. Prometheus 2 (Debian's promtool 2.42) also takes a sample at exactly `t-5m`.
//!   With samples on a regular grid a `[5m]` over one sample a minute holds 5 here and 6 there; `rate` then has one gap
//!   less to look at, and `count_over_time` counts one less.
//! - Elements are summed in the order in which their series were first seen, which both replicas share; Prometheus has
//!   no order of its own here.
//! - The result is sorted by labels; `NaN` is canonical.
//!
//! The vocabulary is the tables of `functions`; everything else is refused by name.

mod aggregate;
mod binary;
mod compile;
mod evaluate;
mod fault;
mod functions;
mod number;
mod range;
mod source;
#[cfg(test)]
mod tests;
mod vector;

pub use fault::{EvalFault, PlanFault};

use super::series::{Interest, SelectionId, Selector, Store};
use crate::wire::Labels;

/// How far an instant selector looks back for a sample, milliseconds: Prometheus's default.
pub const LOOKBACK_MS: i64 = 5 * 60 * 1000;

/// A compiled expression.
#[derive(Debug)]
pub struct Plan {
    root: compile::Node,
    leaves: Vec<Leaf>,
    /// One per leaf once bound.
    selections: Vec<SelectionId>,
}

/// A selector in an expression.
#[derive(Debug)]
struct Leaf {
    selector: Selector,
    /// Positive looks into the past.
    offset_ms: i64,
    /// Length of a range; [`LOOKBACK_MS`] for an instant selector.
    window_ms: i64,
}

/// What an expression is at one time.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number without labels.
    Scalar(f64),
    /// Elements in order of their labels, no two with the same labels.
    Vector(Vec<Element>),
}

/// One element of a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

impl Plan {
    /// Parses and checks an expression. What is not PromQL, and what is not supported, is refused here and by name.
    pub fn compile(expr: &str) -> Result<Self, PlanFault> {
        compile::compile(expr)
    }

    /// What it wants kept, selector by selector in the order of the text. [`Plan::bind`] takes the ids in the same
    /// order.
    #[must_use]
    pub fn interests(&self) -> Vec<Interest> {
        let interest = |leaf: &Leaf| Interest {
            selector: leaf.selector.clone(),
            lookback_ms: (leaf.window_ms + leaf.offset_ms).max(0),
        };
        self.leaves.iter().map(interest).collect()
    }

    /// Tells the plan what its interests are called in the store: the ids that [`Store::set_interests`] gave for them.
    pub fn bind(&mut self, selections: &[SelectionId]) {
        assert_eq!(selections.len(), self.leaves.len(), "one selection for each interest of the plan");
        self.selections = selections.to_vec();
    }

    /// The value at `at_ms`, milliseconds since the epoch. The plan must be bound to this store.
    pub fn evaluate(&self, store: &Store, at_ms: i64) -> Result<Value, EvalFault> {
        evaluate::evaluate(self, store, at_ms)
    }
}
