use super::*;
use crate::machine::rehearse::Outlook;
use crate::wire::{Labels, Limits, RuleFile};

fn set(version: i64, content: &str) -> RuleSet {
    RuleSet {
        version,
        applied_ms: 0,
        author: String::new(),
        service_label: "service".to_owned(),
        files: vec![RuleFile { name: "r.yaml".to_owned(), content: content.to_owned() }],
        limits: Limits::default(),
        partitions: 2,
    }
}

const OLD: &str =
    "groups:\n- name: g\n  rules:\n  - {alert: A, expr: x > 1, for: 5m}\n  - {alert: B, expr: x}\n";
const NEW: &str =
    "groups:\n- name: g\n  rules:\n  - {alert: A, expr: x > 1, for: 1m}\n  - {alert: C, expr: y}\n";

fn outlook(host: &str, before: Option<(AlertState, i64)>, after: Option<(AlertState, i64)>) -> Outlook {
    let standing =
        |standing: Option<(AlertState, i64)>| standing.map(|(state, since_ms)| Standing { state, since_ms });
    let labels = Labels::new([("alertname", "A"), ("host", host)]);
    Outlook { rule: "A".to_owned(), labels, before: standing(before), after: standing(after) }
}

fn prospects() -> Vec<Prospect> {
    let (pending, firing) = (Some((AlertState::Pending, 1_000)), Some((AlertState::Firing, 1_000)));
    let rehearsal = Rehearsal {
        outlooks: vec![
            outlook("a", pending, firing),
            outlook("b", firing, firing),
            outlook("c", pending, pending),
            outlook("d", firing, None),
            outlook("e", None, Some((AlertState::Pending, 9_000))),
        ],
        unforeseen: ["C".to_owned()].into(),
        failing: [("A".to_owned(), "many-to-many".to_owned())].into(),
    };
    let begun = Begun { folder: "test/id/0/5/12-340".to_owned(), clock_ms: 1_699_997_500_400 };
    vec![
        Prospect::new(0, begun, 1_700_000_000_999, 6, rehearsal),
        Prospect::unknown(1, "there is no snapshot"),
    ]
}

#[test]
fn the_plan_tells_rules_alerts_and_where_it_knows_that_from() {
    let (old, new) = (set(6, OLD), set(7, NEW));
    let text = Plan::new(Some(&old), &new, "t.observations", prospects()).in_words();
    let expected = format!(
        "version 7 (1 file, {}) to 2 partitions of t.observations, in place of version 6
~ alert A{{}} of g  r.yaml:4:5
    for: 5m -> 1m
    keeps its state and since when it is pending
- alert B{{}} of g  r.yaml:5:5
    ends, and so do its alerts and series, at once
+ alert C{{}} of g  r.yaml:5:5
1 added, 1 changed, 1 removed; 0 rules as before
alerts, if it were in force now:
  start  inactive -> pending  {{alertname=\"A\", host=\"e\"}}  partition 0
  stop   firing -> inactive  {{alertname=\"A\", host=\"d\"}}  partition 0
  fire   pending -> firing  {{alertname=\"A\", host=\"a\"}}  partition 0
  1 start, 1 stop, 1 pending fire, 0 begin anew, 2 keep their state (1 firing, 1 pending)
  partition 0 as of 2023-11-14T22:13:20Z: snapshot test/id/0/5/12-340, 41m40s older by the log, and the log behind it
    not foreseen: C: no rule has asked for their series so far, so none are kept
    A fails: many-to-many
  partition 1 is not among these: there is no snapshot
",
        short_hash(&new)
    );
    assert_eq!(text, expected);
}

#[test]
fn without_snapshots_the_plan_says_so_once() {
    let (old, new) = (set(7, NEW), set(8, NEW));
    let nowhere = || {
        let why = |partition| format!("partition {partition}: no snapshots are kept");
        (0..2).map(|partition| Prospect::unknown(partition, &why(partition))).collect()
    };
    let text = Plan::new(Some(&old), &new, "t", nowhere()).in_words();
    let tail = "0 added, 0 changed, 0 removed; 2 rules as before\n\
                what would become of alerts is not known: no snapshots are kept\n";
    assert!(text.ends_with(tail), "{text}");
    let first = Plan::new(None, &new, "t", Vec::new()).in_words();
    assert!(first.contains(", the first\n") && first.contains("3 added, 0 changed"), "{first}");
    assert!(!first.contains("alerts"), "{first}");
    let moved = RuleSet { service_label: "app".to_owned(), ..new.clone() };
    let text = Plan::new(Some(&new), &moved, "t", Vec::new()).in_words();
    assert!(text.contains("~ the label of the service is app, was service"), "{text}");
}

#[test]
fn programs_read_the_same() {
    let (old, new) = (set(6, OLD), set(7, NEW));
    let plan = Plan::new(Some(&old), &new, "t.observations", prospects()).in_json();
    assert_eq!((&plan["version"], &plan["previous"]), (&json!(7), &json!(6)));
    assert_eq!(plan["changes"][0]["upshot"], "keeps");
    let fates: Vec<&str> = plan["alerts"][0]["outlooks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|outlook| outlook["fate"].as_str())
        .collect();
    assert_eq!(fates, ["fire", "keep", "keep", "stop", "start"]);
    assert_eq!(
        plan["alerts"][0]["outlooks"][0]["after"],
        json!({"state": "firing", "active_since_ms": 1_000})
    );
    assert_eq!(plan["alerts"][1], json!({"partition": 1, "unknown": "there is no snapshot"}));
}
