//! Unit tests of rules: promtool's files, run through the machine that production runs.
//!
//! ```text
//!  test file ──file──▶ Test: series, questions, what is expected ─┐
//!  rule files ──rules::load──▶ groups ──bind──▶ Machine ──────────┴─run──▶ failures, each with expected and got
//! ```
//!
//! [`mod@file`] reads the format and names every fault with its place, [`notation`] reads series, [`trial`] drives a machine
//! as promtool drives Prometheus, and [`run`] compares. There is no second evaluator: a [`trial::Trial`] evaluates groups
//! by the same call as [`super::Machine::step`], over the same store with the same retention, limits and baselines.
//!
//! What differs from promtool, and why:
//!
//! - Windows are open on the left, as in Prometheus 3. promtool 2.x also counts a sample at exactly the edge.
//! - A subquery without a step takes one a minute, as in production; promtool takes `evaluation_interval`.
//! - A group with a `query_offset` is evaluated at the time less the offset, as in Prometheus 3.
//! - The limits of the configuration hold: of 1,000 firing alerts of one service the next one waits as pending.
//! - `NaN` is equal to `NaN`; promtool never finds it equal.
//! - An annotation that renders empty is equal to one that is not there.
//! - Groups that `group_eval_order` does not name come with the first that it names, in order of the files; promtool
//!   leaves that open.

pub mod file;
pub mod notation;
pub mod run;
pub mod trial;

#[cfg(test)]
mod tests;
