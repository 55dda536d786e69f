//! The whole line on the real stack, nothing faked: a monitor checks real processes, two workers in two zones read the
//! same partitions, an HTTP server is stopped, the primary is killed with -9 half-way through the rule's `for`, and one
//! person is told once; the server comes back, and one resolve follows. Then the alerts topic is compared with a naive
//! replay of the log, record by record.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    reason = "a test that starts processes, waits for the real world, and may panic"
)]

mod common;
#[path = "common/http.rs"]
mod http;

use ::bellwether::shell::verify::{Question, Verifier};
use common::{Process, Scratch, bellwether, control_key, free_port, get, now_ms, stack, succeed, wait_for};
use http::Server;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const FOR_MS: i64 = 12_000;
const INTERVAL_MS: i64 = 2_000;
const PARTITIONS: i32 = 2;

const RULES: &str = r#"
groups:
- name: shop
  interval: 2s
  rules:
  - alert: ShopDown
    expr: check_status{check="shop-http"} == 2
    for: 12s
    labels: {severity: page}
    annotations: {summary: '{{ $labels.check }} of {{ $labels.service }} fails'}
"#;

struct Line {
    cluster: String,
    scratch: Scratch,
    config: String,
    workers: Vec<(String, String, Process)>,
}

impl Line {
    /// Topics, rules and two workers in two zones.
    fn start(receiver: &Server, shop: &Server) -> Self {
        let (kafka, zookeeper, s3) =
            (stack("BELLWETHER_KAFKA"), stack("BELLWETHER_ZOOKEEPER"), stack("BELLWETHER_S3_ENDPOINT"));
        let cluster = format!("whole-{}", std::process::id());
        let scratch = Scratch::new("whole-line");
        let ports = [free_port(), free_port()];
        let plugin = scratch.write(
            "plugin.sh",
            "#!/bin/sh\necho \"DISK WARNING - 12% free|'free'=12%;20;10;0;100\"\nexit 1\n",
        );
        let broker = kafka.split(',').next().expect("a broker");
        let config = scratch.write(
            "bellwether.yaml",
            &format!(
                "cluster: {cluster}\nkafka: {{brokers: '{kafka}', topic_prefix: {cluster}, partitions: {PARTITIONS}}}\n\
                 zookeeper: {{hosts: '{zookeeper}'}}\n{}\
                 monitor:\n  checks:\n\
                 \x20 - {{name: shop-http, service: shop, http: 'http://127.0.0.1:{}/', interval: 500ms, timeout: 400ms}}\n\
                 \x20 - {{name: broker-tcp, service: kafka, tcp: '{broker}', interval: 1s}}\n\
                 \x20 - {{name: s3-http, service: s3, tcp: '{}', interval: 1s}}\n\
                 \x20 - {{name: disk, service: shop, plugin: [sh, '{plugin}'], interval: 1s}}\n\
                 \x20 - {{name: worker, service: bellwether, scrape: 'http://127.0.0.1:{}/metrics', interval: 1s}}\n\
                 notify:\n  group_wait: 0s\n  group_interval: 1s\n  receivers:\n\
                 \x20 - {{name: person, webhook: 'http://127.0.0.1:{}/page'}}\n",
                control_key(&scratch),
                shop.port,
                s3.trim_start_matches("http://"),
                ports[0],
                receiver.port,
            ),
        );
        print!("{}", succeed(&["--config", &config, "topics", "apply"]));
        let mut line = Self { cluster, scratch, config, workers: Vec::new() };
        for (zone, port) in ["zone-a", "zone-b"].into_iter().zip(ports) {
            let address = format!("127.0.0.1:{port}");
            let process = line.run(
                zone,
                &[
                    "--set",
                    &format!("zone={zone}"),
                    "--set",
                    &format!("worker={zone}-1"),
                    "--set",
                    &format!("http.listen={address}"),
                    "worker",
                ],
            );
            line.workers.push((zone.to_owned(), address, process));
        }
        let rules = line.scratch.write("rules.yaml", RULES);
        print!("{}", line.ask(&["rules", "apply", "--yes", &rules]));
        line
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Process {
        let mut all = vec!["--config", self.config.as_str()];
        all.extend(arguments);
        Process::bellwether(&self.scratch, name, &all)
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let mut all = vec!["--config", self.config.as_str()];
        all.extend(arguments);
        succeed(&all)
    }

    /// The JSON objects that a command prints, one a line. `status` exits 1 where a zone is empty, as after a kill.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = bellwether(&[&["--config", self.config.as_str()], arguments].concat());
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let parse = |line| {
            serde_json::from_str(line).unwrap_or_else(|fault| panic!("{arguments:?}: {fault}: {line}"))
        };
        text.lines().map(parse).collect()
    }

    /// The alert, if it is in this state.
    fn alert_in(&self, state: &str) -> Option<Value> {
        let alerts = self.json(&["alerts", "--json"]);
        alerts.into_iter().find(|alert| alert["labels"]["alertname"] == "ShopDown" && alert["to"] == state)
    }

    /// Which worker is primary of the shop's partition.
    fn primary(&self, partition: i64) -> Option<usize> {
        let rows = self.json(&["status", "--json"]);
        let row = rows.iter().find(|row| row["partition"] == partition && row["role"] == "primary")?;
        self.workers.iter().position(|(zone, ..)| row["zone"] == zone.as_str())
    }
}

fn pages(receiver: &Server, status: &str) -> Vec<http::Request> {
    let of_status = |request: &http::Request| {
        serde_json::from_str::<Value>(&request.body).is_ok_and(|body| body["status"] == status)
    };
    receiver.seen().into_iter().filter(of_status).collect()
}

#[test]
fn one_page_and_one_resolve_although_the_primary_dies_in_mid_for() {
    let receiver = Server::start(0);
    let shop = Server::start(0);
    let shop_port = shop.port;
    let mut line = Line::start(&receiver, &shop);
    for (zone, address, _) in &line.workers {
        wait_for(&format!("{zone} to be ready"), Duration::from_secs(60), || {
            get(address, "/-/ready").filter(|(status, _)| *status == 200)
        });
    }
    let listen = format!("http.listen=127.0.0.1:{}", free_port());
    let mut monitor = line.run("monitor", &["--set", &listen, "monitor"]);
    let listen = format!("http.listen=127.0.0.1:{}", free_port());
    let mut notify = line.run("notify", &["--set", &listen, "notify"]);
    wait_for("the shop to be checked", Duration::from_secs(30), || (shop.seen().len() > 5).then_some(()));

    let stopped_ms = now_ms();
    drop(shop);
    let pending = wait_for("the alert to be pending", Duration::from_secs(15), || line.alert_in("pending"));
    let partition = pending["partition"].as_i64().expect("an alert names its partition");
    let since_ms = pending["active_since_ms"].as_i64().expect("an alert says since when");
    let primary = wait_for("a primary", Duration::from_secs(5), || line.primary(partition));
    wait_for("half of `for`", Duration::from_secs(15), || (now_ms() >= since_ms + FOR_MS / 2).then_some(()));
    let killed_ms = now_ms();
    let (zone, _, process) = &mut line.workers[primary];
    process.kill();
    println!(
        "killed the primary of partition {partition}, {zone}, {} ms after the condition began",
        killed_ms - since_ms
    );

    let page = wait_for("the page", Duration::from_secs(30), || pages(&receiver, "firing").first().cloned());
    let firing = wait_for("the alert to be firing", Duration::from_secs(5), || line.alert_in("firing"));
    let fired_ms = firing["event_ms"].as_i64().expect("an alert has its event time");
    println!(
        "server stopped 0 ms, condition {} ms, fired {} ms (event time), paged {} ms",
        since_ms - stopped_ms,
        fired_ms - stopped_ms,
        page.at_ms - stopped_ms
    );
    assert!(since_ms >= stopped_ms, "the condition cannot have begun before the server stopped");
    assert!(fired_ms - since_ms >= FOR_MS, "fired {} ms after the condition began", fired_ms - since_ms);
    assert!(page.at_ms - stopped_ms >= FOR_MS, "paged before `for` was over");
    assert!(
        page.at_ms - since_ms <= FOR_MS + 2 * INTERVAL_MS,
        "paged {} ms after the condition began",
        page.at_ms - since_ms
    );
    assert!(page.header("idempotency-key").is_some());

    let shop = Server::start(shop_port);
    wait_for("the resolve", Duration::from_secs(30), || pages(&receiver, "resolved").first().cloned());
    monitor.assert_running();
    notify.assert_running();
    peers_see(&line);
    assert_eq!(monitor.terminate(), Some(0));
    let survivor = 1 - primary;
    assert_eq!(line.workers[survivor].2.terminate(), Some(0));
    assert_eq!(notify.terminate(), Some(0));
    drop(shop);
    assert_eq!(
        (pages(&receiver, "firing").len(), pages(&receiver, "resolved").len()),
        (1, 1),
        "{:#?}",
        receiver.seen()
    );
    judge(&line);
}

/// The alerts topic equals the naive replay, record by record, on every partition.
fn judge(line: &Line) {
    let text = std::fs::read_to_string(&line.config).expect("it was written");
    let config = ::bellwether::config::load(&[(line.config.clone(), text)], &|_| None).expect("it is right");
    let mut transitions = 0;
    let question = Question { at_rest: true, ..Question::default() };
    let mut verifier = Verifier::open(&config, question).expect("a consumer");
    for partition in 0..PARTITIONS {
        let verdict = verifier.verify(partition).expect("the stack answers");
        println!("{verdict:?}");
        assert!(verdict.is_equal(), "{verdict:?}");
        transitions += verdict.found;
    }
    assert_eq!(transitions, 3, "pending, firing, inactive");
}

/// kcat and Kafka's own consumer-group tool show the topics and the lag.
fn peers_see(line: &Line) {
    let kafka = stack("BELLWETHER_KAFKA");
    let kcat = stack("BELLWETHER_KCAT");
    let output = Command::new(kcat).args(["-b", &kafka, "-L"]).output().expect("kcat runs");
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    for topic in ["observations", "alerts", "rules", "rejected", "notifications"] {
        assert!(
            listing.contains(&format!("\"{}.{topic}\"", line.cluster)),
            "kcat shows no {topic}:\n{listing}"
        );
    }
    let survivors = line.primary(0).or(line.primary(1)).expect("somebody is primary");
    let group = format!("bellwether.{}.{}", line.cluster, line.workers[survivors].0);
    let output = Command::new("java")
        .args([
            "-cp",
            &stack("BELLWETHER_KAFKA_LIBS"),
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        ])
        .args(["--bootstrap-server", &kafka, "--describe", "--group", &group])
        .output()
        .expect("java runs");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{table}");
    let rows = table.lines().filter(|row| row.contains(&format!("{}.observations", line.cluster)));
    let lags: Vec<i64> = rows.filter_map(|row| row.split_whitespace().nth(5)?.parse().ok()).collect();
    assert_eq!(
        lags.len(),
        usize::try_from(PARTITIONS).expect("few"),
        "a row and a lag for each partition:\n{table}"
    );
    assert!(lags.iter().all(|lag| (0..1000).contains(lag)), "{table}");
}
