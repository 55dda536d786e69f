//! The harness's own parts, tried without a stack: a fault that does nothing would prove nothing.

use crate::guard::{Guard, signal};
use crate::proxy::{END_TXN, Flow, Hold, LinkId, Proxy, Service, State};
use crate::report::Sample;
use crate::schedule::{self, Fault, Target};
use crate::{faults, round};
use ::bellwether::sim;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Runs every trial; panics at the first that fails.
pub fn run() -> ExitCode {
    let trials: [(&str, fn()); 8] = [
        ("a schedule is text and back", schedule_round_trip),
        ("a seed is a schedule, and every fault is in it", drawn_schedules),
        ("what the simulator draws can be played", simulated_schedules),
        ("percentiles are nearest rank", percentiles),
        ("the proxy stalls, goes on, refuses, resets and answers", proxy_faults),
        ("a held EndTxn is overtaken by the next and still arrives", end_txn_is_overtaken),
        ("a fault of the network ends by itself", ttl_of_the_network),
        ("a dead harness leaves no stopped process", dead_harness),
    ];
    for (name, trial) in trials {
        trial();
        println!("test {name} ... ok");
    }
    println!("chaos: the parts work; the chaos itself is tests/chaos/run");
    ExitCode::SUCCESS
}

fn schedule_round_trip() {
    let text = "# seed 1\n2000 crash primary:3 span=500\n2500 kafka_cut zone:b span=10 way=up # a comment\n\n9 storm -\n";
    let faults = schedule::parse(text).expect("a schedule");
    assert_eq!(faults.len(), 3);
    assert_eq!(
        faults[1],
        Fault::new(2_500, "kafka_cut", Target::Zone('b'), &[("span", "10"), ("way", "up")])
    );
    let again: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(schedule::parse(&again.join("\n")).expect("its own text"), faults);
    for wrong in ["crash -", "1 crash", "1 crash somebody", "1 crash - span"] {
        assert!(schedule::parse(wrong).is_err(), "{wrong}");
    }
}

fn drawn_schedules() {
    let drawn = round::draw(7, 45, &[], 8);
    assert_eq!(drawn, round::draw(7, 45, &[], 8));
    assert_ne!(drawn, round::draw(8, 45, &[], 8));
    assert!(drawn.len() >= 45);
    for (code, ..) in faults::CATALOGUE {
        assert!(drawn.iter().any(|fault| fault.code == *code), "{code}");
    }
    assert_eq!(round::draw(7, 1, &[30], 8)[0].code, "log_cut");
    assert!(
        round::draw(7, 5, &[1, 3], 8)
            .iter()
            .all(|fault| ["crash", "pause", "machine_gone"].contains(&fault.code.as_str()))
    );
}

fn simulated_schedules() {
    let mut played = 0;
    for seed in 0..50 {
        let text = sim::schedule(&sim::Plan::draw(seed));
        for fault in schedule::parse(&text).expect("a schedule") {
            assert!(faults::known(&fault.code).is_some(), "{fault}");
            played += 1;
        }
    }
    assert!(played > 500, "{played} faults of 50 plans have a counterpart");
}

fn percentiles() {
    let mut sample = Sample::default();
    (1..=100).rev().for_each(|ms| sample.add(Duration::from_millis(ms)));
    let ms = |percent| sample.percentile(percent).expect("some").as_millis();
    assert_eq!((ms(50), ms(99), ms(100)), (50, 99, 100));
}

/// A server that tells each chunk it reads, and sends back what it read.
fn server() -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(length) = stream.read(&mut chunk) {
                    if length == 0 || sender.send(chunk[..length].to_vec()).is_err() {
                        break;
                    }
                    let _ = stream.write_all(&chunk[..length]);
                }
            });
        }
    });
    (port, receiver)
}

fn link(service: Service) -> (Proxy, u16, Receiver<Vec<u8>>) {
    let (target, seen) = server();
    let mut proxy = Proxy::new().expect("a runtime");
    let port = proxy.listen(LinkId { zone: 'a', service, index: 0 }, 0, target).expect("a port");
    (proxy, port, seen)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy listens");
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    stream
}

const LONG: Duration = Duration::from_secs(60);

fn proxy_faults() {
    let (proxy, port, seen) = link(Service::ZooKeeper);
    let mut stream = connect(port);
    let mut answer = [0; 4];
    stream.write_all(b"ping").expect("open");
    stream.read_exact(&mut answer).expect("open");
    assert_eq!(seen.recv().expect("it came"), b"ping");
    // One direction: the request arrives, the answer does not.
    proxy.set(|_| true, &State { down: Flow::Stall, ..State::default() }, LONG);
    stream.write_all(b"ping").expect("open");
    assert_eq!(seen.recv().expect("it came"), b"ping");
    assert!(stream.read_exact(&mut answer).is_err(), "the answer is held");
    proxy.set(|_| true, &State::cut(), LONG);
    stream.write_all(b"more").expect("the near end takes it");
    assert!(seen.recv_timeout(Duration::from_millis(200)).is_err(), "cut");
    proxy.heal(|_| true, false);
    assert_eq!(seen.recv().expect("it goes on"), b"more");
    let mut both = [0; 8];
    stream.read_exact(&mut both).expect("both answers");
    proxy.reset(|_| true);
    assert!(matches!(stream.read(&mut answer), Ok(0) | Err(_)), "broken");
    proxy.set(|_| true, &State { refuse: true, ..State::default() }, LONG);
    let mut refused = connect(port);
    let _ = refused.write_all(b"ping");
    assert!(matches!(refused.read(&mut answer), Ok(0) | Err(_)));
    assert!(seen.recv_timeout(Duration::from_millis(100)).is_err());
    proxy.set(|_| true, &State { answer: Some(503), ..State::default() }, LONG);
    let mut http = connect(port);
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("open");
    let mut line = String::new();
    BufReader::new(http).read_line(&mut line).expect("an answer");
    assert!(line.starts_with("HTTP/1.1 503"), "{line}");
    proxy.set(|_| true, &State { truncate: true, ..State::default() }, LONG);
    let mut torn = connect(port);
    torn.write_all(b"12345678").expect("open");
    assert_eq!(seen.recv().expect("half of it"), b"1234");
}

/// A Kafka request: its length, kind, version, number, and a byte that tells it from others.
fn request(key: i16, tag: u8) -> Vec<u8> {
    let mut body = key.to_be_bytes().to_vec();
    body.extend([0, 1, 0, 0, 0, 0, tag]);
    [&u32::try_from(body.len()).expect("short").to_be_bytes()[..], &body].concat()
}

fn end_txn_is_overtaken() {
    let (proxy, port, seen) = link(Service::Kafka);
    proxy.set(
        |_| true,
        &State { hold: Some(Hold::Late { key: END_TXN, ms: 400 }), ..State::default() },
        LONG,
    );
    let mut first = connect(port);
    first.write_all(&request(3, 1)).expect("open");
    first.write_all(&request(END_TXN, 2)).expect("open");
    assert_eq!(seen.recv().expect("not held").last(), Some(&1));
    // The client gives up that connection and asks again on another, as librdkafka does.
    drop(first);
    let mut second = connect(port);
    second.write_all(&request(END_TXN, 3)).expect("open");
    assert_eq!(seen.recv().expect("the retry").last(), Some(&3));
    assert_eq!(seen.recv().expect("the first copy, late").last(), Some(&2));
    assert_eq!(proxy.held(), 1);
    proxy.set(|_| true, &State { hold: Some(Hold::Swallow { key: END_TXN }), ..State::default() }, LONG);
    second.write_all(&request(END_TXN, 4)).expect("open");
    assert!(seen.recv_timeout(Duration::from_millis(200)).is_err(), "it never arrives");
}

fn ttl_of_the_network() {
    let (proxy, port, seen) = link(Service::ZooKeeper);
    let mut stream = connect(port);
    proxy.set(|_| true, &State { up: Flow::Stall, ..State::default() }, Duration::from_millis(300));
    let start = Instant::now();
    stream.write_all(b"late").expect("open");
    assert_eq!(seen.recv().expect("it ends"), b"late");
    assert!(start.elapsed() >= Duration::from_millis(250));
}

/// Fault 52: the harness itself dies by kill -9 while a process of its own is stopped.
fn dead_harness() {
    let me = std::env::current_exe().expect("this program has a path");
    let mut harness = Command::new(me).arg("victim").stdout(Stdio::piped()).spawn().expect("it runs");
    let mut line = String::new();
    BufReader::new(harness.stdout.take().expect("piped")).read_line(&mut line).expect("two pids");
    let pids: Vec<u32> = line.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    let [short, long] = pids[..] else { panic!("{line:?}") };
    let state = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next())
    };
    let until = |what: &str, met: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !met() {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{what}: {:?} {:?}",
                state(short),
                state(long)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until("both stand still", &|| state(short) == Some('T') && state(long) == Some('T'));
    until("one goes on when its time is over", &|| state(short) == Some('S') && state(long) == Some('T'));
    harness.kill().expect("it is ours");
    harness.wait().expect("it is ours");
    let gone = |pid| matches!(state(pid), None | Some('Z' | 'X'));
    until("nothing of a dead harness is left", &|| gone(short) && gone(long));
}

/// What [`dead_harness`] kills: two processes of its own, both stopped, one for a second, one for an hour.
pub fn victim() -> ExitCode {
    let guard = Guard::start("");
    let sleeper =
        || Command::new("sleep").arg("3600").stdout(Stdio::null()).spawn().expect("sleep is there").id();
    let (short, long) = (sleeper(), sleeper());
    [short, long].into_iter().for_each(|pid| guard.own(pid));
    guard.stop(short, Duration::from_secs(1));
    guard.stop(long, Duration::from_secs(3600));
    println!("{short} {long}");
    loop {
        std::thread::sleep(Duration::from_secs(60));
        signal(0, "0");
    }
}
