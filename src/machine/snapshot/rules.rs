//! The rule set as its files' texts, which a restore compiles anew, and what its groups and rules remember.

use super::fault::SnapshotFault;
use super::reader::Reader;
use super::writer::{Kin, Writer};
use crate::machine::Machine;
use crate::machine::alert::{Alert, Timers};
use crate::machine::flaps::Flaps;
use crate::machine::live::{LiveGroup, RuleState};
use crate::machine::rules;
use crate::machine::schedule::Grid;
use crate::wire::{AlertId, AlertState, Labels, Limits, RuleFile, RuleSet, Suppression};

/// The least bytes of an alert: two label sets, a value, a severity, a state, times and counts, a history of flaps,
/// a suppressor or none.
const ALERT_BYTES_MIN: u64 = 22;

/// `zones` is the release of the time zones' rules that the set needs.
pub(super) fn write_set(set: Option<&RuleSet>, zones: Option<&str>, to: &mut Writer<'_>) {
    to.bytes.push(u8::from(set.is_some()));
    let Some(set) = set else { return };
    to.number(set.version.unsigned_abs());
    to.signed(set.applied_ms);
    to.text(&set.author);
    to.text(&set.service_label);
    to.number(set.partitions.unsigned_abs());
    let Limits { series, alerts, firing_per_service } = set.limits;
    [series, alerts, firing_per_service].into_iter().for_each(|limit| to.number(limit.unsigned_abs()));
    to.count(set.files.len());
    for RuleFile { name, content } in &set.files {
        to.text(name);
        to.text(content);
    }
    to.maybe_text(zones);
}

pub(super) fn read_set(from: &mut Reader<'_>, machine: &mut Machine) -> Result<(), SnapshotFault> {
    if !from.flag("whether rules are in force")? {
        return Ok(());
    }
    let version = from.ordinal("the rule set's version")?;
    if version == 0 {
        return Err(from.malformed("the rule set's version", 0, "from 1 on"));
    }
    let applied_ms = from.signed("when the rules were applied")?;
    let author = from.text("who applied the rules")?.to_owned();
    let service_label = from.text("the service's label")?.to_owned();
    let partitions = from.ordinal("the partitions that the rules were applied to")?;
    if partitions > RuleSet::PARTITIONS_MAX {
        let what = "the partitions that the rules were applied to";
        return Err(from.malformed(what, partitions.unsigned_abs(), "0 to 1000000"));
    }
    let mut limit = || {
        let limit = from.ordinal("a limit")?;
        if (1..=Limits::MAX).contains(&limit) {
            return Ok(limit);
        }
        Err(from.malformed("a limit", limit.unsigned_abs(), "1 to 1000000000"))
    };
    let limits = Limits { series: limit()?, alerts: limit()?, firing_per_service: limit()? };
    let mut files = Vec::new();
    for _ in 0..from.count("rule files", 2)? {
        let name = from.text("a rule file's name")?.to_owned();
        files.push(RuleFile { name, content: from.text("a rule file")?.to_owned() });
    }
    let set = RuleSet { version, applied_ms, author, service_label, files, limits, partitions };
    let compiled = rules::load(&set).map_err(|mut faults| {
        // A set that is refused has at least one fault.
        let first = Box::new(faults.swap_remove(0));
        SnapshotFault::Rules { version, first }
    })?;
    let zones = from.maybe_text("the time zones' release")?;
    if zones != compiled.zones() {
        return Err(match (zones, compiled.zones()) {
            (Some(found), Some(own)) => SnapshotFault::Zones { found: found.to_owned(), own },
            (Some(_), None) | (None, Some(_)) | (None, None) => from.malformed(
                "the time zones' release",
                u64::from(zones.is_some()),
                "there if the rules name one",
            ),
        });
    }
    let groups = machine.live.bind(&set, compiled, &mut machine.store, machine.options.partition);
    machine.live.groups = groups.into_iter().map(|group| LiveGroup::new(group, 0)).collect();
    Ok(())
}

pub(super) fn write_grid(grid: Grid, rules: usize, to: &mut Writer<'_>) {
    to.signed(grid.next_ms());
    to.count(rules);
}

pub(super) fn read_grid(from: &mut Reader<'_>, group: &mut LiveGroup) -> Result<(), SnapshotFault> {
    let next_ms = from.signed("a group's next grid point")?;
    group.grid = group.grid.at(next_ms).ok_or_else(|| {
        from.malformed("a group's next grid point", next_ms.cast_unsigned(), "after the clock's beginning")
    })?;
    let rules = from.number("a group's rules")?;
    if rules != group.states.len() as u64 {
        return Err(from.malformed("a group's rules", rules, "as many as its file has"));
    }
    Ok(())
}

pub(super) fn write_state(state: &RuleState, to: &mut Writer<'_>) {
    to.maybe_signed(state.since_ms);
    to.maybe_signed(state.evaluated_ms);
    to.maybe_text(state.fault.as_deref());
    to.count(state.alerts.len());
    to.count(state.written.len());
}

/// What a rule remembers, but for its alerts and the series that it wrote; how many of them follow.
pub(super) fn read_state(from: &mut Reader<'_>) -> Result<(RuleState, usize, usize), SnapshotFault> {
    let since_ms = from.maybe_signed("a rule's first evaluation")?;
    let evaluated_ms = from.maybe_signed("a rule's last evaluation")?;
    let fault = from.maybe_text("a rule's fault")?.map(str::to_owned);
    let alerts = from.count_over_parts("alerts", ALERT_BYTES_MIN)?;
    let written = from.count_over_parts("written series", 1)?;
    Ok((RuleState { since_ms, evaluated_ms, fault, ..RuleState::default() }, alerts, written))
}

/// An alert's identity is not written: it follows from the rule's name and the labels.
pub(super) fn write_alert<'a>(alert: &'a Alert, to: &mut Writer<'a>) {
    to.labels(Kin::Whole, &alert.labels);
    to.labels(Kin::Element, &alert.element);
    to.float(alert.value);
    to.text(&alert.severity);
    let Timers { state, active_since_ms, kept_since_ms, samples, sampled_ms, missing, reported } =
        alert.timers;
    to.bytes.push(match state {
        AlertState::Inactive => 0,
        AlertState::Pending => 1,
        AlertState::Firing => 2,
    });
    to.signed(active_since_ms);
    to.maybe_signed(kept_since_ms);
    to.number(u64::from(samples));
    to.maybe_signed(sampled_ms);
    to.number(u64::from(missing));
    to.bytes.push(u8::from(reported));
    let Flaps { history, flapping } = alert.flaps;
    let half = |bits: u128| u64::try_from(bits).unwrap_or(u64::MAX);
    to.number(half(history >> 64));
    to.number(half(history & u128::from(u64::MAX)));
    to.bytes.push(u8::from(flapping));
    to.bytes.push(u8::from(alert.suppressed.is_some()));
    if let Some(Suppression { alert, rule }) = &alert.suppressed {
        to.bytes.extend_from_slice(&alert.0);
        to.text(rule);
    }
}

/// The next alert of the rule named `rule`, behind those of `before`.
pub(super) fn read_alert(
    from: &mut Reader<'_>,
    rule: &str,
    before: &[(AlertId, Alert)],
) -> Result<(AlertId, Alert), SnapshotFault> {
    let labels = from.labels(Kin::Whole)?;
    let element = from.labels(Kin::Element)?;
    let value = from.float("an alert's value")?;
    let severity = from.text("an alert's severity")?.to_owned();
    let state = match from.byte("an alert's state")? {
        0 => AlertState::Inactive,
        1 => AlertState::Pending,
        2 => AlertState::Firing,
        other => {
            return Err(from.malformed(
                "an alert's state",
                u64::from(other),
                "0 inactive, 1 pending, 2 firing",
            ));
        }
    };
    let active_since_ms = from.signed("when an alert began")?;
    let kept_since_ms = from.maybe_signed("since when an alert is kept firing")?;
    if state != AlertState::Firing && kept_since_ms.is_some() {
        return Err(from.malformed("a kept alert's state", 1, "firing"));
    }
    let samples = count(from, "an alert's samples")?;
    let sampled_ms = from.maybe_signed("when an alert was sampled last")?;
    let missing = count(from, "evaluations without data of an alert")?;
    let reported = from.flag("whether an alert ever reported")?;
    let history = u128::from(from.number("an alert's flaps")?) << 64;
    let history = history | u128::from(from.number("an alert's flaps")?);
    let flaps = Flaps { history, flapping: from.flag("whether an alert flaps")? };
    let suppressed = if from.flag("whether an alert is suppressed")? {
        let alert = AlertId(from.array("who suppresses an alert")?);
        Some(Suppression { alert, rule: from.text("the rule that suppresses an alert")?.to_owned() })
    } else {
        None
    };
    if state != AlertState::Firing && suppressed.is_some() {
        return Err(from.malformed("a suppressed alert's state", 1, "firing"));
    }
    let timers = Timers { state, active_since_ms, kept_since_ms, samples, sampled_ms, missing, reported };
    let id = AlertId::of(rule, &labels);
    if before.last().is_some_and(|(last, _)| *last >= id) {
        return Err(from.disorder("alerts"));
    }
    Ok((id, Alert { labels, element, value, severity, timers, flaps, suppressed }))
}

/// A count of 32 bits.
fn count(from: &mut Reader<'_>, what: &'static str) -> Result<u32, SnapshotFault> {
    let count = from.number(what)?;
    u32::try_from(count).map_err(|_| from.malformed(what, count, "at most 32 bits"))
}

/// The next series that a rule wrote, behind those of `before`.
pub(super) fn read_written(from: &mut Reader<'_>, before: &[Labels]) -> Result<Labels, SnapshotFault> {
    let labels = from.labels(Kin::Whole)?;
    if before.last().is_some_and(|last| *last >= labels) {
        return Err(from.disorder("written series"));
    }
    Ok(labels)
}
