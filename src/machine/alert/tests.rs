//! Lives of alerts, evaluation by evaluation.

use super::*;
use crate::machine::rules::alerting::Flapping;

const MINUTE: i64 = 60_000;

fn rule(for_min: i64, for_samples: u32, keep_min: i64) -> Alerting {
    Alerting {
        for_ms: for_min * MINUTE,
        for_samples,
        keep_firing_for_ms: keep_min * MINUTE,
        annotations: Vec::new(),
        resolve: None,
        no_data: None,
        missing_evals: 0,
        expected: Vec::new(),
        flapping: None,
        ladder: Vec::new(),
        priority: None,
    }
}

/// Evaluates each minute from 0; `story` says at each whether the condition holds (`x`, or `X` on a new sample), is
/// undecided (`?`) or gone (`-`), and gives the states. Each sample of an `x` is the one before.
fn live(rule: &Alerting, story: &str) -> (String, Vec<Reason>) {
    let (mut timers, mut flaps) = (Timers::inactive(0), Flaps::default());
    let (mut states, mut reasons) = (String::new(), Vec::new());
    let mut sampled_ms = 0;
    for (minute, c) in (0..).zip(story.chars()) {
        let at_ms = minute * MINUTE;
        if timers.state == Inactive {
            timers = Timers::inactive(at_ms);
        }
        if c == 'X' {
            sampled_ms = at_ms;
        }
        let (condition, why) = match c {
            'x' | 'X' => (Condition::Holds, Reason::ConditionMet),
            '?' => (Condition::Undecided, Reason::ConditionCleared),
            _ => (Condition::Gone, Reason::ConditionCleared),
        };
        let sight = Sight { condition, why, sampled_ms: Some(sampled_ms) };
        let before = flaps;
        flaps = rule.flapping.map_or(flaps, |rule| flaps.push(condition == Condition::Holds, &rule));
        let from = timers.state;
        let (next, reason) = timers.judge(sight, (before, flaps), at_ms, rule);
        timers = next;
        assert_eq!(reason.is_some(), from != timers.state);
        if let Some(reason) = reason {
            let alert = Alert {
                labels: Labels::default(),
                element: Labels::default(),
                value: 0.0,
                severity: String::new(),
                timers,
                flaps,
                suppressed: None,
            };
            // It asserts that the table has it.
            reasons.push(Change::new(AlertId([0; 16]), from, timers.state, reason, alert).reason);
        }
        states.push(match timers.state {
            Inactive => '.',
            Pending => 'p',
            Firing => 'F',
        });
    }
    (states, reasons)
}

#[test]
fn lives_of_alerts() {
    let table = [
        (0, 0, 0, "-x-xx-", ".F.FF."),
        (2, 0, 0, "-xxxx-x-", ".ppFF.p."),
        (2, 0, 0, "xx-xxx", "pp.ppF"),
        (0, 0, 2, "x----x", "FFF..F"),
        (0, 0, 2, "x--x---", "FFFFFF."),
        (1, 0, 1, "xx--xx", "pFF.pF"),
        // Undecided: it fires on, and keep_firing_for begins when it is gone.
        (0, 0, 0, "x??-?", "FFF.."),
        (0, 0, 2, "x-?--x", "FFFFFF"),
        (1, 0, 0, "x?x", "p.p"),
        // Samples: a condition that is seen again on the same sample is not seen twice.
        (0, 1, 0, "X-X", "F.F"),
        (0, 3, 0, "XxXxX-", "ppppF."),
        (0, 3, 0, "XX-XXX", "pp.ppF"),
        (2, 2, 0, "XXxx", "ppFF"),
        (1, 2, 0, "XxxX", "pppF"),
    ];
    for (for_min, for_samples, keep_min, story, states) in table {
        let rule = rule(for_min, for_samples, keep_min);
        assert_eq!(live(&rule, story).0, states, "for {for_min} {for_samples} keep {keep_min} {story}");
    }
}

#[test]
fn the_reason_is_what_decided() {
    use Reason::{ConditionMet as Met, HeldFor, HeldForSamples, KeepFiringElapsed};
    assert_eq!(live(&rule(2, 2, 0), "XXxx").1, [Met, HeldFor]);
    assert_eq!(live(&rule(1, 2, 0), "XxxX").1, [Met, HeldForSamples]);
    assert_eq!(live(&rule(0, 2, 1), "XX--").1, [Met, HeldForSamples, KeepFiringElapsed]);
    assert_eq!(live(&rule(0, 0, 0), "x-").1, [Met, Reason::ConditionCleared]);
}

#[test]
fn an_alert_that_flaps_does_not_end_before_it_has_calmed_down() {
    let flapping = Some(Flapping { low: 0.25, high: 0.5, history: 5 });
    let calm = Alerting { flapping, ..rule(0, 0, 0) };
    let (states, reasons) = live(&calm, "-x-x-x-------");
    assert_eq!(states, ".FFFFFFFF....");
    assert_eq!(reasons.last(), Some(&Reason::FlappingStopped));
    // It is kept longer than it flaps.
    let kept = Alerting { flapping, ..rule(0, 0, 6) };
    let (states, reasons) = live(&kept, "-x-x-x---------");
    assert_eq!((states.as_str(), reasons.last()), (".FFFFFFFFFFF...", Some(&Reason::KeepFiringElapsed)));
}
