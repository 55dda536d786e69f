//! `bellwether notify` from the alerts topic to HTTP receivers of the test's own, over librdkafka's in-process Kafka:
//! receivers that fail, hang and ask for patience, and a notifier that dies in between.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test of real time against real sockets waits, and may panic"
)]

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bellwether::config::{Config, Endpoint, Receiver, Secret};
use bellwether::notify::{Notification, Ticket};
use bellwether::shell::http::Readiness;
use bellwether::shell::notify::{Notifier, NotifyError};
use bellwether::shell::receiver::{Failure, Job, Origin, Receivers};
use bellwether::wire::{
    AlertId, AlertRecord, AlertState, HeldAlert, Labels, NotifyReason, Reason, Transition,
};
use prometheus_client::registry::Registry;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a receiver does with its next request; 200 when nothing is planned.
#[derive(Clone, Copy)]
enum Plan {
    Status(u16),
    RetryAfter(u16, u32),
    Hang,
}

#[derive(Clone)]
struct Heard {
    at: Instant,
    key: String,
    authorization: String,
    body: serde_json::Value,
}

impl Heard {
    fn status(&self) -> &str {
        self.body["status"].as_str().unwrap()
    }
}

/// An HTTP receiver on a runtime of its own. Whatever it answers, it keeps what it was told.
#[derive(Clone)]
struct Web {
    plans: Arc<Mutex<VecDeque<Plan>>>,
    heard: Arc<Mutex<Vec<Heard>>>,
    url: String,
}

impl Web {
    fn start(runtime: &tokio::runtime::Runtime, plans: impl IntoIterator<Item = Plan>) -> Self {
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let web =
            Self { plans: Arc::new(Mutex::new(plans.into_iter().collect())), heard: Arc::default(), url };
        let app = Router::new()
            .route("/hook", post(hear))
            .route("/api/v2/alerts", post(hear))
            .with_state(web.clone());
        runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
        web
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until it has heard so much.
    fn wait_for(&self, count: usize) -> Vec<Heard> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.heard().len() < count {
            assert!(Instant::now() < deadline, "heard {} of {count}", self.heard().len());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.heard()
    }
}

async fn hear(State(web): State<Web>, headers: HeaderMap, body: String) -> (StatusCode, HeaderMap) {
    let header = |name: &str| headers.get(name).map_or(String::new(), |v| v.to_str().unwrap().to_owned());
    let heard = Heard {
        at: Instant::now(),
        key: header("idempotency-key"),
        authorization: header("authorization"),
        body: serde_json::from_str(&body).unwrap(),
    };
    web.heard.lock().unwrap().push(heard);
    let plan = web.plans.lock().unwrap().pop_front();
    match plan {
        None => (StatusCode::OK, HeaderMap::new()),
        Some(Plan::Status(code)) => (StatusCode::from_u16(code).unwrap(), HeaderMap::new()),
        Some(Plan::RetryAfter(code, seconds)) => {
            let headers = HeaderMap::from_iter([("retry-after".parse().unwrap(), seconds.into())]);
            (StatusCode::from_u16(code).unwrap(), headers)
        }
        Some(Plan::Hang) => std::future::pending().await,
    }
}

/// Kafka, the alerts topic's writer, and a runtime for receivers.
struct Stack {
    _mock: MockCluster<'static, DefaultProducerContext>,
    config: Config,
    writer: BaseProducer,
    seq: i64,
    runtime: tokio::runtime::Runtime,
}

impl Stack {
    fn start() -> Self {
        let mock = MockCluster::new(1).expect("a mock");
        for topic in ["bellwether.alerts", "bellwether.notifications"] {
            mock.create_topic(topic, 1, 1).expect("a topic");
        }
        let mut config = bellwether::config::load(&[], &|_| None).expect("the defaults are right");
        config.kafka.brokers = mock.bootstrap_servers();
        config.worker = "n1".to_owned();
        config.notify.group_wait = Duration::from_millis(100);
        config.notify.group_interval = Duration::from_millis(500);
        let mut client = ClientConfig::new();
        let writer = client.set("bootstrap.servers", &config.kafka.brokers).create().expect("a producer");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { _mock: mock, config, writer, seq: 0, runtime }
    }

    fn receiver(&mut self, name: &str, web: &Web, timeout: Duration) {
        self.config.notify.receivers.push(Receiver {
            name: name.to_owned(),
            endpoint: Endpoint::Webhook(Secret::new(web.url.clone())),
            authorization: Some(Secret::new("Bearer token")),
            timeout,
        });
    }

    fn notifier(&self) -> Notifier {
        let readiness = Arc::new(Readiness::default());
        Notifier::start(&self.config, &mut Registry::default(), &readiness).expect("it starts")
    }

    fn alert(&mut self, instance: &str, fires: bool) {
        self.seq += 1;
        let now_ms = bellwether::shell::clock::wall_ms();
        let labels = Labels::new([("alertname", "Disk"), ("instance", instance), ("service", "db")]);
        let (from, to) = match fires {
            true => (AlertState::Pending, AlertState::Firing),
            false => (AlertState::Firing, AlertState::Inactive),
        };
        let transition = Transition {
            seq: self.seq,
            alert: AlertId::of("Disk", &labels),
            from,
            to,
            reason: Reason::HeldFor,
            group: "g".to_owned(),
            rule: "Disk".to_owned(),
            rule_set_version: 1,
            service: "db".to_owned(),
            labels,
            annotations: Labels::new([("summary", "full")]),
            value: 1.0,
            output: String::new(),
            event_ms: now_ms,
            active_since_ms: now_ms,
            input_offset: self.seq,
            ordinal: 0,
            append_ms: now_ms,
            suppressed_by: None,
        };
        let bytes = AlertRecord::Transition(Box::new(transition)).encode();
        let record = BaseRecord::<(), [u8]>::to("bellwether.alerts").partition(0).payload(&bytes);
        self.writer.send(record).expect("it is queued");
        self.writer.flush(Duration::from_secs(10)).expect("it is written");
    }
}

const PATIENT: Duration = Duration::from_secs(10);

#[test]
fn a_failed_attempt_is_made_again_with_the_same_key_and_a_restart_neither_repeats_nor_forgets() {
    let mut stack = Stack::start();
    let web = Web::start(&stack.runtime, [Plan::Status(500)]);
    stack.receiver("pager", &web, PATIENT);
    let notifier = stack.notifier();
    stack.alert("a", true);
    let heard = web.wait_for(2);
    assert_eq!(heard[0].key, heard[1].key);
    assert_eq!(heard[1].authorization, "Bearer token");
    assert_eq!(heard[1].status(), "firing");
    assert_eq!(heard[1].body["groupKey"], r#"{}:{alertname="Disk", service="db"}"#);
    assert_eq!(heard[1].body["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    notifier.stop();

    // While nobody runs, another one fires. The next process tells that one as news, and the first is not said alone.
    stack.alert("b", true);
    let notifier = stack.notifier();
    let heard = web.wait_for(3);
    assert_eq!(heard[2].body["alerts"].as_array().unwrap().len(), 2);
    assert_ne!(heard[2].key, heard[1].key);
    stack.alert("a", false);
    stack.alert("b", false);
    let heard = web.wait_for(4);
    let resolved: usize =
        heard[3..].iter().map(|h| h.body["alerts"].to_string().matches("resolved").count()).sum();
    assert!(resolved >= 1);
    notifier.stop();

    // It died before this, or it did not: what was acknowledged is not said again.
    let before = web.heard().len();
    let notifier = stack.notifier();
    stack.alert("c", true);
    let heard = web.wait_for(before + 1);
    let last = heard.last().unwrap();
    assert!(last.body["alerts"].to_string().contains(r#""instance":"c""#), "{}", last.body);
    assert!(heard[before..].iter().all(|h| heard[..before].iter().all(|old| old.key != h.key)));
    notifier.stop();
}

#[test]
fn a_notifier_killed_between_delivery_and_record_says_it_again_by_the_same_key() {
    let mut stack = Stack::start();
    let web = Web::start(&stack.runtime, [Plan::Hang]);
    stack.receiver("pager", &web, PATIENT);
    let notifier = stack.notifier();
    stack.alert("a", true);
    let first = web.wait_for(1)[0].key.clone();
    // The receiver has it and the notifier will never know.
    drop(notifier);
    let notifier = stack.notifier();
    assert_eq!(web.wait_for(2)[1].key, first);
    notifier.stop();
}

#[test]
fn a_hung_receiver_delays_nobody_else() {
    let mut stack = Stack::start();
    let hung = Web::start(&stack.runtime, [Plan::Hang; 50]);
    let well = Web::start(&stack.runtime, []);
    stack.receiver("hung", &hung, Duration::from_secs(300));
    stack.receiver("well", &well, PATIENT);
    let notifier = stack.notifier();
    stack.alert("a", true);
    assert_eq!(well.wait_for(1)[0].status(), "firing");
    hung.wait_for(1);
    stack.alert("a", false);
    assert_eq!(well.wait_for(2)[1].status(), "resolved");
    assert_eq!(hung.heard().len(), 1, "one at a time");
    drop(notifier);
}

#[test]
fn a_receiver_that_asks_for_patience_gets_it() {
    let mut stack = Stack::start();
    let web = Web::start(&stack.runtime, [Plan::RetryAfter(429, 3), Plan::RetryAfter(503, 2)]);
    stack.receiver("pager", &web, PATIENT);
    let notifier = stack.notifier();
    stack.alert("a", true);
    let heard = web.wait_for(3);
    // Back-off alone would come back after 1.25 s and 2.5 s at the latest.
    assert!(heard[1].at - heard[0].at >= Duration::from_millis(2_900));
    assert!(heard[2].at - heard[1].at >= Duration::from_millis(1_900));
    notifier.stop();
}

#[test]
fn every_alertmanager_is_told_and_one_that_took_it_is_enough() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (one, two) = (Web::start(&runtime, []), Web::start(&runtime, [Plan::Status(503)]));
    let base = |web: &Web| web.url.replace("/hook", "/");
    let urls = vec![base(&one), base(&two), "http://127.0.0.1:1".to_owned()];
    let outcome = tell_alertmanagers(urls);
    assert_eq!(outcome, Ok(()));
    for web in [one, two] {
        let body = web.wait_for(1).remove(0).body;
        assert_eq!(body[0]["labels"]["instance"], "a");
        assert!(body[0]["endsAt"].as_str().unwrap() > body[0]["startsAt"].as_str().unwrap());
    }
    let refused = tell_alertmanagers(vec!["http://127.0.0.1:1".to_owned()]).expect_err("nobody listens");
    assert_eq!((refused.reason.as_str(), refused.retryable), ("unreachable", true));
}

/// One attempt of the receiver `alertmanager`.
fn tell_alertmanagers(urls: Vec<String>) -> Result<(), Failure> {
    let (answers, answered) = std::sync::mpsc::channel();
    let receiver = Receiver {
        name: "am".to_owned(),
        endpoint: Endpoint::Alertmanager(urls),
        authorization: None,
        timeout: PATIENT,
    };
    let receivers = Receivers::start(&[receiver], &answers).unwrap();
    let now_ms = bellwether::shell::clock::wall_ms();
    let alert = HeldAlert {
        alert: AlertId([1; 16]),
        seq: 1,
        labels: Labels::new([("alertname", "Disk"), ("instance", "a"), ("service", "db")]),
        annotations: Labels::new([("summary", "full")]),
        output: "DISK CRITICAL".to_owned(),
        fired_ms: now_ms - 1_000,
        resolved_ms: None,
        append_ms: now_ms,
    };
    let notification = Notification {
        ticket: Ticket { receiver: 0, group: "".into() },
        receiver: "am".into(),
        group_labels: Labels::default(),
        alerts: vec![Arc::new(alert)],
        seq: 1,
        reason: NotifyReason::Forward,
        idempotency_key: "c/0/feed/1".to_owned(),
        attempt: 1,
    };
    let origin = Origin { partition: 0, stay: 1 };
    receivers.send(Job { origin, notification: Box::new(notification) }).expect("there is room");
    answered.recv_timeout(Duration::from_secs(60)).expect("an answer").outcome
}

#[test]
fn without_a_receiver_it_says_what_to_do() {
    let stack = Stack::start();
    let refused = Notifier::start(&stack.config, &mut Registry::default(), &Arc::new(Readiness::default()));
    let fault = refused.expect_err("nobody to tell");
    assert!(matches!(fault, NotifyError::NoReceivers));
    assert_eq!(
        fault.to_string(),
        "notify.receivers: none is configured, so nobody would be told. Add one, for instance {name: log, stdout: true}"
    );
}
