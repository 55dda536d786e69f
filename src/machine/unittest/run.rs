//! Runs a test and compares what comes of it with what was expected.

use super::file::{AlertTest, Test};
use super::notation::Slot;
use super::trial::{Pace, Trial};
use crate::machine::rules::{RuleFault, duration};
use crate::wire::yaml::Place;
use crate::wire::{Labels, RuleSet};

/// What holds for all tests of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setting {
    /// Time between two evaluations, milliseconds; above 0.
    pub interval_ms: i64,
    /// Names of groups in the order in which they are evaluated.
    pub group_order: Vec<String>,
    /// Whether values may differ in their last bit.
    pub fuzzy: bool,
}

/// Why a test failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where in the test file what failed stands.
    pub place: Place,
    /// What was asked: `alert DiskFull at 5m`.
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a question that has not the answer that was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// None at all: the reason.
    Fault(String),
    /// Another one: both, a line for each element, annotations on lines of their own.
    Differs {
        /// What was expected.
        expected: Vec<String>,
        /// What was there.
        got: Vec<String>,
    },
}

/// Runs a test over a rule set. Its failures in order of time; none if it passes.
#[must_use]
pub fn run(test: Test, rules: &RuleSet, setting: &Setting) -> Vec<Failure> {
    let last_ms = test.last_ms();
    let Test { place, step_ms, start_ms, series, server, mut alerts, questions, .. } = test;
    let (asked, plans): (Vec<_>, Vec<_>) =
        questions.into_iter().map(|q| ((q.place, q.expr, q.eval_ms, q.expected), q.plan)).unzip();
    let pace = Pace { start_ms, interval_ms: setting.interval_ms, order: setting.group_order.clone() };
    let mut trial = match Trial::new(rules, &pace, &server, plans) {
        Ok(trial) => trial,
        Err(faults) => {
            let fault = |fault: RuleFault| Failure {
                place,
                what: "the rule files".to_owned(),
                outcome: Outcome::Fault(fault.to_string()),
            };
            return faults.into_iter().map(fault).collect();
        }
    };
    let mut waiting: Vec<_> =
        series.iter().map(|(labels, slots)| (labels, slots.iter().enumerate().peekable())).collect();
    alerts.sort_by_key(|alert| alert.eval_ms);
    let mut due = alerts.iter().peekable();
    let mut failures = Vec::new();
    let mut now_ms = 0;
    while now_ms <= last_ms {
        for (labels, slots) in &mut waiting {
            while let Some((at, slot)) = slots.next_if(|(at, _)| slot_ms(*at, step_ms) <= now_ms) {
                if let Slot::Value(value) = slot {
                    trial.take(labels, start_ms + slot_ms(at, step_ms), *value, start_ms + now_ms);
                }
            }
        }
        let failed = trial.evaluate(start_ms + now_ms);
        if let Some(failure) = unfit(place, now_ms, &failed, &trial.trimmed()) {
            failures.push(failure);
            return failures;
        }
        while let Some(alert) = due.next_if(|alert| alert.eval_ms < now_ms + setting.interval_ms) {
            failures.extend(judge_alerts(alert, &trial.firing(&alert.alert)));
        }
        now_ms += setting.interval_ms;
    }
    for (number, (place, expr, eval_ms, expected)) in asked.into_iter().enumerate() {
        let got = trial.answer(number, start_ms + eval_ms).map_err(|fault| fault.to_string());
        let what = format!("expr {expr} at {}", duration::text(eval_ms));
        failures.extend(judge_samples(place, what, expected, got, setting.fuzzy));
    }
    failures
}

fn slot_ms(at: usize, step_ms: i64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(step_ms)
}

/// Why the test cannot go on, where it cannot.
fn unfit(place: Place, now_ms: i64, failed: &[(String, String)], trimmed: &[String]) -> Option<Failure> {
    let at = duration::text(now_ms);
    if let Some((rule, why)) = failed.first() {
        let what = format!("rule {rule} at {at}");
        return Some(Failure { place, what, outcome: Outcome::Fault(why.clone()) });
    }
    trimmed.first().map(|service| Failure {
        place,
        what: format!("series of the service {service:?} at {at}"),
        outcome: Outcome::Fault(
            "there are more than limits.series allows: use fewer, or raise it".to_owned(),
        ),
    })
}

fn judge_alerts(test: &AlertTest, got: &[(Labels, Labels)]) -> Option<Failure> {
    let mut expected = test.expected.clone();
    expected.sort();
    let holds = if test.subset { covers(&expected, got) } else { expected == got };
    if holds {
        return None;
    }
    let lines = |alerts: &[(Labels, Labels)]| alerts.iter().flat_map(alert_lines).collect();
    let least = if test.subset { ", at least" } else { "" };
    Some(Failure {
        place: test.place,
        what: format!("alert {} at {}{least}", test.alert, duration::text(test.eval_ms)),
        outcome: Outcome::Differs { expected: lines(&expected), got: lines(got) },
    })
}

fn alert_lines((labels, annotations): &(Labels, Labels)) -> Vec<String> {
    let annotations = annotations.iter().map(|(name, text)| format!("  {name}: {text:?}"));
    std::iter::once(labels.to_string()).chain(annotations).collect()
}

/// Whether each that is there can be given one that is expected, all of which it has: each of both once.
fn covers(expected: &[(Labels, Labels)], got: &[(Labels, Labels)]) -> bool {
    let part = |part: &Labels, whole: &Labels| part.iter().all(|(name, value)| whole.get(name) == value);
    let mut taken: Vec<Option<usize>> = vec![None; got.len()];
    let fits = |e: usize, g: usize| part(&expected[e].0, &got[g].0) && part(&expected[e].1, &got[g].1);
    expected.len() == got.len()
        && (0..expected.len()).all(|e| place(e, &fits, &mut taken, &mut vec![false; got.len()]))
}

/// Finds a place for one that is expected; who stands there may have to move (Kuhn's matching).
fn place(
    e: usize,
    fits: &dyn Fn(usize, usize) -> bool,
    taken: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for g in 0..taken.len() {
        if tried[g] || !fits(e, g) {
            continue;
        }
        tried[g] = true;
        if taken[g].is_none_or(|other| place(other, fits, taken, tried)) {
            taken[g] = Some(e);
            return true;
        }
    }
    false
}

fn judge_samples(
    place: Place,
    what: String,
    mut expected: Vec<(Labels, f64)>,
    got: Result<Vec<(Labels, f64)>, String>,
    fuzzy: bool,
) -> Option<Failure> {
    let got = match got {
        Ok(got) => got,
        Err(fault) => return Some(Failure { place, what, outcome: Outcome::Fault(fault) }),
    };
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    let same = |(a, b): (&(Labels, f64), &(Labels, f64))| a.0 == b.0 && alike(a.1, b.1, fuzzy);
    if expected.len() == got.len() && expected.iter().zip(&got).all(same) {
        return None;
    }
    let lines = |samples: &[(Labels, f64)]| {
        samples.iter().map(|(labels, value)| format!("{labels} {value}")).collect()
    };
    Some(Failure { place, what, outcome: Outcome::Differs { expected: lines(&expected), got: lines(&got) } })
}

fn alike(expected: f64, got: f64, fuzzy: bool) -> bool {
    let near = fuzzy && (expected.next_up() == got || expected.next_down() == got);
    expected == got || (expected.is_nan() && got.is_nan()) || near
}

/// Lines of both in one list: `  ` before what is in both, `- ` before what is only expected, `+ ` before what is only
/// there.
#[must_use]
pub fn diff(expected: &[String], got: &[String]) -> Vec<String> {
    let marked = |mark: &str, lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| format!("{mark} {line}")).collect()
    };
    // The longest common part takes a table of both lengths; what is longer than anybody reads is shown as it is.
    if expected.len().saturating_mul(got.len()) > 1 << 20 {
        return [marked("-", expected), marked("+", got)].concat();
    }
    let mut longest = vec![vec![0_usize; got.len() + 1]; expected.len() + 1];
    for e in (0..expected.len()).rev() {
        for g in (0..got.len()).rev() {
            longest[e][g] = if expected[e] == got[g] {
                longest[e + 1][g + 1] + 1
            } else {
                longest[e + 1][g].max(longest[e][g + 1])
            };
        }
    }
    let (mut e, mut g, mut out) = (0, 0, Vec::new());
    while e < expected.len() && g < got.len() {
        if expected[e] == got[g] {
            out.push(format!("  {}", expected[e]));
            (e, g) = (e + 1, g + 1);
        } else if longest[e + 1][g] >= longest[e][g + 1] {
            out.push(format!("- {}", expected[e]));
            e += 1;
        } else {
            out.push(format!("+ {}", got[g]));
            g += 1;
        }
    }
    out.extend(marked("-", &expected[e..]));
    out.extend(marked("+", &got[g..]));
    out
}
