//! The rule set as its files' texts, which a restore compiles anew, and what its groups and rules remember.

use super::fault::SnapshotFault;
use super::reader::Reader;
use super::writer::{Kin, Writer};
use crate::machine::Machine;
use crate::machine::alert::{Alert, Timers};
use crate::machine::live::{LiveGroup, RuleState};
use crate::machine::rules;
use crate::machine::schedule::Grid;
use crate::wire::{AlertId, AlertState, Labels, Limits, RuleFile, RuleSet};

/// The least bytes of an alert: two label sets, a value, a state, two times.
const ALERT_BYTES_MIN: u64 = 13;

/// `zones` is the release of the time zones' rules that the set needs.
pub(super) fn write_set(set: Option<&RuleSet>, zones: Option<&str>, to: &mut Writer<'_>) {
    to.bytes.push(u8::from(set.is_some()));
    let Some(set) = set else { return };
    to.number(set.version.unsigned_abs());
    to.signed(set.applied_ms);
    to.text(&set.author);
    to.text(&set.service_label);
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
    let set = RuleSet { version, applied_ms, author, service_label, files, limits };
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
    let groups = machine.live.bind(&set, compiled, &mut machine.store);
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
    to.maybe_signed(state.evaluated_ms);
    to.maybe_text(state.fault.as_deref());
    to.count(state.alerts.len());
    to.count(state.written.len());
}

/// What a rule remembers, but for its alerts and the series that it wrote; how many of them follow.
pub(super) fn read_state(from: &mut Reader<'_>) -> Result<(RuleState, usize, usize), SnapshotFault> {
    let evaluated_ms = from.maybe_signed("a rule's last evaluation")?;
    let fault = from.maybe_text("a rule's fault")?.map(str::to_owned);
    let alerts = from.count_over_parts("alerts", ALERT_BYTES_MIN)?;
    let written = from.count_over_parts("written series", 1)?;
    Ok((RuleState { evaluated_ms, fault, ..RuleState::default() }, alerts, written))
}

/// An alert's identity is not written: it follows from the rule's name and the labels.
pub(super) fn write_alert<'a>(alert: &'a Alert, to: &mut Writer<'a>) {
    to.labels(Kin::Whole, &alert.labels);
    to.labels(Kin::Element, &alert.element);
    to.float(alert.value);
    to.bytes.push(match alert.timers.state {
        AlertState::Inactive => 0,
        AlertState::Pending => 1,
        AlertState::Firing => 2,
    });
    to.signed(alert.timers.active_since_ms);
    to.maybe_signed(alert.timers.kept_since_ms);
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
    let state = match from.byte("an alert's state")? {
        1 => AlertState::Pending,
        2 => AlertState::Firing,
        other => return Err(from.malformed("an alert's state", u64::from(other), "1 pending, 2 firing")),
    };
    let active_since_ms = from.signed("when an alert began")?;
    let kept_since_ms = from.maybe_signed("since when an alert is kept firing")?;
    if state == AlertState::Pending && kept_since_ms.is_some() {
        return Err(from.malformed("a kept alert's state", 1, "firing"));
    }
    let id = AlertId::of(rule, &labels);
    if before.last().is_some_and(|(last, _)| *last >= id) {
        return Err(from.disorder("alerts"));
    }
    Ok((id, Alert { labels, element, value, timers: Timers { state, active_since_ms, kept_since_ms } }))
}

/// The next series that a rule wrote, behind those of `before`.
pub(super) fn read_written(from: &mut Reader<'_>, before: &[Labels]) -> Result<Labels, SnapshotFault> {
    let labels = from.labels(Kin::Whole)?;
    if before.last().is_some_and(|last| *last >= labels) {
        return Err(from.disorder("written series"));
    }
    Ok(labels)
}
