//! One alerting rule at one grid point: what its expressions say of each of its alerts, and what becomes of them.
//!
//! ```text
//!  expr ─▶ elements ─▶ ladder ─▶ present ──┐
//!  expr, unfiltered ──────────▶ reporting ─┼─▶ a Sight of each alert ─▶ Timers::judge ─▶ changes, in order of identities
//!  resolve_expr ──────────────▶ resolved ──┘
//! ```
//!
//! A label set *reports* if the expression would return it were there no comparison in it ([`super::promql::Plan::reporting`]);
//! it is *missing* if it does not. A rule that says what an alert is without data (`no_data_state`) remembers every label
//! set that has reported, as an alert that is inactive, and misses it from then on: until it reports again, until
//! `missing_series_evals_to_resolve` such evaluations have it forgotten, or until the expression is edited (an alert goes
//! on then, unless those who report have other labels than it). What is `expected` is missed, too, once the rule has been
//! evaluated for five minutes (what reports has done so by then), unless something reports that has all of its labels; and
//! it is never forgotten.

mod findings;

use super::alert::{Alert, Change, Condition, Sight, Timers};
use super::evaluate::{Failure, Turn};
use super::flaps::Flaps;
use super::live::bound;
use super::notice::Notice;
use super::promql::LOOKBACK_MS;
use super::rules::alerting::{NO_DATA, NoData};
use super::rules::{Alerting, Rule};
use super::shareable::Shareable;
use crate::sim::planted::{Bug, coin, planted};
use crate::wire::{AlertId, AlertState, Reason};
use findings::{Findings, Seen};
use std::collections::{BTreeMap, BTreeSet};

/// The label that holds an alert's name.
pub(super) const ALERT_NAME: &str = "alertname";
/// The label that holds the rule's name, of an alert that says that there is no data.
const RULE: &str = "rule";

type Alerts = BTreeMap<AlertId, Alert>;

/// An alert that an evaluation has something to say about.
struct Candidate<'a> {
    id: AlertId,
    before: Option<&'a Alert>,
    /// What is seen of it now; none where nothing new is.
    seen: Option<Seen>,
    sight: Sight,
    missing: u32,
    reported: bool,
    /// Whether it is remembered while it is inactive.
    remembered: bool,
}

impl Candidate<'_> {
    fn was_active(&self) -> bool {
        self.before.is_some_and(Alert::is_active)
    }
}

/// What was judged so far.
#[derive(Default)]
struct Judged {
    next: Alerts,
    active: usize,
    changes: Vec<Change>,
    /// Alerts that begin to fire now, by service.
    started: BTreeMap<String, usize>,
}

impl Turn<'_> {
    /// How the alerts of a rule change that is evaluated since `since_ms`, in order of their identities; and what could not
    /// be told of who reports.
    pub(super) fn judge(
        &mut self,
        rule: &Rule,
        alerting: &Alerting,
        alerts: &mut Shareable<Alerts>,
        since_ms: i64,
    ) -> Result<(Vec<Change>, Option<String>), Failure> {
        let mut found = self.find(rule, alerting, alerts)?;
        found.too_early = self.at_ms.saturating_sub(since_ms) < LOOKBACK_MS;
        found.since_ms = since_ms;
        let (mut candidates, missed) = candidates(rule, alerting, alerts, &mut found);
        let returned = |candidate: &&Candidate<'_>| {
            candidate.missing == 0 && (candidate.reported || candidate.sight.why == Reason::DataReturned)
        };
        let returned = candidates.iter().filter(returned).map(|candidate| candidate.id).collect();
        candidates.extend(no_data_alerts(rule, alerting, alerts, missed, &returned));
        // Who is there already goes first: nobody new takes its place.
        candidates
            .sort_by_key(|candidate| (!candidate.was_active(), candidate.before.is_none(), candidate.id));
        let mut judged = Judged::default();
        for candidate in candidates {
            self.judge_one(rule, alerting, candidate, &mut judged);
        }
        let Judged { next, mut changes, .. } = judged;
        changes.sort_by_key(|change| change.id);
        if planted(Bug::UnorderedOutput) && coin() {
            changes.reverse();
        }
        *alerts = next.into();
        Ok((changes, found.fault))
    }

    fn judge_one(&mut self, rule: &Rule, alerting: &Alerting, candidate: Candidate<'_>, judged: &mut Judged) {
        let was_active = candidate.was_active();
        let Candidate { id, before, seen, sight, missing, reported, remembered } = candidate;
        let timers = before.filter(|_| was_active).map_or(Timers::inactive(self.at_ms), |alert| alert.timers);
        let timers = Timers { missing, reported, ..timers };
        let flaps = before.map_or(Flaps::default(), |alert| alert.flaps);
        let holds = sight.condition == Condition::Holds;
        let flaps_now = alerting.flapping.as_ref().map_or(Flaps::default(), |rule| flaps.push(holds, rule));
        let (mut timers_now, mut reason) = timers.judge(sight, (flaps, flaps_now), self.at_ms, alerting);
        let mut alert = match (seen, before) {
            (Some(Seen { labels, element, severity }), _) => Alert {
                labels,
                element: element.labels,
                value: element.value,
                severity,
                timers: timers_now,
                flaps: flaps_now,
                suppressed: before.and_then(|before| before.suppressed.clone()),
            },
            (None, Some(before)) => Alert { timers: timers_now, flaps: flaps_now, ..before.clone() },
            (None, None) => return,
        };
        if !was_active && alert.is_active() && !self.has_room(rule, judged.active) {
            timers_now = Timers { missing, reported, ..Timers::inactive(self.at_ms) };
            (alert.timers, reason) = (timers_now, None);
        }
        let fires = |timers: Timers| timers.state == AlertState::Firing;
        if !fires(timers) && fires(timers_now) && !self.may_fire(&alert.labels, &mut judged.started) {
            // Who waits becomes pending, or is it still.
            alert.timers.state = AlertState::Pending;
            reason = (!was_active).then_some(sight.why);
        }
        if fires(timers) && fires(alert.timers) {
            reason = changed(before, &alert);
        }
        if !fires(alert.timers) {
            alert.suppressed = None;
        }
        if let Some(reason) = reason {
            judged.changes.push(Change::new(id, timers.state, alert.timers.state, reason, alert.clone()));
        }
        if alert.is_active() {
            judged.active += 1;
            judged.next.insert(id, alert);
        } else if remembered || !alert.flaps.is_quiet() {
            if judged.next.len() - judged.active < bound(self.limits.alerts) {
                judged.next.insert(id, alert);
            } else {
                self.reach(Notice::Alerts(self.group.to_owned(), rule.name.clone()));
            }
        }
    }

    /// Whether a rule that has so many alerts may have one more. If not, that is said.
    fn has_room(&mut self, rule: &Rule, active: usize) -> bool {
        let notice = if self.limit > 0 && active >= self.limit {
            Notice::Limit
        } else if active >= bound(self.limits.alerts) {
            Notice::Alerts
        } else {
            return true;
        };
        self.reach(notice(self.group.to_owned(), rule.name.clone()));
        false
    }

    /// Notes that a cap was reached, once where it is many times.
    fn reach(&mut self, notice: Notice) {
        if self.reached.last() != Some(&notice) {
            self.reached.push(notice);
        }
    }

    /// Whether one more alert of its service may fire. One that ends makes room from the next evaluation of a rule on.
    fn may_fire(&mut self, labels: &crate::wire::Labels, started: &mut BTreeMap<String, usize>) -> bool {
        let service = labels.get(self.service_label);
        let firing = self.firing.get(service).copied().unwrap_or(0);
        let own = started.entry(service.to_owned()).or_default();
        let may = firing.saturating_add(*own) < bound(self.limits.firing_per_service);
        *own += usize::from(may);
        if !may {
            self.reach(Notice::Firing(service.to_owned()));
        }
        may
    }
}

/// What changes of an alert that fired and fires.
fn changed(before: Option<&Alert>, alert: &Alert) -> Option<Reason> {
    let before = before?;
    match (before.severity == alert.severity, before.flaps.flapping, alert.flaps.flapping) {
        (false, _, _) => Some(Reason::SeverityChanged),
        (true, false, true) => Some(Reason::FlappingStarted),
        (true, true, false) => Some(Reason::FlappingStopped),
        (true, true, true) | (true, false, false) => None,
    }
}

/// Whether it is one of those that say that there is no data.
pub(super) fn says_no_data(rule: &Rule, alert: &Alert) -> bool {
    alert.labels.get(ALERT_NAME) != rule.name
}

/// An alert without data.
struct Missed {
    /// What it was when it last reported.
    seen: Seen,
    /// Whether it is forgotten with this evaluation.
    forgotten: bool,
}

/// Every alert of the rule, but those that say that there is no data; and those that have none.
fn candidates<'a>(
    rule: &Rule,
    alerting: &Alerting,
    alerts: &'a Alerts,
    found: &mut Findings,
) -> (Vec<Candidate<'a>>, Vec<Missed>) {
    let own = alerts.iter().filter(|(_, alert)| !says_no_data(rule, alert)).map(|(id, _)| *id);
    let mut ids: BTreeSet<AlertId> = own.chain(found.present.keys().copied()).collect();
    if alerting.remembers_who_reported() {
        ids.extend(found.reporting.iter().flat_map(BTreeMap::keys));
        ids.extend(found.expected.keys());
    }
    let mut missed = Vec::new();
    let mut candidates = Vec::new();
    for id in ids {
        let candidate = candidate(alerting, id, alerts.get(&id), found);
        if candidate.missing > 0 {
            let seen = candidate.seen.clone().or_else(|| candidate.before.map(Seen::before));
            missed.extend(seen.map(|seen| Missed { seen, forgotten: !candidate.remembered }));
        }
        candidates.push(candidate);
    }
    (candidates, missed)
}

fn candidate<'a>(
    alerting: &Alerting,
    id: AlertId,
    before: Option<&'a Alert>,
    found: &mut Findings,
) -> Candidate<'a> {
    let remembers = alerting.remembers_who_reported();
    let known = |sight, seen, reported| {
        let remembered = remembers && reported;
        Candidate { id, before, seen, sight, missing: 0, reported: remembered, remembered }
    };
    let reported = before.is_some_and(|alert| alert.timers.reported);
    let fires = before.is_some_and(|alert| alert.timers.state == AlertState::Firing);
    if let Some(seen) = found.present.remove(&id) {
        let sampled_ms = found.newest.as_ref().and_then(|newest| newest.get(&seen.element.labels));
        let sight = Sight { condition: Condition::Holds, why: Reason::ConditionMet, sampled_ms };
        return known(sight, Some(seen), true);
    }
    let gone = |why| Sight { condition: Condition::Gone, why, sampled_ms: None };
    let reports = found.reporting.as_ref().is_none_or(|reporting| reporting.contains_key(&id));
    if reports {
        let resolved =
            |alert: &Alert| found.resolved.as_ref().map(|resolved| resolved.covers(&alert.element));
        let sight = match before.filter(|_| fires).and_then(resolved) {
            None => gone(Reason::ConditionCleared),
            Some(true) => gone(Reason::ResolveConditionMet),
            Some(false) => Sight { condition: Condition::Undecided, ..gone(Reason::ConditionCleared) },
        };
        let seen = found.reporting.as_mut().and_then(|reporting| reporting.remove(&id));
        let reported = reported || seen.is_some();
        // One that is active keeps the last value for which its condition held.
        return known(sight, seen.filter(|_| !before.is_some_and(Alert::is_active)), reported);
    }
    let expected = found.expected.remove(&id);
    let is_expected = expected.is_some();
    if !remembers {
        return known(gone(Reason::NoData), None, false);
    }
    if expected.as_ref().is_some_and(|expected| expected.covered && !reported) {
        return known(gone(Reason::DataReturned), None, false);
    }
    let active = before.filter(|alert| alert.is_active());
    if is_expected && !reported && found.too_early && active.is_none() {
        return known(gone(Reason::NoData), None, false);
    }
    if !is_expected && !reported && !active.is_some_and(|alert| found.may_report_again(alert)) {
        // It was expected, and is no more; or the expression was edited.
        return known(gone(Reason::ConditionCleared), None, false);
    }
    let missing = before.map_or(0, |alert| alert.timers.missing).saturating_add(1);
    let forgotten = !is_expected && alerting.missing_evals > 0 && missing >= alerting.missing_evals;
    let was = before.is_some_and(|alert| alert.is_active() && alert.timers.kept_since_ms.is_none());
    let holds = alerting.no_data == Some(NoData::Alerting) || was;
    let sight = match (forgotten, holds) {
        (true, _) => gone(Reason::MissingSeries),
        (false, true) => Sight { condition: Condition::Holds, ..gone(Reason::NoData) },
        (false, false) => gone(Reason::NoData),
    };
    let seen = expected.map(|expected| expected.seen).filter(|_| before.is_none());
    Candidate { id, before, seen, sight, missing, reported, remembered: !forgotten }
}

/// The alerts that say that there is no data: of what is missed now, and those that said so before. `returned` are the
/// alerts that have data now.
fn no_data_alerts<'a>(
    rule: &Rule,
    alerting: &Alerting,
    alerts: &'a Alerts,
    missed: Vec<Missed>,
    returned: &BTreeSet<AlertId>,
) -> Vec<Candidate<'a>> {
    let speaks = alerting.no_data == Some(NoData::NoData);
    let mut candidates = BTreeMap::new();
    let before = alerts.iter().filter(|(_, alert)| says_no_data(rule, alert));
    let sight = |condition, why| Sight { condition, why, sampled_ms: None };
    for (id, alert) in before {
        let mut labels = alert.labels.clone();
        labels.set(ALERT_NAME, &rule.name);
        labels.set(RULE, "");
        let is_back = speaks && returned.contains(&AlertId::of(&rule.name, &labels));
        let why = if is_back { Reason::DataReturned } else { Reason::ConditionCleared };
        let sight = sight(Condition::Gone, why);
        let (missing, reported, remembered) = (0, false, false);
        candidates.insert(
            *id,
            Candidate { id: *id, before: Some(alert), seen: None, sight, missing, reported, remembered },
        );
    }
    for Missed { mut seen, forgotten } in missed.into_iter().filter(|_| speaks) {
        seen.labels.set(ALERT_NAME, NO_DATA);
        seen.labels.set(RULE, &rule.name);
        let id = AlertId::of(&rule.name, &seen.labels);
        let sight = match forgotten {
            true => sight(Condition::Gone, Reason::MissingSeries),
            false => sight(Condition::Holds, Reason::NoData),
        };
        let (missing, reported, remembered) = (0, false, false);
        let before = alerts.get(&id);
        candidates
            .insert(id, Candidate { id, before, seen: Some(seen), sight, missing, reported, remembered });
    }
    candidates.into_values().collect()
}
