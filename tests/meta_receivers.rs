//! What a worker says of itself, to a real HTTP server and without any Kafka: once when it begins, once when it is over.

#![allow(clippy::expect_used, reason = "a test may panic")]

mod common;
#[path = "common/http.rs"]
mod http;

use bellwether::config;
use bellwether::shell::http::Readiness;
use bellwether::shell::meta::{Kind, Meta};
use common::{now_ms, wait_for};
use http::{Request, Server};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

fn config(server: &Server) -> config::Config {
    let text = format!(
        "worker: a1\nkafka: {{brokers: '127.0.0.1:1'}}\nmeta:\n  heartbeat: 'http://127.0.0.1:{0}/beat'\n  \
         receivers:\n  - {{name: on-call, webhook: 'http://127.0.0.1:{0}/page'}}\n",
        server.port
    );
    config::load(&[("test.yaml".to_owned(), text)], &|_| None).expect("a sound configuration")
}

fn of(server: &Server, path: &str) -> Vec<Request> {
    let line = format!("POST {path} ");
    server.seen().into_iter().filter(|request| request.head[0].starts_with(&line)).collect()
}

#[test]
fn each_trouble_is_told_once_and_its_end_once() {
    let server = Server::start(0);
    let meta = Meta::start(&config(&server)).expect("a thread");
    for _ in 0..3 {
        assert!(meta.raise(Kind::Diverged, 3, "the histories differ"));
    }
    assert!(meta.resolve(Kind::SnapshotsFailing, 3), "what was never wrong");
    wait_for("the first page", LIMIT, || (!of(&server, "/page").is_empty()).then_some(()));
    assert!(meta.raise(Kind::NotEmitting, 5, "no way to Kafka"));
    assert!(meta.resolve(Kind::Diverged, 3));
    let pages =
        wait_for("three pages", LIMIT, || Some(of(&server, "/page")).filter(|pages| pages.len() >= 3));
    let mut told: Vec<String> = pages
        .iter()
        .map(|page| {
            let body: Value = serde_json::from_str(&page.body).expect("JSON");
            let labels = &body["alerts"][0]["labels"];
            format!("{} {} {}", labels["alertname"], labels["partition"], body["status"])
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            r#""BellwetherAlertsNotGoingOut" "5" "firing""#,
            r#""BellwetherReplicasDiverged" "3" "firing""#,
            r#""BellwetherReplicasDiverged" "3" "resolved""#
        ]
    );
    let keys: Vec<Option<&str>> = pages.iter().map(|page| page.header("Idempotency-Key")).collect();
    assert!(keys.iter().all(Option::is_some), "{keys:?}");
}

#[test]
fn the_heartbeat_is_sent_while_all_is_well() {
    let server = Server::start(0);
    let readiness = Arc::new(Readiness::default());
    Meta::beat(&config(&server), Arc::clone(&readiness)).expect("a thread");
    wait_for("a heartbeat", LIMIT, || (!of(&server, "/beat").is_empty()).then_some(()));
}

#[test]
fn without_receivers_nobody_is_told_and_nothing_waits() {
    let config = config::load(&[], &|_| None).expect("the defaults");
    let meta = Meta::start(&config).expect("no thread is needed");
    assert!(meta.raise(Kind::PartitionStopped, 0, "retention"));
}
