//! What an edit does to what rules and baselines remember, as [`crate::machine`]'s `live` carries it over: for the plan of
//! `rules apply`.

use super::compare::{Change, Difference, Subject};

/// What becomes of what was remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upshot {
    /// A new rule or baseline: it begins with nothing.
    Begins,
    /// A rule of that name was there with other labels: another identity, whose alerts begin anew.
    BeginsAnew,
    /// A rule of that identity was in this other group: it goes on with its alerts.
    Continues {
        /// The group.
        from: String,
    },
    /// It is gone, and its alerts or series end at once.
    Ends,
    /// It is in this other group now and goes on there.
    Moves {
        /// The group.
        to: String,
    },
    /// Alerts keep their state and since when they are pending; a recorded series goes on.
    Keeps,
    /// So do alerts that the new expression returns with the labels they have; the others end with the next evaluation.
    KeepsWhatIsReturned,
    /// A flap count is cut to the new history, or forgotten where nobody asks for one any more.
    KeepsButFlaps,
    /// Its rules go on; from now on at the points of another grid.
    OtherGrid,
    /// A baseline: what was learned of other series, or as another kind, is forgotten.
    Forgets,
    /// A baseline: models that learn as before keep what they learned, others begin.
    RelearnsModels,
}

impl Upshot {
    /// What a difference does, given all of them.
    #[must_use]
    pub fn of(difference: &Difference, all: &[Difference]) -> Self {
        match (&difference.subject, &difference.change) {
            (Subject::Baseline(_) | Subject::Group(_), Change::Added) => Self::Begins,
            (Subject::Baseline(_) | Subject::Group(_), Change::Removed) => Self::Ends,
            (subject @ Subject::Rule { .. }, Change::Added) => {
                match partner(subject, &Change::Removed, all) {
                    Some((from, true)) => Self::Continues { from },
                    Some((_, false)) => Self::BeginsAnew,
                    None => Self::Begins,
                }
            }
            (subject @ Subject::Rule { .. }, Change::Removed) => {
                match partner(subject, &Change::Added, all) {
                    Some((to, true)) => Self::Moves { to },
                    Some((_, false)) | None => Self::Ends,
                }
            }
            (subject, Change::Changed(keys)) => {
                let any = |wanted: &[&str]| keys.iter().any(|(key, _, _)| wanted.contains(&key.as_str()));
                match subject {
                    Subject::Baseline(_) if any(&["series", "kind"]) => Self::Forgets,
                    Subject::Baseline(_) => Self::RelearnsModels,
                    Subject::Group(_) if any(&["interval", "query_offset"]) => Self::OtherGrid,
                    Subject::Rule { alerts: true, .. } if any(&["expr"]) => Self::KeepsWhatIsReturned,
                    Subject::Rule { alerts: true, .. } if any(&["flap_detection"]) => Self::KeepsButFlaps,
                    Subject::Group(_) | Subject::Rule { .. } => Self::Keeps,
                }
            }
        }
    }

    /// One word, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Begins => "begins",
            Self::BeginsAnew => "begins_anew",
            Self::Continues { .. } => "continues",
            Self::Ends => "ends",
            Self::Moves { .. } => "moves",
            Self::Keeps => "keeps",
            Self::KeepsWhatIsReturned => "keeps_what_is_returned",
            Self::KeepsButFlaps => "keeps_but_flaps",
            Self::OtherGrid => "other_grid",
            Self::Forgets => "forgets",
            Self::RelearnsModels => "relearns_models",
        }
    }
}

/// A difference of the other kind with a rule of the same name: its group, and whether its labels are the same as well. One
/// of the same identity comes first.
fn partner(subject: &Subject, change: &Change, all: &[Difference]) -> Option<(String, bool)> {
    let Subject::Rule { name, alerts, labels, .. } = subject else { return None };
    let others =
        all.iter().filter(|other| other.change == *change).filter_map(|other| match &other.subject {
            Subject::Rule { group, name: theirs, alerts: kind, labels: others, .. }
                if theirs == name && kind == alerts =>
            {
                Some((group.clone(), others == labels))
            }
            Subject::Rule { .. } | Subject::Group(_) | Subject::Baseline(_) => None,
        });
    let mut others: Vec<(String, bool)> = others.collect();
    others.sort_by_key(|(_, same)| !same);
    others.into_iter().next()
}

/// A clause that follows the difference.
impl std::fmt::Display for Upshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begins => f.write_str("begins with nothing"),
            Self::BeginsAnew => {
                f.write_str("resets: with other labels it is another alert, which begins anew and waits its `for` again")
            }
            Self::Continues { from } => {
                write!(f, "goes on with what it remembers as a rule of group {from}, pending times among it")
            }
            Self::Ends => f.write_str("ends, and so do its alerts and series, at once"),
            Self::Moves { to } => write!(f, "goes on as a rule of group {to}"),
            Self::Keeps => f.write_str("keeps its state and since when it is pending"),
            Self::KeepsWhatIsReturned => f.write_str(
                "keeps state and pending time of what the new expression returns with the same labels; the rest ends at the \
                 next evaluation",
            ),
            Self::KeepsButFlaps => {
                f.write_str("keeps its state and since when it is pending; its flap count is cut to the new history")
            }
            Self::OtherGrid => {
                f.write_str("keeps what its rules remember; they are evaluated at other times from now on")
            }
            Self::Forgets => f.write_str("resets: what it learned is forgotten"),
            Self::RelearnsModels => {
                f.write_str("keeps what models learned whose settings are the same; the others begin anew")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::rules::compare::compare;
    use crate::wire::{Limits, RuleFile, RuleSet};

    fn upshots(old: &str, new: &str) -> Vec<String> {
        let set = |content: &str| RuleSet {
            version: 1,
            applied_ms: 0,
            author: String::new(),
            service_label: "service".to_owned(),
            files: vec![RuleFile { name: "r.yaml".to_owned(), content: content.to_owned() }],
            limits: Limits::default(),
            partitions: 0,
        };
        let all = compare(&set(old), &set(new));
        all.iter().map(|one| format!("{}: {}", one.subject, Upshot::of(one, &all).code())).collect()
    }

    #[test]
    fn what_is_kept_follows_name_and_labels() {
        let old = "\
baselines: [{name: b, series: x}, {name: c, series: x, models: [{model: moving}]}]
groups:
- {name: h, interval: 1m, limit: 3}
- name: g
  rules:
  - {alert: A, expr: up == 0, for: 5m}
  - {alert: B, expr: up == 0, flap_detection: {low: 0.2, high: 0.5}}
  - {alert: C, expr: up == 0}
  - {alert: D, expr: up == 0, labels: {team: x}}
  - {alert: E, expr: up == 0}
  - {record: r, expr: up}
";
        let new = "\
baselines: [{name: b, series: y}, {name: c, series: x, models: [{model: ewma}]}]
groups:
- name: h
  interval: 30s
  limit: 3
  rules:
  - {alert: C, expr: up == 0}
  - {alert: r, expr: up}
- name: g
  limit: 9
  rules:
  - {alert: A, expr: up < 1, for: 5m}
  - {alert: B, expr: up == 0}
  - {alert: D, expr: up == 0, labels: {team: y}}
  - {record: r, expr: up + 0}
";
        let expected = [
            "baseline b: forgets",
            "baseline c: relearns_models",
            "group g: keeps",
            "alert A{} of g: keeps_what_is_returned",
            "alert B{} of g: keeps_but_flaps",
            "alert C{} of g: moves",
            "alert D{team=\"x\"} of g: ends",
            "alert D{team=\"y\"} of g: begins_anew",
            "alert E{} of g: ends",
            "record r{} of g: keeps",
            "group h: other_grid",
            "alert C{} of h: continues",
            "alert r{} of h: begins",
        ];
        assert_eq!(upshots(old, new), expected);
    }
}
