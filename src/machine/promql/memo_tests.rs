//! What evaluations remember changes nothing: against the plain version, to the bit, while series come, move and go.

use super::*;
use crate::machine::series::STALE_NAN_BITS;
use crate::wire::labels::METRIC_NAME;
use proptest::prelude::*;

/// Every operator that groups or matches, over the same few selectors, so that much is shared.
const EXPRESSIONS: [&str; 32] = [
    "a / b",
    "a > b",
    "a == bool on (host) group_left (zone) b",
    "a * on (host, zone) group_right () b",
    "a and ignoring (zone) b",
    "a or b",
    "{__name__=~\"a|b\"} unless on (host) c",
    "rate(c_total[3m])",
    "rate(c_total[3m]) / on (host, zone) rate(c_total[3m]) > 1",
    "sum by (host) (rate(c_total[3m])) / count by (host) (a)",
    "sum without (zone) (a) + on (host) group_left () max by (host) (b)",
    "avg without (host) (increase(c_total[3m]))",
    "-{__name__=~\"a|b\"}",
    "abs({host=~\"h.*\"})",
    "topk by (host) (1, a)",
    "count_values by (host) (\"zone\", b)",
    "label_replace(a, \"zone\", \"$1\", \"host\", \"(.*)\") / on (zone) b",
    "label_replace(a, \"host\", \"\", \"host\", \".*\") + a",
    "max_over_time((a - on (host, zone) b)[4m:1m])",
    "max_over_time(a[3m]) and max_over_time(a[3m]) >= a offset 1m",
    "last_over_time({__name__=~\"a|b\"}[3m])",
    "a + on (host) b",
    "absent(a{host=\"h1\"})",
    "sum(a) by (zone) > bool 2",
    "a / ignoring (zone) group_left b",
    "a + fill(0) b",
    "sum by (host) (rate(c_total[3m])) / count by (host) (a) > 0.5",
    "increase(c_total[10m]) > 0 or delta(c_total[10m] offset 2m)",
    "count_over_time({host=\"h0\"}[10m]) + resets({host=\"h0\"}[10m])",
    "irate(c_total[10m]) - idelta(c_total[10m])",
    "histogram_quantile(0.5, label_replace(b, \"le\", \"$1\", \"host\", \"h(.*)\"))",
    "topk(2, a) or sort_desc(label_join(a, \"zone\", \"-\", \"zone\", \"host\"))",
];

/// Plans of these texts, three of each, bound to a store. The first two share what they can.
fn plans<'t>(store: &mut Store, texts: impl Iterator<Item = &'t str>) -> Vec<Plan> {
    let thrice = texts.flat_map(|text| [text; 3]);
    let mut plans: Vec<Plan> = thrice.map(|text| Plan::compile(text).expect(text)).collect();
    let interests: Vec<Interest> = plans.iter().flat_map(Plan::interests).collect();
    let selections = store.set_interests(interests);
    let mut rest = selections.as_slice();
    for plan in &mut plans {
        let (own, others) = rest.split_at(plan.interests().len());
        plan.bind(own);
        rest = others;
    }
    share(plans.chunks_mut(3).flat_map(|same| &mut same[..2]));
    plans
}

/// The slot of each part of each text; parts inside a part stand before it.
#[test]
fn what_stands_twice_has_one_slot_and_what_it_holds_has_none() {
    let slots = |texts: &[&str]| {
        let mut plans: Vec<Plan> = texts.iter().map(|text| Plan::compile(text).expect(text)).collect();
        share(plans.iter_mut());
        plans.iter().map(|plan| plan.slots.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        slots(&["a / b > 80", "(a/b) # as above\n> 90", "rate(a[5m])"]),
        [vec![None, None, Some(0), None], vec![None, None, Some(0), None], vec![None]]
    );
    assert_eq!(
        slots(&["sum(a) + sum(a)", "a"]),
        [vec![Some(1), Some(0), Some(1), Some(0), None], vec![Some(1)]]
    );
    // What is written otherwise, or evaluated at other times, is not the same.
    let other = slots(&[
        "a offset 1m",
        "a",
        "sum(b)",
        "sum(b) by (x)",
        "max_over_time(c[5m:])",
        "count_over_time(c[5m:])",
    ]);
    assert_eq!(
        other,
        [vec![None], vec![None], vec![Some(0), None], vec![Some(0), None], vec![None], vec![None]]
    );
}

/// One thing that happens to the store.
#[derive(Debug, Clone)]
enum Happens {
    /// A sample of a metric, a host and a zone; some are stale markers.
    Sample(usize, usize, usize, f64),
    /// So many seconds pass.
    Passes(i64),
    /// Silent series are forgotten, and their ids given to others.
    Evict,
    Evaluate,
}

fn happens() -> impl Strategy<Value = Happens> {
    let value = prop_oneof![
        6 => (-3_i32..9).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::from_bits(STALE_NAN_BITS)),
    ];
    prop_oneof![
        12 => (0_usize..3, 0_usize..3, 0_usize..3, value).prop_map(|(m, h, z, v)| Happens::Sample(m, h, z, v)),
        3 => prop_oneof![Just(10), Just(60), Just(150), Just(3000)].prop_map(Happens::Passes),
        1 => Just(Happens::Evict),
        3 => Just(Happens::Evaluate),
    ]
}

fn labels(metric: usize, host: usize, zone: usize) -> Labels {
    let pairs = [
        (METRIC_NAME, ["a", "b", "c_total"][metric].to_owned()),
        ("host", format!("h{host}")),
        ("zone", ["", "z1", "z2"][zone].to_owned()),
    ];
    Labels::new(pairs)
}

/// Bits and all.
fn told(value: &Result<Value, EvalFault>) -> String {
    match value {
        Ok(Value::Vector(elements)) => {
            let element = |element: &Element| format!("{} {:x}\n", element.labels, element.value.to_bits());
            elements.iter().map(element).collect()
        }
        Ok(Value::Scalar(value)) => format!("{:x}", value.to_bits()),
        Ok(other) => format!("{other:?}"),
        Err(fault) => fault.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn what_is_remembered_changes_no_bit(story in prop::collection::vec(happens(), 1..120)) {
        let mut store = Store::new(3);
        let plans = plans(&mut store, EXPRESSIONS.into_iter());
        let mut now_ms = 1_000_000;
        for next in story.into_iter().chain([Happens::Evaluate]) {
            match next {
                Happens::Sample(metric, host, zone, value) => {
                    if let Some(id) = store.lookup_labels(&labels(metric, host, zone)) {
                        _ = store.append(id, now_ms, value, now_ms);
                    }
                }
                Happens::Passes(seconds) => now_ms += seconds * 1000,
                Happens::Evict => store.evict(now_ms),
                Happens::Evaluate => {
                    for (same, text) in plans.chunks(3).zip(EXPRESSIONS) {
                        let plain = told(&same[2].evaluate_plainly(&store, now_ms));
                        let reporting = told(&same[2].reporting(&store, now_ms));
                        for plan in same {
                            prop_assert_eq!(&told(&plan.evaluate(&store, now_ms)), &plain, "{}", text);
                            prop_assert_eq!(&told(&plan.reporting(&store, now_ms)), &reporting, "{}", text);
                        }
                    }
                }
            }
        }
    }
}
