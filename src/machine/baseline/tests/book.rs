//! What a sample of each kind means.

use super::*;
use crate::machine::series::{Matcher, STALE_NAN_BITS, Selector};
use crate::wire::labels::METRIC_NAME;

pub(super) fn selector(name: &str) -> Selector {
    Selector::new(vec![Matcher::equal(METRIC_NAME, name)])
}

fn moving(name: &str, weight: f64) -> Model {
    Model { name: name.to_owned(), weight, learns: Learns::Moving { pane_ms: 60_000, panes: 5 } }
}

pub(super) fn baseline(models: Vec<Model>) -> Baseline {
    let guards = Guards { min_samples: 3, ..Guards::default() };
    Baseline { name: "n".to_owned(), selector: selector("a"), counter: false, guards, models }
}

/// A baseline with one row, and samples a second apart.
struct World {
    baselines: Baselines,
    slot: Slot,
    time_ms: i64,
}

impl World {
    fn new(baseline: Baseline) -> Self {
        let mut baselines = Baselines::default();
        baselines.switch(vec![Arc::new(baseline)], |_| true);
        let slot = baselines.allot(0);
        Self { baselines, slot, time_ms: 1_000_000_000 }
    }

    /// What is said of a sample, by the output's name.
    fn sample(&mut self, after_ms: i64, value: f64) -> BTreeMap<String, f64> {
        let before_ms = self.time_ms;
        self.time_ms += after_ms;
        let mut said = Vec::new();
        let sample = Sample { time_ms: self.time_ms, before_ms, value };
        self.baselines.observe(self.slot, sample, &mut said);
        let wanted = self.baselines.book(self.slot).wanted();
        said.iter().map(|said| (wanted[said.which].name.to_string(), said.value)).collect()
    }

    fn score(&mut self, value: f64) -> Option<f64> {
        self.sample(1000, value).get("n:score").copied()
    }
}

use std::collections::BTreeMap;

#[test]
fn a_sample_is_judged_before_it_is_learned() {
    let mut world = World::new(baseline(vec![moving("moving", 1.0)]));
    assert_eq!([1.0, 3.0, 2.0].map(|x| world.score(x)), [None; 3]);
    let said = world.sample(1000, 4.0);
    let deviation = (2.0_f64 / 3.0).sqrt();
    let expected = [
        ("n:deviation", deviation),
        ("n:expected", 2.0),
        ("n:moving:deviation", deviation),
        ("n:lower", 2.0 - 3.0 * deviation),
        ("n:moving:expected", 2.0),
        ("n:moving:lower", 2.0 - 3.0 * deviation),
        ("n:moving:samples", 3.0),
        ("n:moving:score", 2.0 / deviation),
        ("n:moving:upper", 2.0 + 3.0 * deviation),
        ("n:samples", 3.0),
        ("n:score", 2.0 / deviation),
        ("n:upper", 2.0 + 3.0 * deviation),
    ];
    assert_eq!(said, expected.map(|(name, value)| (name.to_owned(), value)).into());
    assert_eq!(world.sample(1000, 2.0)["n:samples"], 4.0);
}

#[test]
fn what_is_no_number_is_not_learned() {
    let mut world = World::new(baseline(vec![moving("moving", 1.0)]));
    [1.0, 3.0, 2.0].into_iter().for_each(|x| _ = world.score(x));
    assert!(world.sample(1000, f64::NAN).is_empty());
    let stale = world.sample(1000, f64::from_bits(STALE_NAN_BITS));
    assert_eq!(stale.len(), 12);
    assert!(stale.values().all(|value| value.to_bits() == STALE_NAN_BITS));
    assert_eq!(world.score(f64::INFINITY), Some(SCORE_MAX));
    assert_eq!(world.score(-2e140), Some(-SCORE_MAX));
    assert_eq!(world.sample(1000, 2.0)["n:samples"], 3.0);
}

#[test]
fn a_counter_is_judged_by_how_fast_it_rises() {
    let counter = Baseline { counter: true, ..baseline(vec![moving("moving", 1.0)]) };
    let mut world = World::new(counter);
    let mut expected = |after_ms, value| {
        let said = world.sample(after_ms, value);
        (said.get("n:samples").copied(), said.get("n:expected").copied())
    };
    // The first sample has none before it, and it takes three rates to be warm.
    assert_eq!(expected(1000, 1000.0), (None, None));
    assert_eq!(expected(2000, 1010.0), (Some(0.0), None));
    assert_eq!(expected(1000, 1015.0), (Some(1.0), None));
    // It fell: it began again at zero, and rose by 5.
    assert_eq!(expected(1000, 5.0), (Some(2.0), None));
    assert_eq!(expected(1000, 10.0), (Some(3.0), Some(5.0)));
    // A gap longer than a rate reaches over, a NaN and a stale marker: the sample after each is the first again.
    assert_eq!(expected(COUNTER_GAP_MS + 1, 900.0), (None, None));
    assert_eq!(expected(COUNTER_GAP_MS, 900.0), (Some(0.0), None));
    assert_eq!(expected(1000, f64::NAN), (None, None));
    assert_eq!(expected(1000, 910.0), (None, None));
    assert_eq!(expected(1000, f64::from_bits(STALE_NAN_BITS)).0.map(f64::to_bits), Some(STALE_NAN_BITS));
    assert_eq!(expected(1000, f64::INFINITY), (None, None));
    assert_eq!(expected(1000, f64::INFINITY), (None, None));
    assert_eq!(expected(1000, 3.0), (Some(1.0), None));
}

#[test]
fn a_model_of_weight_zero_learns_and_does_not_count() {
    let season =
        Learns::Seasonal { calendar: Calendar::new(Season::Day, HOUR_S, "UTC").expect("a zone"), decay: 1.0 };
    let models = vec![
        moving("moving", 1.0),
        Model { name: "quiet".to_owned(), weight: 0.0, learns: Learns::Ewma { decay: 0.5, clip: 3.0 } },
        Model { name: "seasonal".to_owned(), weight: 3.0, learns: season },
    ];
    let mut world = World::new(baseline(models));
    [1.0, 3.0, 2.0].into_iter().for_each(|x| _ = world.score(x));
    let said = world.sample(1000, 4.0);
    assert!(said["n:quiet:score"] > 0.0 && said["n:quiet:samples"] == 3.0);
    assert_eq!(said["n:score"], said["n:moving:score"]);
    assert_eq!(said["n:moving:score"], said["n:seasonal:score"]);
    // An hour later the window is empty and the hour is new: only the one of weight 0 knows anything.
    let said = world.sample(3_600_000, 4.0);
    assert_eq!((said.get("n:score"), said["n:samples"]), (None, 0.0));
    assert_eq!(said["n:quiet:samples"], 4.0);
    // And a day later the same hour knows what it knew.
    let said = world.sample(23 * 3_600_000, 2.0);
    assert_eq!((said["n:seasonal:samples"], said["n:samples"]), (4.0, 0.0));
    assert_eq!(said["n:score"], said["n:seasonal:score"]);
}

#[test]
fn a_clipped_mean_moves_a_little_and_follows_a_shift_all_the_same() {
    let ewma = Learns::Ewma { decay: 0.9, clip: 3.0 };
    let mut world = World::new(baseline(vec![Model { name: "ewma".to_owned(), weight: 1.0, learns: ewma }]));
    for n in 0..100 {
        _ = world.score(f64::from(n % 3));
    }
    let before = world.sample(1000, 1e12)["n:expected"];
    let after = world.sample(1000, 1.0)["n:expected"];
    assert!(after > before && after < before + 0.5, "{before} {after}");
    // A constant is not clipped: its deviation is 0, and it would never be seen to move.
    let ewma = Learns::Ewma { decay: 0.9, clip: 3.0 };
    let mut world = World::new(baseline(vec![Model { name: "ewma".to_owned(), weight: 1.0, learns: ewma }]));
    (0..50).for_each(|_| _ = world.score(5.0));
    assert_eq!(world.score(6.0), Some(SCORE_MAX));
    for _ in 0..200 {
        _ = world.score(6.0);
    }
    let expected = world.sample(1000, 6.0)["n:expected"];
    assert!((expected - 6.0).abs() < 1e-3, "{expected}");
}

#[test]
fn a_row_that_is_given_out_again_knows_nothing() {
    let counter = Baseline { counter: true, ..baseline(vec![moving("moving", 1.0)]) };
    let mut world = World::new(counter);
    (1..=5).for_each(|n| _ = world.score(f64::from(n)));
    world.baselines.release(world.slot);
    world.slot = world.baselines.allot(0);
    assert_eq!(world.slot.row, 0);
    assert_eq!(world.sample(1000, 9.0), BTreeMap::new());
    assert_eq!(world.sample(1000, 9.0)["n:samples"], 0.0);
}

#[test]
fn a_thousandth_row_and_one_more_are_apart() {
    let mut baselines = Baselines::default();
    baselines.switch(vec![Arc::new(baseline(vec![moving("moving", 1.0)]))], |_| true);
    let slots: Vec<Slot> = (0..2050).map(|_| baselines.allot(0)).collect();
    for round in 0..4 {
        for (at, slot) in slots.iter().enumerate() {
            let mut said = Vec::new();
            let time_ms = round * 1000;
            let sample = Sample { time_ms, before_ms: time_ms - 1000, value: at as f64 };
            baselines.observe(*slot, sample, &mut said);
            let expected = said.iter().find(|said| said.which == 0).map(|said| said.value);
            let warm = round == 3;
            assert!(!warm || expected == Some(at as f64), "{at}: {expected:?}");
        }
    }
    // 64 bytes and four closed panes of 20, and 16 for the place of each output.
    let bytes = baselines.bytes() / 4096;
    assert!((144..=144 + 11 * 16).contains(&bytes), "{bytes}");
}
