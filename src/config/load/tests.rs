use super::*;
use crate::wire::yaml::{self, Node, Value};

fn read(text: &str) -> Result<Config, ConfigError> {
    load(&[("my.yaml".to_owned(), text.to_owned())], &|name| (name == "TOKEN").then(|| "s3cret".to_owned()))
}

fn faults(text: &str) -> Vec<String> {
    read(text).expect_err("it is refused").0.iter().map(ToString::to_string).collect()
}

#[test]
fn the_defaults_load() {
    let config = load(&[], &|_| Some("host1".to_owned())).expect("the embedded defaults are right");
    assert_eq!((config.worker.as_str(), config.kafka.partitions), ("zone-a-host1", 8));
    assert_eq!(config.kafka.observations_retention, Duration::from_secs(86_400));
    assert!(config.kafka.password.is_none());
}

#[test]
fn at_most_fifty_two_keys() {
    fn leaves(node: &Node) -> usize {
        match &node.value {
            Value::Mapping(pairs) if !pairs.is_empty() => pairs.iter().map(|(_, node)| leaves(node)).sum(),
            Value::Null | Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => 1,
        }
    }
    let defaults = yaml::parse(DEFAULTS).expect("it is YAML");
    // The two lists stand for their entries' keys.
    let keys = leaves(&defaults) - 2 + CHECK_KEYS.len() + RECEIVER_KEYS.len();
    // Forty until there were snapshots (six: two of them secrets) and keys of control records.
    assert!(keys <= 52, "{keys} keys");
}

#[test]
fn every_key_of_an_entry_stands_in_the_commented_defaults() {
    for key in CHECK_KEYS.iter().chain(&RECEIVER_KEYS) {
        assert!(
            DEFAULTS.contains(&format!("{key}:"))
                || DEFAULTS.contains(&format!("`{key}`"))
                || DEFAULTS.contains(&format!("{key} ("))
                || DEFAULTS.contains(&format!(", {key}")),
            "{key}"
        );
    }
}

#[test]
fn all_faults_at_once_with_place_and_suggestion() {
    assert_eq!(
        faults(
            "zone: zone-b\nkafka:\n  broker: x:1\n  partitions: none\nnotify:\n  group_wait: 5 parsecs\nhtpp: {}\n"
        ),
        [
            "my.yaml:3:3: kafka has no key \"broker\"; did you mean \"brokers\"?",
            "my.yaml:7:1: the configuration has no key \"htpp\"; did you mean \"http\"?",
            "my.yaml:4:15: kafka.partitions is \"none\"; it is a whole number from 1 to 10000",
            "my.yaml:6:15: notify.group_wait is \"5 parsecs\", which is no duration; write 500ms, 30s, 5m, 1h30m or 7d",
        ]
    );
}

#[test]
fn the_environment_reaches_secret_fields_alone() {
    let config = read("kafka:\n  password: ${env:TOKEN}\n").expect("a secret may come from the environment");
    let password = config.kafka.password.expect("it is set");
    assert_eq!((password.reveal(), format!("{password:?}").as_str()), ("s3cret", "<secret>"));
    assert_eq!(faults("kafka:\n  brokers: ${env:TOKEN}\n").len(), 2, "named as no secret, and empty");
    assert!(faults("kafka:\n  password: ${env:ABSENT}\n")[0].contains("ABSENT, which is not set"));
}

#[test]
fn checks_and_receivers_are_read() {
    let config = read(
        "monitor:\n  checks:\n  - {name: web, service: shop, http: 'http://127.0.0.1:80/x', interval: 1s}\n  - {name: db, service: shop, tcp: 'db1:5432', labels: {team: a}}\nnotify:\n  receivers:\n  - {name: log, stdout: true}\n  - {name: hook, webhook: 'http://127.0.0.1:1/', authorization: '${env:TOKEN}'}\n",
    )
    .expect("it is right");
    let [web, db] = &config.monitor.checks[..] else { panic!("two checks") };
    assert_eq!((web.host.as_str(), web.interval, web.timeout), ("127.0.0.1", SECOND, SECOND));
    assert_eq!((db.host.as_str(), db.timeout), ("db1", 5 * SECOND));
    assert_eq!(config.notify.receivers.len(), 2);
}

#[test]
fn an_entry_with_two_targets_or_a_misspelt_key_is_refused() {
    let faults = faults(
        "monitor:\n  checks:\n  - {name: a, service: b, tcp: 'x:1', http: 'http://x'}\n  - {name: a, service: b, tcp: 'x:1', intervall: 3s}\n",
    );
    assert!(faults.iter().any(|fault| fault.contains("this one has 2")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("did you mean \"interval\"")), "{faults:?}");
    assert!(faults.iter().all(|fault| fault.starts_with("my.yaml:")), "{faults:?}");
}
