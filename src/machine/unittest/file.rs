//! A file of unit tests, in promtool's format.
//!
//! ```yaml
//! rule_files: [rules/*.yaml]           # globs, from the folder of this file
//! evaluation_interval: 1m              # 1m; in place of every group's interval
//! group_eval_order: [first, second]
//! fuzzy_compare: false                 # true: values may differ in the last bit
//! tests:
//! - name: disks                        # what --run looks at
//!   interval: 1m                       # evaluation_interval; time between two values of a series
//!   start_timestamp: 2024-02-29T10:00:00Z  # 0; RFC 3339 or seconds since the epoch: what eval_time counts from
//!   input_series:
//!   - {series: 'disk_free{host="a"}', values: '100-10x5 _x2 stale'}
//!   external_labels: {zone: a}
//!   external_url: http://prometheus.example/
//!   alert_rule_test:
//!   - eval_time: 5m
//!     alertname: DiskFull
//!     exp_alerts:                      # exactly these fire, with exactly these labels and annotations
//!     - {exp_labels: {host: a, severity: page}, exp_annotations: {summary: a is full}}
//!     exp_alerts_subset:               # instead: exactly these fire, and have these labels and annotations among theirs
//!     - {exp_labels: {host: a}}
//!   promql_expr_test:
//!   - {expr: 'disk_free < 60', eval_time: 5m, exp_samples: [{labels: 'disk_free{host="a"}', value: 50}]}
//! ```
//!
//! The values behind `#` are the defaults. Sources: Prometheus's `docs/configuration/unit_testing_rules.md` and
//! `cmd/promtool/unittest.go`; `exp_alerts_subset` is ours.

use super::notation::{self, NotationFault, Sequence, Slot};
use crate::machine::promql::Plan;
use crate::machine::rules::RuleFault;
use crate::machine::rules::reader::{Fields, Reader, field};
use crate::machine::template::Server;
use crate::wire::yaml::{Node, Place, Value, parse};
use crate::wire::{Labels, RuleFile};
use std::collections::{BTreeMap, BTreeSet};

/// `evaluation_interval` of a file that names none, milliseconds: promtool's default.
const INTERVAL_MS: i64 = 60_000;
/// Most evaluations of one test, and most values of all its series together.
const EVALUATIONS_MAX: i64 = 1 << 20;
const SLOTS_MAX: usize = 1 << 22;

const FILE_KEYS: [&str; 5] =
    ["rule_files", "evaluation_interval", "group_eval_order", "fuzzy_compare", "tests"];
const TEST_KEYS: [&str; 8] = [
    "name",
    "interval",
    "start_timestamp",
    "input_series",
    "external_labels",
    "external_url",
    "alert_rule_test",
    "promql_expr_test",
];

/// A file of tests.
#[derive(Debug, Default)]
pub struct TestFile {
    /// Patterns of rule files, each with its place.
    pub rule_files: Vec<(Place, String)>,
    /// Time between two evaluations, milliseconds; above 0.
    pub interval_ms: i64,
    /// Names of groups in the order in which they are evaluated.
    pub group_order: Vec<String>,
    /// Whether values may differ in their last bit.
    pub fuzzy: bool,
    /// Its tests, in order.
    pub tests: Vec<Test>,
    /// What is no fault and yet not what somebody meant.
    pub warnings: Vec<RuleFault>,
}

/// One test.
#[derive(Debug)]
pub struct Test {
    /// Where it stands.
    pub place: Place,
    /// Its name; `unnamed#0` for the first of the file, if it has none, and so on.
    pub name: String,
    /// Time between two values of a series, milliseconds; above 0.
    pub step_ms: i64,
    /// Time of the first value and of the first evaluation, milliseconds since the epoch.
    pub start_ms: i64,
    /// What is loaded.
    pub series: BTreeMap<Labels, Sequence>,
    /// What templates are told.
    pub server: Server,
    /// What must fire.
    pub alerts: Vec<AlertTest>,
    /// What must be the value of an expression.
    pub questions: Vec<Question>,
}

/// Which alerts of one name must fire at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertTest {
    /// Where it stands.
    pub place: Place,
    /// When, milliseconds from the start of the test.
    pub eval_ms: i64,
    /// Name of the alert.
    pub alert: String,
    /// Labels, the alert's name among them, and annotations of each.
    pub expected: Vec<(Labels, Labels)>,
    /// Whether the alerts may have more labels and annotations than are expected.
    pub subset: bool,
}

/// What an expression must be at a time.
#[derive(Debug)]
pub struct Question {
    /// Where it stands.
    pub place: Place,
    /// The expression as written.
    pub expr: String,
    /// The expression, compiled.
    pub plan: Plan,
    /// When, milliseconds from the start of the test.
    pub eval_ms: i64,
    /// Its elements.
    pub expected: Vec<(Labels, f64)>,
}

/// Reads a file of tests, or says all that is wrong with it, in order of places.
pub fn read(file: &RuleFile) -> Result<TestFile, Vec<RuleFault>> {
    let tree = parse(&file.content);
    let mut reader = Reader::new(file, "");
    let mut tests = TestFile { interval_ms: INTERVAL_MS, ..TestFile::default() };
    match &tree {
        Ok(tree) if tree.value == Value::Null => {}
        Ok(tree) => tests = whole(&mut reader, file, tree),
        Err(fault) => reader.fault(fault.place, format!("it is not YAML: {}", fault.message)),
    }
    reader.faults.sort_by_key(|fault| fault.place);
    if reader.faults.is_empty() { Ok(tests) } else { Err(reader.faults) }
}

fn whole<'a>(reader: &mut Reader<'a>, file: &RuleFile, tree: &'a Node) -> TestFile {
    let fields = reader.fields(tree, "a file of tests", &FILE_KEYS);
    let mut out = TestFile { fuzzy: boolean(reader, &fields, "fuzzy_compare"), ..TestFile::default() };
    for node in reader.items(field(&fields, "rule_files"), "rule_files") {
        let pattern = reader.text(Some(node), "a rule file").to_owned();
        out.rule_files.push((node.place, pattern));
    }
    out.interval_ms = positive(reader, &fields, "evaluation_interval", INTERVAL_MS);
    for node in reader.items(field(&fields, "group_eval_order"), "group_eval_order") {
        let name = reader.text(Some(node), "a group").to_owned();
        if out.group_order.contains(&name) {
            reader.fault(node.place, format!("the group {name:?} stands twice in group_eval_order"));
        }
        out.group_order.push(name);
    }
    let mut repeated = Vec::new();
    for (number, node) in (0..).zip(reader.items(field(&fields, "tests"), "tests")) {
        out.tests.extend(test(reader, node, number, out.interval_ms, &mut repeated));
    }
    let name = &file.name;
    let warning = |(place, labels): (Place, Labels)| RuleFault {
        file: name.clone(),
        place,
        rule: None,
        message: format!("the series {labels} stands before in this test: the last counts, as in promtool"),
    };
    out.warnings = repeated.into_iter().map(warning).collect();
    out
}

fn test<'a>(
    reader: &mut Reader<'a>,
    node: &'a Node,
    number: usize,
    interval_ms: i64,
    repeated: &mut Vec<(Place, Labels)>,
) -> Option<Test> {
    let fields = reader.fields(node, "a test", &TEST_KEYS);
    let name = reader.text(field(&fields, "name"), "name");
    let labels = reader.texts(field(&fields, "external_labels"), "external_labels");
    let server = Server {
        labels: Labels::new(labels.into_iter().map(|(name, _, value)| (name, value))),
        url: reader.text(field(&fields, "external_url"), "external_url").to_owned(),
    };
    let mut out = Test {
        place: node.place,
        name: if name.is_empty() { format!("unnamed#{number}") } else { name.to_owned() },
        step_ms: positive(reader, &fields, "interval", interval_ms),
        start_ms: start_ms(reader, &fields),
        series: BTreeMap::new(),
        server,
        alerts: Vec::new(),
        questions: Vec::new(),
    };
    let mut slots = 0;
    for node in reader.items(field(&fields, "input_series"), "input_series") {
        let Some((labels, values)) = series(reader, node) else { continue };
        slots += values.len();
        if out.series.insert(labels.clone(), values).is_some() {
            repeated.push((node.place, labels));
        }
    }
    if slots > SLOTS_MAX {
        reader.fault(
            node.place,
            format!("its series have {slots} values, at most {SLOTS_MAX} are taken: use fewer"),
        );
        return None;
    }
    for node in reader.items(field(&fields, "alert_rule_test"), "alert_rule_test") {
        out.alerts.extend(alert_test(reader, node));
    }
    for node in reader.items(field(&fields, "promql_expr_test"), "promql_expr_test") {
        out.questions.extend(question(reader, node));
    }
    let evaluations = out.last_ms() / interval_ms;
    if evaluations > EVALUATIONS_MAX {
        reader.fault(
            node.place,
            format!(
                "its last eval_time takes {evaluations} evaluations, at most {EVALUATIONS_MAX} are made: use a longer \
                 evaluation_interval, or start_timestamp"
            ),
        );
    }
    Some(out)
}

impl Test {
    /// The latest time that is looked at, milliseconds from the start.
    #[must_use]
    pub fn last_ms(&self) -> i64 {
        let alerts = self.alerts.iter().map(|test| test.eval_ms);
        alerts.chain(self.questions.iter().map(|question| question.eval_ms)).max().unwrap_or(0)
    }
}

fn series<'a>(reader: &mut Reader<'a>, node: &'a Node) -> Option<(Labels, Sequence)> {
    let fields = reader.fields(node, "a series", &["series", "values"]);
    let name = field(&fields, "series");
    let labels = noted(reader, name, "series", notation::metric)?;
    if labels.is_empty() {
        let place = name.map_or(node.place, |node| node.place);
        reader.fault(place, "a series has a name or a label; this one has neither");
        return None;
    }
    let values = noted(reader, field(&fields, "values"), "values", notation::values)?;
    if values.contains(&Slot::Histogram) {
        let place = field(&fields, "values").map_or(node.place, |node| node.place);
        reader.fault(
            place,
            "native histograms ({{…}}) are not supported: series of Bellwether hold numbers; test with classic buckets, \
             le=\"…\"",
        );
        return None;
    }
    Some((labels, values))
}

/// A text in the notation of series. A fault is put where it stands in the file.
fn noted<'a, T>(
    reader: &mut Reader<'a>,
    node: Option<&'a Node>,
    key: &str,
    read: fn(&str) -> Result<T, NotationFault>,
) -> Option<T> {
    let text = reader.text(node, key);
    match (read(text), node) {
        (Ok(value), _) => Some(value),
        (Err(fault), Some(node)) => {
            let offset = text[..fault.offset].chars().count();
            reader.fault_within(node, text, offset, format!("{key}: {fault}"));
            None
        }
        (Err(_), None) => None,
    }
}

fn alert_test<'a>(reader: &mut Reader<'a>, node: &'a Node) -> Option<AlertTest> {
    let keys = ["eval_time", "alertname", "exp_alerts", "exp_alerts_subset"];
    let fields = reader.fields(node, "a test of alerts", &keys);
    let eval_ms = reader.duration_ms(field(&fields, "eval_time"), "eval_time").unwrap_or(0);
    let alert = reader.text(field(&fields, "alertname"), "alertname").to_owned();
    if alert.is_empty() {
        reader.fault(node.place, "a test of alerts names one, `alertname`; this one names none");
        return None;
    }
    let subset = field(&fields, "exp_alerts_subset");
    if let (Some(_), Some(subset)) = (field(&fields, "exp_alerts"), subset) {
        reader
            .fault(subset.place, "a test of alerts has either exp_alerts or exp_alerts_subset; it has both");
    }
    let key = if subset.is_some() { "exp_alerts_subset" } else { "exp_alerts" };
    let mut expected = Vec::new();
    for node in reader.items(field(&fields, key), key) {
        let fields = reader.fields(node, "an expected alert", &["exp_labels", "exp_annotations"]);
        let mut texts = |key: &str| {
            let texts = reader.texts(field(&fields, key), key);
            Labels::new(texts.into_iter().map(|(name, _, value)| (name, value)))
        };
        let (mut labels, annotations) = (texts("exp_labels"), texts("exp_annotations"));
        labels.set("alertname", &alert);
        expected.push((labels, annotations));
    }
    Some(AlertTest { place: node.place, eval_ms, alert, expected, subset: subset.is_some() })
}

fn question<'a>(reader: &mut Reader<'a>, node: &'a Node) -> Option<Question> {
    let fields = reader.fields(node, "a test of an expression", &["expr", "eval_time", "exp_samples"]);
    let eval_ms = reader.duration_ms(field(&fields, "eval_time"), "eval_time").unwrap_or(0);
    let mut expected = Vec::new();
    let mut seen = BTreeSet::new();
    for node in reader.items(field(&fields, "exp_samples"), "exp_samples") {
        let fields = reader.fields(node, "an expected sample", &["labels", "value", "histogram"]);
        if let Some(node) = field(&fields, "histogram") {
            reader
                .fault(node.place, "native histograms are not supported: series of Bellwether hold numbers");
        }
        let labels = noted(reader, field(&fields, "labels"), "labels", notation::metric);
        let value = number(reader, field(&fields, "value"));
        let (Some(labels), Some(value)) = (labels, value) else { continue };
        if !seen.insert(labels.clone()) {
            reader.fault(
                node.place,
                format!("{labels} is expected twice: no value has two elements of one label set"),
            );
        }
        expected.push((labels, value));
    }
    let Some(expr) = field(&fields, "expr") else {
        reader.fault(node.place, "a test of an expression has an expression, `expr`; this one has none");
        return None;
    };
    let text = reader.text(Some(expr), "expr");
    match Plan::compile(text) {
        Ok(plan) => {
            Some(Question { place: node.place, expr: text.trim().to_owned(), plan, eval_ms, expected })
        }
        Err(fault) => {
            reader.fault_within(expr, text, fault.offset().unwrap_or(0), format!("expr: {fault}"));
            None
        }
    }
}

/// A value; an absent one is 0. YAML writes infinity `.inf`, Prometheus `Inf`.
fn number<'a>(reader: &mut Reader<'a>, node: Option<&'a Node>) -> Option<f64> {
    let Some(node) = node else { return Some(0.0) };
    let text = reader.text(Some(node), "value");
    let plain = text.replacen(".inf", "inf", 1).replacen(".Inf", "inf", 1).replacen(".nan", "nan", 1);
    let value = notation::number(&plain.replacen(".NaN", "nan", 1));
    if value.is_none() {
        reader.fault(
            node.place,
            format!("value is {text:?}, which is no number; write 1, -2.5, 1e3, .inf or .nan"),
        );
    }
    value
}

fn boolean<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>, key: &str) -> bool {
    let Some(node) = field(fields, key) else { return false };
    let text = reader.text(Some(node), key);
    match text {
        "true" | "True" | "TRUE" => return true,
        "false" | "False" | "FALSE" => {}
        _ => reader.fault(node.place, format!("{key} is {text:?}; it is true or false")),
    }
    false
}

/// A duration above 0; 0 stands for the default, as in promtool.
fn positive<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>, key: &str, default_ms: i64) -> i64 {
    reader.duration_ms(field(fields, key), key).filter(|ms| *ms > 0).unwrap_or(default_ms)
}

/// RFC 3339, or seconds since the epoch.
fn start_ms<'a>(reader: &mut Reader<'a>, fields: &Fields<'a>) -> i64 {
    let Some(node) = field(fields, "start_timestamp") else { return 0 };
    let text = reader.text(Some(node), "start_timestamp");
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a float that is too large becomes the largest integer"
    )]
    let seconds = text.parse::<f64>().ok().filter(|s| s.is_finite()).map(|s| (s * 1000.0).round() as i64);
    let stamp = || text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
    match seconds.or_else(stamp).filter(|ms| (0..=i64::MAX / 1_000_000).contains(ms)) {
        Some(ms) => ms,
        None => {
            reader.fault(
                node.place,
                format!(
                    "start_timestamp is {text:?}; it is a time from 1970 on, as 2024-02-29T10:00:00Z or in seconds \
                     since then"
                ),
            );
            0
        }
    }
}
