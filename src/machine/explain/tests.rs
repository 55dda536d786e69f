use super::*;
use crate::machine::{Event, Options, Position};
use crate::wire::keyring::{Signer, SigningKey};
use crate::wire::{AlertState, Control, Limits, ObservationsWriter, RuleFile, RuleSet, Tick};

const RULES: &str = "groups:
- name: g
  interval: 10s
  rules:
  - {alert: Busy, expr: 'load > 0.9 and on (host) rate(requests[1m]) > (1)', for: 1m, keep_firing_for: 2m}
  - {record: 'host:load:max', expr: 'max by (host) (load)'}
  - {alert: Broken, expr: 'load * on () group_left () load'}
";

/// Two hosts of one service and one of another; `load` of `h1` is over its bound from the start.
fn machine() -> Machine {
    machine_with(RULES)
}

fn machine_with(rules: &str) -> Machine {
    let signer = Signer::new(SigningKey::from_seed(&[1; 32]), "test/test.observations");
    let mut machine = Machine::new(Options {
        partition: 0,
        keyring: signer.keyring(),
        hash_key: 1,
        producer_time: false,
        snapshot_interval_ms: 0,
    });
    let set = RuleSet {
        version: 1,
        applied_ms: 0,
        author: "test".to_owned(),
        service_label: "service".to_owned(),
        limits: Limits::default(),
        partitions: 0,
        files: vec![RuleFile { name: "r.yaml".to_owned(), content: rules.to_owned() }],
    };
    let tick = |wall_ms| signer.seal(0, &Control::Tick(Tick { worker: "a".to_owned(), wall_ms }));
    let mut records = vec![(0, signer.seal(0, &Control::Rules(set)))];
    for second in 1..=4 {
        records.push((second * 10_000 - 5_000, tick(second * 10_000 - 5_000)));
        for (service, host, load) in [("shop", "h1", 0.95), ("shop", "h2", 0.4), ("mail", "h3", 0.89)] {
            let mut writer = ObservationsWriter::new(service).expect("a service");
            let labels = Labels::new([("host", host)]);
            let time_ms = second * 10_000 - 5_000;
            writer.sample("load", &labels, time_ms, load).expect("a sample");
            writer.sample("requests", &labels, time_ms, 100.0 * second as f64).expect("a sample");
            records.push((time_ms, writer.finish()));
        }
    }
    records.push((40_001, tick(40_001)));
    let mut actions = Vec::new();
    for (offset, (append_ms, value)) in records.iter().enumerate() {
        let offset = i64::try_from(offset).expect("few");
        let position = Position { offset, append_ms: *append_ms, log_append: true };
        machine.step(Event::read(position, Some(value)), &mut actions);
    }
    machine
}

#[test]
fn every_part_has_its_value_at_the_last_evaluation() {
    let machine = machine();
    let busy = &machine.explain("Busy", None)[0];
    assert_eq!((busy.file, busy.group, busy.timers), ("r.yaml", "g", Some((60_000, 120_000))));
    assert_eq!((busy.evaluated_ms, busy.next_ms), (Some(40_000), 50_000));
    let shape: Vec<(usize, &str)> = busy.parts.iter().map(|part| (part.depth, part.text.as_str())).collect();
    let expected = [
        (0, "load > 0.9 and on (host) rate(requests[1m]) > (1)"),
        (1, "load > 0.9"),
        (2, "load"),
        (1, "rate(requests[1m]) > (1)"),
        (2, "rate(requests[1m])"),
        (3, "requests[1m]"),
    ];
    assert_eq!(shape, expected);
    let count = |part: usize| match &busy.parts[part].value {
        Ok(Shown::Elements(elements, count)) => (elements.len(), *count),
        other => panic!("{other:?}"),
    };
    assert_eq!([0, 1, 2, 3, 4].map(count), [(1, 1), (1, 1), (3, 3), (3, 3), (3, 3)]);
    assert_eq!(busy.parts[5].value, Ok(Shown::Ranges(3, 12)));
    let (nearest, bound) = busy.parts[1].nearest.as_ref().expect("a comparison with a number");
    assert_eq!((nearest.labels.get("host"), nearest.value, *bound), ("h1", 0.95, 0.9));
    assert_eq!(busy.alerts.len(), 1);
    assert_eq!((busy.alerts[0].state, busy.alerts[0].active_since_ms), (AlertState::Pending, 20_000));
}

#[test]
fn one_services_part_of_a_quiet_rule_says_how_near_it_is() {
    let machine = machine();
    let mail = &machine.explain("Busy", Some("mail"))[0];
    assert!(mail.alerts.is_empty());
    let (nearest, bound) = mail.parts[1].nearest.as_ref().expect("a comparison with a number");
    assert_eq!((nearest.labels.get("host"), nearest.value, *bound), ("h3", 0.89, 0.9));
    let selected: Vec<(&str, usize, i64)> = mail
        .selectors
        .iter()
        .map(|selected| (selected.text.as_str(), selected.count, selected.window_ms))
        .collect();
    assert_eq!(selected, [("load", 1, 300_000), ("requests[1m]", 1, 60_000)]);
    let (labels, points) = &mail.selectors[1].series[0];
    assert_eq!((labels.get("service"), points.len()), ("mail", 4));
    assert_eq!(points.last().map(|point| (point.time_ms, point.value)), Some((35_000, 400.0)));
}

#[test]
fn recording_rules_and_failures_are_explained_too() {
    let machine = machine();
    let record = &machine.explain("host:load:max", None)[0];
    assert_eq!((record.timers, record.fault, record.parts.len()), (None, None, 2));
    let broken = &machine.explain("Broken", None)[0];
    assert!(broken.fault.is_some_and(|fault| fault.contains("many-to-many")), "{:?}", broken.fault);
    assert!(broken.parts[0].value.is_err());
    assert!(broken.parts[1].value.is_ok());
    assert!(machine.explain("Nobody", None).is_empty());
}

#[test]
fn a_rehearsal_says_which_alerts_an_edit_starts_stops_and_keeps() {
    use crate::machine::rehearse::{Outlook, Standing};
    let edited_from = |rules: &str, content: &str| {
        let files = vec![RuleFile { name: "r.yaml".to_owned(), content: content.to_owned() }];
        let set = RuleSet {
            version: 1,
            applied_ms: 0,
            author: String::new(),
            service_label: "service".to_owned(),
            limits: Limits::default(),
            partitions: 0,
            files,
        };
        let machine = machine_with(rules);
        let now_ms = machine.clock_ms();
        let rehearsal = machine.rehearse(&set).expect("its own snapshot");
        let told = |standing: Option<Standing>| {
            standing.map_or_else(String::new, |standing| {
                format!("{:?} for {} s", standing.state, (now_ms - standing.since_ms) / 1000)
            })
        };
        let words = |outlook: &Outlook| {
            let (before, after) = (told(outlook.before), told(outlook.after));
            format!(
                "{} {} [{before}] {:?} [{after}]",
                outlook.rule,
                outlook.labels.get("host"),
                outlook.fate()
            )
        };
        let unforeseen = rehearsal.unforeseen.iter().map(|rule| format!("{rule} is not foreseen"));
        rehearsal.outlooks.iter().map(words).chain(unforeseen).collect::<Vec<String>>()
    };
    let edited = |content: &str| edited_from(RULES, content);
    let waits = "Busy h1 [Pending for 20 s]";
    assert_eq!(edited(RULES), [format!("{waits} Keeps [Pending for 20 s]")]);
    // 20 s of the condition, which a rate knows from its second sample on, are enough now: it fires at once. h3 is over
    // the new bound, and begins to wait.
    let eager = RULES.replace("for: 1m", "for: 20s").replace("> 0.9 ", "> 0.8 ");
    let h3 = "Busy h3 [] Starts [Pending for 0 s]";
    assert_eq!(edited(&eager), [format!("{waits} Fires [Firing for 20 s]").as_str(), h3]);
    // What fires now anyway is not the edit's doing.
    let soon = RULES.replace("for: 1m", "for: 20s1ms");
    assert_eq!(edited_from(&soon, &soon), ["Busy h1 [Firing for 20 s] Keeps [Firing for 20 s]"]);
    assert_eq!(edited("groups: []"), [format!("{waits} Stops []")]);
    let renamed = RULES.replace("alert: Busy", "alert: Hot");
    let hot = "Hot h1 [] Starts [Pending for 0 s]";
    assert_eq!(edited(&renamed), [format!("{waits} Stops []").as_str(), hot]);
    let elsewhere = edited(&RULES.replace("'load > 0.9", "'unheard_of > 0.9"));
    assert_eq!(elsewhere, [format!("{waits} Stops []").as_str(), "Busy is not foreseen"]);
}
