//! A story through the machine.

use super::keys;
use super::line::{Input, Item, Point, Story};
use bellwether::machine::{Action, Event, Machine, Options, Position, Summary};
use bellwether::wire::{
    AlertState, CheckResult, Control, Labels, ObservationsWriter, Quarantine, RuleFile, RuleSet, Tick,
    Transition,
};

/// The label that holds the service.
pub const SERVICE: &str = "service";
const TICK_MS: i64 = 1_000;
/// The partition in which stories play.
pub const STORY_PARTITION: i32 = 3;

/// What came of a story.
pub struct Run {
    /// The story with its outputs.
    pub text: String,
    /// The alerts that fire after each grid point that was evaluated.
    pub firing: Vec<(i64, Vec<Alert>)>,
    /// Every record, as it stood in the log.
    pub log: Vec<(Position, Option<Vec<u8>>)>,
    /// The highest version of a rule set.
    pub version: i64,
}

/// A firing alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    pub name: String,
    pub labels: Labels,
    pub annotations: Labels,
}

struct World {
    machines: [Machine; 2],
    out: Vec<Action>,
    log: Vec<(Position, Option<Vec<u8>>)>,
    firing: Vec<(i64, Vec<Alert>)>,
    broker_skew_ms: i64,
    worker_skew_ms: i64,
    /// What stands in the log for time 0.
    start_ms: i64,
    ticks: bool,
    tick_ms: i64,
    version: i64,
    first_version: i64,
}

/// Runs it.
pub fn run(story: &Story) -> Run {
    run_from(story, 0, 0)
}

/// Runs it on a log where `start_ms` is the time 0, and rule versions begin above `version`. Its text has the log's times.
pub fn run_from(story: &Story, start_ms: i64, version: i64) -> Run {
    let options = |hash_key| Options {
        partition: STORY_PARTITION,
        keyring: keys::keyring(),
        hash_key,
        producer_time: false,
        snapshot_interval_ms: 0,
    };
    let mut world = World {
        machines: [Machine::new(options(1)), Machine::new(options(2))],
        out: Vec::new(),
        log: Vec::new(),
        firing: Vec::new(),
        broker_skew_ms: 0,
        worker_skew_ms: 0,
        start_ms,
        ticks: true,
        tick_ms: TICK_MS,
        version,
        first_version: version,
    };
    let mut outputs: Vec<Vec<String>> = story.items.iter().map(|_| Vec::new()).collect();
    let mut next_tick_ms = 0;
    for (time_ms, at, step) in timeline(&story.items) {
        // Ticks up to now belong to the item before, those of this very moment come behind its records.
        while next_tick_ms < time_ms {
            let lines = world.idle(next_tick_ms);
            let begun = story.items.iter().rposition(|item| item.at_ms <= next_tick_ms).unwrap_or(0);
            outputs[begun].extend(lines);
            next_tick_ms += world.tick_ms;
        }
        let lines = world.happen(time_ms, &story.items[at].input, step);
        let begun = story.items.iter().rposition(|item| item.at_ms <= time_ms).unwrap_or(0);
        outputs[begun.max(at)].extend(lines);
    }
    let mut lines = story.preamble.clone();
    for (item, outputs) in story.items.iter().zip(outputs) {
        // Comments and blank lines behind an item stay behind its outputs.
        let own = item
            .lines
            .iter()
            .rposition(|line| !line.is_empty() && !line.starts_with('#'))
            .map_or(0, |at| at + 1);
        lines.extend_from_slice(&item.lines[..own]);
        lines.extend(outputs);
        lines.extend_from_slice(&item.lines[own..]);
    }
    Run { text: lines.join("\n") + "\n", firing: world.firing, log: world.log, version: world.version }
}

/// Every moment at which something happens: its time, the item, and the step of a feed. In order of time, then of items.
fn timeline(items: &[Item]) -> Vec<(i64, usize, usize)> {
    let mut moments = Vec::new();
    for (at, item) in items.iter().enumerate() {
        if let Input::Feed(steps) = &item.input {
            moments.extend(steps.iter().enumerate().map(|(n, (ms, _))| (*ms, at, n)));
        } else {
            moments.push((item.at_ms, at, 0));
        }
    }
    moments.sort_unstable();
    moments
}

impl World {
    /// A second passes.
    fn idle(&mut self, time_ms: i64) -> Vec<String> {
        if self.ticks && !self.log.is_empty() { self.tick(time_ms) } else { Vec::new() }
    }

    fn tick(&mut self, time_ms: i64) -> Vec<String> {
        let wall_ms = (self.start_ms + time_ms + self.worker_skew_ms).max(0);
        let tick = Control::Tick(Tick { worker: "w".to_owned(), wall_ms });
        self.record(time_ms, Some(seal(&tick)))
    }

    fn happen(&mut self, time_ms: i64, input: &Input, step: usize) -> Vec<String> {
        match input {
            Input::Rules { version, limits, partitions, yaml } => {
                self.version = version.map_or(self.version + 1, |version| self.first_version + version);
                let file = RuleFile { name: "rules.yaml".to_owned(), content: yaml.clone() };
                let set = RuleSet {
                    version: self.version,
                    applied_ms: 0,
                    author: "story".to_owned(),
                    service_label: SERVICE.to_owned(),
                    limits: *limits,
                    partitions: *partitions,
                    files: vec![file],
                };
                self.record(time_ms, Some(seal(&Control::Rules(set))))
            }
            Input::Feed(steps) => {
                let mut points = steps[step].1.as_slice();
                let mut lines = Vec::new();
                while let Some(first) = points.first() {
                    let same = points.iter().take_while(|point| point.service == first.service).count();
                    lines.extend(self.record(time_ms, Some(observations(&points[..same], self.start_ms))));
                    points = &points[same..];
                }
                lines
            }
            Input::Check { service, host, check, status, output, time_ms: event_ms } => {
                let mut writer = ObservationsWriter::new(service).expect("a service");
                let (status, time) = (*status, self.start_ms + *event_ms);
                let result =
                    CheckResult { key: &[], host, check, status, output, perfdata: "", time_ms: time };
                writer.check(&result, &Labels::default()).expect("a check");
                self.record(time_ms, Some(writer.finish()))
            }
            Input::Forge => {
                let wall_ms = self.start_ms + time_ms + 3_600_000;
                let tick = Control::Tick(Tick { worker: "x".to_owned(), wall_ms });
                let good = seal(&tick);
                let unsigned = [&good[..10], &[0; 64], &good[74..]].concat();
                let elsewhere = keys::signer().seal(STORY_PARTITION + 1, &tick);
                let values = [unsigned, elsewhere, keys::stranger().seal(STORY_PARTITION, &tick)];
                values.into_iter().flat_map(|value| self.record(time_ms, Some(value))).collect()
            }
            Input::Quarantine(offset) => {
                let reason = "it panicked".to_owned();
                let quarantine = Quarantine { offset: *offset, engine_version: 0, reason };
                self.record(time_ms, Some(seal(&Control::Quarantine(quarantine))))
            }
            Input::Skipped => self.skip(time_ms),
            Input::Garbage => self.record(time_ms, Some(b"garbage".to_vec())),
            Input::Tick => self.tick(time_ms),
            Input::Ticks(on) => {
                self.ticks = *on;
                Vec::new()
            }
            Input::TickEvery(step_ms) => {
                self.tick_ms = *step_ms;
                Vec::new()
            }
            Input::BrokerClock(skew_ms) => {
                self.broker_skew_ms = *skew_ms;
                Vec::new()
            }
            Input::WorkerClock(skew_ms) => {
                self.worker_skew_ms = *skew_ms;
                Vec::new()
            }
            Input::Show => self.show(),
            Input::End => Vec::new(),
        }
    }

    /// One record into both machines; what came out, in words.
    fn record(&mut self, time_ms: i64, value: Option<Vec<u8>>) -> Vec<String> {
        let offset = i64::try_from(self.log.len()).expect("a short story");
        let position =
            Position { offset, append_ms: self.start_ms + time_ms + self.broker_skew_ms, log_append: true };
        let before = self.machines[0].summary().evaluations;
        self.out.clear();
        self.machines[0].step(Event::read(position, value.as_deref()), &mut self.out);
        let mut other = Vec::new();
        self.machines[1].step(Event::read(position, value.as_deref()), &mut other);
        assert_eq!(format!("{:?}", self.out), format!("{other:?}"), "at offset {offset}");
        assert_eq!(self.machines[0].digest(), self.machines[1].digest(), "at offset {offset}");
        self.log.push((position, value));
        if self.machines[0].summary().evaluations > before {
            self.note_firing();
        }
        self.out.iter().flat_map(action).collect()
    }

    /// A record in quarantine, which nobody reads: it leaves no trace but its place.
    fn skip(&mut self, time_ms: i64) -> Vec<String> {
        let offset = i64::try_from(self.log.len()).expect("a short story");
        let position = Position { offset, append_ms: self.start_ms + time_ms + 3_600_000, log_append: true };
        let before = Summary { next_offset: offset + 1, ..self.machines[0].summary() };
        for machine in &mut self.machines {
            machine.step(Event::Quarantined(position), &mut self.out);
            assert_eq!(machine.summary(), before);
        }
        self.log.push((position, None));
        Vec::new()
    }

    fn note_firing(&mut self) {
        let machine = &self.machines[0];
        let Some(grid_ms) = machine.rules().filter_map(|rule| rule.evaluated_ms).max() else { return };
        let firing = machine.alerts().filter(|alert| alert.state == AlertState::Firing);
        let firing = firing
            .map(|alert| Alert {
                name: alert.rule.to_owned(),
                labels: alert.labels.clone(),
                annotations: alert.annotations,
            })
            .collect();
        self.firing.push((grid_ms, firing));
    }

    fn show(&self) -> Vec<String> {
        let summary = self.machines[0].summary();
        let rejected: Vec<String> = summary
            .rejected
            .iter()
            .chain(&summary.unauthentic)
            .map(|(reason, count)| format!(", {count} rejected as {reason}"))
            .collect();
        let mut lines = vec![
            format!(
                "    -> clock {}; rules version {}; {} series, {} samples taken{}",
                clock(summary.clock_ms),
                summary.rule_set_version,
                summary.series,
                summary.samples_accepted,
                rejected.concat()
            ),
            format!(
                "    -> {} evaluations of groups, {} missed, {} failures of rules; {} pending, {} firing",
                summary.evaluations,
                summary.evaluations_missed,
                summary.evaluation_failures,
                summary.pending,
                summary.firing
            ),
        ];
        for rule in self.machines[0].rules() {
            lines.extend(rule.fault.map(|fault| format!("    -> {} fails: {fault}", rule.name)));
        }
        lines
    }
}

fn seal(control: &Control) -> Vec<u8> {
    keys::signer().seal(STORY_PARTITION, control)
}

fn observations(points: &[Point], start_ms: i64) -> Vec<u8> {
    let mut writer = ObservationsWriter::new(&points[0].service).expect("a service");
    for Point { labels, time_ms, value, .. } in points {
        let name = labels.get("__name__");
        let mut rest = labels.clone();
        rest.set("__name__", "");
        writer.sample(name, &rest, start_ms + *time_ms, *value).expect("a sample");
    }
    writer.finish()
}

fn action(action: &Action) -> Vec<String> {
    match action {
        Action::Emit(transition) => emitted(transition),
        Action::Reject(_, fault) => vec![format!("    -> refused: {fault}")],
        Action::RulesSwitched { version, faults } if faults.is_empty() => {
            vec![format!("    -> rules version {version} in force")]
        }
        Action::RulesSwitched { version, faults } => {
            let head = format!("    -> rules version {version} refused");
            std::iter::once(head).chain(faults.iter().map(|fault| format!("       | {fault}"))).collect()
        }
        Action::ConfirmTime(position) => {
            vec![format!("    -> a tick is asked for: stamp {}", clock(position.append_ms))]
        }
        Action::Cut => vec!["    -> a snapshot is cut".to_owned()],
    }
}

fn emitted(t: &Transition) -> Vec<String> {
    let state = |state| match state {
        AlertState::Inactive => "inactive",
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
    };
    let reason = serde_json::to_value(t.reason).expect("a word");
    let labels: Vec<String> =
        t.labels.iter().filter(|(name, _)| *name != "alertname").map(|(n, v)| format!("{n}={v:?}")).collect();
    let since = if t.active_since_ms == t.event_ms {
        String::new()
    } else {
        format!(", since {}", clock(t.active_since_ms))
    };
    let by = t.suppressed_by.as_ref().map(|by| format!(", held back by {}", by.rule)).unwrap_or_default();
    let mut lines = vec![format!(
        "    -> {} #{} {}{{{}}} {} -> {}: {}, value {}{since}{by}",
        clock(t.event_ms),
        t.seq,
        t.rule,
        labels.join(", "),
        state(t.from),
        state(t.to),
        reason.as_str().expect("a word"),
        t.value,
    )];
    lines.extend(
        t.annotations
            .iter()
            .map(|(name, text)| format!("       | {name}: {}", text.trim_end().replace('\n', "\\n"))),
    );
    if !t.output.is_empty() {
        lines.push(format!("       | output: {}", t.output));
    }
    lines
}

/// `1h2m3s`, as stories write times.
pub fn clock(ms: i64) -> String {
    let mut rest = ms;
    let mut text = String::new();
    for (unit, unit_ms) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest / unit_ms > 0 {
            text += &format!("{}{unit}", rest / unit_ms);
            rest %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}
