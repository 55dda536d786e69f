//! PromQL: text to a [`Plan`] when rules load, a plan and a store to a [`Value`] at each grid point.

mod fault;

pub use fault::{EvalFault, PlanFault};

use super::series::{Interest, SelectionId, Store};
use crate::wire::Labels;

/// A compiled expression.
#[derive(Debug)]
pub struct Plan {
    selections: Vec<SelectionId>,
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
    /// Parses and checks an expression.
    pub fn compile(_expr: &str) -> Result<Self, PlanFault> {
        Ok(Self { selections: Vec::new() })
    }

    /// What it wants kept, selector by selector. [`Plan::bind`] takes the ids in the same order.
    #[must_use]
    pub fn interests(&self) -> Vec<Interest> {
        Vec::new()
    }

    /// Tells the plan what its interests are called in the store.
    pub fn bind(&mut self, selections: &[SelectionId]) {
        self.selections = selections.to_vec();
    }

    /// The value at `at_ms`, milliseconds since the epoch.
    pub fn evaluate(&self, _store: &Store, _at_ms: i64) -> Result<Value, EvalFault> {
        Ok(Value::Vector(Vec::new()))
    }
}
