//! Numbers the transitions: a dense `seq`, the place within the record that caused them, and the running hash.

use super::alert::{Alert, Change};
use super::judge::says_no_data;
use super::live::Live;
use super::output::Outputs;
use super::rules::{Group, Rule};
use super::template::{Asked, Data};
use super::{Action, Position, fit};
use crate::wire::{Labels, Suppression, Transition};

/// How far the machine has decided.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    /// `seq` of the last transition; 0 before the first.
    pub(super) seq: i64,
    /// Chain over all of them; zeros before the first.
    pub(super) running_hash: [u8; 32],
    /// Place of the next one among those of this record. Begins anew with each: no part of a snapshot.
    ordinal: i32,
}

/// What a transition says beside the alert's own change.
pub(super) struct Context<'a> {
    /// The record that caused it.
    pub(super) cause: Position,
    /// Version of the rule set that decided.
    pub(super) version: i64,
    pub(super) service_label: &'a str,
    pub(super) outputs: &'a Outputs,
    /// The grid point.
    pub(super) event_ms: i64,
}

/// Who speaks: a rule, or the machine itself.
pub(super) struct Told<'a> {
    pub(super) group: &'a str,
    pub(super) rule: &'a str,
    pub(super) annotations: Labels,
}

impl<'a> Context<'a> {
    pub(super) fn new(cause: Position, live: &'a Live, outputs: &'a Outputs, event_ms: i64) -> Self {
        Self { cause, version: live.version, service_label: &live.service_label, outputs, event_ms }
    }
}

impl Journal {
    /// One that has decided so far.
    pub(super) fn at(seq: i64, running_hash: [u8; 32]) -> Self {
        Self { seq, running_hash, ordinal: 0 }
    }

    /// A new record.
    pub(super) fn begin_record(&mut self) {
        self.ordinal = 0;
    }

    /// Makes a rule's change a transition, and emits it.
    pub(super) fn emit(
        &mut self,
        change: Change,
        group: &Group,
        rule: &Rule,
        asked: Option<Asked<'_>>,
        context: &Context<'_>,
        out: &mut Vec<Action>,
    ) {
        let annotations = annotations(rule, &change.alert, asked);
        self.put(change, Told { group: &group.name, rule: &rule.name, annotations }, context, out);
    }

    /// Makes a change a transition, cut so that it fits into a record whatever a rule renders, and emits it.
    pub(super) fn put(
        &mut self,
        change: Change,
        Told { group, rule, annotations }: Told<'_>,
        context: &Context<'_>,
        out: &mut Vec<Action>,
    ) {
        let Change { id, from, to, reason, alert } = change;
        let labels = alert.shown();
        let service = labels.get(context.service_label);
        // Which check it is say the labels of the element: a rule may set others.
        let element = &alert.element;
        let output = match element.get("check") {
            "" => "",
            check => context.outputs.get(element.get(context.service_label), element.get("host"), check),
        };
        self.seq += 1;
        let transition = Transition {
            seq: self.seq,
            alert: id,
            from,
            to,
            reason,
            group: fit::text(group),
            rule: fit::text(rule),
            rule_set_version: context.version,
            service: fit::text(service),
            output: fit::text(output),
            annotations: fit::labels(annotations),
            value: if alert.value.is_nan() { f64::NAN } else { alert.value },
            event_ms: context.event_ms,
            active_since_ms: alert.timers.active_since_ms,
            input_offset: context.cause.offset,
            ordinal: self.ordinal,
            append_ms: context.cause.append_ms,
            suppressed_by: alert.suppressed.map(|by| Suppression { rule: fit::text(&by.rule), ..by }),
            labels: fit::labels(labels),
        };
        self.ordinal = self.ordinal.saturating_add(1);
        self.running_hash = transition.chain(&self.running_hash);
        out.push(Action::Emit(Box::new(transition)));
    }
}

/// The annotations of a rule's alert as it is.
pub(super) fn annotations(rule: &Rule, alert: &Alert, asked: Option<Asked<'_>>) -> Labels {
    if says_no_data(rule, alert) {
        return Labels::new([("summary", format!("rule {:?} has no data of {}", rule.name, alert.element))]);
    }
    rule.annotations(&Data { labels: &alert.element, value: alert.value, asked })
}
