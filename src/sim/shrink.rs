//! A failing run told again with fewer faults: whole kinds are dropped first, then halves, quarters and single faults,
//! as long as it still fails.

use super::fault::{Fault, Plan};
use super::run;

/// The smallest plan found that still fails, in at most `tries` runs. Any violation counts: the first one that a smaller
/// run shows is easier to read than the one that was looked for.
#[must_use]
pub fn shrink(plan: &Plan, tries: usize) -> Plan {
    let mut left = tries;
    let mut smallest = plan.clone();
    let mut fails = |faults: Vec<Fault>, smallest: &mut Plan| {
        if left == 0 || faults.len() == smallest.faults.len() {
            return false;
        }
        left -= 1;
        let kinds = faults.iter().map(|fault| fault.kind).collect();
        let candidate = Plan { faults, kinds, ..smallest.clone() };
        let failed = run(&candidate, false).violation.is_some();
        if failed {
            *smallest = candidate;
        }
        failed
    };
    for kind in plan.kinds.clone() {
        let rest = smallest.faults.iter().filter(|fault| fault.kind != kind).cloned().collect();
        fails(rest, &mut smallest);
    }
    let mut size = smallest.faults.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < smallest.faults.len() {
            let to = (from + size).min(smallest.faults.len());
            let mut rest = smallest.faults.clone();
            rest.drain(from..to);
            if !fails(rest, &mut smallest) {
                from = to;
            }
        }
        size /= 2;
    }
    smallest
}
