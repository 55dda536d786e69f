//! Law 1 in two processes: fed the same log by different batch boundaries they have equal digests after each record.
//!
//! The second process is this very test binary, run again with a filter: it reads a generated log from a file, so
//! many records at a time, and prints one line a record.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that starts processes reads files and the environment, and may panic"
)]

#[path = "common/keys.rs"]
mod keys;

use bellwether::machine::{Event, Machine, Options, Position};
use bellwether::wire::{CheckResult, Control, Labels, ObservationsWriter, RuleFile, RuleSet, Tick};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const RECORDS: i64 = 4000;
const START_MS: i64 = 1_700_000_000_000;
const LOG: &str = "BELLWETHER_TEST_DIGEST_LOG";
const BATCHES: &str = "BELLWETHER_TEST_DIGEST_BATCHES";

/// One record of the log.
struct Line {
    position: Position,
    value: Option<Vec<u8>>,
}

/// xorshift64*: the same log on every machine.
struct Draw(u64);

impl Draw {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % below
    }

    fn signed(&mut self, below: i64) -> i64 {
        i64::try_from(self.next(u64::try_from(below).unwrap())).unwrap()
    }
}

fn rules(version: i64) -> RuleSet {
    // The third is refused whole; the fourth drops an alert and shortens another.
    let third = if version == 3 { "      - alert: broken\n        expr: no_such_function(up)\n" } else { "" };
    let (hold, flapping) = match version {
        1 => ("30s", "      - alert: flapping\n        expr: changes(check_status[2m]) > 2\n"),
        2 | 3 => ("20s", "      - alert: flapping\n        expr: changes(check_status[1m]) > 1\n"),
        _ => ("10s", ""),
    };
    let content = format!(
        "groups:\n  - name: main\n    interval: 5s\n    rules:\n      - record: service:load:avg\n        expr: avg by (service) (load)\n      \
         - alert: high-load\n        expr: service:load:avg > 50\n        for: {hold}\n        keep_firing_for: 15s\n        \
         annotations:\n          summary: '{{{{ $labels.service }}}} at {{{{ $value | humanize }}}}'\n      \
         - alert: check-failed\n        expr: check_status >= 2\n        for: {hold}\n      \
         - alert: requests-up\n        expr: sum by (service, host) (rate(requests_total[1m])) > 3\n{flapping}{third}"
    );
    RuleSet {
        version,
        applied_ms: START_MS,
        author: "test".to_owned(),
        service_label: "service".to_owned(),
        limits: bellwether::wire::Limits::default(),
        partitions: 0,
        files: vec![RuleFile { name: "rules.yaml".to_owned(), content }],
    }
}

fn seal(control: &Control) -> Vec<u8> {
    keys::signer().seal(3, control)
}

fn observations(draw: &mut Draw, clock_ms: i64) -> Vec<u8> {
    let service = format!("service-{}", draw.next(5));
    let mut writer = ObservationsWriter::new(&service).expect("a service");
    for _ in 0..=draw.next(6) {
        let host = format!("host-{}", draw.next(8));
        let labels = Labels::new([("host", host.as_str())]);
        // Mostly on time; some late, some far ahead.
        let time_ms = match draw.next(40) {
            0 => clock_ms - draw.signed(120_000),
            1 => clock_ms + 900_000,
            _ => clock_ms - draw.signed(900),
        };
        let tenths = i32::try_from(draw.next(1000)).unwrap();
        let value = if draw.next(50) == 0 { f64::NAN } else { f64::from(tenths) / 10.0 };
        let name = if draw.next(3) == 0 { "requests_total" } else { "load" };
        writer.sample(name, &labels, time_ms, value).expect("a sample");
        if draw.next(3) == 0 {
            let result = CheckResult {
                key: b"",
                host: &host,
                check: "ping",
                status: u8::try_from(draw.next(4)).unwrap(),
                output: "so it is",
                perfdata: "rta=1ms",
                time_ms,
            };
            writer.check(&result, &Labels::default()).expect("a check result");
        }
    }
    writer.finish()
}

/// Observations, ticks, checks, rule changes, garbage, tombstones, producers' stamps, clocks that jump either way.
fn log() -> Vec<Line> {
    let mut draw = Draw(0x9E37_79B9_7F4A_7C15);
    let (mut offset, mut clock_ms) = (17, START_MS);
    let mut lines = Vec::new();
    for at in 0..RECORDS {
        offset += if draw.next(50) == 0 { 3 } else { 1 };
        clock_ms += draw.signed(1500);
        clock_ms += if draw.next(400) == 0 { 60_000 } else { 0 };
        let stamp_ms = if draw.next(60) == 0 { clock_ms - 5000 } else { clock_ms };
        let position = Position { offset, append_ms: stamp_ms, log_append: draw.next(100) != 0 };
        let tick = |wall_ms| seal(&Control::Tick(Tick { worker: "a1".to_owned(), wall_ms }));
        let value = match (at, draw.next(20)) {
            (0, _) => Some(seal(&Control::Rules(rules(1)))),
            (1000, _) => Some(seal(&Control::Rules(rules(2)))),
            (1500, _) => Some(seal(&Control::Rules(rules(1)))),
            (2000, _) => Some(seal(&Control::Rules(rules(3)))),
            (3000, _) => Some(seal(&Control::Rules(rules(4)))),
            (_, 0..=3) => Some(tick(clock_ms + draw.signed(2000) - 1000)),
            (_, 4) => Some((0..draw.next(200)).map(|_| u8::try_from(draw.next(256)).unwrap()).collect()),
            (_, 5) => {
                let mut cut = observations(&mut draw, clock_ms);
                cut.truncate(cut.len() * 2 / 3);
                Some(cut)
            }
            (_, 6) if draw.next(4) == 0 => None,
            _ => Some(observations(&mut draw, clock_ms)),
        };
        lines.push(Line { position, value });
    }
    lines
}

/// Offset, stamp, kind of stamp, length (or -1), bytes; little end first.
fn write(path: &Path, lines: &[Line]) {
    let mut bytes = Vec::new();
    for Line { position, value } in lines {
        bytes.extend(position.offset.to_le_bytes());
        bytes.extend(position.append_ms.to_le_bytes());
        bytes.extend(i64::from(position.log_append).to_le_bytes());
        let length = value.as_ref().map_or(-1, |value| i64::try_from(value.len()).unwrap());
        bytes.extend(length.to_le_bytes());
        bytes.extend(value.iter().flatten());
    }
    fs::write(path, bytes).expect("the log is written");
}

fn read(bytes: &[u8]) -> Vec<Line> {
    let mut rest = bytes;
    let mut take = |length: usize| {
        let (taken, left) = rest.split_at_checked(length)?;
        rest = left;
        Some(taken)
    };
    let mut lines = Vec::new();
    while let Some(head) = take(32) {
        let number = |at: usize| i64::from_le_bytes(head[at * 8..at * 8 + 8].try_into().unwrap());
        let position = Position { offset: number(0), append_ms: number(1), log_append: number(2) == 1 };
        let value = usize::try_from(number(3)).ok().map(|length| take(length).expect("whole").to_vec());
        lines.push(Line { position, value });
    }
    lines
}

/// Steps a machine through the log, so many records a batch as `sizes` say in turn, and prints each digest.
fn feed(lines: &[Line], sizes: &[usize]) {
    let mut machine = Machine::new(Options {
        partition: 3,
        keyring: keys::keyring(),
        hash_key: 7,
        producer_time: false,
        snapshot_interval_ms: 0,
    });
    let (mut actions, mut emitted, mut refused, mut switched) = (Vec::new(), 0, 0, 0);
    let mut switches = Vec::new();
    let mut rest = lines;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (batch, left) = rest.split_at((*size).min(rest.len()));
        rest = left;
        // Like the worker's: the batch's bytes side by side, gone after the batch.
        let bytes: Vec<u8> = batch.iter().flat_map(|line| line.value.iter().flatten().copied()).collect();
        let mut from = 0;
        for line in batch {
            let length = line.value.as_ref().map_or(0, Vec::len);
            let value = line.value.is_some().then(|| &bytes[from..from + length]);
            from += length;
            machine.step(Event::read(line.position, value), &mut actions);
            let hex: String = machine.digest().iter().map(|byte| format!("{byte:02x}")).collect();
            println!("after {} {hex}", line.position.offset);
        }
        for action in actions.drain(..) {
            match action {
                bellwether::machine::Action::Emit(_) => emitted += 1,
                bellwether::machine::Action::Reject(..) => refused += 1,
                bellwether::machine::Action::RulesSwitched { version, faults } => {
                    switched += 1;
                    switches.push(format!("{version} {faults:?}"));
                }
                bellwether::machine::Action::ConfirmTime(_) | bellwether::machine::Action::Cut => {}
            }
        }
    }
    let summary = machine.summary();
    println!("after all emitted={emitted} seq={} refused={refused} switched={switched}", summary.seq);
    println!("after all series={} rejected={:?} rules={switches:?}", summary.series, summary.rejected);
}

#[test]
#[ignore = "the body of the processes that the test below starts"]
fn child() {
    let path = std::env::var(LOG).expect("started by the test below");
    let sizes: Vec<usize> =
        std::env::var(BATCHES).expect("sizes").split(',').map(|size| size.parse().unwrap()).collect();
    feed(&read(&fs::read(path).expect("the log is there")), &sizes);
}

fn run(log: &Path, sizes: &str) -> Vec<String> {
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(LOG, log)
        .env(BATCHES, sizes)
        .output()
        .expect("the child runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    // libtest writes the test's name in front of the first line.
    text.lines().filter_map(|line| line.find("after ").map(|at| line[at..].to_owned())).collect()
}

fn number(line: &str, name: &str) -> u64 {
    let after = line.split_once(&format!("{name}=")).expect("it is there").1;
    after.split(' ').next().unwrap().parse().expect("a number")
}

#[test]
fn two_processes_have_equal_digests_after_each_record_whatever_the_batch_boundaries() {
    let path: PathBuf = std::env::temp_dir().join(format!("bellwether-digest-{}.log", std::process::id()));
    write(&path, &log());
    let one_by_one = run(&path, "1");
    let in_batches = run(&path, "500,1,7,64,1000,3");
    fs::remove_file(&path).expect("the log is removed");
    assert_eq!(one_by_one.len(), usize::try_from(RECORDS).unwrap() + 2);
    assert_eq!(one_by_one.len(), in_batches.len());
    for (a, b) in one_by_one.iter().zip(&in_batches) {
        assert_eq!(a, b);
    }
    // The log is worth the comparison: alerts came and went, records and samples were refused, rules changed.
    let totals = one_by_one[one_by_one.len() - 2..].join(" ");
    let totals = totals.as_str();
    println!("{totals}");
    assert!(number(totals, "emitted") >= 100, "{totals}");
    assert_eq!(number(totals, "emitted"), number(totals, "seq"), "{totals}");
    assert!(number(totals, "refused") >= 100, "{totals}");
    assert!(number(totals, "switched") >= 4, "{totals}");
}

#[test]
fn a_single_changed_byte_shows_in_the_digest() {
    let digests = |lines: &[Line]| {
        let mut machine = Machine::new(Options {
            partition: 3,
            keyring: keys::keyring(),
            hash_key: 7,
            producer_time: false,
            snapshot_interval_ms: 0,
        });
        let step = |line: &Line| {
            machine.step(Event::read(line.position, line.value.as_deref()), &mut Vec::new());
            machine.digest()
        };
        lines.iter().map(step).collect::<Vec<_>>()
    };
    let position = |at| Position { offset: at, append_ms: START_MS + at * 1000, log_append: true };
    let batch = |value| {
        let mut writer = ObservationsWriter::new("a").expect("a service");
        writer.sample("load", &Labels::new([("host", "h")]), START_MS + 1000, value).expect("a sample");
        Some(writer.finish())
    };
    let set = || Line { position: position(0), value: Some(seal(&Control::Rules(rules(1)))) };
    let one = digests(&[set(), Line { position: position(1), value: batch(1.0) }]);
    let other = digests(&[set(), Line { position: position(1), value: batch(1.5) }]);
    assert_eq!(one[0], other[0]);
    assert_ne!(one[1], other[1]);
}
