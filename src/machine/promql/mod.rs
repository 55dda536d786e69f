//! PromQL: text to a [`Plan`] when rules load; a plan and a store to a [`Value`] at each grid point.
//!
//! ```text
//!  text ──syntax──▶ tree ──compile──▶ Plan: nodes over selectors ──bind──▶ over SelectionIds
//!                                       │
//!  Store: selections → series → samples ┴── evaluate(at) ──▶ scalar, or elements in order of their labels
//! ```
//!
//! The language is Prometheus 3's, whole as far as it is about numbers, its experimental parts included; the meaning is
//! the same to the digit: the same steps in the same order, Neumaier's sums where it has them, and every function of
//! mathematics from `libm` so that all machines agree. What may surprise:
//!
//! - Windows are open on the left, as in Prometheus 3: a range `[5m]` at *t* holds `(t-5m, t]`, and an instant selector
//!   sees the newest sample in `(t-5m, t]`. Prometheus 2 (Debian's promtool 2.42) also takes a sample at exactly `t-5m`.
//!   With samples on a regular grid a `[5m]` over one sample a minute holds 5 here and 6 there; `rate` then has one gap
//!   less to look at, and `count_over_time` counts one less.
//! - Elements are summed in the order in which their series were first seen, which both replicas share; Prometheus has
//!   no order of its own here. `topk`, `bottomk` and `limitk` take of equals those whose labels come first.
//! - The result is sorted by labels unless its outermost function sorts it; `NaN` is canonical.
//! - A sum or a mean over more than 256 samples is added up in blocks: see `blocks.rs` for by how much it may differ.
//! - A subquery without a step takes one a minute, Prometheus's default; in `rules test` it takes one an
//!   `evaluation_interval`, as promtool does.
//! - `@ start()` and `@ end()` are the time of the evaluation: a rule has no other. A selector `@` a fixed time keeps
//!   every sample from when the rule was loaded.
//! - Metric names are dropped at once, as Prometheus does unless `promql-delayed-name-removal` is set;
//!   [`Settings::late_names`] sets it, for tests.
//!
//! Ours are `speed` and `acceleration`, see [`super::regression`], and their forms against a baseline, see `sigma.rs`.
//!
//! The vocabulary is the tables of `functions`; what is in there and refused (native histograms, `info`) is refused by
//! name.

mod aggregate;
mod binary;
mod blocks;
mod call;
mod compile;
mod edges;
mod element;
mod evaluate;
mod fault;
mod functions;
mod groups;
mod histogram;
#[cfg(test)]
mod memo_tests;
mod node;
mod note;
mod number;
mod parts;
mod range;
mod ratio;
mod regression;
mod relabel;
mod select;
mod shared;
mod sigma;
mod survey;
mod syntax;
#[cfg(test)]
mod tests;
mod vector;
mod whole;

pub(super) use blocks::Blocks;
pub(super) use groups::Groups;
pub(super) use shared::{Shared, share};

pub use fault::{EvalFault, PlanFault};
pub use note::{Level, Note};
pub use parts::{Nearest, Part};
pub use survey::{Reach, Survey, Window};
pub(super) use syntax::unquote;

use super::series::{Interest, Point, SelectionId, Selector, Store};
use crate::wire::Labels;

/// How far an instant selector looks back for a sample, milliseconds: Prometheus's default.
pub const LOOKBACK_MS: i64 = 5 * 60 * 1000;
/// Step of a subquery that names none, milliseconds: Prometheus's default.
pub const SUBQUERY_STEP_MS: i64 = 60 * 1000;

/// A compiled expression.
#[derive(Debug)]
pub struct Plan {
    root: node::Node,
    leaves: Vec<Leaf>,
    sigmas: Vec<sigma::Sigma>,
    late_names: bool,
    /// Step of subqueries that name none, milliseconds.
    subquery_step_ms: i64,
    /// One per leaf once bound.
    selections: Vec<SelectionId>,
    /// Those inside a part stand before it.
    parts: Vec<shared::Part>,
    /// Where what a part comes to is shared, part by part; empty before [`share`].
    slots: Vec<Option<usize>>,
}

/// A selector in an expression.
#[derive(Debug)]
struct Leaf {
    selector: Selector,
    /// When it looks; `None` for the time of the evaluation.
    at: Option<syntax::At>,
    /// Positive looks into the past.
    offset_ms: i64,
    /// Length of a range; [`LOOKBACK_MS`] for an instant selector.
    window_ms: i64,
    /// What the window does at its ends.
    edges: syntax::Edges,
    /// Whether its selection holds more than the selector selects.
    filters: bool,
    /// How far before the time of the evaluation it looks, milliseconds, subqueries around it counted.
    lookback_ms: i64,
}

/// What is fixed about a query when it is compiled. A rule's are the defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// What `step()` is, milliseconds.
    pub step_ms: i64,
    /// What `range()` is, milliseconds.
    pub range_ms: i64,
    /// Metric names are dropped when an evaluation is done and not before: Prometheus's feature
    /// `promql-delayed-name-removal`.
    pub late_names: bool,
}

/// The times of a query, milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When it is evaluated.
    pub at_ms: i64,
    /// What `@ start()` is.
    pub start_ms: i64,
    /// What `@ end()` is.
    pub end_ms: i64,
}

/// What an expression is at one time.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number without labels.
    Scalar(f64),
    /// Elements, no two with the same labels, in order of their labels unless the expression sorts them itself.
    Vector(Vec<Element>),
    /// Samples of each series, in order of their labels. No rule has such a value.
    Ranges(Vec<(Labels, Vec<Point>)>),
    /// Bytes of a string. No rule has such a value.
    Text(Vec<u8>),
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
    /// Parses and checks the expression of a rule. What is not PromQL, what is not supported, and what is no scalar and
    /// no instant vector, is refused here, by name and place.
    pub fn compile(expr: &str) -> Result<Self, PlanFault> {
        compile::compile(expr, Settings::default(), true)
    }

    /// The same for any query, which may be a range vector or a string.
    pub fn query(expr: &str, settings: Settings) -> Result<Self, PlanFault> {
        compile::compile(expr, settings, false)
    }

    /// The plan of a query that is not written yet: in its text `hole` stands for what will be. What it wants kept is
    /// whatever any such query may select. It cannot be evaluated; [`Plan::within`] makes those that can.
    pub fn pattern(expr: &str, hole: &str) -> Result<Self, PlanFault> {
        let mut plan = Self::compile(expr)?;
        for leaf in &mut plan.leaves {
            let known = leaf.selector.matchers().iter().filter(|matcher| !matcher.value().contains(hole));
            leaf.selector = Selector::new(known.cloned().collect());
            if leaf.selector.matchers().iter().all(|matcher| matcher.matches("")) {
                let detail =
                    "a selector must hold something that is known when rules load: a name, or a label";
                return Err(PlanFault::syntax(expr, 0, detail));
            }
        }
        Ok(plan)
    }

    /// The plan of a query that was written by the pattern `self`, bound as `self` is.
    pub fn within(&self, expr: &str) -> Result<Self, PlanFault> {
        let mut plan = Self::compile(expr)?;
        if plan.leaves.len() != self.leaves.len() {
            let detail = "the query has other selectors than what it was made of";
            return Err(PlanFault::syntax(expr, 0, detail));
        }
        for sigma in &plan.sigmas {
            plan.leaves[sigma.leaf].selector.clone_from(&self.leaves[sigma.leaf].selector);
        }
        plan.leaves.iter_mut().for_each(|leaf| leaf.filters = true);
        plan.selections.clone_from(&self.selections);
        plan.subquery_step_ms = self.subquery_step_ms;
        Ok(plan)
    }

    /// What it wants kept, selector by selector in the order of the text. [`Plan::bind`] takes the ids in the same
    /// order.
    #[must_use]
    pub fn interests(&self) -> Vec<Interest> {
        let interest =
            |leaf: &Leaf| Interest { selector: leaf.selector.clone(), lookback_ms: leaf.lookback_ms };
        self.leaves.iter().map(interest).collect()
    }

    /// Whether it is an instant selector by itself, at the time of the evaluation.
    #[must_use]
    pub fn is_selector(&self) -> bool {
        let now = |leaf: &Leaf| leaf.at.is_none() && leaf.offset_ms == 0;
        matches!(self.root.bare(), node::Node::Instant(_)) && self.leaves.iter().all(now)
    }

    /// Tells the plan what its interests are called in the store: the ids that [`Store::set_interests`] gave for them.
    pub fn bind(&mut self, selections: &[SelectionId]) {
        assert_eq!(selections.len(), self.leaves.len(), "one selection for each interest of the plan");
        self.selections = selections.to_vec();
    }

    /// Another step for subqueries that name none, milliseconds, above 0.
    pub fn set_subquery_step(&mut self, step_ms: i64) {
        self.subquery_step_ms = step_ms;
    }

    /// The value at `at_ms`, milliseconds since the epoch. The plan must be bound to this store.
    pub fn evaluate(&self, store: &Store, at_ms: i64) -> Result<Value, EvalFault> {
        let times = Times { at_ms, start_ms: at_ms, end_ms: at_ms };
        evaluate::evaluate(self, store, times, evaluate::Asking::Nothing).map(|(value, _)| value)
    }

    /// The same, with nothing that the store remembers of evaluations before it: what a test compares with.
    #[cfg(test)]
    pub(in crate::machine) fn evaluate_plainly(&self, store: &Store, at_ms: i64) -> Result<Value, EvalFault> {
        let times = Times { at_ms, start_ms: at_ms, end_ms: at_ms };
        evaluate::evaluate(self, store, times, evaluate::Asking::Plainly).map(|(value, _)| value)
    }

    /// Who reports at `at_ms`: the elements that [`Plan::evaluate`] would give if no comparison filtered any out,
    /// `unless` took none away and `topk` and its kin left none out. An element that is here and not there has data, and
    /// its condition does not hold; one that is in neither has no data.
    pub fn reporting(&self, store: &Store, at_ms: i64) -> Result<Value, EvalFault> {
        let times = Times { at_ms, start_ms: at_ms, end_ms: at_ms };
        evaluate::evaluate(self, store, times, evaluate::Asking::WhoReports).map(|(value, _)| value)
    }

    /// Every series that it selects with the time of its newest sample up to `at_ms` that the expression can see,
    /// milliseconds since the epoch.
    pub fn newest<'a>(&'a self, store: &'a Store, at_ms: i64) -> impl Iterator<Item = (&'a Labels, i64)> {
        self.leaves.iter().zip(&self.selections).filter(|(leaf, _)| leaf.at.is_none()).flat_map(
            move |(leaf, selection)| {
                let (after_ms, to_ms) =
                    (at_ms.saturating_sub(leaf.lookback_ms), at_ms.saturating_sub(leaf.offset_ms));
                store.selected(*selection).iter().filter_map(move |id| {
                    let labels = store.labels(*id);
                    let point = store.latest(*id, after_ms, to_ms).filter(|point| !point.is_stale())?;
                    (!leaf.filters || leaf.selector.matches(labels)).then_some((labels, point.time_ms))
                })
            },
        )
    }

    /// The value at one time of a query over many, and what Prometheus would note beside it, in order.
    pub fn answer(&self, store: &Store, times: Times) -> Result<(Value, Vec<Note>), EvalFault> {
        evaluate::evaluate(self, store, times, evaluate::Asking::Notes)
    }
}
