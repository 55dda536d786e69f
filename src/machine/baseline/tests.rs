//! What is learned against exact arithmetic, and what is said against what is promised.

mod book;
mod exact;
mod store;

use super::calendar::{Calendar, Season};
use super::*;

const HOUR_S: i64 = 3600;

#[test]
fn the_guards_hold_and_the_band_is_where_they_say() {
    let guards = Guards { min_samples: 1, ..Guards::default() };
    let known = Estimate { mean: 100.0, variance: 4.0, samples: 5 };
    let score = |guards: Guards, x| guards.judge(x, &known).expect("warm").score;
    assert_eq!(
        guards.judge(107.0, &known),
        Some(Verdict { expected: 100.0, lower: 94.0, upper: 106.0, score: 3.5, deviation: 2.0 })
    );
    assert_eq!(score(guards, 100.0), 0.0);
    assert_eq!(score(guards, f64::NEG_INFINITY), -SCORE_MAX);
    let above = Guards { detection_direction: Direction::AboveExpected, ..guards };
    assert_eq!((score(above, 107.0), score(above, 93.0)), (3.5, 0.0));
    let below = Guards { detection_direction: Direction::BelowExpected, ..guards };
    assert_eq!((score(below, 107.0), score(below, 93.0)), (0.0, -3.5));
    let near = Guards { min_dev_from_expected: 7.0, ..guards };
    assert_eq!((score(near, 106.9), score(near, 107.0)), (0.0, 3.5));
    let percent = Guards { min_rel_dev_from_expected: 10.0, ..guards };
    assert_eq!((score(percent, 91.0), score(percent, 90.0)), (0.0, -5.0));
    assert_eq!(percent.judge(90.0, &known).map(|v| (v.lower, v.upper)), Some((90.0, 110.0)));
    let floor = Guards { scale_floor: 7.0, ..guards };
    assert_eq!(floor.judge(107.0, &known).map(|v| (v.score, v.upper)), Some((1.0, 121.0)));
    assert_eq!(Guards { min_samples: 6, ..guards }.judge(107.0, &known), None);
}

#[test]
fn a_constant_expects_itself_and_nothing_else() {
    let guards = Guards { min_samples: 1, ..Guards::default() };
    let known = Estimate { mean: 0.1, variance: 0.0, samples: 5 };
    let score = |x| guards.judge(x, &known).expect("warm").score;
    assert_eq!((score(0.1), score(0.100_000_000_1), score(-1e-300)), (0.0, SCORE_MAX, -SCORE_MAX));
    let floor = Guards { scale_floor: 0.5, ..guards };
    assert_eq!(floor.judge(1.1, &known).expect("warm").score, 2.0);
}

#[test]
fn a_verdict_of_several_models_is_their_weighted_mean() {
    let verdict =
        |score| Verdict { expected: 10.0 * score, lower: 0.0, upper: 100.0, score, deviation: score };
    let mut all = Combined::default();
    assert_eq!((all.verdict(), all.samples()), (None, 0));
    all.add(1.0, 50, Some(&verdict(2.0)));
    all.add(0.0, 3, Some(&verdict(900.0)));
    all.add(2.0, 7, None);
    assert_eq!((all.verdict().map(|v| v.score), all.samples()), (Some(2.0), 7));
    all.add(3.0, 20, Some(&verdict(-2.0)));
    let expected = Verdict { expected: -10.0, lower: 0.0, upper: 100.0, score: -1.0, deviation: -1.0 };
    assert_eq!(all.verdict(), Some(expected));
}

/// Seconds since the epoch of a time in UTC.
fn utc(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().expect("a time").as_second()
}

#[test]
fn parts_of_the_week_are_read_off_the_wall() {
    let mut calendar = Calendar::new(Season::Week, HOUR_S, "Europe/Tallinn").expect("a zone");
    assert_eq!(calendar.buckets(), 168);
    let mut bucket = |text| calendar.bucket(utc(text) * 1000);
    // A Monday in winter, two hours ahead of UTC; and one in summer, three hours ahead.
    assert_eq!((bucket("2026-01-04T22:00:00Z"), bucket("2026-01-04T21:59:59Z")), (0, 167));
    assert_eq!((bucket("2026-07-05T21:00:00Z"), bucket("2026-07-05T20:59:59Z")), (0, 167));
    // Clocks are put forward at 03:00 on Sunday the 29th of March: the hour from 3 to 4 is left out.
    assert_eq!((bucket("2026-03-29T00:59:59Z"), bucket("2026-03-29T01:00:00Z")), (146, 148));
    // And back at 04:00 on the 25th of October: the hour from 3 to 4 comes twice.
    assert_eq!((bucket("2026-10-25T00:30:00Z"), bucket("2026-10-25T01:30:00Z")), (147, 147));
    assert_eq!(bucket("2026-10-25T02:00:00Z"), 148);
}

#[test]
fn days_in_utc_and_in_zones_of_half_hours() {
    let mut day = Calendar::new(Season::Day, 900, "UTC").expect("a zone");
    assert_eq!((day.buckets(), day.has_zone()), (96, false));
    assert_eq!((day.bucket(0), day.bucket(-1), day.bucket(900_000)), (0, 95, 1));
    let mut half = Calendar::new(Season::Day, HOUR_S, "Asia/Kolkata").expect("a zone");
    assert_eq!(
        (half.bucket(utc("2026-05-05T18:29:59Z") * 1000), half.bucket(utc("2026-05-05T18:30:00Z") * 1000)),
        (23, 0)
    );
    assert!(Calendar::new(Season::Day, HOUR_S, "Europe/Talinn").is_none());
}

#[test]
fn an_offset_found_before_is_the_one_that_the_zone_has() {
    let zone = "America/St_Johns";
    let mut kept = Calendar::new(Season::Week, 300, zone).expect("a zone");
    let start = utc("2005-01-01T00:00:00Z");
    for step in 0..60_000 {
        // Back and forth over every change of the clocks in twenty years.
        let time_ms = (start + step * 10_007 - (step % 3) * 40_000) * 1000;
        let mut fresh = Calendar::new(Season::Week, 300, "UTC").expect("a zone");
        if step % 50 == 0 {
            fresh = Calendar::new(Season::Week, 300, zone).expect("a zone");
            assert_eq!(kept.bucket(time_ms), fresh.bucket(time_ms), "{time_ms}");
        }
        assert!(kept.bucket(time_ms) < 2016 && fresh.bucket(time_ms) < 2016);
    }
}
