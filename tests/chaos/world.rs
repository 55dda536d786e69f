//! Everything that runs: the stack, the proxy in front of it, two zones of two workers, a monitor, notify, the load, and
//! those who look on.

use crate::common::get;
use crate::guard::{Guard, signal};
use crate::load::{self, Load, Pace};
use crate::proxy::{LinkId, Proxy, Service};
use crate::receiver::Receiver;
use crate::watch::Watch;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const ZONES: [char; 2] = ['a', 'b'];
/// How long a broker may take to start: after kill -9 it reads its logs, and on a busy machine that is a minute and more.
const PART: Duration = Duration::from_secs(180);
const BINARY: &str = env!("CARGO_BIN_EXE_bellwether");

/// How a world is made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Directory of the stack and the logs.
    pub dir: String,
    /// First of a hundred ports.
    pub port: u16,
    pub partitions: usize,
    pub workers_per_zone: usize,
    /// Interval of the fast group.
    pub interval: &'static str,
    pub pace: Pace,
    /// Session timeout of the workers.
    pub session: Duration,
    /// Whether notify, its receiver and a monitor run, too.
    pub whole_line: bool,
}

/// A worker's process, or the place of one.
pub struct Worker {
    pub zone: char,
    pub id: String,
    pub http: String,
    pub child: Option<Child>,
    /// Set for its next start.
    pub environment: Vec<(String, String)>,
}

/// A part of the stack: how it was started.
struct Part {
    command: Vec<String>,
    directory: PathBuf,
    log: PathBuf,
    pid_file: PathBuf,
    pid: u32,
}

pub struct World {
    pub plan: Plan,
    pub guard: Guard,
    pub proxy: Proxy,
    pub cluster: String,
    pub config: String,
    pub brokers: String,
    pub workers: Vec<Worker>,
    pub receiver: Option<Receiver>,
    pub notify: Option<Child>,
    pub monitor: Option<Child>,
    pub load: Option<Load>,
    pub watch: Watch,
    parts: BTreeMap<String, Part>,
    /// The observations log has lost its beginning: what was there is judged already.
    pub is_log_cut: bool,
    /// Partitions of which a replica was made to differ.
    pub flipped: BTreeSet<usize>,
    /// Faults that kill notify, and with it what it had in flight.
    pub notify_kills: u64,
}

impl World {
    /// Starts all of it; returns when every partition has a primary that emits, and every worker is ready.
    pub fn start(plan: Plan) -> Self {
        let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/local");
        let stack = format!("{}/stack", plan.dir);
        let guard = Guard::start(&stack);
        let port = plan.port;
        let mut up = Command::new(format!("{scripts}/up"));
        up.args(["--dir", &stack, "--port-base", &port.to_string()]);
        for (zone, first) in ZONES.into_iter().zip([port + 70, port + 73]) {
            up.args(["--advertise-zone", &format!("{zone}=127.0.0.1:{first}")]);
        }
        let status = up.stdout(Stdio::null()).status().expect("deploy/local/up can be run");
        assert!(status.success(), "the stack did not start");
        let mut proxy = Proxy::new().expect("a runtime");
        let mut listen = |zone, service, index, at: u16, target: u16| {
            proxy.listen(LinkId { zone, service, index }, port + at, port + target).expect("a free port");
        };
        for index in 0..3 {
            listen('a', Service::Kafka, index, 70 + index, 20 + index);
            listen('b', Service::Kafka, index, 73 + index, 30 + index);
            listen('a', Service::ZooKeeper, index, 80 + index, index);
            listen('b', Service::ZooKeeper, index, 83 + index, index);
        }
        [('a', 86), ('b', 87)].into_iter().for_each(|(zone, at)| listen(zone, Service::S3, 0, at, 9));
        let brokers = (0..3).map(|n| format!("127.0.0.1:{}", port + 10 + n)).collect::<Vec<_>>().join(",");
        let cluster = format!("chaos-{}", std::process::id());
        let logs = PathBuf::from(&plan.dir).join("chaos");
        let _ = std::fs::remove_dir_all(&logs); // of an earlier run
        std::fs::create_dir_all(&logs).expect("the stack's directory can be written");
        let receiver = plan.whole_line.then(|| Receiver::start(port + 96));
        let config = logs.join("bellwether.yaml").to_string_lossy().into_owned();
        std::fs::write(&config, configuration(&plan, &cluster, &brokers)).expect("it can be written");
        let rules = logs.join("rules.yaml").to_string_lossy().into_owned();
        std::fs::write(&rules, load::rules(plan.interval)).expect("it can be written");
        run(&["--config", &config, "topics", "apply"]);
        run(&["--config", &config, "rules", "apply", "--yes", "--no-alerts", &rules]);
        let (alerts, observations) = (format!("{cluster}.alerts"), format!("{cluster}.observations"));
        let watch = Watch::start(&brokers, &alerts, plan.partitions);
        let load = Some(Load::start(&brokers, &observations, plan.partitions, plan.pace));
        let workers = (0..2 * plan.workers_per_zone).map(|number| {
            let (zone, of_zone) = (ZONES[number % 2], number / 2 + 1);
            let id = format!("{zone}{of_zone}");
            let http = format!("127.0.0.1:{}", usize::from(port) + 90 + number);
            Worker { zone, id, http, child: None, environment: Vec::new() }
        });
        let parts = parts(&stack);
        let mut world = Self {
            plan,
            guard,
            proxy,
            cluster,
            config,
            brokers,
            workers: workers.collect(),
            receiver,
            notify: None,
            monitor: None,
            load,
            watch,
            parts,
            is_log_cut: false,
            flipped: BTreeSet::new(),
            notify_kills: 0,
        };
        (0..world.workers.len()).for_each(|number| world.start_worker(number));
        if world.plan.whole_line {
            world.start_notify();
            let listen = format!("http.listen=127.0.0.1:{}", port + 95);
            world.monitor = Some(world.spawn("monitor", &["--set", &listen, "monitor"], &[]));
        }
        world.settle(Duration::from_secs(180));
        world
    }

    /// Waits until all workers have come up and every partition tells of alerts.
    fn settle(&self, limit: Duration) {
        let begun = Instant::now();
        self.ready(limit).expect("all workers come up");
        self.alive_since(begun, limit).expect("every partition tells of an alert");
    }

    // ---- processes

    fn spawn(&self, name: &str, arguments: &[&str], environment: &[(String, String)]) -> Child {
        let log = PathBuf::from(&self.plan.dir).join("chaos").join(format!("{name}.log"));
        let file = std::fs::File::options().create(true).append(true).open(log).expect("a log");
        let child = Command::new(BINARY)
            .args(["--config", &self.config])
            .args(arguments)
            .envs(environment.iter().cloned())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file)
            .spawn()
            .expect("the binary was built");
        self.guard.own(child.id());
        child
    }

    pub fn start_worker(&mut self, number: usize) {
        let child = self.spawn_worker(number, &self.workers[number].http, &[]);
        self.workers[number].child = Some(child);
    }

    /// Another process under a worker's name, at another address.
    pub fn spawn_worker(&self, number: usize, http: &str, more: &[&str]) -> Child {
        let worker = &self.workers[number];
        let (port, zone) = (self.plan.port, worker.zone);
        let at = |first: u16| {
            (0..3).map(|n| format!("127.0.0.1:{}", port + first + n)).collect::<Vec<_>>().join(",")
        };
        let (kafka, keeper, s3) = if zone == 'a' { (70, 80, 86) } else { (73, 83, 87) };
        let set = [
            format!("zone=zone-{zone}"),
            format!("worker={}", worker.id),
            format!("http.listen={http}"),
            format!("kafka.brokers={}", at(kafka)),
            format!("zookeeper.hosts={}", at(keeper)),
            format!("snapshots.endpoint=http://127.0.0.1:{}", port + s3),
        ];
        let mut arguments: Vec<&str> = set.iter().flat_map(|set| ["--set", set.as_str()]).collect();
        arguments.extend(more);
        arguments.push("worker");
        self.spawn(&worker.id, &arguments, &worker.environment)
    }

    pub fn pid(&self, number: usize) -> Option<u32> {
        self.workers[number].child.as_ref().map(Child::id)
    }

    /// kill -9; the moment of it.
    pub fn kill_worker(&mut self, number: usize) -> Instant {
        let mut child = self.workers[number].child.take();
        let at = Instant::now();
        if let Some(child) = &mut child {
            let _ = child.kill();
            let _ = child.wait();
            self.guard.gone(child.id());
        }
        at
    }

    /// SIGTERM; the moment of it, and how long its end took.
    pub fn stop_worker(&mut self, number: usize) -> (Instant, Duration) {
        let at = Instant::now();
        if let Some(mut child) = self.workers[number].child.take() {
            signal(child.id(), "TERM");
            while child.try_wait().expect("it is ours").is_none() {
                if at.elapsed() > Duration::from_secs(60) {
                    println!("  {} did not stop within 60 s of SIGTERM: killed", self.workers[number].id);
                    let _ = child.kill();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            self.guard.gone(child.id());
        }
        (at, at.elapsed())
    }

    pub fn start_notify(&mut self) {
        let listen = format!("http.listen=127.0.0.1:{}", self.plan.port + 94);
        self.notify = Some(self.spawn("notify", &["--set", &listen, "notify"], &[]));
    }

    pub fn kill_notify(&mut self) {
        if let Some(mut child) = self.notify.take() {
            let _ = child.kill();
            let _ = child.wait();
            self.guard.gone(child.id());
            self.notify_kills += 1;
        }
    }

    // ---- who is what

    /// Roles by partition, as the worker's own metrics tell.
    pub fn roles(&self, number: usize) -> BTreeMap<usize, String> {
        let Some((_, text)) = get(&self.workers[number].http, "/metrics") else { return BTreeMap::new() };
        let field = |line: &str, name: &str| -> Option<String> {
            let rest = line.split_once(&format!("{name}=\""))?.1;
            Some(rest.split_once('"')?.0.to_owned())
        };
        text.lines()
            .filter(|line| line.starts_with("bellwether_role{"))
            .filter_map(|line| Some((field(line, "partition")?.parse().ok()?, field(line, "role")?)))
            .collect()
    }

    /// The worker that wrote the last marker of a partition.
    pub fn primary(&self, partition: usize) -> Option<usize> {
        let (worker, _) = self.watch.primaries().get(partition)?.clone()?;
        self.workers.iter().position(|other| other.id == worker)
    }

    /// Partitions that a worker is primary of, by the last markers, with their epochs.
    pub fn held_by(&self, number: usize) -> Vec<(usize, i64)> {
        let id = &self.workers[number].id;
        let all = self.watch.primaries().into_iter().enumerate();
        all.filter_map(|(partition, primary)| {
            primary.filter(|(worker, _)| worker == id).map(|(_, epoch)| (partition, epoch))
        })
        .collect()
    }

    /// Waits until every worker that runs has caught up and each partition is hosted by two, or says what is not. What
    /// stands between one of them and Kafka at the moment is what the harness is about, and no reason to wait.
    pub fn ready(&self, limit: Duration) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let mut trouble = None;
            let mut hosts = vec![0; self.plan.partitions];
            for (number, worker) in
                self.workers.iter().enumerate().filter(|(_, worker)| worker.child.is_some())
            {
                match get(&worker.http, "/-/ready") {
                    Some((200, _)) => {}
                    Some((_, why)) if why.lines().all(|line| line.starts_with("emission ")) => {}
                    Some((_, why)) => trouble = Some(format!("{}: {}", worker.id, why.replace('\n', "; "))),
                    None => trouble = Some(format!("{} does not answer", worker.id)),
                }
                for (partition, _) in self.roles(number) {
                    hosts[partition] += 1;
                }
            }
            let short = hosts.iter().position(|count| *count < 2);
            match (trouble, short) {
                (None, None) => return Ok(()),
                (why, short) if start.elapsed() > limit => {
                    return Err(
                        why.unwrap_or_else(|| format!("partition {short:?} lacks a replica: {hosts:?}"))
                    );
                }
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Waits until every partition has told of an alert after `since`.
    pub fn alive_since(&self, since: Instant, limit: Duration) -> Result<(), String> {
        loop {
            let silent: Vec<usize> = self
                .watch
                .look()
                .iter()
                .enumerate()
                .filter(|(_, seen)| seen.alerts.last().is_none_or(|(at, _)| *at <= since))
                .map(|(partition, _)| partition)
                .collect();
            if silent.is_empty() {
                return Ok(());
            }
            if since.elapsed() > limit {
                return Err(format!("partitions {silent:?} have told nothing for {limit:?}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    // ---- the stack

    pub fn part_pid(&self, part: &str) -> u32 {
        self.parts[part].pid
    }

    /// kill -9 of a part of the stack.
    pub fn kill_part(&mut self, part: &str) {
        signal(self.parts[part].pid, "KILL");
    }

    /// Starts it again by its own command line, with more in its environment.
    pub fn start_part(&mut self, part: &str, environment: &[(&str, &str)]) {
        let part = self.parts.get_mut(part).expect("a part");
        while std::path::Path::new(&format!("/proc/{}/cmdline", part.pid)).exists()
            && std::fs::read(format!("/proc/{}/cmdline", part.pid)).is_ok_and(|line| !line.is_empty())
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = std::fs::File::options().append(true).open(&part.log).expect("its log");
        let child = Command::new("setsid")
            .args(&part.command)
            .envs(environment.iter().copied())
            .current_dir(&part.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("it ran before");
        part.pid = child.id();
        std::fs::write(&part.pid_file, format!("{}\n", part.pid)).expect("the pid file");
        // Reaped when it ends, so that its place in the process table goes, too.
        std::thread::spawn(move || {
            let mut child = child;
            child.wait()
        });
    }

    /// Waits until a part's port answers.
    pub fn part_answers(&self, part: &str) -> Result<(), String> {
        let number: u16 = part.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(1);
        let port = self.plan.port + if part.starts_with("kafka") { 10 } else { 0 } + number - 1;
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if start.elapsed() > PART {
                return Err(format!("{part} did not come back within {PART:?}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    // ---- the oracle

    /// Runs `bellwether verify`: exit code and one verdict a partition.
    pub fn verify(&self, flags: &[&str]) -> (Option<i32>, Vec<serde_json::Value>, String) {
        let arguments = [&["--config", self.config.as_str(), "verify", "--json"], flags].concat();
        let output = Command::new(BINARY).args(arguments).output().expect("the binary was built");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let verdicts = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (output.status.code(), verdicts, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Lines of the workers' and notify's logs at ERROR level, and panics.
    pub fn errors(&self) -> Vec<String> {
        let folder = PathBuf::from(&self.plan.dir).join("chaos");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".log") {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let bad = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at");
                found.extend(text.lines().filter(bad).map(|line| format!("{name}: {line}")));
            }
        }
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.load.take());
        for child in self.workers.iter_mut().filter_map(|worker| worker.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        for mut child in [self.notify.take(), self.monitor.take()].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Dropping the guard takes the stack down.
    }
}

/// Runs `bellwether`, which must answer 0: after a moment, where a broker has not heard of a new topic yet or is away.
pub fn run(arguments: &[&str]) {
    let start = Instant::now();
    loop {
        let output = Command::new(BINARY).args(arguments).output().expect("the binary was built");
        if output.status.success() {
            return;
        }
        let talk = String::from_utf8_lossy(&output.stderr);
        let (code, waited) = (output.status.code(), start.elapsed());
        assert!(waited < Duration::from_secs(20), "bellwether {arguments:?}: {code:?}\n{talk}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn configuration(plan: &Plan, cluster: &str, brokers: &str) -> String {
    let Plan { port, partitions, .. } = plan;
    let keeper = (0..3).map(|n| format!("127.0.0.1:{}", port + n)).collect::<Vec<_>>().join(",");
    let checks: String = (0..4)
        .map(|n| {
            format!(
                "  - {{name: broker{n}, service: kafka-{n}, tcp: '127.0.0.1:{}', interval: 500ms, timeout: 400ms}}\n",
                port + 10 + n % 3
            )
        })
        .collect();
    format!(
        "cluster: {cluster}\n\
         kafka: {{brokers: '{brokers}', topic_prefix: {cluster}, partitions: {partitions}}}\n\
         zookeeper: {{hosts: '{keeper}', session_timeout: {}s}}\n\
         control: {{key: '{}/stack/keys/control.key'}}\n\
         snapshots: {{url: 's3://bellwether/{cluster}', interval: 20s, region: us-east-1, access_key: bellwether, \
         secret_key: bellwether-local, endpoint: 'http://127.0.0.1:{}'}}\n\
         monitor:\n  checks:\n{checks}\
         notify:\n  group_by: [service]\n  group_wait: 0s\n  group_interval: 2s\n  receivers:\n\
         \x20 - {{name: person, webhook: 'http://127.0.0.1:{}/page'}}\n",
        plan.session.as_secs(),
        plan.dir,
        port + 9,
        port + 96
    )
}

/// How each part of the stack was started, from its own process.
fn parts(dir: &str) -> BTreeMap<String, Part> {
    let dir = PathBuf::from(dir);
    let mut parts = BTreeMap::new();
    for entry in std::fs::read_dir(dir.join("pids")).expect("a stack").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid: u32 =
            std::fs::read_to_string(entry.path()).expect("a pid").trim().parse().expect("a number");
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
        let command = line
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let log = dir.join("logs").join(format!("{name}.log"));
        let directory = dir.join("logs");
        parts.insert(name, Part { command, directory, log, pid_file: entry.path(), pid });
    }
    parts
}
