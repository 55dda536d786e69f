use super::*;
use proptest::prelude::*;

const MINUTE: i64 = 60_000;

fn interest(name: &str, lookback_ms: i64) -> Interest {
    Interest { selector: Selector::new(vec![Matcher::equal(METRIC_NAME, name)]), lookback_ms }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied())
}

/// Everything that a snapshot holds of it, in words.
fn state(store: &Store) -> String {
    let series = store.pages().iter().map(|(id, series)| {
        let samples: Vec<Point> = series.ring.iter().collect();
        format!("{id:?} {} {} {} {samples:?}", series.first_seen, series.newest_ms, series.labels)
    });
    series.collect::<Vec<String>>().join("\n") + &format!("\n{} seen", store.pages().seen)
}

fn times(store: &Store, id: SeriesId) -> Vec<i64> {
    store.window(id, i64::MIN, i64::MAX).iter().map(|point| point.time_ms).collect()
}

#[test]
fn a_known_key_is_never_parsed_again() {
    let mut store = Store::new(1);
    store.set_interests(vec![interest("up", MINUTE)]);
    let first = store.lookup("shop", b"key", || labels(&[(METRIC_NAME, "up"), ("service", "shop")]));
    assert_eq!(first, Some(SeriesId(0)));
    assert_eq!(store.lookup("shop", b"key", || panic!("parsed again")), first);
    // Neither the service alone nor the key alone names a series, however the two are cut.
    let other = store.lookup("shopk", b"ey", || labels(&[(METRIC_NAME, "up"), ("service", "shopk")]));
    assert_eq!(other, Some(SeriesId(1)));
}

#[test]
fn what_no_rule_selects_is_not_kept_and_not_parsed_again() {
    let mut store = Store::new(1);
    store.set_interests(vec![interest("up", MINUTE)]);
    assert_eq!(store.lookup("shop", b"key", || labels(&[(METRIC_NAME, "down")])), None);
    assert_eq!(store.lookup("shop", b"key", || panic!("parsed again")), None);
    assert!(store.is_empty());
    store.set_interests(vec![interest("down", MINUTE)]);
    assert!(store.lookup("shop", b"key", || labels(&[(METRIC_NAME, "down")])).is_some());
}

#[test]
fn two_spellings_of_a_label_set_are_one_series() {
    let mut store = Store::new(1);
    store.set_interests(vec![interest("up", MINUTE)]);
    let a = store.lookup("s", b"a=1,b=2", || labels(&[(METRIC_NAME, "up"), ("a", "1"), ("b", "2")]));
    let b = store.lookup("s", b"b=2,a=1", || labels(&[("b", "2"), (METRIC_NAME, "up"), ("a", "1")]));
    assert_eq!(a, b);
    assert_eq!(store.len(), 1);
}

#[test]
fn samples_out_of_order_twice_or_from_the_future_are_refused_by_reason() {
    let mut store = Store::new(1);
    store.set_interests(vec![interest("up", MINUTE)]);
    let id = store.lookup_labels(&labels(&[(METRIC_NAME, "up")])).expect("selected");
    assert_eq!(store.append(id, 5_000, 1.0, 5_000), Ok(()));
    let code = |result: Result<(), SampleFault>| result.map_err(|fault| fault.code());
    assert_eq!(code(store.append(id, 4_999, 1.0, 5_000)), Err("out_of_order"));
    assert_eq!(code(store.append(id, 5_000, 1.0, 5_000)), Err("duplicate"));
    assert_eq!(code(store.append(id, 5_000, 2.0, 5_000)), Err("duplicate"));
    assert_eq!(code(check_ahead(5_001 + FUTURE_MS_MAX, 5_000)), Err("far_future"));
    assert_eq!(code(check_ahead(5_000 + FUTURE_MS_MAX, 5_000)), Ok(()));
    assert_eq!(times(&store, id), [5_000]);
}

#[test]
fn a_sample_stays_as_long_as_some_rule_looks_back_to_it() {
    let mut store = Store::new(1);
    let long =
        Interest { selector: Selector::new(vec![Matcher::not_equal("host", "")]), lookback_ms: 3 * MINUTE };
    store.set_interests(vec![interest("up", MINUTE), long]);
    let short = store.lookup_labels(&labels(&[(METRIC_NAME, "up")])).expect("selected");
    let both = store.lookup_labels(&labels(&[(METRIC_NAME, "up"), ("host", "a")])).expect("selected");
    for minute in 0..10 {
        for id in [short, both] {
            store.append(id, minute * MINUTE, 0.0, minute * MINUTE).expect("in order");
        }
    }
    assert_eq!(times(&store, short), [9 * MINUTE]);
    assert_eq!(times(&store, both), [7 * MINUTE, 8 * MINUTE, 9 * MINUTE]);
}

#[test]
fn a_sample_ahead_of_the_clock_does_not_push_out_what_is_still_needed() {
    let mut store = Store::new(1);
    store.set_interests(vec![interest("up", MINUTE)]);
    let id = store.lookup_labels(&labels(&[(METRIC_NAME, "up")])).expect("selected");
    store.append(id, 100 * MINUTE, 1.0, 100 * MINUTE).expect("in order");
    store.append(id, 109 * MINUTE, 1.0, 100 * MINUTE).expect("within ten minutes");
    assert_eq!(times(&store, id), [100 * MINUTE, 109 * MINUTE]);
}

#[test]
fn a_rule_switch_keeps_what_is_still_selected_and_forgets_the_rest() {
    let mut store = Store::new(1);
    store.set_interests(vec![interest("a", MINUTE), interest("b", MINUTE)]);
    for name in ["a", "b"] {
        let id = store.lookup("s", name.as_bytes(), || labels(&[(METRIC_NAME, name)])).expect("selected");
        store.append(id, 1, 1.0, 1).expect("in order");
    }
    let ids =
        store.set_interests(vec![interest("c", MINUTE), interest("b", MINUTE), interest("b", 9 * MINUTE)]);
    assert_eq!(ids, [SelectionId(0), SelectionId(1), SelectionId(1)], "equal selectors share a selection");
    assert_eq!(store.selected(ids[0]), []);
    assert_eq!(store.selected(ids[1]), [SeriesId(1)]);
    assert_eq!(times(&store, SeriesId(1)), [1]);
    assert_eq!(store.len(), 1);
    // The id of `a` is free: the next series gets it, and comes last in first-seen order all the same.
    let c = store.lookup("s", b"b2", || labels(&[(METRIC_NAME, "b"), ("x", "y")]));
    assert_eq!(c, Some(SeriesId(0)));
    assert_eq!(store.selected(ids[1]), [SeriesId(1), SeriesId(0)]);
}

#[test]
fn a_silent_series_is_forgotten_and_may_come_back() {
    let mut store = Store::new(1);
    let ids = store.set_interests(vec![interest("up", MINUTE)]);
    let up = || labels(&[(METRIC_NAME, "up")]);
    let id = store.lookup("s", b"k", up).expect("selected");
    store.append(id, 0, 1.0, 0).expect("in order");
    store.evict(MINUTE + EVICT_SLACK_MS - 1);
    assert_eq!(store.len(), 1);
    store.evict(MINUTE + EVICT_SLACK_MS);
    assert_eq!((store.len(), store.selected(ids[0])), (0, &[][..]));
    assert_eq!(store.lookup("s", b"k", up), Some(id));
    assert_eq!(times(&store, id), [] as [i64; 0]);
}

#[test]
fn the_stale_marker_survives_and_every_other_nan_is_one() {
    let mut store = Store::new(1);
    store.set_interests(vec![interest("up", MINUTE)]);
    let id = store.lookup_labels(&labels(&[(METRIC_NAME, "up")])).expect("selected");
    for (time, bits) in [(1, STALE_NAN_BITS), (2, 0xfff8_0000_0000_0042), (3, 0x7ff8_0000_0000_0001)] {
        store.append(id, time, f64::from_bits(bits), time).expect("in order");
    }
    let bits: Vec<u64> = store.window(id, 0, 9).iter().map(|point| point.value.to_bits()).collect();
    assert_eq!(bits, [STALE_NAN_BITS, f64::NAN.to_bits(), f64::NAN.to_bits()]);
}

#[test]
fn windows_are_open_on_the_left() {
    let mut store = Store::new(1);
    store.set_interests(vec![interest("up", 100 * MINUTE)]);
    let id = store.lookup_labels(&labels(&[(METRIC_NAME, "up")])).expect("selected");
    (1..=5).for_each(|time| store.append(id, time, time as f64, time).expect("in order"));
    let values: Vec<f64> = store.window(id, 2, 4).iter().map(|point| point.value).collect();
    assert_eq!(values, [3.0, 4.0]);
    assert_eq!(store.latest(id, 0, 4).map(|point| point.value), Some(4.0));
    assert_eq!(store.latest(id, 4, 4), None);
    assert_eq!(store.window(id, 4, 2).iter().count(), 0, "an empty window may be upside down");
}

#[test]
fn matchers_see_a_missing_label_as_empty() {
    let series = labels(&[(METRIC_NAME, "up"), ("job", "api")]);
    let matches = |matcher: Matcher| Selector::new(vec![matcher]).matches(&series);
    assert!(matches(Matcher::equal("host", "")));
    assert!(!matches(Matcher::not_equal("host", "")));
    assert!(matches(Matcher::not_equal("host", "a")));
    assert!(matches(Matcher::regex("host", ".*").expect("regex")));
    assert!(!matches(Matcher::regex("host", ".+").expect("regex")));
    assert!(matches(Matcher::not_regex("job", "ap").expect("regex")), "a regex matches the whole value");
    assert!(matches(Matcher::regex("job", "ap|api").expect("regex")), "an alternative does, too");
}

#[test]
fn regular_expressions_mean_what_go_means() {
    let matches = |regex: &str, value: &str| Matcher::regex("x", regex).expect(regex).matches(value);
    assert!(matches(r"\d+", "12") && !matches(r"\d+", "１２"), "digits are ASCII");
    assert!(matches(r"[\w.]+", "a.b") && !matches(r"\w+", "é"), "words are ASCII");
    assert!(matches(r"[^\d]+", "ab") && !matches(r"[^\d]+", "a1"));
    assert!(matches(r"a{2}", "aa") && matches(r"a{b}", "a{b}"), "a brace that repeats nothing is itself");
    assert!(matches(r"[a&&b]+", "&a&b"), "a class knows no intersection");
    assert!(matches(r"[[]x", "[x") && matches(r"[]a]+", "]a") && matches(r"[[:alpha:]]+", "ab"));
    assert!(matches(r"\p{Greek}+\x{41}", "λA") && matches(r"a.b", "a\nb"));
    assert!(matches(r"\[\]\\", r"[]\"));
    assert!(Matcher::regex("x", "(").is_err());
}

/// What happens to a store, and to the model beside it.
#[derive(Debug, Clone)]
enum Step {
    Sample { series: u8, spelling: u8, after_ms: i64, value: f64 },
    Evict,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sample =
        (0..6_u8, 0..2_u8, -50..400_i64, -3..3_i8).prop_map(|(series, spelling, after_ms, value)| {
            Step::Sample { series, spelling, after_ms, value: f64::from(value) }
        });
    prop::collection::vec(prop_oneof![20 => sample, 1 => Just(Step::Evict)], 1..300)
}

fn series_labels(series: u8) -> Labels {
    labels(&[(METRIC_NAME, ["a", "b", "nobody"][series as usize % 3]), ("n", &series.to_string())])
}

fn store_of_two(hash_key: u64) -> Store {
    let mut store = Store::new(hash_key);
    store.set_interests(vec![interest("a", 1_000), interest("b", 3_000)]);
    store
}

proptest! {
    /// The ring against a plain list that forgets nothing: whatever an evaluation at or after the clock can ask for,
    /// both answer alike.
    #[test]
    fn the_ring_answers_like_a_plain_list(steps in steps(), window in (1..3_000_i64, 0..500_i64)) {
        let mut store = store_of_two(9);
        let mut naive: BTreeMap<SeriesId, Vec<Point>> = BTreeMap::new();
        let mut clock = 10_000;
        for step in steps {
            let Step::Sample { series, after_ms, value, .. } = step else { continue };
            clock += after_ms.max(0);
            let Some(id) = store.lookup_labels(&series_labels(series)) else { continue };
            let point = Point { time_ms: clock + after_ms.min(0), value };
            let points = naive.entry(id).or_default();
            let accepted = points.last().is_none_or(|newest| newest.time_ms < point.time_ms);
            prop_assert_eq!(store.append(id, point.time_ms, value, clock).is_ok(), accepted);
            if accepted {
                points.push(point);
            }
            let lookback = if series % 3 == 0 { 1_000 } else { 3_000 };
            let (length, ahead) = window;
            let to = clock + ahead;
            let after = to - length.min(lookback);
            let inside = |point: &&Point| point.time_ms > after && point.time_ms <= to;
            let want: Vec<Point> = points.iter().filter(inside).copied().collect();
            prop_assert_eq!(store.latest(id, after, to), want.last().copied());
            let seen = store.window(id, after, to);
            prop_assert_eq!(seen.iter().collect::<Vec<_>>(), want.clone());
            // The ends of what rises are told, whether the ring was filled sample by sample or restored; of what falls, not.
            let rises = want.windows(2).all(|pair| pair[1].value >= pair[0].value);
            let (restored, alone) = (Ring::from(points.clone()), Ring::from(want.clone()));
            let of_alone = alone.window(after, to).rising_ends();
            prop_assert_eq!(of_alone.is_some(), rises && want.len() > 2);
            for ends in [of_alone, seen.rising_ends(), restored.window(after, to).rising_ends()].into_iter().flatten() {
                prop_assert!(rises);
                prop_assert_eq!(ends, [want[0], want[want.len() - 2], want[want.len() - 1]]);
            }
        }
    }

    /// Two stores with other hash keys, one fed by encoded keys in two spellings and one by labels, are the same.
    #[test]
    fn the_state_knows_nothing_of_hashes_spellings_and_the_memo(steps in steps(), forget_at in 0..300_usize) {
        let (mut by_key, mut by_labels) = (store_of_two(1), store_of_two(u64::MAX));
        let mut clock = 10_000;
        for (at, step) in steps.into_iter().enumerate() {
            if at == forget_at {
                by_key.memo.clear();
            }
            match step {
                Step::Evict => {
                    clock += EVICT_SLACK_MS;
                    by_key.evict(clock);
                    by_labels.evict(clock);
                }
                Step::Sample { series, spelling, after_ms, value } => {
                    clock += after_ms.max(0);
                    let a = by_key.lookup("s", &[series, spelling], || series_labels(series));
                    let b = by_labels.lookup_labels(&series_labels(series));
                    prop_assert_eq!(a, b);
                    if let Some(id) = a {
                        let time = clock + after_ms.min(0);
                        prop_assert_eq!(by_key.append(id, time, value, clock), by_labels.append(id, time, value, clock));
                    }
                }
            }
            prop_assert_eq!(state(&by_key), state(&by_labels));
            let held: usize = by_key.pages.iter().map(|(_, series)| series.bytes()).sum();
            prop_assert_eq!(by_key.pages.held_bytes(), held);
        }
    }
}
