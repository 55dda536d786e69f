//! Baselines over the series of a store: what is written, what is kept, and what a change of the rules keeps.

use super::book::{baseline, selector};
use super::*;
use crate::machine::series::{
    EVICT_SLACK_MS, Interest, Matcher, SampleFault, SelectionId, Selector, SeriesId, Store,
};
use crate::wire::{Labels, labels::METRIC_NAME};

const MINUTE: i64 = 60_000;

fn interest(name: &str) -> Interest {
    Interest { selector: selector(name), lookback_ms: 5 * MINUTE }
}

fn labels(name: &str, host: &str) -> Labels {
    Labels::new([(METRIC_NAME, name), ("host", host)])
}

fn one_model() -> Vec<Model> {
    let learns = Learns::Moving { pane_ms: MINUTE, panes: 5 };
    vec![Model { name: "moving".to_owned(), weight: 1.0, learns }]
}

/// A store in which somebody wants `n:score` and `n:samples`.
fn store(baselines: Vec<Baseline>) -> (Store, Vec<SelectionId>) {
    let mut store = Store::new(1);
    let ids = store.set_rules(vec![interest("n:score"), interest("n:samples")], baselines);
    (store, ids)
}

fn take(store: &mut Store, name: &str, host: &str, time_ms: i64, value: f64) -> Result<u64, SampleFault> {
    let id = store.lookup_labels(&labels(name, host)).expect("it is selected");
    store.take(id, time_ms, value, time_ms)?;
    Ok(store.judge(time_ms))
}

fn latest(store: &Store, selection: SelectionId) -> Vec<(String, f64)> {
    let value = |id: &SeriesId| store.latest(*id, i64::MIN, i64::MAX).map_or(f64::NAN, |point| point.value);
    store.selected(selection).iter().map(|id| (store.labels(*id).to_string(), value(id))).collect()
}

#[test]
fn only_outputs_that_a_rule_selects_are_written() {
    let (mut store, ids) = store(vec![baseline(one_model())]);
    for n in 0..4 {
        assert_eq!(take(&mut store, "a", "h", n * 1000, 1.0), Ok(0));
    }
    assert_eq!(store.len(), 3, "the series, its score and its samples");
    assert_eq!(latest(&store, ids[0])[0].1, 0.0);
    assert_eq!(latest(&store, ids[1])[0].1, 3.0);
    assert_eq!(store.labels(store.selected(ids[0])[0]), &labels("n:score", "h"));
    // A stale marker ends them, too; a late sample changes nothing.
    take(&mut store, "a", "h", 9000, f64::from_bits(crate::machine::series::STALE_NAN_BITS))
        .expect("in order");
    assert!(latest(&store, ids[1])[0].1.is_nan());
    assert!(take(&mut store, "a", "h", 8000, 1.0).is_err());
}

#[test]
fn a_selector_of_several_names_puts_them_into_a_label() {
    let several = Selector::new(vec![Matcher::regex(METRIC_NAME, "a|b").expect("a regex")]);
    let (mut store, ids) = store(vec![Baseline { selector: several, ..baseline(one_model()) }]);
    assert_eq!(take(&mut store, "a", "h", 1000, 1.0), Ok(0));
    assert_eq!(take(&mut store, "b", "h", 1000, 1.0), Ok(0));
    let metrics: Vec<&str> =
        store.selected(ids[1]).iter().map(|id| store.labels(*id).get("metric")).collect();
    assert_eq!(metrics, ["a", "b"]);
}

#[test]
fn an_output_that_something_stands_in_the_way_of_is_counted() {
    let several = Selector::new(vec![Matcher::regex(METRIC_NAME, "a|b").expect("a regex")]);
    let (mut store, _) = store(vec![Baseline { selector: several, ..baseline(one_model()) }]);
    let twin = |name| Labels::new([(METRIC_NAME, name), ("host", "h"), ("metric", "x")]);
    let ids = ["a", "b"].map(|name| store.lookup_labels(&twin(name)).expect("it is selected"));
    // Their own label `metric` is overwritten, so these two stay apart.
    assert_eq!(ids.map(|id| store.take(id, 1000, 1.0, 1000)), [Ok(()); 2]);
    assert_eq!(store.judge(1000), 0);
    // A sample from outside under an output's name stands in the way of the output.
    let id = store.lookup_labels(&output("n:samples", "a")).expect("it is selected");
    store.take(id, 5000, 9.0, 5000).expect("in order");
    store.take(ids[0], 2000, 1.0, 5000).expect("in order");
    assert_eq!(store.judge(5000), 1);
}

fn output(name: &str, metric: &str) -> Labels {
    Labels::new([(METRIC_NAME, name), ("host", "h"), ("metric", metric)])
}

#[test]
fn a_baseline_does_not_look_at_what_baselines_write() {
    let everything = Selector::new(vec![Matcher::regex(METRIC_NAME, ".+").expect("a regex")]);
    let (mut store, _) = store(vec![Baseline { selector: everything, ..baseline(one_model()) }]);
    for n in 0..9 {
        assert_eq!(take(&mut store, "a", "h", n * 1000, 1.0), Ok(0));
    }
    assert_eq!(store.len(), 3);
}

#[test]
fn an_edit_keeps_what_is_learned_the_same_and_begins_the_rest() {
    let (mut store, ids) = store(vec![baseline(one_model())]);
    let samples = |store: &mut Store, time_ms| {
        take(store, "a", "h", time_ms, 1.0).expect("in order");
        latest(store, ids[1])[0].1
    };
    (0..3).for_each(|n| _ = samples(&mut store, n * 1000));
    let edit = |store: &mut Store, baselines| {
        store.set_rules(vec![interest("n:score"), interest("n:samples")], baselines);
    };
    // Other guards, another baseline in front, a second model.
    let guards = Guards { z_threshold: 9.0, ..Guards::default() };
    let other = Baseline { name: "m".to_owned(), ..baseline(one_model()) };
    edit(&mut store, vec![other.clone(), Baseline { guards, ..baseline(one_model()) }]);
    assert_eq!(samples(&mut store, 4000), 3.0);
    let ewma = Model { name: "e".to_owned(), weight: 0.0, learns: Learns::Ewma { decay: 0.5, clip: 3.0 } };
    edit(&mut store, vec![baseline([one_model(), vec![ewma]].concat()), other]);
    assert_eq!(samples(&mut store, 5000), 4.0);
    // Another window, and then another selector: both begin anew.
    let longer = Learns::Moving { pane_ms: 2 * MINUTE, panes: 5 };
    let model = Model { learns: longer, ..one_model().remove(0) };
    edit(&mut store, vec![baseline(vec![model.clone()])]);
    assert_eq!(samples(&mut store, 6000), 0.0);
    let matchers = vec![Matcher::equal(METRIC_NAME, "a"), Matcher::not_equal("host", "x")];
    edit(&mut store, vec![Baseline { selector: Selector::new(matchers), ..baseline(vec![model]) }]);
    assert_eq!(samples(&mut store, 7000), 0.0);
    // And without baselines the series is nobody's.
    edit(&mut store, Vec::new());
    assert!(store.lookup_labels(&labels("a", "h")).is_none());
}

#[test]
fn a_silent_series_is_remembered_as_long_as_its_window() {
    let (mut store, _) = store(vec![baseline(one_model())]);
    take(&mut store, "a", "h", 0, 1.0).expect("in order");
    let selected =
        |store: &Store| store.pages().iter().filter(|(_, s)| s.labels.get(METRIC_NAME) == "a").count();
    store.evict(5 * MINUTE + EVICT_SLACK_MS - 1);
    assert_eq!(selected(&store), 1);
    store.evict(5 * MINUTE + EVICT_SLACK_MS);
    assert_eq!((selected(&store), store.len()), (0, 0));
    // Who comes back begins anew.
    take(&mut store, "a", "h", 60 * MINUTE, 1.0).expect("in order");
    let id = store.lookup_labels(&labels("n:samples", "h")).expect("selected");
    assert_eq!(store.latest(id, 0, i64::MAX).map(|point| point.value), Some(0.0));
}

#[test]
fn outputs_that_push_their_own_series_out_leave_a_store_in_order() {
    let (mut store, _) = store(vec![baseline(one_model())]);
    store.set_cap(2, "host");
    for n in 0..50 {
        let host = format!("h{}", n % 5);
        // Whatever gives way, the sample is taken or its series begins anew.
        assert_eq!(take(&mut store, "a", &host, n * 1000, 1.0), Ok(0));
        assert!(store.len() <= 2);
    }
}
