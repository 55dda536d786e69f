//! Logs with everything that changes a machine's state, each from one seed.

use crate::machine::series::STALE_NAN_BITS;
use crate::machine::{Action, Event, Machine, Options, Position};
use crate::wire::keyring::{Signer, SigningKey};
use crate::wire::{
    CheckResult, Control, Labels, Limits, ObservationsWriter, Quarantine, RuleFile, RuleSet, Tick,
};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;

/// Numbers from a seed (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.roll(of.len() as u64)).expect("a short list")]
    }

    fn within(&mut self, least: i64, most: i64) -> i64 {
        least + self.roll((most - least + 1).unsigned_abs()).cast_signed()
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.roll(times) == 0
    }
}

pub type Record = (Position, Option<Vec<u8>>);

/// A log in the making.
struct Maker {
    dice: Dice,
    /// What a broker whose clock is right would stamp.
    now_ms: i64,
    version: i64,
    log: Vec<Record>,
}

/// `records` records.
pub fn log(seed: u64, records: usize) -> Vec<Record> {
    let mut maker = Maker { dice: Dice(seed), now_ms: 1_000_000_000, version: 0, log: Vec::new() };
    maker.rules();
    while maker.log.len() < records {
        maker.pass();
        match maker.dice.roll(40) {
            0 => maker.rules(),
            1 => maker.push(Some(b"garbage".to_vec())),
            2 => maker.push(None),
            10 => maker.forge(),
            11 => maker.quarantine(),
            3..=8 => maker.tick(0),
            9 => maker.leap(),
            12..=15 => maker.checks(),
            _ => maker.samples(),
        }
    }
    maker.log
}

impl Maker {
    fn pass(&mut self) {
        let most = self.dice.one_of(&[0, SECOND, 4 * SECOND, MINUTE]);
        self.now_ms += self.dice.within(0, most);
        if most > 4 * SECOND {
            // Else the clock would be held.
            self.tick(0);
        }
    }

    /// A long silence, which a tick ends; or a broker an hour ahead, which no tick agrees with.
    fn leap(&mut self) {
        if self.dice.once_in(4) {
            let (position, value) = (self.position(60 * MINUTE), self.observations());
            self.log.push((position, Some(value)));
        } else {
            self.now_ms += self.dice.one_of(&[6, 11, 17, 26]) * MINUTE;
            self.tick(0);
        }
    }

    fn tick(&mut self, skew_ms: i64) {
        let tick = Tick { worker: "w".to_owned(), wall_ms: self.now_ms + skew_ms };
        self.push(Some(seal(&Control::Tick(tick))));
    }

    /// A tick that somebody else signed.
    fn forge(&mut self) {
        let tick = Tick { worker: "f".to_owned(), wall_ms: self.now_ms + 60 * MINUTE };
        let forger = Signer::new(SigningKey::from_seed(&[6; 32]), "dice");
        self.push(Some(forger.seal(PARTITION, &Control::Tick(tick))));
    }

    /// A record before it is said to have made an engine panic.
    fn quarantine(&mut self) {
        let offset = self.log.last().map_or(0, |(position, _)| position.offset - 2);
        let quarantine = Quarantine { offset, engine_version: 1, reason: "dice".to_owned() };
        self.push(Some(seal(&Control::Quarantine(quarantine))));
    }

    fn position(&mut self, skew_ms: i64) -> Position {
        let last = self.log.last().map_or(-1, |(position, _)| position.offset);
        // Offsets have gaps, and brokers' clocks differ.
        let skew_ms = skew_ms - if self.dice.once_in(10) { 3 * SECOND } else { 0 };
        Position {
            offset: last + self.dice.within(1, 3),
            append_ms: self.now_ms + skew_ms,
            log_append: !self.dice.once_in(30),
        }
    }

    fn push(&mut self, value: Option<Vec<u8>>) {
        let position = self.position(0);
        self.log.push((position, value));
    }

    fn samples(&mut self) {
        let value = self.observations();
        self.push(Some(value));
    }

    fn observations(&mut self) -> Vec<u8> {
        let service = self.dice.one_of(&["web", "db", "mail"]);
        let mut writer = ObservationsWriter::new(service).expect("a service");
        for _ in 0..self.dice.within(1, 8) {
            let name = self.dice.one_of(&["a", "a", "b", "b", "c", "nobody", "job:a:sum"]);
            let host = format!("h{}", self.dice.roll(7));
            let mut labels = Labels::new([("host", host.as_str())]);
            if self.dice.once_in(6) {
                labels.set("x", "ü\n\"");
            }
            let back_ms = self.dice.one_of(&[0, 0, 0, 1, 500, 30 * SECOND, -5 * SECOND, -20 * MINUTE]);
            let bits = self.dice.roll(u64::MAX);
            let usual = self.dice.within(-3, 9) as f64;
            let value = match self.dice.roll(12) {
                0 => f64::from_bits(STALE_NAN_BITS),
                1 => f64::from_bits(0x7ff8_0000_0000_0000 | bits >> 20),
                2 => -0.0,
                3 => f64::INFINITY,
                4 => f64::from_bits(bits >> 2),
                _ => usual,
            };
            writer.sample(name, &labels, (self.now_ms - back_ms).max(0), value).expect("it fits");
        }
        writer.finish()
    }

    fn checks(&mut self) {
        let service = self.dice.one_of(&["web", "db"]);
        let mut writer = ObservationsWriter::new(service).expect("a service");
        for _ in 0..self.dice.within(1, 3) {
            let output = "é".repeat(usize::try_from(self.dice.one_of(&[0, 3, 700])).expect("short"));
            let result = CheckResult {
                key: &[],
                host: self.dice.one_of(&["h0", "h1", "h2"]),
                check: self.dice.one_of(&["http", "disk"]),
                status: self.dice.one_of(&[0, 0, 1, 2, 3]),
                output: &output,
                perfdata: "",
                time_ms: self.now_ms - self.dice.one_of(&[0, 0, SECOND, 90 * MINUTE]),
            };
            writer.check(&result, &Labels::default()).expect("it fits");
        }
        self.push(Some(writer.finish()));
    }

    fn rules(&mut self) {
        // Now and then one that is not newer, or is refused.
        let version = if self.dice.once_in(6) { self.version } else { self.version + 1 };
        let file = |name: &str, content: String| RuleFile { name: name.to_owned(), content };
        let mut files = vec![file("one.yaml", self.first_file()), file("two.yaml", self.second_file())];
        if self.dice.once_in(4) {
            files.pop();
        }
        if self.version > 0 && self.dice.once_in(8) {
            files.push(file("bad.yaml", "groups: [{name: x, rules: [{alert: A, expr: 'sum('}]}]".to_owned()));
        } else {
            self.version = self.version.max(version);
        }
        let limits = match self.dice.roll(3) {
            0 => Limits { series: 14, alerts: 4, firing_per_service: 2 },
            1 => Limits { series: 25, ..Limits::default() },
            _ => Limits::default(),
        };
        let set = RuleSet {
            version,
            applied_ms: self.now_ms,
            author: "dice".to_owned(),
            service_label: "service".to_owned(),
            limits,
            partitions: 0,
            files,
        };
        self.push(Some(seal(&Control::Rules(set))));
    }

    fn first_file(&mut self) -> String {
        let hold = self.dice.one_of(&["0s", "30s", "2m"]);
        let keep = self.dice.one_of(&["0s", "1m"]);
        let limit = self.dice.one_of(&[0, 0, 5]);
        let window = self.dice.one_of(&["1m", "3m", "6m"]);
        let mut text = self.baselines();
        text += &format!(
            "groups:\n- name: first\n  interval: 30s\n  limit: {limit}\n  labels: {{team: t}}\n  rules:\n\
             \x20 - {{alert: High, expr: a > 2, for: {hold}, keep_firing_for: {keep}, labels: {{l: '{{{{ $labels.host }}}}'}}}}\n\
             \x20 - {{alert: Check, expr: check_status >= 2, annotations: {{s: '{{{{ $value }}}}'}}}}\n\
             \x20 - {{record: 'job:a:sum', expr: 'sum by (host) (a)'}}\n"
        );
        if !self.dice.once_in(3) {
            text += &format!("  - {{alert: Moves, expr: 'changes(b[{window}]) > 1', for: 30s}}\n");
        }
        if self.dice.once_in(2) {
            text += "  - {alert: Odd, expr: 'n:score > 1 or n:moving:samples > 3', for: 30s}\n";
        }
        if !self.dice.once_in(3) {
            text += "  - {alert: Both, expr: 'a + on (host) b > 1'}\n";
        }
        text + &self.extensions(keep)
    }

    /// Rules with every key that Prometheus's have not.
    fn extensions(&mut self, keep: &str) -> String {
        let mut text = String::new();
        if !self.dice.once_in(3) {
            let (samples, priority) = (self.dice.within(1, 3), self.dice.roll(3));
            let state = self.dice.one_of(&["OK", "Alerting", "NoData", "KeepLast"]);
            text += &format!(
                "  - {{alert: All, expr: a > 1, for_samples: {samples}, keep_firing_for: {keep}, resolve_expr: a < 0, \
                 no_data_state: {state}, flap_detection: {{low: 0.2, high: 0.4, history: 5}}, \
                 severity: {{critical: a > 5, warning: a != 3}}, priority: {priority}}}\n"
            );
        }
        if !self.dice.once_in(3) {
            let state = self.dice.one_of(&["Alerting", "NoData"]);
            let missing = self.dice.one_of(&["", "missing_series_evals_to_resolve: 2, "]);
            text += &format!(
                "  - {{alert: Wants, expr: b > 4, no_data_state: {state}, {missing}priority: 1, \
                 expected: [{{service: web, host: h1}}, {{service: mail, host: never}}]}}\n"
            );
        }
        if self.dice.once_in(2) {
            text += "inhibit_rules: [{source_matchers: ['alertname=\"Check\"'], target_matchers: ['alertname!=\"Check\"'], \
                     equal: [service]}]\n";
        }
        text
    }

    /// Some that an edit leaves as they are, and some that it changes.
    fn baselines(&mut self) -> String {
        let min_samples = self.dice.one_of(&[1, 2]);
        let panes = self.dice.one_of(&[3, 3, 5]);
        let weight = self.dice.one_of(&[0, 1, 1]);
        let mut text = "baselines:\n".to_owned();
        if self.dice.once_in(2) {
            text += "- {name: rise, series: b, kind: counter, models: [{model: ewma, decay: 0.7}]}\n";
        }
        if !self.dice.once_in(4) {
            text += &format!(
                "- name: n\n  series: '{{__name__=~\"a|c\"}}'\n  min_samples: {min_samples}\n  models:\n\
                 \x20 - {{model: moving, window: 15m, panes: {panes}, weight: {weight}}}\n\
                 \x20 - {{model: seasonal, season: day, bucket: 5m, tz: Asia/Kolkata, weight: 2}}\n"
            );
        }
        text
    }

    fn second_file(&mut self) -> String {
        let offset = self.dice.one_of(&["0s", "3s"]);
        let mut text = format!(
            "groups:\n- name: second\n  interval: 40s\n  query_offset: {offset}\n  rules:\n\
             \x20 - {{alert: Recorded, expr: 'job:a:sum > 3', for: 40s}}\n"
        );
        if self.dice.once_in(2) {
            text += "  - {alert: Gone, expr: 'absent(c{host=\"h1\"})'}\n";
        }
        if self.dice.once_in(2) {
            text += "  - {record: 'firing', expr: 'count by (alertname) (ALERTS{alertstate=\"firing\"})'}\n";
        }
        if self.dice.once_in(2) {
            text += "- name: third\n  interval: 4m\n  rules:\n  - {alert: Any, expr: '{host=~\"h[0-3]\", x!=\"\"} > 0'}\n";
        }
        text
    }
}

const PARTITION: i32 = 5;

fn signer() -> Signer {
    Signer::new(SigningKey::from_seed(&[5; 32]), "dice")
}

/// The bytes of a control record.
pub fn seal(control: &Control) -> Vec<u8> {
    signer().seal(PARTITION, control)
}

/// A machine's options; the hash key is no state.
pub fn options(hash_key: u64) -> Options {
    Options {
        partition: PARTITION,
        keyring: signer().keyring(),
        hash_key,
        producer_time: false,
        snapshot_interval_ms: 10 * MINUTE,
    }
}

/// Steps a machine; what it wanted done, in words (numbers that are none are equal in words).
pub fn step(machine: &mut Machine, (position, value): &Record) -> String {
    let mut actions: Vec<Action> = Vec::new();
    machine.step(Event::read(*position, value.as_deref()), &mut actions);
    if actions.is_empty() { String::new() } else { format!("{actions:?}") }
}
