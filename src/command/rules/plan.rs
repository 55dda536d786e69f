//! The plan of `rules apply`: which rules it adds, changes and removes, what of their memory stays, and what would become
//! of the alerts if it were in force now.

use super::{counted, diff, short_hash};
use crate::command::output;
use crate::machine::rehearse::{Fate, Outlook, Rehearsal, Standing};
use crate::machine::rules::compare::{Change, Difference, compare};
use crate::machine::rules::upshot::Upshot;
use crate::machine::rules::{self, duration};
use crate::shell::verify::Begun;
use crate::wire::{AlertState, RuleSet};
use serde_json::{Value, json};
use std::fmt::Write;

/// Alerts that are told one by one, of each fate; `--json` tells all.
const TOLD_MAX: usize = 20;

/// What is known of one partition.
pub(super) struct Prospect {
    partition: i32,
    /// Or why nothing is.
    known: Result<Known, String>,
}

struct Known {
    begun: Begun,
    /// The partition's clock at the end of its log.
    as_of_ms: i64,
    /// Version of the set that is in force there.
    version: i64,
    rehearsal: Rehearsal,
}

impl Prospect {
    pub(super) fn new(
        partition: i32,
        begun: Begun,
        as_of_ms: i64,
        version: i64,
        rehearsal: Rehearsal,
    ) -> Self {
        Self { partition, known: Ok(Known { begun, as_of_ms, version, rehearsal }) }
    }

    /// `why` may begin with the partition.
    pub(super) fn unknown(partition: i32, why: &str) -> Self {
        let why = why.strip_prefix(&format!("partition {partition}: ")).unwrap_or(why);
        Self { partition, known: Err(why.to_owned()) }
    }
}

/// Which set goes where.
pub(super) fn aim(set: &RuleSet, topic: &str) -> String {
    format!(
        "version {} ({}, {}) to {} of {topic}",
        set.version,
        counted(set.files.len(), "file"),
        short_hash(set),
        counted(usize::try_from(set.partitions).unwrap_or_default(), "partition"),
    )
}

/// What is shown before anything is done.
pub(super) struct Plan<'a> {
    old: Option<&'a RuleSet>,
    new: &'a RuleSet,
    topic: &'a str,
    changes: Vec<(Difference, Upshot)>,
    /// Rules of the new set that are as they were.
    unchanged: usize,
    prospects: Vec<Prospect>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        old: Option<&'a RuleSet>,
        new: &'a RuleSet,
        topic: &'a str,
        prospects: Vec<Prospect>,
    ) -> Self {
        let nothing = RuleSet { files: Vec::new(), ..new.clone() };
        let all = compare(old.unwrap_or(&nothing), new);
        let upshots: Vec<Upshot> = all.iter().map(|difference| Upshot::of(difference, &all)).collect();
        let changes: Vec<(Difference, Upshot)> = all.into_iter().zip(upshots).collect();
        let rules =
            rules::load(new).map_or(0, |set| set.groups.iter().map(|group| group.rules.len()).sum::<usize>());
        let touched =
            changes.iter().filter(|(d, _)| d.subject.is_rule() && d.change != Change::Removed).count();
        Self { old, new, topic, changes, unchanged: rules.saturating_sub(touched), prospects }
    }

    fn count(&self, wanted: fn(&Change) -> bool) -> usize {
        self.changes.iter().filter(|(difference, _)| wanted(&difference.change)).count()
    }

    /// What the set changes beside its rules.
    fn beside(&self) -> Vec<String> {
        let Some(old) = self.old else { return Vec::new() };
        let mut told = Vec::new();
        let (label, was) = (&self.new.service_label, &old.service_label);
        if label != was {
            told.push(format!(
                "the label of the service is {label}, was {was}: alerts with other labels begin anew"
            ));
        }
        if self.new.limits != old.limits {
            told.push("the caps (limits) of this configuration are others than before".to_owned());
        }
        if self.new.partitions != old.partitions && old.partitions != 0 {
            told.push(format!(
                "observations have {} partitions, had {}",
                self.new.partitions, old.partitions
            ));
        }
        told
    }

    pub(super) fn in_words(&self) -> String {
        let place = match self.old {
            Some(old) => format!("in place of version {}", old.version),
            None => "the first".to_owned(),
        };
        let mut out = format!("{}, {place}\n", aim(self.new, self.topic));
        for (difference, upshot) in &self.changes {
            out += &diff::in_words(difference);
            // What is new begins with nothing: that goes without saying.
            if *upshot != Upshot::Begins {
                _ = writeln!(out, "    {upshot}");
            }
        }
        self.beside().iter().for_each(|line| out += &format!("~ {line}\n"));
        _ = writeln!(
            out,
            "{} added, {} changed, {} removed; {} as before",
            self.count(|change| *change == Change::Added),
            self.count(|change| matches!(change, Change::Changed(_))),
            self.count(|change| *change == Change::Removed),
            counted(self.unchanged, "rule"),
        );
        if !self.prospects.is_empty() {
            out += &self.alerts_in_words();
        }
        out
    }

    fn alerts_in_words(&self) -> String {
        let known = || self.prospects.iter().filter_map(|p| Some((p.partition, p.known.as_ref().ok()?)));
        let mut out = String::new();
        if known().next().is_none() {
            // Nearly always the same for all.
            let whys = self.prospects.iter().filter_map(|p| Some((p.partition, p.known.as_ref().err()?)));
            let mut told: Vec<&str> = Vec::new();
            for (_, why) in whys {
                if !told.contains(&why.as_str()) {
                    told.push(why);
                }
            }
            _ = writeln!(out, "what would become of alerts is not known: {}", told.join("; "));
            return out;
        }
        let outlooks = || known().flat_map(|(at, k)| k.rehearsal.outlooks.iter().map(move |o| (at, o)));
        out += "alerts, if it were in force now:\n";
        for fate in [Fate::Starts, Fate::Stops, Fate::Fires, Fate::Restarts] {
            let all: Vec<(i32, &Outlook)> = outlooks().filter(|(_, o)| o.fate() == fate).collect();
            for (partition, outlook) in all.iter().take(TOLD_MAX) {
                _ = writeln!(out, "  {}  partition {partition}", told(outlook));
            }
            if let Some(more @ 1..) = all.len().checked_sub(TOLD_MAX) {
                _ = writeln!(out, "  … and {more} more that {} (--json tells all)", verb(fate));
            }
        }
        let count = |fate| outlooks().filter(|(_, o)| o.fate() == fate).count();
        let kept = |state| {
            let is = |o: &Outlook| o.fate() == Fate::Keeps && o.after.is_some_and(|s| s.state == state);
            outlooks().filter(|(_, o)| is(o)).count()
        };
        _ = writeln!(
            out,
            "  {} start, {} stop, {} pending fire, {} begin anew, {} keep their state ({} firing, {} pending)",
            count(Fate::Starts),
            count(Fate::Stops),
            count(Fate::Fires),
            count(Fate::Restarts),
            count(Fate::Keeps),
            kept(AlertState::Firing),
            kept(AlertState::Pending),
        );
        for Prospect { partition, known } in &self.prospects {
            match known {
                Err(why) => _ = writeln!(out, "  partition {partition} is not among these: {why}"),
                Ok(known) => out += &self.source(*partition, known),
            }
        }
        out
    }

    /// What the rehearsal of a partition began with, and what it could not foresee.
    fn source(&self, partition: i32, Known { begun, as_of_ms, version, rehearsal }: &Known) -> String {
        let mut out = format!(
            "  partition {partition} as of {}: snapshot {}, {} older by the log, and the log behind it\n",
            output::time(*as_of_ms),
            begun.folder,
            duration::text(as_of_ms.saturating_sub(begun.clock_ms) / 1000 * 1000),
        );
        let previous = self.old.map_or(0, |set| set.version);
        if *version != previous {
            _ = writeln!(out, "    version {version} is in force there, not {previous}");
        }
        if !rehearsal.unforeseen.is_empty() {
            let names: Vec<&str> = rehearsal.unforeseen.iter().map(String::as_str).collect();
            _ = writeln!(
                out,
                "    not foreseen: {}: no rule has asked for their series so far, so none are kept",
                names.join(", ")
            );
        }
        for (rule, why) in &rehearsal.failing {
            _ = writeln!(out, "    {rule} fails: {why}");
        }
        out
    }

    pub(super) fn in_json(&self) -> Value {
        let changes = self.changes.iter().map(|(difference, upshot)| {
            let mut line = diff::in_json(difference);
            line["upshot"] = json!(upshot.code());
            line["text"] = json!(upshot.to_string());
            line
        });
        let files: Vec<&str> = self.new.files.iter().map(|file| file.name.as_str()).collect();
        json!({
            "version": self.new.version, "previous": self.old.map(|set| set.version), "files": files,
            "hash": short_hash(self.new), "partitions": self.new.partitions, "topic": self.topic,
            "changes": changes.collect::<Vec<_>>(), "beside": self.beside(), "unchanged": self.unchanged,
            "alerts": self.prospects.iter().map(prospect).collect::<Vec<_>>(),
        })
    }
}

fn prospect(Prospect { partition, known }: &Prospect) -> Value {
    let Known { begun, as_of_ms, version, rehearsal } = match known {
        Err(why) => return json!({"partition": partition, "unknown": why}),
        Ok(known) => known,
    };
    let standing = |standing: &Option<Standing>| {
        standing
            .map(|Standing { state, since_ms }| json!({"state": word(state), "active_since_ms": since_ms}))
    };
    let outlooks = rehearsal.outlooks.iter().map(|outlook| {
        json!({
            "fate": verb(outlook.fate()), "rule": outlook.rule, "labels": outlook.labels.to_string(),
            "before": standing(&outlook.before), "after": standing(&outlook.after),
        })
    });
    json!({
        "partition": partition, "snapshot": begun.folder, "snapshot_ms": begun.clock_ms, "as_of_ms": as_of_ms,
        "rule_set_version": version, "outlooks": outlooks.collect::<Vec<_>>(),
        "unforeseen": rehearsal.unforeseen, "failing": rehearsal.failing,
    })
}

fn told(outlook: &Outlook) -> String {
    let Outlook { labels, before, after, .. } = outlook;
    let state = |standing: &Option<Standing>| standing.map_or("inactive", |standing| word(standing.state));
    format!("{:6} {} -> {}  {labels}", verb(outlook.fate()), state(before), state(after))
}

fn verb(fate: Fate) -> &'static str {
    match fate {
        Fate::Starts => "start",
        Fate::Stops => "stop",
        Fate::Fires => "fire",
        Fate::Restarts => "begin anew",
        Fate::Keeps => "keep",
    }
}

fn word(state: AlertState) -> &'static str {
    match state {
        AlertState::Inactive => "inactive",
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
    }
}

#[cfg(test)]
mod tests;
