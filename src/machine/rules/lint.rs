//! What is no fault in a rule file, and mostly no help: for `rules check`.
//!
//! | code | what |
//! |---|---|
//! | `duplicate-rules` | a rule of the same name and labels stands before it, in another group |
//! | `for-below-interval` | `for` is shorter than the interval: the second evaluation ends it whatever it is |
//! | `few-samples` | a function that needs two samples, over a window that may hold but one |
//! | `fixed-at` | a selector `@` a fixed time keeps every sample of its series for good |
//! | `spans-services` | with several partitions: no partition holds all series that the rule needs |
//! | `selects-nothing` | a selector of the rules in force selects no series of the newest snapshot |

use super::file::INTERVAL_MS;
use super::reader::{Fields, Reader, field};
use super::{RuleFault, load, place};
use crate::machine::promql::{Plan, Reach, Survey};
use crate::machine::series::Selector;
use crate::wire::yaml::{Node, Place, parse};
use crate::wire::{RuleFile, RuleSet};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Something to think about.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{at} [{code}]")]
pub struct Lint {
    /// Stable code.
    pub code: &'static str,
    /// Where and what.
    pub at: RuleFault,
}

/// Every code there is.
pub const CODES: [&str; 6] =
    ["duplicate-rules", "for-below-interval", "few-samples", "fixed-at", "spans-services", SELECTS_NOTHING];

/// Code of the lint that needs a snapshot.
pub const SELECTS_NOTHING: &str = "selects-nothing";

/// Longest chain of rules that record what others record which is followed to its end.
const RECORDED_DEPTH_MAX: usize = 32;

/// What the rules will run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Partitions of observations.
    pub partitions: i32,
    /// Time between two samples of a series, milliseconds.
    pub scrape_interval_ms: i64,
}

/// A rule as it is written.
struct Written<'a> {
    file: &'a RuleFile,
    group: String,
    place: Place,
    alerts: bool,
    name: String,
    labels: BTreeMap<String, String>,
    expr: &'a Node,
    text: String,
    for_at: Option<(Place, i64)>,
    interval_ms: i64,
}

/// Everything to think about in a set without faults, in order of files and places.
#[must_use]
pub fn lint(set: &RuleSet, site: Site) -> Vec<Lint> {
    let trees: Vec<(&RuleFile, Node)> =
        set.files.iter().filter_map(|f| Some((f, parse(&f.content).ok()?))).collect();
    let rules: Vec<Written<'_>> = trees.iter().flat_map(|(file, tree)| written(file, tree)).collect();
    let mut lints = Vec::new();
    let mut seen: BTreeMap<_, &Written<'_>> = BTreeMap::new();
    for rule in &rules {
        if let Some(first) = seen.get(&(rule.alerts, &rule.name, &rule.labels)) {
            let (group, file, place) = (&first.group, &first.file.name, first.place);
            let message = format!(
                "a rule of this name and these labels stands in the group {group:?} at {file}:{place}: what they make \
                 cannot be told apart; add a label to one of them"
            );
            lints.push(rule.lint("duplicate-rules", rule.place, message));
        } else {
            seen.insert((rule.alerts, &rule.name, &rule.labels), rule);
        }
        lints.extend(rule.short_for());
    }
    let recorded = recorded(&rules, &set.service_label);
    for rule in &rules {
        let Ok(survey) = Survey::of(&rule.text, &set.service_label, &recorded) else { continue };
        lints.extend(rule.windows(&survey, site));
        if site.partitions > 1 {
            lints.extend(rule.spans(survey.reach, &set.service_label, site.partitions));
        }
    }
    let order: BTreeMap<&str, usize> =
        set.files.iter().enumerate().map(|(at, f)| (f.name.as_str(), at)).collect();
    lints.sort_by_key(|lint| (order.get(lint.at.file.as_str()).copied(), lint.at.place));
    lints
}

/// Selectors that select nothing, as `held` says, and how many others it knows nothing of (none).
#[must_use]
pub fn selects_nothing(set: &RuleSet, held: impl Fn(&Selector) -> Option<bool>) -> (Vec<Lint>, usize) {
    let trees: Vec<(&RuleFile, Node)> =
        set.files.iter().filter_map(|f| Some((f, parse(&f.content).ok()?))).collect();
    let baselines = load(set).map(|compiled| compiled.baselines).unwrap_or_default();
    let (mut lints, mut unknown) = (Vec::new(), 0);
    for rule in trees.iter().flat_map(|(file, tree)| written(file, tree)) {
        let Ok(mut plan) = Plan::compile(&rule.text) else { continue };
        plan.settle_sigmas(&baselines);
        for interest in plan.interests() {
            match held(&interest.selector) {
                None => unknown += 1,
                Some(true) => {}
                Some(false) => {
                    let message = format!("{} selects no series of the newest snapshot", interest.selector);
                    lints.push(rule.lint(SELECTS_NOTHING, rule.expr.place, message));
                }
            }
        }
    }
    (lints, unknown)
}

/// Recording rules that write what a baseline writes.
pub(super) fn written_by_baselines(files: &[RuleFile], outputs: &BTreeSet<String>) -> Vec<RuleFault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|_| !outputs.is_empty()) {
        let Ok(tree) = parse(&file.content) else { continue };
        for rule in
            written(file, &tree).into_iter().filter(|rule| !rule.alerts && outputs.contains(&rule.name))
        {
            let message = "a baseline writes the series of this name: record under another name, or rename the baseline";
            faults.push(rule.fault(rule.place, message.to_owned()));
        }
    }
    faults
}

/// The rules of a file. What is a fault is left out.
fn written<'a>(file: &'a RuleFile, tree: &'a Node) -> Vec<Written<'a>> {
    let mut reader = Reader::new(file, "");
    let fields = reader.fields(tree, "", &["groups"]);
    let mut out = Vec::new();
    for node in reader.items(field(&fields, "groups"), "") {
        let group = reader.fields(node, "", &["name", "interval", "labels", "rules"]);
        let interval_ms = reader.duration_ms(field(&group, "interval"), "").filter(|ms| *ms > 0);
        for node in reader.items(field(&group, "rules"), "") {
            let fields = reader.fields(node, "", &["alert", "record", "expr", "for", "labels"]);
            out.extend(rule(&mut reader, file, &group, &fields, interval_ms.unwrap_or(INTERVAL_MS)));
        }
    }
    out
}

fn rule<'a>(
    reader: &mut Reader<'a>,
    file: &'a RuleFile,
    group: &Fields<'a>,
    fields: &Fields<'a>,
    interval_ms: i64,
) -> Option<Written<'a>> {
    let name = field(fields, "alert").or_else(|| field(fields, "record"))?;
    let expr = field(fields, "expr")?;
    let mut labels = BTreeMap::new();
    for labels_of in [group, fields] {
        let texts = reader.texts(field(labels_of, "labels"), "");
        labels.extend(texts.into_iter().map(|(name, _, text)| (name.to_owned(), text.to_owned())));
    }
    let for_at =
        field(fields, "for").and_then(|node| Some((node.place, reader.duration_ms(Some(node), "")?)));
    Some(Written {
        file,
        group: reader.text(field(group, "name"), "").to_owned(),
        place: name.place,
        alerts: field(fields, "alert").is_some(),
        name: reader.text(Some(name), "").to_owned(),
        labels,
        expr,
        text: reader.text(Some(expr), "").to_owned(),
        for_at,
        interval_ms,
    })
}

/// What each recorded series needs, by name. A rule may read what one behind it records: it is looked at until nothing
/// changes any more.
fn recorded(rules: &[Written<'_>], service_label: &str) -> BTreeMap<String, Reach> {
    let mut known = BTreeMap::new();
    for _ in 0..rules.len().min(RECORDED_DEPTH_MAX) {
        let mut next: BTreeMap<String, Reach> = BTreeMap::new();
        for rule in rules.iter().filter(|rule| !rule.alerts) {
            let Ok(survey) = Survey::of(&rule.text, service_label, &known) else { continue };
            let writes_service = rule.labels.contains_key(service_label);
            let reach =
                if survey.reach == Reach::Own && writes_service { Reach::Moved } else { survey.reach };
            let joined = match (next.remove(&rule.name), reach) {
                (Some(spans @ Reach::Spans { .. }), _) => spans,
                (Some(first), reach) if first != reach && !matches!(reach, Reach::Spans { .. }) => Reach::Own,
                (_, reach) => reach,
            };
            next.insert(rule.name.clone(), joined);
        }
        if next == known {
            break;
        }
        known = next;
    }
    known
}

impl Written<'_> {
    fn fault(&self, place: Place, message: String) -> RuleFault {
        RuleFault { file: self.file.name.clone(), place, rule: Some(self.name.clone()), message }
    }

    fn lint(&self, code: &'static str, place: Place, message: String) -> Lint {
        Lint { code, at: self.fault(place, message) }
    }

    /// A lint at a character of the expression.
    fn lint_within(&self, code: &'static str, offset: usize, message: String) -> Lint {
        self.lint(code, place::within(&self.file.content, self.expr.place, &self.text, offset), message)
    }

    fn short_for(&self) -> Option<Lint> {
        let (place, for_ms) = self.for_at.filter(|(_, ms)| (1..self.interval_ms).contains(ms))?;
        let [held, interval] = [for_ms, self.interval_ms].map(super::duration::text);
        let message = format!(
            "for is {held}, and the group is evaluated every {interval}: it fires at the second evaluation, as with \
             for: {interval}"
        );
        Some(self.lint("for-below-interval", place, message))
    }

    fn windows(&self, survey: &Survey, site: Site) -> Vec<Lint> {
        let least_ms = site.scrape_interval_ms.saturating_mul(2);
        let few = survey.windows.iter().filter(|window| window.range_ms < least_ms).map(|window| {
            let [range, least, scrape] = [window.range_ms, least_ms, site.scrape_interval_ms].map(super::duration::text);
            let message = format!(
                "{}() needs two samples, and a window of {range} may hold but one where there is one every {scrape}: use \
                 {least} or more, or say --scrape-interval",
                window.function
            );
            self.lint_within("few-samples", window.offset, message)
        });
        let fixed = survey.fixed.iter().map(|offset| {
            let message =
                "a selector @ a fixed time keeps every sample of its series from when the rule was applied";
            self.lint_within("fixed-at", *offset, message.to_owned())
        });
        few.chain(fixed).collect()
    }

    fn spans(&self, reach: Reach, service_label: &str, partitions: i32) -> Option<Lint> {
        let code = "spans-services";
        match reach {
            Reach::Spans { why, offset } => {
                Some(self.lint_within(code, offset, format!("spans services: {why}")))
            }
            Reach::Nothing if self.alerts => {
                let message =
                    format!("it looks at no series: each of {partitions} partitions raises the same alert");
                Some(self.lint(code, self.expr.place, message))
            }
            Reach::Own | Reach::Moved if self.alerts && self.labels.contains_key(service_label) => {
                let message = format!(
                    "its label {service_label} stands in place of the series' own: alerts of two partitions could not be \
                     told apart"
                );
                Some(self.lint(code, self.place, message))
            }
            Reach::Nothing | Reach::Own | Reach::Moved | Reach::Pinned(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Limits;

    const SITE: Site = Site { partitions: 1, scrape_interval_ms: 15_000 };

    fn set(files: &[(&str, &str)]) -> RuleSet {
        let file = |(name, content): &(&str, &str)| RuleFile {
            name: (*name).to_owned(),
            content: (*content).to_owned(),
        };
        RuleSet {
            version: 1,
            applied_ms: 0,
            author: String::new(),
            service_label: "service".to_owned(),
            files: files.iter().map(file).collect(),
            limits: Limits::default(),
            partitions: 0,
        }
    }

    fn lines(set: &RuleSet, site: Site) -> Vec<String> {
        load(set).expect("no fault");
        lint(set, site).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_gives_to_think_is_named_at_its_place() {
        let a = "\
groups:
- name: g
  labels: {team: x}
  interval: 1m
  rules:
  - alert: A
    expr: rate(x[20s]) > 0 and y @ 10 > 0
    for: 30s
  - {record: r, expr: a}
- name: h
  interval: 10s
  rules:
  - {alert: A, expr: b, for: 10s, labels: {team: x}}
  - {alert: r, expr: 'deriv(x[30s]) > irate(x[1m])'}
";
        let b = "groups: [{name: g, rules: [{record: r, expr: b, labels: {team: x}}, {record: r, expr: c}]}]";
        let found = lines(&set(&[("a.yaml", a), ("b.yaml", b)]), SITE);
        let starts = [
            "a.yaml:7:11: rule \"A\": rate() needs two samples, and a window of 20s may hold but one where there is one every \
             15s: use 30s or more",
            "a.yaml:7:32: rule \"A\": a selector @ a fixed time keeps every sample",
            "a.yaml:8:10: rule \"A\": for is 30s, and the group is evaluated every 1m: it fires at the second",
            "a.yaml:13:13: rule \"A\": a rule of this name and these labels stands in the group \"g\" at a.yaml:6:12: ",
            "b.yaml:1:37: rule \"r\": a rule of this name and these labels stands in the group \"g\" at a.yaml:9:14: ",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (line, start) in found.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}\nshould begin {start}");
        }
        for line in &found {
            assert!(CODES.iter().any(|code| line.ends_with(&format!("[{code}]"))), "{line}");
        }
    }

    #[test]
    fn rules_that_span_services_are_named_for_several_partitions() {
        let text = "\
groups:
- name: g
  rules:
  - {alert: Late, expr: wider > 1}
  - {record: total, expr: sum(x)}
  - {record: wider, expr: total * 2}
  - {record: per, expr: 'sum by (service) (x)'}
  - {record: of_a, expr: 'sum(x{service=\"a\"})'}
  - {alert: Fine, expr: 'per / 2 > 1'}
  - {alert: AlsoFine, expr: of_a > on () sum(of_a)}
  - {alert: Always, expr: vector(1)}
  - {alert: Named, expr: x > 1, labels: {service: y}}
  - {alert: Gone, expr: absent(up)}
";
        let set = set(&[("a.yaml", text)]);
        assert_eq!(lines(&set, SITE), Vec::<String>::new());
        let found = lines(&set, Site { partitions: 4, ..SITE });
        let starts = [
            "a.yaml:4:25: rule \"Late\": spans services: wider is recorded over several services",
            "a.yaml:5:27: rule \"total\": spans services: an aggregation by () combines series of several services",
            "a.yaml:6:27: rule \"wider\": spans services: total is recorded over several services",
            "a.yaml:11:27: rule \"Always\": it looks at no series: each of 4 partitions raises the same alert",
            "a.yaml:12:13: rule \"Named\": its label service stands in place of",
            "a.yaml:13:25: rule \"Gone\": spans services: absent() holds in every partition",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (line, start) in found.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}\nshould begin {start}");
        }
    }

    #[test]
    fn a_selector_that_is_known_to_select_nothing_is_named() {
        let text =
            "groups: [{name: g, rules: [{alert: A, expr: x > y + z}, {alert: B, expr: 'rate(x[5m]) > 0'}]}]";
        let held = |selector: &Selector| match selector.metric_name() {
            Some("x") => Some(false),
            Some("y") => Some(true),
            _ => None,
        };
        let (lints, unknown) = selects_nothing(&set(&[("a.yaml", text)]), held);
        let lines: Vec<String> = lints.iter().map(ToString::to_string).collect();
        assert_eq!(unknown, 1);
        assert_eq!(
            lines[0],
            "a.yaml:1:45: rule \"A\": {__name__=\"x\"} selects no series of the newest snapshot [selects-nothing]"
        );
        assert!(lines.len() == 2 && lines[1].contains("rule \"B\""), "{lines:?}");
        let sigma = "{baselines: [{name: b, series: m}], groups: [{name: g, rules: [{alert: A, expr: 'speed_sigma(m[5m]) > 3'}]}]}";
        let held = |selector: &Selector| Some(matches!(selector.metric_name(), Some("m" | "b:deviation")));
        assert_eq!(selects_nothing(&set(&[("a.yaml", sigma)]), held), (Vec::new(), 0));
    }

    #[test]
    fn a_recording_rule_that_writes_what_a_baseline_writes_is_a_fault() {
        let text = "\
baselines: [{name: b, series: x}]
groups:
- name: g
  rules:
  - {record: b:other, expr: x}
  - record: b:score
    expr: x
";
        let faults = load(&set(&[("a.yaml", text)])).expect_err("a fault");
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("a.yaml:6:13: rule \"b:score\": a baseline writes the series of this name"),
            "{lines:?}"
        );
    }
}
