//! A random case: rules, series and questions, and what our engine makes of them.

use super::expression::{COUNTER, DISTINCT, GAUGES, GRID_MS, HISTOGRAM, Vocabulary};
use super::random::Random;
use bellwether::machine::promql::Plan;
use bellwether::machine::template::Server;
use bellwether::machine::unittest::notation::{self, Slot};
use bellwether::machine::unittest::trial::{Pace, Trial};
use bellwether::wire::{Labels, Limits, RuleFile, RuleSet};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Time between two values of a series: no multiple of it but each thirtieth is on the grid, and those are left out.
const STEP_MS: i64 = 7_000;

/// A case.
pub struct Case {
    /// Its rule file.
    pub rules: String,
    interval_ms: i64,
    evaluations: i64,
    series: Vec<(String, String)>,
    alerts: Vec<String>,
    questions: Vec<Question>,
}

/// An expression at a time.
struct Question {
    ours: String,
    theirs: String,
    eval_ms: i64,
}

/// A case with what must come of it.
pub struct Told {
    /// The rule file.
    pub rules: String,
    /// promtool's test file.
    pub tests: Value,
    /// Sets of firing alerts that are compared, how many alerts fire in them, and samples of expressions.
    pub counts: [usize; 3],
    /// The rule that has no value, where one has none.
    pub fault: Option<(String, String)>,
    /// What is asked at the time of the fault.
    last_question: Option<Value>,
    /// Whether some question would have another answer, asked as promtool is asked.
    pub asked_otherwise: bool,
}

impl Case {
    /// The case of a seed.
    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let interval_ms = *random.pick(&[GRID_MS, 2 * GRID_MS]);
        let evaluations = 6 + i64::try_from(random.below(7)).expect("small");
        let last_ms = interval_ms * (evaluations - 1);
        let (mut recorded, mut alerts, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for group in 0..1 + random.below(2) {
            let mut rules = Vec::new();
            for _ in 0..1 + random.below(3) {
                let vocabulary = Vocabulary { recorded: &recorded, last_digits: false };
                if random.one_in(2) {
                    let name = format!("r{}", recorded.len());
                    let labels = *random.pick(&["{}", "{}", r#"{"by":"rule"}"#, r#"{"x":""}"#]);
                    let labels: Value = serde_json::from_str(labels).expect("JSON");
                    rules.push(
                        json!({"record": name, "expr": vocabulary.vector(random, 2), "labels": labels}),
                    );
                    recorded.push(name);
                } else {
                    let name = format!("A{}", random.below(3));
                    rules.push(alert(random, &name, &vocabulary, alerts.len()));
                    alerts.push(name);
                }
            }
            groups.push(json!({"name": format!("g{group}"), "rules": rules}));
        }
        let vocabulary = Vocabulary { recorded: &recorded, last_digits: true };
        let mut questions: Vec<Question> = (0..4)
            .map(|_| {
                let steps = i64::try_from(random.below(13)).expect("small");
                Question::same(vocabulary.vector(random, 3), (steps * GRID_MS).min(last_ms))
            })
            .collect();
        let known =
            recorded.iter().map(String::as_str).chain(["ALERTS", "count by (alertname) (ALERTS_FOR_STATE)"]);
        for name in known {
            questions.extend(
                [last_ms, last_ms / 2 / interval_ms * interval_ms]
                    .map(|ms| Question::same(name.to_owned(), ms)),
            );
        }
        let alerts: BTreeSet<String> = alerts.into_iter().collect();
        Self {
            rules: json!({ "groups": groups }).to_string(),
            interval_ms,
            evaluations,
            series: series(random, (last_ms + 120_000) / STEP_MS),
            alerts: alerts.into_iter().collect(),
            questions,
        }
    }

    /// A case whose windows end on samples. promtool 2.42 counts those, Prometheus 3 does not: so ours is asked for a window
    /// that is a millisecond longer.
    pub fn on_the_edge(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut questions = Vec::new();
        for _ in 0..6 {
            let names = [
                "sum_over_time",
                "count_over_time",
                "min_over_time",
                "max_over_time",
                "present_over_time",
                "changes",
                "irate",
            ];
            let (function, metric) = (*random.pick(&names), *random.pick(&[GAUGES[0], COUNTER]));
            let range_ms = 21_000 * (1 + i64::try_from(random.below(8)).expect("small"));
            let eval_ms = 21_000 * i64::try_from(random.below(20)).expect("small");
            let outer = *random.pick(&["", "", "sum by (x) "]);
            let asked = |ms: i64| format!("{outer}({function}({metric}[{ms}ms]))");
            questions.push(Question { ours: asked(range_ms + 1), theirs: asked(range_ms), eval_ms });
        }
        Self {
            rules: "groups: []".to_owned(),
            interval_ms: 21_000,
            evaluations: 20,
            series: series(&mut random, 80),
            alerts: Vec::new(),
            questions,
        }
    }

    /// What our engine makes of it.
    pub fn tell(&self, rule_file: &str) -> Told {
        let set = RuleSet {
            version: 1,
            applied_ms: 0,
            author: String::new(),
            service_label: "service".to_owned(),
            files: vec![RuleFile { name: rule_file.to_owned(), content: self.rules.clone() }],
            limits: Limits::default(),
            partitions: 0,
        };
        let order = vec!["g0".to_owned(), "g1".to_owned()];
        let pace = Pace { start_ms: 0, interval_ms: self.interval_ms, order };
        let plan = |text: &str| Plan::compile(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        let plans = self.questions.iter().flat_map(|q| [plan(&q.ours), plan(&q.theirs)]).collect();
        let mut trial = Trial::new(&set, &pace, &Server::default(), plans)
            .unwrap_or_else(|faults| panic!("{}: {faults:?}", self.rules));
        let mut told = Told {
            rules: self.rules.clone(),
            tests: Value::Null,
            counts: [0; 3],
            fault: None,
            last_question: None,
            asked_otherwise: false,
        };
        let alert_tests = self.evaluate(&mut trial, &mut told);
        let mut expr_tests: Vec<Value> = told.last_question.take().into_iter().collect();
        let whole = |answer: &[(Labels, f64)]| answer.iter().all(|(_, value)| value.is_finite());
        for (at, question) in self.questions.iter().enumerate().filter(|_| told.fault.is_none()) {
            // What has no value, or one that no YAML of both has a word for, is not asked.
            let Some(answer) = trial.answer(2 * at, question.eval_ms).ok().filter(|answer| whole(answer))
            else {
                continue;
            };
            told.asked_otherwise |= question.ours != question.theirs
                && trial.answer(2 * at + 1, question.eval_ms).as_ref() != Ok(&answer);
            told.counts[2] += answer.len();
            let samples: Vec<Value> = answer
                .iter()
                .map(|(labels, value)| json!({"labels": labels.to_string(), "value": value}))
                .collect();
            expr_tests.push(json!({
                "expr": question.theirs, "eval_time": format!("{}ms", question.eval_ms), "exp_samples": samples
            }));
        }
        let input: Vec<Value> =
            self.series.iter().map(|(series, values)| json!({"series": series, "values": values})).collect();
        told.tests = json!({
            "rule_files": [rule_file],
            "evaluation_interval": format!("{}ms", self.interval_ms),
            "group_eval_order": ["g0", "g1"],
            "tests": [{
                "interval": format!("{STEP_MS}ms"), "input_series": input,
                "alert_rule_test": alert_tests, "promql_expr_test": expr_tests,
            }],
        });
        told
    }

    /// Every evaluation, and what fires after each.
    fn evaluate(&self, trial: &mut Trial, told: &mut Told) -> Vec<Value> {
        let mut samples = Vec::new();
        for (series, values) in &self.series {
            let (labels, values) = notation::series(&format!("{series} {values}")).expect("a series");
            for (step, slot) in (0_i64..).zip(values) {
                if let Slot::Value(value) = slot {
                    samples.push((step * STEP_MS, labels.clone(), value));
                }
            }
        }
        // In the order in which `rules test` takes them in: sums of fractions hang on it.
        let due = |time_ms: i64| (time_ms + self.interval_ms - 1) / self.interval_ms;
        samples.sort_by(|a, b| (due(a.0), &a.1, a.0).cmp(&(due(b.0), &b.1, b.0)));
        let mut samples = samples.into_iter().peekable();
        let mut tests = Vec::new();
        for evaluation in 0..self.evaluations {
            let now_ms = evaluation * self.interval_ms;
            while let Some((time_ms, labels, value)) = samples.next_if(|(time_ms, ..)| *time_ms <= now_ms) {
                trial.take(&labels, time_ms, value, now_ms);
            }
            told.fault = trial.evaluate(now_ms).into_iter().next();
            for alert in &self.alerts {
                let firing = trial.firing(alert);
                told.counts[0] += 1;
                told.counts[1] += firing.len();
                tests.push(json!({
                    "eval_time": format!("{now_ms}ms"), "alertname": alert,
                    "exp_alerts": firing.iter().map(expected).collect::<Vec<_>>(),
                }));
            }
            if told.fault.is_some() {
                // So that promtool comes as far.
                let samples = json!([{"labels": "{}", "value": 1}]);
                told.last_question = Some(
                    json!({"expr": "vector(1)", "eval_time": format!("{now_ms}ms"), "exp_samples": samples}),
                );
                break;
            }
        }
        tests
    }
}

impl Question {
    fn same(expr: String, eval_ms: i64) -> Self {
        Self { ours: expr.clone(), theirs: expr, eval_ms }
    }
}

fn expected((labels, annotations): &(Labels, Labels)) -> Value {
    let mut labels = labels.clone();
    labels.set("alertname", "");
    json!({"exp_labels": labels, "exp_annotations": annotations})
}

fn alert(random: &mut Random, name: &str, vocabulary: &Vocabulary<'_>, number: usize) -> Value {
    let expr = vocabulary.vector(random, 2);
    let expr = match random.below(4) {
        0 => expr,
        1 => format!("{expr} > {}", random.below(400)),
        2 => format!("{expr} < {}", random.below(400)),
        _ => format!("{expr} and {} > {}", random.pick(&GAUGES), random.below(300)),
    };
    // None renders empty: ours then has no such label or annotation, promtool has an empty annotation, and in its series
    // ALERTS the text of the template.
    let annotations = [
        "{{ printf \"%.9g\" $value }} of {{ $labels.x }}",
        "{{ $value | humanize }} {{ $value | humanize1024 }} {{ $value | humanizeDuration }}",
        "{{ printf \"%.2f|%5.1e|%.9g\" $value $value $value }} {{ $labels }}",
        "of {{ $labels.y }}: {{ range query `a{y=\"1\"}` | sortByLabel \"x\" }}{{ .Labels.x }}={{ .Value }} {{ end }}",
        "{{ if gt $value 100.0 }}high{{ else }}{{ $labels.y | title }}{{ end }} {{ humanizePercentage $value }}",
    ];
    // Two rules of one name tell their alerts apart by a label.
    let mut rule = json!({
        "alert": name, "expr": expr,
        "labels": {"rule": number.to_string(), "sev": *random.pick(&["page", "of {{ $labels.x }}"])},
        "annotations": {"text": *random.pick(&annotations)},
    });
    if !random.one_in(3) {
        rule["for"] = json!(*random.pick(&["30s", "1m", "90s", "2m"]));
    }
    // What is kept firing is not rendered anew in Prometheus; ours asks again whenever it is looked at.
    if random.one_in(3) && !rule.to_string().contains("query") {
        rule["keep_firing_for"] = json!(*random.pick(&["30s", "1m", "2m"]));
    }
    rule
}

/// Every series, with values for `steps` steps.
fn series(random: &mut Random, steps: i64) -> Vec<(String, String)> {
    let mut series = Vec::new();
    for name in [GAUGES[0], GAUGES[1], COUNTER, DISTINCT] {
        for (x, y) in [(1, 1), (1, 2), (2, 1), (3, 2)] {
            if random.one_in(8) {
                continue;
            }
            series.push((format!("{name}{{x=\"{x}\", y=\"{y}\"}}"), values(random, name, x * 10 + y, steps)));
        }
    }
    for (le, part) in [("1", 2), ("2", 5), ("5", 7), ("+Inf", 9)] {
        let text: Vec<String> = (0..steps).map(|step| slot(step, &(part * (step + 1)).to_string())).collect();
        series.push((format!("{HISTOGRAM}{{le=\"{le}\"}}"), text.join(" ")));
    }
    series
}

/// A value, or nothing where it would be on the grid.
fn slot(step: i64, value: &str) -> String {
    if step * STEP_MS % GRID_MS == 0 { "_".to_owned() } else { value.to_owned() }
}

fn values(random: &mut Random, name: &str, number: i64, steps: i64) -> String {
    let mut counter = 1_000_000 + i64::try_from(random.below(1_000)).expect("small");
    let mut silent = 0;
    let mut words = Vec::new();
    for step in 0..steps {
        if silent > 0 {
            silent -= 1;
            words.push("_".to_owned());
            continue;
        }
        if random.one_in(40) {
            silent = random.below(60);
            let word = *random.pick(&["stale", "_"]);
            words.push(slot(step, word));
            continue;
        }
        let draw = i64::try_from(random.below(500)).expect("small");
        let value = match name {
            // It is never reset: 2.42 looks for where a counter was zero before it bounds how far rate() extrapolates, 3 after.
            COUNTER => {
                counter += draw;
                counter
            }
            DISTINCT => number * 1_000 + draw,
            _ => draw - 50,
        };
        words.push(slot(step, &value.to_string()));
    }
    words.join(" ")
}
