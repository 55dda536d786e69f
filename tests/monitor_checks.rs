//! Checks of all four kinds against real sockets and real processes of this test.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test reads /proc and its own files, and may panic"
)]

use bellwether::config::{self, Check, Config, Target};
use bellwether::shell::check::{self, Clients, Outcome, Scrape, Status, Verdict};
use bellwether::shell::http::Readiness;
use bellwether::shell::monitor::Monitor;
use bellwether::shell::{clock, thread};
use bellwether::wire::Inbound;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// An HTTP server of one page a path; lives as long as the test process.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn("test-server", move || {
        for stream in listener.incoming().flatten() {
            thread::spawn("test-connection", move || answer(stream)).expect("a thread");
        }
    })
    .expect("a thread");
    address
}

fn answer(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let page = |status: &str, kind: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let open_metrics = "application/openmetrics-text; version=1.0.0";
    let page = match path.as_str() {
        "/ok" => page("200 OK", "text/plain", "fine"),
        "/down" => page("503 Service Unavailable", "text/plain", ""),
        "/unmoved" => page("304 Not Modified", "text/plain", ""),
        "/loop" => "HTTP/1.1 302 Found\r\nLocation: /loop\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            .to_owned(),
        "/hang" | "/torn" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_owned(),
        "/big" => page("200 OK", "text/plain", &"x".repeat(17 << 20)),
        "/text" => page("200 OK", "text/plain; version=0.0.4", "a{x=\"1\"} 1\nb 2 1700\n"),
        "/om" => page("200 OK", open_metrics, "a{x=\"1\"} 1\nb 2 1.7\n# EOF\n"),
        "/cut" => page("200 OK", open_metrics, "a{x=\"1\"} 1\n"),
        "/accept" => {
            let accept =
                headers.iter().any(|line| line.to_lowercase().starts_with("accept: application/openmetrics"));
            page("200 OK", "text/plain", &format!("accepts_open_metrics {}\n", i32::from(accept)))
        }
        _ => page("404 Not Found", "text/plain", ""),
    };
    // The peer may hang up in the middle: that is part of some tests.
    let _ = stream.write_all(page.as_bytes());
    if path == "/hang" {
        let _ = lines.next();
    }
}

/// A port that nobody listens on.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

async fn outcome(target: Target, timeout: Duration) -> Outcome {
    let check = Check {
        name: "it".to_owned(),
        service: "shop".to_owned(),
        host: "h1".to_owned(),
        target,
        interval: SECOND,
        timeout,
        labels: [("env".to_owned(), "test".to_owned())].into(),
    };
    check::run(&Clients::new().expect("clients"), &check).await
}

async fn verdict(target: Target, timeout: Duration) -> Verdict {
    match outcome(target, timeout).await {
        Outcome::Verdict(verdict) => verdict,
        Outcome::Scrape(scrape) => panic!("no verdict: {scrape:?}"),
    }
}

async fn scrape(url: String) -> Result<Vec<String>, String> {
    let Outcome::Scrape(Scrape { samples, .. }) = outcome(Target::Scrape(url), SECOND).await else {
        panic!("no scrape")
    };
    let shown = |sample: &check::ScrapedSample| {
        format!("{}{} {} {:?}", sample.name, sample.labels, sample.value, sample.time_ms)
    };
    samples.map(|samples| samples.iter().map(shown).collect())
}

async fn shell(script: &str, timeout: Duration) -> Verdict {
    verdict(Target::Plugin(vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()]), timeout).await
}

/// The processes of a group that still run; a zombie does not.
fn running(group: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // pid (name) state parent group …
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        if fields.len() > 2 && fields[2] == group && fields[0] != "Z" {
            found.push(stat);
        }
    }
    found
}

/// SIGKILL works when the kernel next looks at the process: give it that moment.
fn is_gone(group: &str) -> bool {
    (0..200).any(|_| {
        thread::pause(Duration::from_millis(5));
        running(group).is_empty()
    })
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("bellwether-{}-{name}", std::process::id()))
}

#[tokio::test]
async fn http_is_ok_on_success_and_critical_on_anything_else() {
    let address = server();
    let get = async |path: &str| verdict(Target::Http(format!("http://{address}{path}")), SECOND / 2).await;
    let ok = get("/ok").await;
    assert_eq!(ok.status, Status::Ok);
    assert!(ok.output.starts_with("HTTP 200 in "), "{}", ok.output);
    assert!(ok.perfdata.starts_with("time=0.") && ok.perfdata.ends_with(" size=4B;;;0"), "{}", ok.perfdata);
    assert_eq!(get("/unmoved").await.status, Status::Ok);
    for (path, says) in [
        ("/down", "HTTP 503 Service Unavailable in "),
        ("/nowhere", "HTTP 404 Not Found in "),
        ("/loop", "too many redirects"),
        ("/hang", "no answer within 500 ms"),
        ("/torn", "HTTP 200, then the body broke off"),
    ] {
        let found = get(path).await;
        assert_eq!(found.status, Status::Critical, "{path}");
        assert!(found.output.contains(says), "{path}: {}", found.output);
    }
    let big = get("/big").await;
    assert!(
        big.status == Status::Ok && !big.perfdata.contains("size=17825792B"),
        "read to the bound: {}",
        big.perfdata
    );
    let refused = verdict(Target::Http(format!("http://{}/", closed_port())), SECOND).await;
    assert_eq!(refused.status, Status::Critical);
    assert!(refused.output.contains("Connection refused"), "{}", refused.output);
    let nonsense = verdict(Target::Http("no url".to_owned()), SECOND).await;
    assert_eq!(nonsense.status, Status::Critical, "{}", nonsense.output);
}

#[tokio::test]
async fn tcp_is_ok_where_somebody_listens() {
    let open = verdict(Target::Tcp(server()), SECOND).await;
    assert_eq!(open.status, Status::Ok);
    assert!(
        open.output.contains("connected to 127.0.0.1:") && open.perfdata.starts_with("time=0."),
        "{open:?}"
    );
    let closed = verdict(Target::Tcp(closed_port()), SECOND).await;
    assert_eq!(closed.status, Status::Critical);
    assert!(closed.output.contains("Connection refused"), "{}", closed.output);
}

#[tokio::test]
async fn a_plugin_says_its_status_by_exit_code_and_its_numbers_behind_the_bar() {
    let found =
        shell("echo 'DISK WARNING - 91% | /var=91%;90;95'; echo 'long | b=2'; echo 'c=3'; exit 1", SECOND)
            .await;
    assert_eq!(found.status, Status::Warning);
    assert_eq!(found.output, "DISK WARNING - 91%\nlong");
    assert_eq!(found.perfdata, "/var=91%;90;95\nb=2\nc=3");
    for (script, status, output) in [
        ("echo fine", Status::Ok, "fine"),
        ("echo bad; exit 2", Status::Critical, "bad"),
        ("echo what; exit 3", Status::Unknown, "what"),
        ("echo odd; exit 4", Status::Unknown, "exit code 4 (a plugin has 0 to 3): odd"),
        ("kill -9 $$", Status::Unknown, "killed by signal 9: the plugin printed nothing"),
        (
            "echo no such disk >&2; exit 2",
            Status::Critical,
            "the plugin printed nothing but, on standard error: no such disk",
        ),
    ] {
        let found = shell(script, SECOND).await;
        assert_eq!((found.status, found.output.as_str()), (status, output), "{script}");
    }
    let missing = verdict(Target::Plugin(vec!["/no/such/plugin".to_owned()]), SECOND).await;
    assert_eq!(missing.status, Status::Unknown);
    assert_eq!(
        missing.output,
        "cannot run plugin \"/no/such/plugin\": No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_with_its_grandchildren_and_is_unknown() {
    let pid_file = scratch("hang");
    let started = clock::monotonic();
    let script = format!("echo $$ > {}; trap '' TERM; sleep 1000 & sleep 1000", pid_file.display());
    let found = shell(&script, SECOND / 2).await;
    let took = clock::monotonic() - started;
    assert_eq!(found.status, Status::Unknown);
    assert!(found.output.contains("had no result within 500 ms"), "{}", found.output);
    assert!(took < 2 * SECOND, "{took:?}");
    let group = std::fs::read_to_string(&pid_file).expect("the plugin ran").trim().to_owned();
    std::fs::remove_file(&pid_file).expect("it is there");
    assert!(is_gone(&group), "left over: {:?}", running(&group));
}

#[tokio::test]
async fn a_plugin_that_ends_is_done_though_its_child_holds_the_output() {
    let started = clock::monotonic();
    let found = shell("sleep 1000 & echo $$", 30 * SECOND).await;
    assert_eq!(found.status, Status::Ok);
    assert!(clock::monotonic() - started < 5 * SECOND);
    assert!(is_gone(&found.output), "left over: {:?}", running(&found.output));
}

#[tokio::test]
async fn a_plugin_that_prints_ten_megabytes_takes_a_bounded_part_of_them() {
    let found = shell("head -c 10485760 /dev/zero | tr '\\0' x; exit 1", 20 * SECOND).await;
    assert_eq!(found.status, Status::Warning);
    assert_eq!(found.output.len(), 64 << 10);
    let endless = shell("yes", SECOND / 2).await;
    assert_eq!(endless.status, Status::Unknown);
}

#[tokio::test]
async fn a_scrape_reads_both_formats_and_lays_the_targets_labels_over() {
    let address = server();
    let target = format!("env=\"test\", instance=\"{address}\", job=\"it\"");
    for path in ["/text", "/om"] {
        let samples = scrape(format!("http://{address}{path}")).await.expect("exposed");
        assert_eq!(
            samples,
            [format!("a{{{target}, x=\"1\"}} 1 None"), format!("b{{{target}}} 2 Some(1700)")],
            "{path}"
        );
    }
    let accept = scrape(format!("http://{address}/accept")).await.expect("exposed");
    assert_eq!(accept, [format!("accepts_open_metrics{{{target}}} 1 None")]);
}

#[tokio::test]
async fn a_scrape_that_fails_says_why() {
    let address = server();
    for (url, says) in [
        (format!("http://{address}/down"), "HTTP 503 Service Unavailable, expected 200"),
        (format!("http://{address}/cut"), "the answer ends at line 1 without \"# EOF\""),
        (format!("http://{address}/ok"), "line 1, column 5: expected a number"),
        (format!("http://{address}/big"), "the body is over the bound of 16777216 bytes"),
        (format!("http://{address}/hang"), "no answer within 1.000 s"),
        (format!("http://{}/metrics", closed_port()), "Connection refused"),
    ] {
        let reason = scrape(url.clone()).await.expect_err("it fails");
        assert!(reason.contains(says), "{url}: {reason}");
    }
}

/// An in-process Kafka with the topic of observations, and a configuration that points to it.
fn kafka(partitions: i32, checks: Vec<Check>) -> (MockCluster<'static, DefaultProducerContext>, Config) {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    cluster.create_topic("bellwether.observations", partitions, 1).expect("a topic");
    let overlay = ("test".to_owned(), format!("kafka: {{brokers: '{}'}}", cluster.bootstrap_servers()));
    let mut config = config::load(&[overlay], &|_| None).expect("a configuration");
    config.monitor.checks = checks;
    (cluster, config)
}

fn every(interval_ms: u64, service: &str, name: &str, target: Target) -> Check {
    Check {
        name: name.to_owned(),
        service: service.to_owned(),
        host: "h1".to_owned(),
        target,
        interval: Duration::from_millis(interval_ms),
        timeout: 3 * SECOND,
        labels: [].into(),
    }
}

/// One check result as it came out of Kafka.
#[derive(Debug)]
struct Produced {
    key: String,
    partition: i32,
    check: String,
    status: u8,
    time_ms: i64,
}

/// Reads the check results of all partitions until there are `count` and no more come.
fn produced(config: &Config, partitions: i32, count: usize) -> Vec<Produced> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &config.kafka.brokers)
        .set("group.id", "test")
        .set("fetch.wait.max.ms", "10")
        .create()
        .expect("a consumer");
    let mut from = TopicPartitionList::new();
    for partition in 0..partitions {
        from.add_partition_offset("bellwether.observations", partition, Offset::Beginning).expect("valid");
    }
    consumer.assign(&from).expect("assigned");
    let mut found = Vec::new();
    let deadline = clock::monotonic() + 10 * SECOND;
    while clock::monotonic() < deadline {
        let Some(message) = consumer.poll(SECOND / 2) else {
            if found.len() >= count {
                break;
            }
            continue;
        };
        let message = message.expect("no error");
        let key = String::from_utf8(message.key().expect("a key").to_vec()).expect("text");
        let record = message.payload().expect("a record");
        let Inbound::Observations(batch) = Inbound::read(record).expect("it reads") else {
            panic!("no batch")
        };
        assert_eq!(batch.service(), key, "keyed by service");
        found.extend(batch.checks().map(|result| Produced {
            key: key.clone(),
            partition: message.partition(),
            check: result.check.to_owned(),
            status: result.status,
            time_ms: result.time_ms,
        }));
    }
    found
}

/// Waits for something that other threads do.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = clock::monotonic() + 10 * SECOND;
    while !holds() {
        assert!(clock::monotonic() < deadline, "not within 10 s: {what}");
        thread::pause(Duration::from_millis(10));
    }
}

/// The value of a metric, over all its labels.
fn metric(registry: &Registry, name: &str) -> f64 {
    let mut text = String::new();
    encode(&mut text, registry).expect("it encodes");
    let values = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn results_are_keyed_by_service_and_stand_where_javas_clients_would_put_them() {
    // Key and its murmur2 from Apache Kafka's own UtilsTest.
    let vectors = [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    let checks = vectors.iter().map(|(key, _)| every(200, key, "port", Target::Tcp(closed_port()))).collect();
    let (_cluster, config) = kafka(7, checks);
    let mut registry = Registry::default();
    let readiness = Arc::new(Readiness::default());
    let monitor = Monitor::start(&config, &mut registry, &readiness).expect("it starts");
    eventually("kafka is there", || readiness.reasons().is_empty());
    eventually("every check ran twice", || metric(&registry, "bellwether_monitor_runs_total") >= 18.0);
    assert_eq!(monitor.stop(5 * SECOND), 0, "all of it reached kafka");
    let found = produced(&config, 7, 18);
    for (key, hash) in vectors {
        let of_key: Vec<&Produced> = found.iter().filter(|result| result.key == key).collect();
        assert!(!of_key.is_empty(), "{key}");
        for result in of_key {
            assert_eq!((result.partition, result.status), ((hash & 0x7fff_ffff) % 7, 2), "{key}");
        }
    }
    let acknowledged = metric(&registry, "bellwether_monitor_records_produced_total");
    assert!(
        (acknowledged - f64::from(u32::try_from(found.len()).expect("few"))).abs() < 0.5,
        "{acknowledged}"
    );
}

#[test]
fn a_slow_check_delays_no_other_and_skips_what_it_overlaps() {
    let hang = vec!["/bin/sh".to_owned(), "-c".to_owned(), "sleep 1; echo slow".to_owned()];
    let mut checks = vec![every(100, "shop", "port", Target::Tcp(server()))];
    checks.extend((0..20).map(|n| every(200, "shop", &format!("slow{n}"), Target::Plugin(hang.clone()))));
    let (_cluster, config) = kafka(1, checks);
    let mut registry = Registry::default();
    let monitor = Monitor::start(&config, &mut registry, &Arc::default()).expect("it starts");
    thread::pause(3 * SECOND);
    assert_eq!(monitor.stop(5 * SECOND), 0);
    let found = produced(&config, 1, 60);
    let times: Vec<i64> = found.iter().filter(|r| r.check == "port").map(|r| r.time_ms).collect();
    assert!((25..=31).contains(&times.len()), "{} runs in 3 s, one each 100 ms", times.len());
    assert!(times.is_sorted(), "in the order of their event times");
    let slow = found.iter().filter(|r| r.check == "slow0").count();
    assert!((2..=3).contains(&slow), "{slow} runs in 3 s of 1 s each");
    assert!(metric(&registry, "bellwether_monitor_runs_skipped_total") >= 100.0);
}

#[test]
fn results_outlive_an_outage_with_their_own_time_and_the_oldest_go_when_the_buffer_is_full() {
    let (cluster, mut config) = kafka(1, vec![every(50, "shop", "port", Target::Tcp(closed_port()))]);
    cluster.broker_down(1).expect("down");
    // About 40 of these records.
    config.monitor.buffer_bytes = 8 << 10;
    let mut registry = Registry::default();
    let readiness = Arc::new(Readiness::default());
    let monitor = Monitor::start(&config, &mut registry, &readiness).expect("it starts");
    let dropped = || metric(&registry, "bellwether_monitor_records_dropped_total");
    eventually("it says that kafka is away", || readiness.reasons()["kafka"].contains("no broker answered"));
    eventually("the buffer is full", || dropped() >= 3.0);
    assert!(metric(&registry, "bellwether_monitor_buffer_bytes") <= 8192.0);
    let back_ms = clock::wall_ms();
    cluster.broker_up(1).expect("up");
    eventually("kafka is there", || readiness.reasons().is_empty());
    assert_eq!(monitor.stop(5 * SECOND), 0);
    let runs = metric(&registry, "bellwether_monitor_runs_total");
    let found = produced(&config, 1, 1);
    let lost = runs - f64::from(u32::try_from(found.len()).expect("few"));
    assert!(
        (lost - dropped()).abs() < 0.5,
        "{runs} runs, {} produced, {} counted as dropped",
        found.len(),
        dropped()
    );
    let before = found.iter().filter(|result| result.time_ms < back_ms).count();
    assert!(before >= 10, "{before} results of {} are from the outage", found.len());
    assert!(found.iter().map(|result| result.time_ms).is_sorted());
}

#[test]
fn a_monitor_stops_in_time_though_kafka_is_away() {
    let (cluster, config) = kafka(1, vec![every(50, "shop", "port", Target::Tcp(closed_port()))]);
    cluster.broker_down(1).expect("down");
    let mut registry = Registry::default();
    let monitor = Monitor::start(&config, &mut registry, &Arc::default()).expect("it starts");
    eventually("something waits", || metric(&registry, "bellwether_monitor_buffer_bytes") > 0.0);
    let started = clock::monotonic();
    assert!(monitor.stop(SECOND) > 0, "it says what is lost");
    let took = clock::monotonic() - started;
    assert!(took < 3 * SECOND, "{took:?}");
}
