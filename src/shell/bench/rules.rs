//! What rules cost: a machine with the series of many hosts, rule files in force, and each round's samples and evaluation
//! timed apart. In memory, on one core: no Kafka.

use super::catchup::resident_bytes;
use super::host::Host;
use super::load::{START_MS, signer};
use super::percentile;
use crate::machine::rules::{RuleFault, load};
use crate::machine::{Action, Event, Machine, Options, Position};
use crate::shell::clock;
use crate::wire::keyring::Signer;
use crate::wire::{Control, Fault, Limits, RuleFile, RuleSet, Tick};
use std::collections::BTreeSet;
use std::time::Duration;

/// Rounds before anything is timed: longer than the ranges that most rules look back, at fifteen seconds a round.
pub const WARM_UP: usize = 24;

/// One run.
#[derive(Debug, Clone)]
pub struct Costs {
    /// Hosts.
    pub hosts: usize,
    /// Series that they tell of.
    pub series: usize,
    /// Series that some rule selects: the rest is let go at once.
    pub held: usize,
    /// Rules, and the groups that they are in.
    pub rules: usize,
    /// Groups.
    pub groups: usize,
    /// Rounds that were timed.
    pub rounds: usize,
    /// Applying one sample with the rules in force, evaluation left out, nanoseconds: median over the rounds.
    pub apply_ns: f64,
    /// Evaluating every group once: median over the rounds in which all were due.
    pub step: Duration,
    /// The shortest of them: what it takes on a machine that does nothing else.
    pub best_step: Duration,
    /// The longest of them.
    pub worst_step: Duration,
    /// Seconds that samples and steps took, a second of log time.
    pub busy: f64,
    /// Bytes of the samples and series held, by the machine's own count, a series held.
    pub bytes: f64,
    /// Growth of the process's resident memory, bytes.
    pub resident_bytes: u64,
    /// Alerts that fire at the end.
    pub firing: usize,
    /// Evaluations of rules that failed.
    pub failures: u64,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum RulesFault {
    /// The machine does not take the rules.
    #[error("the rules are refused: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// No round had all groups due.
    #[error("no round of {rounds} had every group due: ask for more with --rounds")]
    TooFew {
        /// How many there were.
        rounds: usize,
    },
    /// A batch that does not fit a record.
    #[error("the bench's own batch does not fit a record: {0}")]
    Batch(#[from] Fault),
}

impl RulesFault {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "bench_rules",
            Self::TooFew { .. } => "bench_rounds",
            Self::Batch(_) => "bench_batch",
        }
    }

    /// The same again would end the same.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }
}

struct Log {
    machine: Machine,
    offset: i64,
    actions: Vec<Action>,
}

impl Log {
    fn step(&mut self, value: &[u8], append_ms: i64) -> Duration {
        let position = Position { offset: self.offset, append_ms, log_append: true };
        self.offset += 1;
        let began = clock::monotonic();
        self.machine.step(Event::read(position, Some(value)), &mut self.actions);
        clock::monotonic().saturating_sub(began)
    }
}

/// The set of these files, and the host that has what they select.
pub fn prepare(files: Vec<RuleFile>) -> Result<(RuleSet, Host), RulesFault> {
    let set = RuleSet {
        version: 1,
        applied_ms: START_MS,
        author: "bench".to_owned(),
        service_label: "service".to_owned(),
        limits: Limits { series: Limits::MAX, alerts: Limits::MAX, firing_per_service: Limits::MAX },
        partitions: 0,
        files,
    };
    let told = |faults: Vec<RuleFault>| faults.iter().map(ToString::to_string).collect();
    let host = Host::of(&load(&set).map_err(|faults| RulesFault::Refused(told(faults)))?);
    Ok((set, host))
}

/// A log whose machine has these rules in force.
fn begin(set: RuleSet, signer: &Signer) -> Result<Log, RulesFault> {
    let options = Options {
        partition: 0,
        keyring: signer.keyring(),
        hash_key: 7,
        producer_time: false,
        snapshot_interval_ms: 0,
    };
    let mut log = Log { machine: Machine::new(options), offset: 0, actions: Vec::new() };
    log.step(&signer.seal(0, &Control::Rules(set)), START_MS);
    for action in log.actions.drain(..) {
        if let Action::RulesSwitched { faults, .. } = action
            && !faults.is_empty()
        {
            return Err(RulesFault::Refused(faults));
        }
    }
    Ok(log)
}

/// Measures `rounds` rounds, `round_ms` of log time apart, after [`WARM_UP`].
pub fn measure(
    set: RuleSet,
    host: &Host,
    series: usize,
    rounds: usize,
    round_ms: i64,
) -> Result<Costs, RulesFault> {
    let (signer, resident_before) = (signer(), resident_bytes());
    let hosts = series.div_ceil(host.series());
    let mut log = begin(set, &signer)?;
    let (mut applied_ns, mut steps, mut busy) = (Vec::new(), Vec::new(), Duration::ZERO);
    let groups: BTreeSet<(&str, &str)> = log.machine.rules().map(|rule| (rule.file, rule.group)).collect();
    let (rules, groups) = (log.machine.rules().count(), groups.len());
    for round in 0..WARM_UP + rounds {
        let from_ms = START_MS + i64::try_from(round).unwrap_or(i64::MAX / round_ms) * round_ms;
        let time_ms = from_ms + round_ms / 2;
        let (mut applied, mut samples) = (Duration::ZERO, 0);
        for number in 0..hosts {
            let value = host.batch(number, round, round_ms, time_ms)?;
            applied += log.step(&value, time_ms);
            samples += host.series();
        }
        // Past the next grid point: what comes due is evaluated here and nowhere else.
        let at_ms = from_ms + round_ms + 1;
        let tick = Control::Tick(Tick { worker: "bench".to_owned(), wall_ms: at_ms });
        let before = log.machine.summary().evaluations;
        let took = log.step(&signer.seal(0, &tick), at_ms);
        log.actions.clear();
        if round < WARM_UP {
            continue;
        }
        busy += applied + took;
        applied_ns.push(applied.as_secs_f64() * 1e9 / samples as f64);
        if log.machine.summary().evaluations - before == groups as u64 {
            steps.push(took.as_secs_f64());
        }
    }
    if steps.is_empty() {
        return Err(RulesFault::TooFew { rounds });
    }
    steps.sort_by(f64::total_cmp);
    applied_ns.sort_by(f64::total_cmp);
    let step = |percent| Duration::from_secs_f64(percentile(&steps, percent));
    let summary = log.machine.summary();
    Ok(Costs {
        hosts,
        series: hosts * host.series(),
        held: summary.series,
        rules,
        groups,
        rounds,
        apply_ns: percentile(&applied_ns, 50),
        step: step(50),
        best_step: step(0),
        worst_step: step(100),
        busy: busy.as_secs_f64() * 1e3 / (rounds as f64 * round_ms as f64),
        bytes: summary.bytes as f64 / summary.series.max(1) as f64,
        resident_bytes: resident_bytes().saturating_sub(resident_before),
        firing: summary.firing,
        failures: summary.evaluation_failures,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = include_str!("../../../config/rules/host.yaml");

    fn run(content: &str, series: usize, rounds: usize) -> Result<Costs, RulesFault> {
        let file = RuleFile { name: "some.yaml".to_owned(), content: content.to_owned() };
        let (set, host) = prepare(vec![file])?;
        measure(set, &host, series, rounds, 15_000)
    }

    #[test]
    fn the_shipped_rules_are_forty_load_and_fire_where_a_host_is_in_trouble() {
        let costs = run(HOST, 2 * Host::default().series(), 4).expect("a small run");
        assert_eq!((costs.hosts, costs.rules, costs.failures), (2, 40, 0));
        assert!(costs.held > costs.series / 2, "{costs:?}");
        // The first is down, and the eight disks of the second are full.
        assert!(costs.firing > 8, "{costs:?}");
        let refused = run("groups: [{name: g, rules: [{alert: A, expr: 'f('}]}]", 1, 8);
        assert!(matches!(refused, Err(RulesFault::Refused(faults)) if faults[0].contains("some.yaml:1:")));
        let rare = run("groups: [{name: g, interval: 1h, rules: [{alert: A, expr: up}]}]", 1, 1);
        assert!(matches!(rare, Err(RulesFault::TooFew { rounds: 1 })));
    }

    #[test]
    fn what_no_node_exporter_tells_is_told_where_a_rule_selects_it() {
        let content = "groups: [{name: g, rules: [{record: a:b, expr: 'sum by (db) (db_hits{db=~\"x|y.*\", zone!=\"z\"})'}, \
                       {alert: A, expr: 'a:b > 0 and on () rate(db_sent_total[1m]) > 0'}]}]";
        let costs = run(content, 1, 4).expect("a small run");
        assert_eq!((costs.held, costs.firing, costs.failures), (3, 1, 0), "{costs:?}");
    }
}
