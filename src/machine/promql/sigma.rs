//! `speed_sigma` and `acceleration_sigma`: how fast a series moves, in deviations of a baseline, so that one limit fits
//! many series.
//!
//! `speed_sigma(v[5m], "logins")` is `speed(v[5m]) / logins:deviation`: matched on every label, as any division is, and
//! without value where the baseline has none yet. Without a name it is the one baseline whose `series` is of the metric
//! `v`. Over a deviation of 0 what moves is infinite and what stands still has no number; `scale_floor` prevents that.

use super::Plan;
use crate::machine::baseline::{Baseline, Output};
use crate::machine::series::{Matcher, Selector};
use crate::wire::labels::METRIC_NAME;
use crate::wire::yaml::suggestion;

/// One call of such a function.
#[derive(Debug)]
pub(super) struct Sigma {
    pub(super) function: &'static str,
    /// Which leaf is the deviation.
    pub(super) leaf: usize,
    /// The baseline, where it is named.
    pub(super) name: Option<String>,
    /// The metric that moves, where its selector names one.
    pub(super) metric: Option<String>,
}

impl Sigma {
    /// The deviation of a baseline.
    pub(super) fn selector(&self, baseline: &str) -> Selector {
        Selector::new(vec![Matcher::equal(METRIC_NAME, &format!("{baseline}:{}", Output::Deviation.name()))])
    }

    /// Which of the baselines is meant, or why none can be.
    fn find<'b>(&self, baselines: &'b [Baseline]) -> Result<&'b Baseline, String> {
        let function = self.function;
        let baseline = match (&self.name, &self.metric) {
            (Some(name), _) => baselines.iter().find(|baseline| baseline.name == *name).ok_or_else(|| {
                let near = suggestion(name, baselines.iter().map(|baseline| baseline.name.as_str()));
                let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                format!("{function}: no baseline is named {name:?} in this rule set{hint}")
            })?,
            (None, None) => return Err(format!("{function}: name a baseline as its second argument")),
            (None, Some(metric)) => {
                let of = |baseline: &&Baseline| baseline.selector.metric_name() == Some(metric);
                let mut found = baselines.iter().filter(of);
                let first = found.next().ok_or_else(|| {
                    format!(
                        "{function}: no baseline of this rule set has {metric} as its series: define one, or name one \
                         as the second argument"
                    )
                })?;
                if let Some(other) = found.next() {
                    return Err(format!(
                        "{function}: the baselines {:?} and {:?} both look at {metric}: name one as the second argument",
                        first.name, other.name
                    ));
                }
                first
            }
        };
        let name = &baseline.name;
        if baseline.selector.metric_name().is_none() {
            return Err(format!(
                "{function}: baseline {name:?} looks at metrics of several names: name one in its series, or divide by \
                 {name}:deviation with the labels that match"
            ));
        }
        if baseline.counter {
            return Err(format!(
                "{function}: baseline {name:?} is of a counter's rise per second, and no deviation of the counter \
                 itself: divide what you mean by {name}:deviation"
            ));
        }
        Ok(baseline)
    }
}

impl Plan {
    /// Settles which baselines its `speed_sigma` and its kin are about; what is wrong with them.
    pub fn settle_sigmas(&mut self, baselines: &[Baseline]) -> Vec<String> {
        let mut faults = Vec::new();
        for sigma in &self.sigmas {
            match sigma.find(baselines) {
                Ok(baseline) => self.leaves[sigma.leaf].selector = sigma.selector(&baseline.name),
                Err(fault) => faults.push(fault),
            }
        }
        faults
    }
}
