//! Evaluates a question against what was loaded and compares the answer, within the tolerance of Prometheus's own
//! runner (1e-6, relative).

use crate::script::{Eval, Load, Wanted};
use bellwether::machine::promql::{Level, Note, Plan, PlanFault, Settings, Times, Value};
use bellwether::machine::series::Store;
use bellwether::machine::unittest::notation::{Sequence, Slot};
use bellwether::wire::{Labels, labels::METRIC_NAME};
use std::collections::{BTreeMap, BTreeSet};

/// What came of an eval.
#[derive(Debug)]
pub enum Judgement {
    Passed,
    Failed(String),
    /// It needs a native histogram.
    Native,
    /// It uses what is refused by name.
    Refused(String),
}

/// Floats by series and time, and which series have native histograms besides.
#[derive(Debug, Default)]
pub struct Loaded {
    floats: BTreeMap<Labels, BTreeMap<i64, f64>>,
    native: BTreeSet<Labels>,
}

impl Loaded {
    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes samples in. The last of two at one time counts.
    pub fn add(&mut self, load: Load) {
        for (labels, sequence) in load.series {
            if load.with_native && labels.get(METRIC_NAME).ends_with("_bucket") {
                let mut histogram = labels.clone();
                histogram.set(METRIC_NAME, labels.get(METRIC_NAME).trim_end_matches("_bucket"));
                histogram.set("le", "");
                self.native.insert(histogram);
            }
            let mut time_ms = 0;
            for slot in sequence {
                match slot {
                    Slot::Value(value) => {
                        self.floats.entry(labels.clone()).or_default().insert(time_ms, value);
                    }
                    Slot::Histogram => _ = self.native.insert(labels.clone()),
                    Slot::Nothing => {}
                }
                time_ms += load.step_ms;
            }
        }
    }

    /// A store that keeps everything the plan selects, for good.
    fn store_for(&self, plan: &mut Plan) -> Store {
        let mut store = Store::new(7);
        let mut interests = plan.interests();
        interests.iter_mut().for_each(|interest| interest.lookback_ms = i64::MAX / 4);
        plan.bind(&store.set_interests(interests));
        for (labels, points) in &self.floats {
            let Some(id) = store.lookup_labels(labels) else { continue };
            for (time_ms, value) in points {
                store.append(id, *time_ms, *value, *time_ms).expect("samples come in order");
            }
        }
        store
    }

    /// Whether an expression selects a series with native histograms.
    fn has_native_for(&self, plan: &Plan) -> bool {
        let interests = plan.interests();
        self.native.iter().any(|labels| interests.iter().any(|interest| interest.selector.matches(labels)))
    }
}

/// Judges one eval.
pub fn judge(eval: &Eval, loaded: &Loaded, late_names: bool) -> Judgement {
    if eval.series.iter().any(|(_, sequence)| sequence.contains(&Slot::Histogram)) {
        return Judgement::Native;
    }
    let range_ms = eval.to_ms - eval.from_ms;
    let settings = Settings { step_ms: eval.step_ms, range_ms, late_names };
    let mut plan = match Plan::query(&eval.expr, settings) {
        Ok(plan) => plan,
        Err(PlanFault::Unsupported { why, .. }) if why.contains("native histogram") => {
            return Judgement::Native;
        }
        Err(PlanFault::Unsupported { what, .. }) => return Judgement::Refused(what),
        Err(fault) => {
            return match &eval.fails {
                Some(wanted) if wanted.is(&fault.to_string()) => Judgement::Passed,
                _ => Judgement::Failed(format!("refused: {fault}")),
            };
        }
    };
    let native = loaded.has_native_for(&plan);
    let store = loaded.store_for(&mut plan);
    match agrees(eval, &plan, &store) {
        Ok(()) => Judgement::Passed,
        Err(_) if native => Judgement::Native,
        Err(why) => Judgement::Failed(why),
    }
}

fn agrees(eval: &Eval, plan: &Plan, store: &Store) -> Result<(), String> {
    let mut values = Vec::new();
    let mut notes = BTreeSet::new();
    let mut at_ms = eval.from_ms;
    while at_ms <= eval.to_ms {
        let times = Times { at_ms, start_ms: eval.from_ms, end_ms: eval.to_ms };
        match (plan.answer(store, times), &eval.fails) {
            (Ok((value, noted)), _) => {
                values.push(value);
                notes.extend(noted);
            }
            (Err(fault), Some(wanted)) if wanted.is(&fault.to_string()) => return Ok(()),
            (Err(fault), _) => return Err(format!("at {at_ms} ms: {fault}")),
        }
        at_ms += eval.step_ms.max(1);
    }
    if eval.fails.is_some() {
        return Err(format!("should fail, is {values:?}"));
    }
    noted(&notes, Level::Warning, &eval.warnings, eval.no_warning)?;
    noted(&notes, Level::Info, &eval.infos, eval.no_info)?;
    match (&values[..], eval.step_ms) {
        ([value], 0) => instant(eval, value),
        _ => range(eval, values),
    }
}

/// Each that is wanted is there, and each that is there is wanted, if any is.
fn noted(notes: &BTreeSet<Note>, level: Level, wanted: &[Wanted], none: bool) -> Result<(), String> {
    let messages: Vec<&str> = notes.iter().filter(|n| n.level == level).map(|n| n.message.as_str()).collect();
    if none && !messages.is_empty() {
        return Err(format!("should note nothing, notes {messages:?}"));
    }
    let missing = wanted.iter().any(|wanted| !messages.iter().any(|message| wanted.is(message)));
    let more = !wanted.is_empty() && messages.iter().any(|message| !wanted.iter().any(|w| w.is(message)));
    if missing || more { Err(format!("should note {wanted:?}, notes {messages:?}")) } else { Ok(()) }
}

fn instant(eval: &Eval, value: &Value) -> Result<(), String> {
    match value {
        Value::Text(bytes) => match &eval.string {
            Some(text) if text.as_bytes() == bytes => Ok(()),
            wanted => Err(format!("is {:?}, should be {wanted:?}", String::from_utf8_lossy(bytes))),
        },
        Value::Scalar(got) => match eval.scalar {
            Some(wanted) if close(wanted, *got) => Ok(()),
            wanted => Err(format!("is {got}, should be {wanted:?}")),
        },
        Value::Vector(got) => {
            let got: Vec<(Labels, Sequence)> = got
                .iter()
                .map(|element| (element.labels.clone(), vec![Slot::Value(element.value)]))
                .collect();
            if !eval.ordered {
                return same(&eval.series, &got);
            }
            let in_order = got.len() == eval.series.len()
                && got
                    .iter()
                    .zip(&eval.series)
                    .all(|(a, b)| same(std::slice::from_ref(b), std::slice::from_ref(a)).is_ok());
            if in_order { Ok(()) } else { Err(format!("is in order {got:?}, should be {:?}", eval.series)) }
        }
        Value::Ranges(ranges) => {
            let (from_ms, step_ms) = eval.samples_ms.unwrap_or((0, 1));
            let mut got = Vec::new();
            for (labels, points) in ranges {
                let mut sequence = Sequence::new();
                for point in points {
                    let slots = usize::try_from((point.time_ms - from_ms) / step_ms);
                    let at = slots.map_err(|_| format!("a sample at {} ms, too early", point.time_ms))?;
                    sequence.resize(sequence.len().max(at), Slot::Nothing);
                    sequence.push(Slot::Value(point.value));
                }
                got.push((labels.clone(), sequence));
            }
            same(&eval.series, &got)
        }
    }
}

fn range(eval: &Eval, values: Vec<Value>) -> Result<(), String> {
    let steps = values.len();
    let mut got: BTreeMap<Labels, Sequence> = BTreeMap::new();
    let mut put = |labels: Labels, step: usize, value: f64| {
        got.entry(labels).or_insert_with(|| vec![Slot::Nothing; steps])[step] = Slot::Value(value);
    };
    for (step, value) in values.into_iter().enumerate() {
        match value {
            Value::Scalar(value) => put(Labels::default(), step, value),
            Value::Vector(elements) => elements.into_iter().for_each(|e| put(e.labels, step, e.value)),
            Value::Ranges(_) | Value::Text(_) => {
                return Err("a range query gives scalars or instant vectors".to_owned());
            }
        }
    }
    same(&eval.series, &got.into_iter().collect::<Vec<_>>())
}

/// The same series with the same values, in whatever order.
fn same(wanted: &[(Labels, Sequence)], got: &[(Labels, Sequence)]) -> Result<(), String> {
    let filled = |series: &[(Labels, Sequence)]| -> BTreeMap<Labels, Sequence> {
        let trimmed = series.iter().map(|(labels, sequence)| {
            let length = sequence.iter().rposition(|slot| *slot != Slot::Nothing).map_or(0, |last| last + 1);
            (labels.clone(), sequence[..length].to_vec())
        });
        trimmed.filter(|(_, sequence)| !sequence.is_empty()).collect()
    };
    let (wanted, got) = (filled(wanted), filled(got));
    for (labels, sequence) in &wanted {
        match got.get(labels) {
            None => return Err(format!("lacks {labels} {}; is {}", shown(sequence), listed(&got))),
            Some(found) => {
                let alike = |(a, b): (&Slot, &Slot)| match (a, b) {
                    (Slot::Value(a), Slot::Value(b)) => close(*a, *b),
                    (a, b) => a == b,
                };
                if found.len() != sequence.len() || !sequence.iter().zip(found).all(alike) {
                    return Err(format!("{labels} is {}, should be {}", shown(found), shown(sequence)));
                }
            }
        }
    }
    match got.iter().find(|(labels, _)| !wanted.contains_key(*labels)) {
        Some((labels, sequence)) => Err(format!("has {labels} {}, which it should not", shown(sequence))),
        None => Ok(()),
    }
}

fn shown(sequence: &Sequence) -> String {
    let slot = |slot: &Slot| match slot {
        Slot::Value(value) => value.to_string(),
        Slot::Nothing => "_".to_owned(),
        Slot::Histogram => "{{…}}".to_owned(),
    };
    sequence.iter().map(slot).collect::<Vec<_>>().join(" ")
}

fn listed(series: &BTreeMap<Labels, Sequence>) -> String {
    let one = |(labels, sequence): (&Labels, &Sequence)| format!("{labels} {}", shown(sequence));
    series.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Prometheus's `almost.Equal`.
fn close(wanted: f64, got: f64) -> bool {
    if wanted == got || (wanted.is_nan() && got.is_nan()) {
        return true;
    }
    let (sum, apart) = (wanted.abs() + got.abs(), (wanted - got).abs());
    if wanted == 0.0 || got == 0.0 || sum < f64::MIN_POSITIVE {
        return apart < 1e-6 * f64::MIN_POSITIVE;
    }
    apart / sum.min(f64::MAX) < 1e-6
}
