//! Each model beside the textbook, in arithmetic that does not round.

use super::super::fading::Cells;
use super::super::moments::{Fading, Moments};
use super::*;
use proptest::prelude::*;

const PANE_MS: i64 = 300_000;
const PANES: i64 = 12;

/// Mean and variance of integers in two passes over 128-bit integers: exact but for the last division.
fn two_pass(values: &[i64]) -> (f64, f64) {
    let count = i128::try_from(values.len()).expect("few");
    let sum: i128 = values.iter().map(|x| i128::from(*x)).sum();
    // Distances from the mean, times the count: whole numbers again.
    let squares: i128 = values.iter().map(|x| (i128::from(*x) * count - sum).pow(2)).sum();
    let n = count as f64;
    (sum as f64 / n, squares as f64 / (n * n * n))
}

/// Samples of a series: its times ascend; now and then a pane's edge to the millisecond, or a long gap.
fn samples() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let step = prop_oneof![
        8 => 1i64..60_000,
        1 => Just(0),
        1 => 300_000i64..5_000_000,
    ];
    let value = prop_oneof![
        6 => -1000i64..1000,
        2 => Just(7),
        1 => Just(1_000_000_000_000),
        1 => Just(-999_999_999_999),
        1 => 1_000_000_000i64..1_000_000_100,
    ];
    (0i64..2_000_000_000_000, prop::collection::vec((step, value), 1..400)).prop_map(|(start, steps)| {
        let mut time_ms = start;
        let mut out = Vec::new();
        for (step, value) in steps {
            time_ms = match step {
                0 => (time_ms.div_euclid(PANE_MS) + 1) * PANE_MS,
                _ => time_ms + step,
            };
            out.push((time_ms, value));
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_window_is_what_two_exact_passes_over_its_samples_say(samples in samples()) {
        let mut moving = Moving::new(PANE_MS, 12);
        (0..3).for_each(|row| moving.reset(row));
        for (at, (time_ms, value)) in samples.iter().enumerate() {
            let pane = |ms: i64| ms.div_euclid(PANE_MS);
            let inside = |ms: i64| pane(ms) > pane(*time_ms) - PANES;
            let window: Vec<i64> =
                samples[..at].iter().filter(|(ms, _)| inside(*ms)).map(|(_, value)| *value).collect();
            let known = moving.known(1, *time_ms);
            prop_assert_eq!(known.samples as usize, window.len());
            if !window.is_empty() {
                let (mean, variance) = two_pass(&window);
                let largest = window.iter().map(|x| x.abs()).max().expect("some") as f64;
                let eps = f64::EPSILON * (8.0 + window.len() as f64);
                prop_assert!((known.mean - mean).abs() <= eps * largest, "{} {mean}", known.mean);
                let allowed = eps * (variance + largest * variance.sqrt());
                prop_assert!((known.variance - variance).abs() <= allowed, "{} {variance}", known.variance);
                if window.iter().all(|x| *x == window[0]) {
                    prop_assert_eq!((known.mean, known.variance), (window[0] as f64, 0.0));
                }
            }
            moving.learn(1, *value as f64);
        }
        prop_assert!(moving.panes(0).is_none() && moving.panes(2).is_none(), "its neighbours saw nothing");
    }

    #[test]
    fn parts_merged_are_the_whole(values in prop::collection::vec(-1_000_000i64..1_000_000, 1..300), cut in 1usize..50) {
        let of = |values: &[i64]| {
            let mut moments = Moments::default();
            values.iter().for_each(|x| moments.add(*x as f64));
            moments
        };
        let parts: Vec<Moments> = values.chunks(cut).map(of).collect();
        let pairwise = parts.iter().fold(Moments::default(), |all, part| all.merge(*part));
        let counts: Vec<u32> = parts.iter().map(|part| part.count).collect();
        let means: Vec<f64> = parts.iter().map(|part| part.mean).collect();
        let squares: Vec<f64> = parts.iter().map(|part| part.squares).collect();
        let at_once = Moments::merge_all(&counts, &means, &squares);
        let (mean, variance) = two_pass(&values);
        for all in [of(&values), pairwise, at_once] {
            prop_assert_eq!(all.count as usize, values.len());
            prop_assert!((all.mean - mean).abs() <= 1e-9 && (all.variance() - variance).abs() <= 1e-12 * (1.0 + variance));
        }
    }

    #[test]
    fn fading_is_the_weighted_sum_that_it_says(values in prop::collection::vec(-1000i64..1000, 1..200), decay in 0.5..1.0f64) {
        let mut fading = Fading::default();
        values.iter().for_each(|x| fading.add(*x as f64, decay));
        let mut weights: Vec<f64> = Vec::new();
        for _ in &values {
            weights.iter_mut().for_each(|weight| *weight *= decay);
            weights.push(1.0);
        }
        let total: f64 = weights.iter().sum();
        let pairs = || weights.iter().zip(&values).map(|(weight, x)| (*weight, *x as f64));
        let mean = pairs().map(|(weight, x)| weight * x).sum::<f64>() / total;
        let variance = pairs().map(|(weight, x)| weight * (x - mean) * (x - mean)).sum::<f64>() / total;
        prop_assert!((fading.mean - mean).abs() <= 1e-9);
        prop_assert!((fading.variance() - variance).abs() <= 1e-9 * (1.0 + variance));
    }
}

#[test]
fn an_outlier_leaves_with_its_pane_and_takes_its_rounding_along() {
    let (mut with, mut without) = (Moving::new(PANE_MS, 12), Moving::new(PANE_MS, 12));
    with.reset(0);
    without.reset(0);
    for n in 0..400 {
        let (time_ms, x) = (n * 15_000, 0.1 * (n % 7) as f64);
        let (known, plain) = (with.known(0, time_ms), without.known(0, time_ms));
        // The outlier falls into pane 2, which is in the window until pane 14 begins.
        let in_window = time_ms > 50 * 15_000 && time_ms.div_euclid(PANE_MS) < 14;
        assert_eq!(known == plain, !in_window, "at {n}: {known:?} {plain:?}");
        with.learn(0, if n == 50 { 1e12 } else { x });
        without.learn(0, x);
    }
}

#[test]
fn the_smallest_numbers_have_a_mean_and_no_deviation() {
    let mut moments = Moments::default();
    for n in 0..100 {
        moments.add(f64::from_bits(n % 3));
    }
    assert!(moments.mean >= 0.0 && moments.mean <= f64::from_bits(2));
    assert_eq!(moments.variance(), 0.0);
}

#[test]
fn the_largest_numbers_that_are_learned_stay_finite() {
    let (mut moments, mut fading) = (Moments::default(), Fading::default());
    for n in 0..1000 {
        let x = if n % 2 == 0 { LEARNED_MAX } else { -LEARNED_MAX };
        moments.add(x);
        fading.add(x, 0.9);
    }
    assert!(moments.variance().is_finite() && fading.variance().is_finite());
    let twice = moments.merge(Moments { mean: -moments.mean, ..moments });
    assert!(twice.variance().is_finite() && twice.variance().sqrt() > 0.9 * LEARNED_MAX);
}

#[test]
fn a_decay_of_one_forgets_nothing() {
    let mut cells = Cells::new(1.0, 3);
    cells.reset(2000);
    [1.0, 2.0, 6.0].into_iter().for_each(|x| cells.learn(2000, 1, x));
    let known = cells.known(2000, 1);
    assert_eq!((known.mean, known.samples), (3.0, 3));
    assert!((known.variance - 14.0 / 3.0).abs() < 1e-15);
    assert_eq!((cells.known(2000, 0).samples, cells.cells(2000).count()), (0, 1));
    cells.reset(2000);
    assert_eq!(cells.cells(2000).count(), 0);
}
