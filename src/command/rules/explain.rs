//! `bellwether rules explain`: why a rule fires, waits or is quiet, from the log itself. It asks no worker: a machine of its
//! own begins at the newest snapshot and replays the rest.

use crate::command::output;
use crate::config::Config;
use crate::error::Error;
use crate::machine::explain::{Explanation, Selected, Shown};
use crate::machine::{Action, Machine};
use crate::shell::kafka::Topics;
use crate::shell::kafka::log::Log;
use crate::shell::verify::{offsets, present};
use crate::wire::{AlertState, Labels, Transition};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::ExitCode;

/// Newest transitions of a rule that are shown.
const TRANSITIONS_MAX: usize = 10;

/// Flags of `bellwether rules explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Identity of an alert, as `bellwether alerts --json` prints it, or its first digits.
    #[arg(value_name = "ALERT", required_unless_present = "rule", conflicts_with = "rule")]
    alert: Option<String>,
    /// Name of a rule instead: of an alert, or of the series that it records.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only what belongs to this service.
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Only this partition. Without it all are looked at, until something is found.
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// One JSON object for each rule.
    #[arg(long)]
    json: bool,
}

/// Where a sample came from: its series and its time to the offset.
type Whence = BTreeMap<(Labels, i64), i64>;

/// Runs it. Exit 1 where no such rule or alert was found.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let partitions = match args.partition {
        Some(partition) => partition..partition + 1,
        None => 0..Log::open(config, &Topics::new(&config.kafka.topic_prefix).observations)?.partitions()?,
    };
    let mut found = false;
    for partition in partitions {
        let mut transitions: Vec<Transition> = Vec::new();
        let machine = present(config, partition, |_, actions| {
            let emitted = actions.iter().filter_map(|action| match action {
                Action::Emit(transition) => Some((**transition).clone()),
                Action::Reject(..) | Action::RulesSwitched { .. } | Action::ConfirmTime(_) | Action::Cut => {
                    None
                }
            });
            transitions.extend(emitted);
        })?;
        let Some(name) = rule_of(args, &machine) else { continue };
        let explanations = machine.explain(&name, args.service.as_deref());
        let told = |explanation: &Explanation<'_>| {
            args.service.is_none()
                || !explanation.alerts.is_empty()
                || explanation.selectors.iter().any(|selected| selected.count > 0)
        };
        for explanation in explanations.into_iter().filter(told) {
            found = true;
            let wanted: BTreeSet<(Labels, i64)> = explanation.selectors.iter().flat_map(samples).collect();
            let whence = offsets(config, partition, machine.service_label(), &wanted)?;
            let own: Vec<&Transition> = transitions
                .iter()
                .filter(|transition| {
                    transition.rule == explanation.name && transition.group == explanation.group
                })
                .collect();
            let own = &own[own.len().saturating_sub(TRANSITIONS_MAX)..];
            let text = if args.json {
                format!("{}\n", to_json(partition, &explanation, &whence, own))
            } else {
                to_text(partition, &explanation, &whence, own)
            };
            if !output::print(&text)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        // An alert is of one partition; a rule is evaluated in each.
        if found && args.alert.is_some() {
            break;
        }
    }
    if !found {
        let (what, which) = match (&args.rule, &args.alert) {
            (Some(rule), _) => ("no rule in force is called", rule.as_str()),
            (None, alert) => {
                ("nothing is pending or firing with the identity", alert.as_deref().unwrap_or_default())
            }
        };
        let of = args
            .service
            .as_ref()
            .map(|service| format!(" and looks at service {service:?}"))
            .unwrap_or_default();
        eprintln!(
            "bellwether: {what} {which:?}{of}; `bellwether alerts` and `bellwether rules list` say what there is"
        );
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of the rule that is asked for, if this machine has it.
fn rule_of(args: &Args, machine: &Machine) -> Option<String> {
    if let Some(rule) = &args.rule {
        return Some(rule.clone());
    }
    let digits = args.alert.as_ref()?.to_ascii_lowercase();
    machine
        .alerts()
        .find(|alert| alert.alert.to_string().starts_with(&digits))
        .map(|alert| alert.rule.to_owned())
}

fn samples(selected: &Selected) -> impl Iterator<Item = (Labels, i64)> + '_ {
    selected
        .series
        .iter()
        .flat_map(|(labels, points)| points.iter().map(move |point| (labels.clone(), point.time_ms)))
}

fn word(state: AlertState) -> &'static str {
    match state {
        AlertState::Inactive => "inactive",
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
    }
}

fn seconds(ms: i64) -> String {
    if ms % 60_000 == 0 && ms != 0 {
        format!("{} min", ms / 60_000)
    } else {
        format!("{} s", ms as f64 / 1e3)
    }
}

fn to_text(partition: i32, rule: &Explanation<'_>, whence: &Whence, transitions: &[&Transition]) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = describe(&mut out, partition, rule, whence, transitions);
    out
}

fn describe(
    out: &mut String,
    partition: i32,
    rule: &Explanation<'_>,
    whence: &Whence,
    transitions: &[&Transition],
) -> std::fmt::Result {
    write!(out, "rule {}, group {} of {}, partition {partition}: ", rule.name, rule.group, rule.file)?;
    write!(out, "evaluated every {}", seconds(rule.interval_ms))?;
    if let Some((for_ms, keep_ms)) = rule.timers {
        write!(out, ", fires after {}", seconds(for_ms))?;
        if keep_ms > 0 {
            write!(out, ", keeps firing for {}", seconds(keep_ms))?;
        }
    }
    writeln!(out)?;
    match rule.evaluated_ms {
        Some(ms) => {
            writeln!(out, "last evaluated at {}, next at {}", output::time(ms), output::time(rule.next_ms))?
        }
        None => writeln!(out, "not evaluated yet; first at {}", output::time(rule.next_ms))?,
    }
    if let Some(fault) = rule.fault {
        writeln!(out, "that failed: {fault}")?;
    }
    expression(out, rule)?;
    samples_behind(out, rule, whence)?;
    alerts(out, rule, transitions)?;
    writeln!(out)
}

fn expression(out: &mut String, rule: &Explanation<'_>) -> std::fmt::Result {
    writeln!(out, "\nexpression")?;
    for part in &rule.parts {
        let indent = "  ".repeat(part.depth + 1);
        let text = part.text.split_whitespace().collect::<Vec<_>>().join(" ");
        match &part.value {
            Ok(Shown::Number(number)) => writeln!(out, "{indent}{text}  =  {number}")?,
            Ok(Shown::Elements(elements, count)) => {
                writeln!(out, "{indent}{text}  =  {}", counted(*count, "element"))?;
                for element in elements {
                    writeln!(out, "{indent}    {} {}", element.labels, element.value)?;
                }
                rest(out, &indent, elements.len(), *count)?;
            }
            Ok(Shown::Ranges(series, samples)) => {
                writeln!(
                    out,
                    "{indent}{text}  =  {} of {}",
                    counted(*samples, "sample"),
                    counted(*series, "series")
                )?;
            }
            Err(fault) => writeln!(out, "{indent}{text}  :  {fault}")?,
        }
        if let Some((element, bound)) = &part.nearest {
            let off = element.value - bound;
            writeln!(out, "{indent}    nearest: {} {}, {off:+} from {bound}", element.labels, element.value)?;
        }
    }
    Ok(())
}

fn samples_behind(out: &mut String, rule: &Explanation<'_>, whence: &Whence) -> std::fmt::Result {
    writeln!(out, "\nsamples")?;
    for selected in &rule.selectors {
        let text = selected.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let series = counted(selected.count, "series");
        writeln!(out, "  {text}: {series} with samples within {}", seconds(selected.window_ms))?;
        for (labels, points) in &selected.series {
            writeln!(out, "    {labels}")?;
            for point in points {
                let offset = whence.get(&(labels.clone(), point.time_ms));
                let from = offset.map_or_else(|| "no record".to_owned(), |offset| format!("offset {offset}"));
                writeln!(out, "      {} at {}, {from}", point.value, output::time(point.time_ms))?;
            }
        }
        rest(out, "  ", selected.series.len(), selected.count)?;
    }
    Ok(())
}

fn alerts(out: &mut String, rule: &Explanation<'_>, transitions: &[&Transition]) -> std::fmt::Result {
    if rule.timers.is_some() {
        writeln!(out, "\nalerts: {} pending or firing", rule.alerts.len())?;
    }
    for alert in &rule.alerts {
        let since = output::time(alert.active_since_ms);
        writeln!(out, "  {} since {since}: {} value {}", word(alert.state), alert.labels, alert.value)?;
        if let (AlertState::Pending, Some((for_ms, _))) = (alert.state, rule.timers) {
            writeln!(out, "    fires at {}, if it goes on", output::time(alert.active_since_ms + for_ms))?;
        }
    }
    if !transitions.is_empty() {
        writeln!(out, "\nlast transitions since the snapshot")?;
    }
    for transition in transitions {
        let (from, to) = (word(transition.from), word(transition.to));
        let (at, reason) = (output::time(transition.event_ms), reason(transition));
        let (labels, offset) = (&transition.labels, transition.input_offset);
        writeln!(out, "  {at} {from} -> {to} {labels} ({reason}; caused by offset {offset})")?;
    }
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    match (count, what) {
        (1, _) | (_, "series") => format!("{count} {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn rest(out: &mut String, indent: &str, shown: usize, count: usize) -> std::fmt::Result {
    if shown < count { writeln!(out, "{indent}    … and {} more", count - shown) } else { Ok(()) }
}

fn reason(transition: &Transition) -> String {
    let word = serde_json::to_value(transition.reason).ok();
    word.as_ref().and_then(Value::as_str).unwrap_or("?").to_owned()
}

/// A number as JSON has it; what JSON cannot say as a string.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}

fn to_json(partition: i32, rule: &Explanation<'_>, whence: &Whence, transitions: &[&Transition]) -> Value {
    let element = |element: &crate::machine::promql::Element| json!({"labels": element.labels.to_string(), "value": number(element.value)});
    let parts = rule.parts.iter().map(|part| {
        let mut value = match &part.value {
            Ok(Shown::Number(found)) => json!({"number": number(*found)}),
            Ok(Shown::Elements(elements, count)) => {
                json!({"elements": elements.iter().map(element).collect::<Vec<_>>(), "count": count})
            }
            Ok(Shown::Ranges(series, samples)) => json!({"series": series, "samples": samples}),
            Err(fault) => json!({"fault": fault}),
        };
        value["depth"] = json!(part.depth);
        value["text"] = json!(part.text);
        if let Some((nearest, bound)) = &part.nearest {
            value["nearest"] = json!({"element": element(nearest), "bound": number(*bound)});
        }
        value
    });
    let selectors = rule.selectors.iter().map(|selected| {
        let series = selected.series.iter().map(|(labels, points)| {
            let samples = points.iter().map(|point| {
                let offset = whence.get(&(labels.clone(), point.time_ms));
                json!({"time_ms": point.time_ms, "value": number(point.value), "offset": offset})
            });
            json!({"labels": labels.to_string(), "samples": samples.collect::<Vec<_>>()})
        });
        json!({
            "text": selected.text, "window_ms": selected.window_ms, "count": selected.count,
            "series": series.collect::<Vec<_>>(),
        })
    });
    let alerts = rule.alerts.iter().map(|alert| {
        json!({
            "alert": alert.alert.to_string(), "state": word(alert.state), "labels": alert.labels.to_string(),
            "value": number(alert.value), "active_since_ms": alert.active_since_ms,
        })
    });
    json!({
        "partition": partition, "file": rule.file, "group": rule.group, "rule": rule.name,
        "interval_ms": rule.interval_ms, "evaluated_ms": rule.evaluated_ms, "next_ms": rule.next_ms,
        "for_ms": rule.timers.map(|(for_ms, _)| for_ms), "keep_firing_for_ms": rule.timers.map(|(_, keep_ms)| keep_ms),
        "fault": rule.fault, "parts": parts.collect::<Vec<_>>(), "selectors": selectors.collect::<Vec<_>>(),
        "alerts": alerts.collect::<Vec<_>>(), "transitions": transitions,
    })
}
