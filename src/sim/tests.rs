//! The simulator under test: it is deterministic, it finds nothing in the code as it is, and it finds what is planted.

mod power;

use super::*;

#[test]
fn a_seed_is_a_run() {
    for seed in 0..20 {
        let plan = Plan::draw(seed);
        let (told, silent) = (run(&plan, true), run(&plan, false));
        assert_eq!(told, run(&plan, true), "seed {seed}");
        assert_eq!(told.fold, silent.fold, "seed {seed}");
        assert!(!told.story.is_empty());
    }
}

/// For a look at how it fares: `cargo test --lib sim::tests::glance -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures"]
fn glance() {
    let mut sum = Sum::default();
    (0..100).for_each(|seed| sum.add(seed, &run(&Plan::draw(seed), false)));
    println!("{sum:?}");
}

/// 5,000 failovers from every second seed, nothing lost and nothing doubled.
fn five_thousand_failovers(first: u64) {
    let mut sum = Sum::default();
    for seed in (first..).step_by(2) {
        sum.add(seed, &run(&Plan::draw(seed), false));
        if sum.failovers >= 5_000 {
            return println!("seeds {first} to {seed}: {sum:?}");
        }
    }
}

// Two tests, for two cores.

#[test]
fn five_thousand_failovers_of_even_seeds() {
    five_thousand_failovers(0);
}

#[test]
fn five_thousand_failovers_of_odd_seeds() {
    five_thousand_failovers(1);
}

#[derive(Debug, Default)]
struct Sum {
    failovers: u64,
    transitions: u64,
    records: u64,
    simulated_s: i64,
    healed_in_ms: i64,
    promotions_minute_max: usize,
    faults: BTreeMap<Kind, u64>,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        assert_eq!(outcome.violation, None, "bellwether sim --seed {seed} --trace tells the story");
        self.failovers += outcome.failovers;
        self.transitions += outcome.transitions;
        self.records += outcome.records;
        self.simulated_s += outcome.simulated_ms / 1000;
        self.healed_in_ms = self.healed_in_ms.max(outcome.healed_in_ms);
        self.promotions_minute_max = self.promotions_minute_max.max(outcome.promotions_minute_max);
        for (kind, count) in &outcome.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
    }
}
