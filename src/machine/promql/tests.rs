//! Each function and operator against values worked out by hand.

use super::*;
use crate::machine::series::{STALE_NAN_BITS, SelectionId};
use crate::wire::labels::METRIC_NAME;
use proptest::prelude::*;

/// Stands in a series for Prometheus's stale marker.
const STALE: f64 = f64::MIN_POSITIVE;

/// `name{label=value,…}`.
fn labels(text: &str) -> Labels {
    let (name, rest) = text.split_once('{').unwrap_or((text, "}"));
    let pairs = rest.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
    Labels::new(pairs.chain([(METRIC_NAME, name)]))
}

/// Series, each with its samples as (seconds, value).
type Series<'a> = &'a [(&'a str, &'a [(i64, f64)])];

fn evaluate(expr: &str, series: Series<'_>, at_s: i64) -> Result<Value, EvalFault> {
    let (plan, store) = bound(expr, series);
    plan.evaluate(&store, at_s * 1000)
}

/// A plan and a store that holds the series.
fn bound(expr: &str, series: Series<'_>) -> (Plan, Store) {
    let mut plan = Plan::compile(expr).unwrap_or_else(|fault| panic!("{expr}: {fault}"));
    let mut store = Store::new(3);
    let mut interests = plan.interests();
    interests.iter_mut().for_each(|interest| interest.lookback_ms = i64::MAX / 4);
    let selections: Vec<SelectionId> = store.set_interests(interests);
    plan.bind(&selections);
    for (name, samples) in series {
        let Some(id) = store.lookup_labels(&labels(name)) else { continue };
        for (time, value) in *samples {
            let value = if *value == STALE { f64::from_bits(STALE_NAN_BITS) } else { *value };
            store.append(id, time * 1000, value, time * 1000).expect("in order");
        }
    }
    (plan, store)
}

/// The elements, written `name{label=value,…}`.
fn vector(expr: &str, series: Series<'_>, at_s: i64) -> Vec<(String, f64)> {
    match evaluate(expr, series, at_s) {
        Ok(Value::Vector(elements)) => elements.into_iter().map(|e| (written(&e.labels), e.value)).collect(),
        Ok(Value::Scalar(value)) => vec![("scalar".to_owned(), value)],
        Ok(other) => panic!("{expr}: {other:?}"),
        Err(fault) => panic!("{expr}: {fault}"),
    }
}

fn written(labels: &Labels) -> String {
    let pairs = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}{{{}}}", labels.get(METRIC_NAME), pairs.join(","))
}

/// The one number that an expression over series `x` has at a time.
fn number(expr: &str, samples: &[(i64, f64)], at_s: i64) -> Option<f64> {
    match &vector(expr, &[("x", samples)], at_s)[..] {
        [] => None,
        [(_, value)] => Some(*value),
        more => panic!("{expr}: {more:?}"),
    }
}

fn fault(expr: &str, series: Series<'_>) -> &'static str {
    evaluate(expr, series, 0).expect_err(expr).code()
}

const COUNTER: &[(i64, f64)] = &[(15, 15.0), (30, 30.0), (45, 45.0), (60, 60.0)];
/// Falls from 20 to 5: it was reset.
const RESET: &[(i64, f64)] = &[(15, 10.0), (30, 20.0), (45, 5.0), (60, 15.0)];

#[test]
fn rate_extrapolates_to_both_ends_of_the_range() {
    // First sample 15 s after the start, less than 1.1 gaps: 45 s seen become 60, and a change of 45 becomes 60.
    assert_eq!(number("increase(x[1m])", COUNTER, 60), Some(60.0));
    assert_eq!(number("rate(x[1m])", COUNTER, 60), Some(45.0 * (60.0 / 45.0 / 60.0)));
    // Seen from 70 s, the last sample is 10 s away and the first three are 20, 35, 50 s after the start: half a gap is
    // added in front.
    assert_eq!(number("delta(x[1m])", COUNTER, 70), Some(45.0 * ((45.0 + 5.0 + 10.0) / 45.0)));
}

#[test]
fn a_side_further_away_than_a_gap_gets_half_a_gap() {
    let late = &[(40, 5.0), (50, 10.0), (60, 15.0)];
    assert_eq!(number("delta(x[1m])", late, 60), Some(10.0 * ((20.0 + 5.0 + 0.0) / 20.0)));
    // Seen from 85 s: 25 s to the end is more than 11 s as well.
    assert_eq!(number("delta(x[1m])", late, 85), Some(10.0 * ((20.0 + 5.0 + 5.0) / 20.0)));
}

#[test]
fn a_counter_is_not_extrapolated_to_before_it_was_zero() {
    let young = &[(15, 1.0), (30, 21.0), (45, 41.0), (60, 61.0)];
    // Zero was 45 · 1/60 = 0.75 s before the first sample.
    assert_eq!(number("increase(x[1m])", young, 60), Some(60.0 * (45.75 / 45.0)));
    assert_eq!(number("delta(x[1m])", young, 60), Some(80.0));
}

#[test]
fn a_counter_that_falls_was_reset() {
    // 10 → 20, reset, 5 → 15: 10 + 5 + 10 = 25, and 60 s for 45.
    assert_eq!(number("increase(x[1m])", RESET, 60), Some(25.0 * (60.0 / 45.0)));
    assert_eq!(number("delta(x[1m])", RESET, 60), Some(5.0 * (60.0 / 45.0)));
    assert_eq!(number("resets(x[1m])", RESET, 60), Some(1.0));
    assert_eq!(number("irate(x[20s])", RESET, 45), Some(5.0 / 15.0));
    assert_eq!(number("idelta(x[20s])", RESET, 45), Some(-15.0));
}

#[test]
fn one_sample_is_no_rate_and_none_is_nothing() {
    for function in ["rate", "increase", "delta", "irate", "idelta"] {
        assert_eq!(number(&format!("{function}(x[1m])"), &[(60, 1.0)], 60), None, "{function}");
    }
    assert_eq!(number("resets(x[1m])", &[(60, 1.0)], 60), Some(0.0));
    assert_eq!(number("count_over_time(x[1m])", &[(60, 1.0)], 121), None);
}

#[test]
fn ranges_are_open_on_the_left_and_skip_stale_markers() {
    assert_eq!(number("count_over_time(x[45s])", COUNTER, 60), Some(3.0), "15 s is out, as in Prometheus 3");
    assert_eq!(number("count_over_time(x[46s])", COUNTER, 60), Some(4.0));
    assert_eq!(number("count_over_time(x[1m])", &[(10, 1.0), (20, STALE), (30, 2.0)], 60), Some(2.0));
    assert_eq!(number("count_over_time(x[1m])", &[(10, STALE)], 60), None);
}

#[test]
fn an_instant_selector_looks_back_five_minutes_and_stops_at_a_stale_marker() {
    assert_eq!(number("x", &[(0, 7.0)], 299), Some(7.0));
    assert_eq!(number("x", &[(0, 7.0)], 300), None);
    assert_eq!(number("x", &[(0, 7.0), (10, STALE)], 10), None);
    assert_eq!(number("x", &[(0, 7.0), (10, STALE)], 9), Some(7.0));
    assert_eq!(number("x", &[(0, f64::NAN)], 1).map(f64::is_nan), Some(true), "a NaN is a value");
    assert_eq!(number("x offset 1m", COUNTER, 90), Some(30.0));
    assert_eq!(number("x offset -15s", COUNTER, 30), Some(45.0));
    assert_eq!(number("sum_over_time(x[30s] offset 15s)", COUNTER, 60), Some(75.0));
}

#[test]
fn over_time_functions() {
    let x = &[(10, 2.0), (20, 4.0), (30, 4.0), (40, 4.0), (50, 5.0), (60, 5.0), (70, 7.0), (80, 9.0)];
    for (function, want) in [
        ("avg_over_time", 5.0),
        ("min_over_time", 2.0),
        ("max_over_time", 9.0),
        ("sum_over_time", 40.0),
        ("count_over_time", 8.0),
        ("last_over_time", 9.0),
        ("stddev_over_time", 2.0),
        ("changes", 4.0),
        ("resets", 0.0),
    ] {
        assert_eq!(number(&format!("{function}(x[2m])"), x, 80), Some(want), "{function}");
    }
    let nan = &[(10, f64::NAN), (20, f64::NAN), (30, 1.0), (40, 2.0)];
    assert_eq!(number("changes(x[2m])", nan, 60), Some(2.0), "NaN to NaN is no change");
    assert_eq!(number("max_over_time(x[2m])", nan, 60), Some(2.0), "a NaN is no extreme");
    assert_eq!(number("min_over_time(x[2m])", nan, 60), Some(1.0));
    assert_eq!(number("sum_over_time(x[2m])", nan, 60).map(f64::is_nan), Some(true));
}

#[test]
fn sums_lose_nothing_and_means_do_not_overflow() {
    let big = &[(10, 1e100), (20, 1.0), (30, -1e100)];
    assert_eq!(number("sum_over_time(x[1m])", big, 60), Some(1.0));
    assert_eq!(number("avg_over_time(x[1m])", &[(10, 1.5e308), (20, 1.5e308)], 60), Some(1.5e308));
    assert_eq!(number("sum_over_time(x[1m])", &[(10, f64::INFINITY), (20, 1.0)], 60), Some(f64::INFINITY));
    let tenths: Vec<(i64, f64)> = (1..=10).map(|n| (n, 0.1)).collect();
    assert_eq!(number("sum_over_time(x[1m])", &tenths, 10), Some(1.0));
}

#[test]
fn only_last_over_time_and_filters_keep_the_name() {
    let x: Series<'_> = &[("x{a=1}", &[(0, 5.0)])];
    for (expr, want) in [
        ("x", "x{a=1}"),
        ("last_over_time(x[1m])", "x{a=1}"),
        ("x > 1", "x{a=1}"),
        ("1 < x", "x{a=1}"),
        ("x == x", "x{a=1}"),
        ("x and x", "x{a=1}"),
        ("+x", "x{a=1}"),
        ("x > bool 1", "{a=1}"),
        ("x + 1", "{a=1}"),
        ("-x", "{a=1}"),
        ("abs(x)", "{a=1}"),
        ("max_over_time(x[1m])", "{a=1}"),
        ("x == on(a) x", "{a=1}"),
        ("x == ignoring(b) x", "x{a=1}"),
        ("sum by (__name__) (x)", "x{}"),
        ("sum without (a) (x)", "{}"),
    ] {
        assert_eq!(vector(expr, x, 0)[0].0, want, "{expr}");
    }
}

#[test]
fn scalars_and_vectors_of_them() {
    let x: Series<'_> = &[("x{a=1}", &[(0, 5.0)]), ("x{a=2}", &[(0, 6.0)])];
    let scalar = |value| vec![("scalar".to_owned(), value)];
    assert_eq!(vector("time()", x, 90), scalar(90.0));
    assert_eq!(vector("vector(time() - 30)", x, 90), [("{}".to_owned(), 60.0)]);
    assert_eq!(vector("scalar(x{a=\"1\"}) * 2", x, 0), scalar(10.0));
    assert!(vector("scalar(x)", x, 0)[0].1.is_nan(), "two elements are no scalar");
    assert!(vector("scalar(nothing)", x, 0)[0].1.is_nan());
    assert_eq!(vector("2 ^ 3 ^ 2 + 7 % 4 - -1", x, 0), scalar(512.0 + 3.0 + 1.0));
    assert_eq!(vector("-7 % 4", x, 0), scalar(-3.0));
    assert_eq!(vector("1 >= bool 2", x, 0), scalar(0.0));
    assert_eq!(vector("1 atan2 1", x, 0), scalar(std::f64::consts::FRAC_PI_4));
}

#[test]
fn element_functions() {
    let x = &[(0, -5.0)];
    assert_eq!(number("abs(x)", x, 0), Some(5.0));
    assert_eq!(number("clamp(x, -2, 2)", x, 0), Some(-2.0));
    assert_eq!(number("clamp(x, 2, -2)", x, 0), None, "crossed bounds leave nothing");
    assert_eq!(number("clamp_min(x, time())", x, 3), Some(3.0));
    assert_eq!(number("clamp_max(x, -6)", x, 0), Some(-6.0));
    assert_eq!(number("clamp_max(x, NaN)", x, 0).map(f64::is_nan), Some(true));
}

#[test]
fn absent_tells_what_its_selector_pins() {
    let x: Series<'_> = &[("x{a=1}", &[(0, 5.0)])];
    assert_eq!(vector("absent(x)", x, 0), []);
    assert_eq!(vector("absent(y)", x, 0), [("{}".to_owned(), 1.0)]);
    let expr = "absent(x{a=\"2\",b=\"3\",b=\"4\",c=~\"5\",d!=\"6\"})";
    assert_eq!(vector(expr, x, 0), [("{a=2}".to_owned(), 1.0)]);
    assert_eq!(vector("absent(sum(y{a=\"2\"}))", x, 0), [("{}".to_owned(), 1.0)]);
}

#[test]
fn aggregations_group_and_ignore_nan_where_they_can() {
    let x: Series<'_> = &[
        ("x{a=1,b=1}", &[(0, 1.0)]),
        ("x{a=1,b=2}", &[(0, f64::NAN)]),
        ("x{a=2,b=1}", &[(0, 3.0)]),
        ("x{a=2,b=2}", &[(0, 6.0)]),
    ];
    let elements = |a: f64, b: f64| vec![("{a=1}".to_owned(), a), ("{a=2}".to_owned(), b)];
    assert_eq!(vector("max by (a) (x)", x, 0), elements(1.0, 6.0));
    assert_eq!(vector("min without (b) (x)", x, 0), elements(1.0, 3.0));
    assert_eq!(vector("count(x) by (a)", x, 0), elements(2.0, 2.0));
    assert_eq!(vector("avg by (a) (x > 2)", x, 0), [("{a=2}".to_owned(), 4.5)]);
    assert_eq!(vector("sum(x > 0)", x, 0), [("{}".to_owned(), 10.0)]);
    assert_eq!(vector("sum(nothing)", x, 0), []);
    assert_eq!(vector("count by (missing) (x)", x, 0), [("{}".to_owned(), 4.0)]);
}

#[test]
fn set_operators_match_by_labels() {
    let series: Series<'_> = &[
        ("x{a=1}", &[(0, 1.0)]),
        ("x{a=2}", &[(0, 2.0)]),
        ("y{a=2}", &[(0, 3.0)]),
        ("y{a=3,b=1}", &[(0, 4.0)]),
    ];
    let names = |expr: &str| vector(expr, series, 0).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("x and y"), ["x{a=2}"]);
    assert_eq!(names("x unless y"), ["x{a=1}"]);
    assert_eq!(names("x or y"), ["x{a=1}", "x{a=2}", "y{a=3,b=1}"]);
    assert_eq!(names("x and on(c) y"), ["x{a=1}", "x{a=2}"]);
    assert_eq!(names("x or on(c) y"), ["x{a=1}", "x{a=2}"]);
    assert_eq!(names("y unless ignoring(b) x"), ["y{a=3,b=1}"]);
}

#[test]
fn matching_between_vectors() {
    let series: Series<'_> = &[
        ("errors{job=a,code=1}", &[(0, 6.0)]),
        ("errors{job=a,code=2}", &[(0, 3.0)]),
        ("total{job=a,zone=z}", &[(0, 12.0)]),
        ("total{job=b}", &[(0, 1.0)]),
    ];
    let element = |labels: &str, value| (labels.to_owned(), value);
    let ratio = [element("{code=1,job=a}", 0.5), element("{code=2,job=a}", 0.25)];
    assert_eq!(vector("errors / on(job) group_left total", series, 0), ratio);
    assert_eq!(vector("errors / ignoring(code, zone) group_left() total", series, 0), ratio);
    let copied = [element("{code=1,job=a,zone=z}", 2.0), element("{code=2,job=a,zone=z}", 4.0)];
    assert_eq!(vector("total / on(job) group_right(zone) errors", series, 0), copied);
    let kept = [element("total{job=a,zone=z}", 12.0)];
    assert_eq!(vector("total > ignoring(zone) sum by (job) (errors)", series, 0).len(), 1);
    assert_eq!(
        vector("total > on(job, zone, __name__) total * 0", series, 0),
        [],
        "arithmetic dropped the name"
    );
    assert_eq!(vector("total{zone=\"z\"} >= total", series, 0), kept);
    assert_eq!(
        vector("errors < bool on(job) group_left total", series, 0)[0],
        element("{code=1,job=a}", 1.0)
    );
}

#[test]
fn who_reports_is_whoever_would_be_there_without_the_comparisons() {
    let series: Series<'_> = &[
        ("free{host=a}", &[(0, 5.0)]),
        ("free{host=b}", &[(0, 50.0)]),
        ("up{host=a}", &[(0, 1.0)]),
        ("up{host=c}", &[(0, 0.0)]),
    ];
    let table: [(&str, &[&str], &[&str]); 12] = [
        ("free < 10", &["free{host=a}"], &["free{host=a}", "free{host=b}"]),
        ("10 > free", &["free{host=a}"], &["free{host=a}", "free{host=b}"]),
        ("free < bool 10", &["{host=a}", "{host=b}"], &["{host=a}", "{host=b}"]),
        ("free < on (host) (up * 10)", &["{host=a}"], &["{host=a}"]),
        ("free > on (host) (up * 10)", &[], &["{host=a}"]),
        ("free < 10 and on (host) up == 0", &[], &["free{host=a}"]),
        (
            "free < 10 or up == 0",
            &["free{host=a}", "up{host=c}"],
            &["free{host=a}", "free{host=b}", "up{host=c}"],
        ),
        ("free < 60 unless on (host) up == 1", &["free{host=b}"], &["free{host=a}", "free{host=b}"]),
        ("count(free < 1) > 3", &[], &["{}"]),
        ("topk(1, free) > 90", &[], &["free{host=a}", "free{host=b}"]),
        ("absent(gone)", &["{}"], &["{}"]),
        ("absent(free < 1)", &["{}"], &[]),
    ];
    for (expr, holds, reports) in table {
        let (plan, store) = bound(expr, series);
        let names = |value: Result<Value, EvalFault>| match value {
            Ok(Value::Vector(elements)) => {
                let mut names: Vec<String> =
                    elements.iter().map(|element| written(&element.labels)).collect();
                names.sort_unstable();
                names
            }
            other => panic!("{expr}: {other:?}"),
        };
        assert_eq!(names(plan.evaluate(&store, 1000)), holds, "{expr}");
        assert_eq!(names(plan.reporting(&store, 1000)), reports, "{expr}");
    }
}

#[test]
fn the_newest_samples_are_those_that_the_expression_can_see() {
    let series: Series<'_> =
        &[("x{a=1}", &[(0, 1.0), (60, 2.0)]), ("x{a=2}", &[(10, 1.0), (20, STALE)]), ("y", &[(5, 1.0)])];
    let (plan, store) = bound("x offset 30s > 0 or y > 0", series);
    let newest: Vec<(String, i64)> =
        plan.newest(&store, 70_000).map(|(labels, time_ms)| (written(labels), time_ms)).collect();
    assert_eq!(newest, [("x{a=1}".to_owned(), 0), ("y{}".to_owned(), 5_000)]);
}

#[test]
fn ambiguous_matches_are_faults() {
    let series: Series<'_> = &[
        ("x{a=1,b=1}", &[(0, 1.0)]),
        ("x{a=1,b=2}", &[(0, 2.0)]),
        ("y{a=1,b=1}", &[(0, 3.0)]),
        ("z{a=1}", &[(0, 3.0)]),
    ];
    assert_eq!(fault("y + on(a) x", series), "promql_many_to_many");
    assert_eq!(fault("x + on(a) group_right y", series), "promql_many_to_many");
    assert_eq!(fault("x + on(a) z", series), "promql_many_to_one");
    assert_eq!(fault("x > on(a) z", series), "promql_many_to_one");
    assert_eq!(fault("x + on(a) group_left(b) z", series), "promql_ambiguous_group");
    assert_eq!(fault("abs({a=\"1\", b=\"1\"})", series), "promql_same_labels");
    assert_eq!(
        fault(
            "rate({b=~\"1\"}[5m]) or last_over_time({b=\"1\"}[5m])",
            &[("x{b=1}", &[(-2, 1.0), (-1, 1.0)]), ("y{b=1}", &[(-2, 1.0), (-1, 1.0)]),]
        ),
        "promql_same_labels"
    );
    let message = evaluate("y + on(a) x", series, 0).expect_err("many to many").to_string();
    assert_eq!(
        message,
        "found duplicate series for the match group {a=\"1\"} on the right hand-side of the \
        operation: [{__name__=\"x\", a=\"1\", b=\"1\"}, {__name__=\"x\", a=\"1\", b=\"2\"}];many-to-many matching \
        not allowed: matching labels must be unique on one side"
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_place() {
    for (expr, what, at) in [
        ("sum(histogram_avg(x))", "function histogram_avg()", 4),
        ("1 + x </ 2", "operator </", 6),
        ("x{a=\"\u{e9} info(\"} + info (x)", "function info()", 17),
        ("# histogram_sum(x)\nhistogram_sum(x)", "function histogram_sum()", 19),
    ] {
        match Plan::compile(expr) {
            Err(PlanFault::Unsupported { what: got, offset, .. }) => {
                assert_eq!((got.as_str(), offset), (what, at), "{expr}");
            }
            other => panic!("{expr}: {other:?}"),
        }
    }
    let unknown = Plan::compile("1 + maximum_over_time(x[5m])").expect_err("unknown");
    assert_eq!((unknown.code(), unknown.offset()), ("promql_unknown_function", Some(4)));
    assert_eq!(unknown.to_string(), "unknown function maximum_over_time(); did you mean max_over_time()?");
}

#[test]
fn what_is_no_value_or_no_promql_is_refused_at_its_place() {
    for (expr, code, offset) in [
        ("x[5m]", "promql_not_a_value", None),
        ("\"text\"", "promql_not_a_value", None),
        ("x +", "promql_syntax", Some(3)),
        ("1 + {a=\"\"}", "promql_syntax", Some(4)),
        ("{a=~\".*\"}", "promql_syntax", Some(0)),
        ("sum(rate(x))", "promql_syntax", Some(9)),
        ("1 > 2", "promql_syntax", Some(4)),
        ("x{a=\"1\" or b=\"2\"}", "promql_syntax", Some(8)),
        ("x{__name__=\"y\"}", "promql_syntax", Some(2)),
        ("x + on(a) group_left(a) y", "promql_syntax", Some(4)),
        ("x and on(a) group_left y", "promql_syntax", Some(6)),
        ("x + bool y", "promql_syntax", Some(4)),
        ("topk(x)", "promql_syntax", Some(4)),
        ("x[5m] offset 1m offset 1m", "promql_syntax", Some(16)),
        ("x[0s]", "promql_syntax", Some(2)),
        ("x[5m][5m:]", "promql_syntax", Some(0)),
        ("x{b=\"c\",a=~\"(\"}", "promql_regex", Some(8)),
        ("label_replace(x, \"a\", \"b\", \"c\", \"(\")", "promql_regex", Some(32)),
        ("label_join(x, \"\", \",\", \"c\")", "promql_label_name", Some(14)),
        ("x offset 200y", "promql_too_far", Some(9)),
        ("max_over_time(x[1y:1s])", "promql_too_many_steps", Some(14)),
    ] {
        let fault = Plan::compile(expr).expect_err(expr);
        assert_eq!((fault.code(), fault.offset()), (code, offset), "{expr}: {fault}");
    }
    assert_eq!(
        Plan::compile(&format!("x + {}", "1 + ".repeat(5_000))).expect_err("long").code(),
        "promql_too_long"
    );
    for deep in [
        format!("{}x{}", "(".repeat(300), ")".repeat(300)),
        format!("x{}", " + 1".repeat(2_000)),
        format!("{}x", "-".repeat(2_000)),
        format!("x{}", " ^ 1".repeat(2_000)),
        format!("x[{}1m]", "-".repeat(2_000)),
        format!("abs({}x{}", "abs(".repeat(300), ")".repeat(301)),
    ] {
        assert_eq!(Plan::compile(&deep).expect_err("deep").code(), "promql_too_deep", "{}", &deep[..20]);
    }
}

#[test]
fn what_is_just_deep_enough_is_evaluated() {
    let nested = format!("{}x{}", "abs(".repeat(98), ")".repeat(98));
    assert_eq!(number(&nested, &[(0, -1.0)], 0), Some(1.0));
    let chained = format!("x{}", " + 1".repeat(198));
    assert_eq!(number(&chained, &[(0, 0.0)], 0), Some(198.0));
}

#[test]
fn interests_say_how_far_back() {
    let lookbacks = |expr: &str| -> Vec<i64> {
        let interests = Plan::compile(expr).expect(expr).interests();
        interests.iter().map(|interest| interest.lookback_ms / 1000).collect()
    };
    assert_eq!(lookbacks("x + rate(y[10m])"), [300, 600]);
    assert_eq!(lookbacks("x offset 1h + sum_over_time(y[10m] offset 5m)"), [3_900, 900]);
    assert_eq!(lookbacks("x offset -1m + y offset -1h"), [240, 0]);
    assert_eq!(lookbacks("max_over_time(rate(x[5m])[1h:1m] offset 10m)"), [4_500]);
    assert_eq!(lookbacks("max_over_time(sum(x @ end())[1h:1m]) + y @ start()"), [300, 300]);
    assert_eq!(lookbacks("rate(x[5m] anchored)"), [600]);
    let forever = lookbacks("x @ 1000 + max_over_time(sum(y)[1h:1m] @ 1000)");
    assert!(forever.iter().all(|seconds| *seconds > 1_000_000_000_000), "a fixed time is never out of sight");
    let selector =
        Plan::compile("x{a=~\"b\",c!=\"\"}").expect("it compiles").interests()[0].selector.to_string();
    assert_eq!(selector, "{__name__=\"x\", a=~\"b\", c!=\"\"}");
}

#[test]
fn the_result_is_in_order_of_labels_whoever_came_first() {
    let x: Series<'_> = &[("x{a=3}", &[(0, 1.0)]), ("x{a=1}", &[(0, 2.0)]), ("x{a=2}", &[(0, 3.0)])];
    let values: Vec<f64> = vector("x", x, 0).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [2.0, 3.0, 1.0]);
}

#[test]
fn every_nan_that_comes_out_is_the_same() {
    let Ok(Value::Scalar(nan)) = evaluate("-(0 / 0)", &[], 0) else { panic!("a scalar") };
    assert_eq!(nan.to_bits(), f64::NAN.to_bits());
}

proptest! {
    /// Any text is refused or compiled; none makes the parser or the compiler panic.
    #[test]
    fn no_text_panics(pieces in prop::collection::vec(prop::sample::select(vec![
        "x", "rate", "sum", "by", "on", "(", ")", "[5m]", "[5m:1m]", "{", "}", "a=\"b\"", ",", "+", "-", "and", "bool",
        ">", "offset", "5m", "@", "1", "0x1f", "Inf", "\"", "'s'", "group_left", "topk", "#", "\n", "é", "1e999",
        "99999999999y", "clamp", "step()", "fill(1)", "anchored", "\\", "limitk", "label_join", "scalar", "[5m*(2)]", "absent", "=~", "[", ":", "]", "time()", "[1e9]", "9e99s", "start()", "__name__",
    ]), 0..12)) {
        if let Ok(plan) = Plan::compile(&pieces.join(" ")) {
            prop_assert!(plan.interests().iter().all(|interest| interest.lookback_ms >= 0));
        }
    }
}
