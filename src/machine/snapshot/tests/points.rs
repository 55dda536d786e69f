//! A machine that begins anew at any record is the one that never stopped.

use super::log::{log, options, step};
use super::{parts, restore};
use crate::machine::Machine;

/// Logs, and records of each.
const LOGS: u64 = 345;
const RECORDS: usize = 60;
/// A restored machine is stepped on for so many records; every eighth to the log's end.
const ON: usize = 3;

/// Reasons of the keys that Prometheus's rules have not.
const FURTHER: [&str; 9] = [
    "HeldForSamples",
    "ResolveConditionMet",
    "NoData",
    "MissingSeries",
    "SeverityChanged",
    "FlappingStarted",
    "Suppressed",
    "Inhibited",
    "SuppressionEnded",
];

/// What the logs have in them, so that the test is not about nothing.
#[derive(Debug, Default)]
struct Seen {
    points: usize,
    steps: usize,
    transitions: i64,
    rule_switches: usize,
    cuts: usize,
    evicted: u64,
    reused: usize,
    rejected: u64,
    outputs: usize,
    evaluation_failures: u64,
    limits: usize,
    kept_firing: usize,
    /// How often each of the reasons of further keys decided.
    further: [usize; 9],
    unauthentic: u64,
    notices: usize,
    watched: usize,
    scores: usize,
}

impl Seen {
    fn note(&mut self, actions: &str, machine: &Machine) {
        self.rule_switches += actions.matches("RulesSwitched { version").count();
        self.cuts += usize::from(actions.ends_with("Cut]"));
        self.limits += actions.matches("rule: \"BellwetherGroupLimit\"").count();
        for (count, reason) in self.further.iter_mut().zip(FURTHER) {
            *count += actions.matches(&format!("reason: {reason}")).count();
        }
        self.kept_firing += actions.matches("KeepFiringElapsed").count();
        let pages = machine.store.pages();
        let order: Vec<u64> = pages.iter().map(|(_, series)| series.first_seen).collect();
        self.reused += usize::from(!order.is_sorted());
    }

    fn end(&mut self, machine: &Machine) {
        let summary = machine.summary();
        self.transitions += summary.seq;
        self.evicted += machine.store.pages().seen - summary.series as u64;
        self.rejected += summary.rejected.values().sum::<u64>();
        self.unauthentic += summary.unauthentic.values().sum::<u64>();
        self.notices += machine.notices.0.len();
        self.outputs += machine.outputs.len();
        let series = || machine.store.pages().iter().map(|(_, series)| series);
        self.watched += series().filter(|series| !series.watch.slots().is_empty()).count();
        self.scores += series().filter(|series| series.labels.get("__name__") == "n:score").count();
        self.evaluation_failures += summary.evaluation_failures;
    }
}

#[test]
fn a_machine_restored_at_any_record_goes_on_as_the_one_that_never_stopped() {
    let mut seen = Seen::default();
    for seed in 0..LOGS {
        let log = log(seed, RECORDS);
        let mut whole = Machine::new(options(seed));
        // Machines restored at earlier records, and by where.
        let mut restored: Vec<(usize, Machine)> = Vec::new();
        for (at, record) in log.iter().enumerate() {
            let actions = step(&mut whole, record);
            let digest = whole.digest();
            seen.note(&actions, &whole);
            for (from, machine) in &mut restored {
                assert_eq!(step(machine, record), actions, "seed {seed}: from {from}, at {at}");
                seen.steps += 1;
            }
            let last = at + 1 == log.len();
            restored.retain(|(from, machine)| {
                let stays = !last && (from % 8 == 0 || from + ON > at);
                // Its state has been compared by then: what it decided last, and now all that it knows.
                assert!(stays || machine.digest() == digest, "seed {seed}: from {from}, at {at}");
                stays
            });
            let parts = parts(&whole.capture());
            let again =
                restore(&parts, seed + 1).unwrap_or_else(|fault| panic!("seed {seed}, {at}: {fault}"));
            assert_eq!(again.digest(), digest, "seed {seed}, at {at}");
            assert_eq!(digest, *blake3::hash(&parts.concat()).as_bytes());
            assert_eq!(again.head(), whole.head());
            restored.push((at, again));
            seen.points += 1;
        }
        seen.end(&whole);
    }
    println!("{seen:?}");
    assert!(seen.points >= 20_000, "{seen:?}");
    let enough = [
        seen.transitions > 10_000,
        seen.rule_switches > 500,
        seen.cuts > 300,
        seen.evicted > 1_000,
        seen.reused > 300,
        seen.rejected > 3_000,
        seen.outputs > 300,
        seen.evaluation_failures > 300,
        seen.limits > 100,
        seen.kept_firing > 100,
        seen.unauthentic > 100,
        seen.notices > 100,
        seen.watched > 300,
        seen.scores > 100,
        seen.further.iter().all(|count| *count > 5),
    ];
    assert_eq!(enough, [true; 15], "the logs are too quiet: {seen:?}");
}
