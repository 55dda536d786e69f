//! Checks of all four kinds against real sockets and real processes of this test.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test reads /proc and its own files, and may panic"
)]

use bellwether::config::{Check, Target};
use bellwether::shell::check::{self, Clients, Outcome, Scrape, Status, Verdict};
use bellwether::shell::{clock, thread};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
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
