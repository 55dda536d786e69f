//! What monitors produce: few series, tiny rules, alerts that begin and end all the time. Small, so that a night holds
//! millions of runs.

use super::random::Random;
use crate::wire::keyring::{Signer, SigningKey, log_name};
use crate::wire::{Control, Labels, ObservationsWriter, RuleFile, RuleSet, Tick};
use std::rc::Rc;

/// Hosts that report one by one.
const HOSTS: u64 = 3;
/// Hosts of a storm.
const STORM_HOSTS: u64 = 14;

/// The rules of a version, as a control record. Every third version keeps only one alert; every fifth is refused whole.
pub(super) fn rules(version: i64) -> Control {
    let hold = if version % 3 == 0 {
        ""
    } else {
        "  - alert: Held\n    expr: load > 6\n    for: 3s\n    keep_firing_for: 2s\n"
    };
    let broken = if version % 5 == 0 { "  - alert: Broken\n    expr: no_such_function(load)\n" } else { "" };
    let content = format!(
        "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: High\n    expr: load > {}\n{hold}{broken}",
        4 + version % 2
    );
    let set = RuleSet {
        version,
        applied_ms: 0,
        author: String::new(),
        service_label: "service".to_owned(),
        limits: crate::wire::Limits::default(),
        partitions: 0,
        files: vec![RuleFile { name: "r".to_owned(), content }],
    };
    Control::Rules(set)
}

/// A tick of a worker whose wall clock is `wall_ms`.
pub(super) fn tick(worker: &str, wall_ms: i64) -> Control {
    Control::Tick(Tick { worker: worker.to_owned(), wall_ms })
}

/// What somebody writes who may produce observations and no more: rules that would withdraw every alert, or a tick that
/// would let the clock leap.
pub(super) fn forged(random: &mut Random, now_ms: i64) -> Control {
    if random.one_in(2) {
        return tick("a1", now_ms + 3_600_000);
    }
    let files = Vec::new();
    let version = FORGED_VERSION;
    Control::Rules(RuleSet {
        version,
        applied_ms: 0,
        author: String::new(),
        service_label: "service".to_owned(),
        limits: crate::wire::Limits::default(),
        partitions: 0,
        files,
    })
}

/// Version of a forged rule set.
pub(super) const FORGED_VERSION: i64 = 1_000_000;

/// Signs as the cluster does, or as somebody else with a key of his own.
pub(super) fn signer(own: bool) -> Signer {
    let key = SigningKey::from_seed(&[if own { 1 } else { 2 }; 32]);
    Signer::new(key, &log_name("sim", "observations"))
}

/// One report of a few hosts, at event time `time_ms`.
pub(super) fn samples(random: &mut Random, time_ms: i64) -> Option<Rc<[u8]>> {
    let first = random.below(HOSTS);
    let count = 1 + random.below(2);
    let values = (first..first + count).map(|host| (host % HOSTS, random.below(10)));
    report("web", values.collect(), time_ms)
}

/// All hosts of a storm, above every threshold or below.
pub(super) fn storm(high: bool, time_ms: i64) -> Option<Rc<[u8]>> {
    report("storm", (0..STORM_HOSTS).map(|host| (host, if high { 9 } else { 0 })).collect(), time_ms)
}

fn report(service: &str, values: Vec<(u64, u64)>, time_ms: i64) -> Option<Rc<[u8]>> {
    let mut writer = ObservationsWriter::new(service).ok()?;
    for (host, value) in values {
        let labels = Labels::new([("host", HOST_NAMES[usize::try_from(host).unwrap_or_default()])]);
        #[allow(clippy::cast_precision_loss, reason = "a digit")]
        writer.sample("load", &labels, time_ms, value as f64).ok()?;
    }
    Some(writer.finish().into())
}

const HOST_NAMES: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];

/// Bytes that are no record.
pub(super) fn garbage(random: &mut Random) -> Option<Rc<[u8]>> {
    if random.one_in(4) {
        return None;
    }
    let mut bytes = samples(random, 1)?.to_vec();
    let at = random.index(bytes.len());
    if random.one_in(2) {
        bytes.truncate(at);
    } else {
        bytes[at] ^= 0x41;
    }
    Some(bytes.into())
}
