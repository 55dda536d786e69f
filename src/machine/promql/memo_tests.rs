//! What evaluations remember changes nothing: against the plain version, to the bit, while series come, move and go.

use super::*;
use crate::machine::series::STALE_NAN_BITS;
use crate::wire::labels::METRIC_NAME;
use proptest::prelude::*;

/// Every operator that groups or matches, over the same few selectors, so that much is shared.
const EXPRESSIONS: [&str; 26] = [
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
];

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
        let mut plans: Vec<Plan> = EXPRESSIONS.iter().map(|text| Plan::compile(text).expect(text)).collect();
        let mut store = Store::new(3);
        let interests: Vec<Interest> = plans.iter().flat_map(Plan::interests).collect();
        let selections = store.set_interests(interests);
        let mut rest = selections.as_slice();
        for plan in &mut plans {
            let (own, others) = rest.split_at(plan.interests().len());
            plan.bind(own);
            rest = others;
        }
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
                    // Twice, so that what repeats is kept, and a second time asked for.
                    for (plan, text) in plans.iter().zip(EXPRESSIONS).chain(plans.iter().zip(EXPRESSIONS)) {
                        let found = told(&plan.evaluate(&store, now_ms));
                        prop_assert_eq!(found, told(&plan.evaluate_plainly(&store, now_ms)), "{}", text);
                    }
                }
            }
        }
    }
}
