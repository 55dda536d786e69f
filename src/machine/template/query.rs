//! What the `query` of a template may ask: known when rules load, so that the series are kept.

use super::function::Function;
use super::tree::{Command, Operand, Pipeline};
use crate::machine::promql::{Plan, PlanFault};

/// Stands in a format for what is not known yet. No label holds it.
const HOLE: &str = "\u{f8ff}";

/// The plan of a query, by what stands before it in its pipeline and behind it as arguments.
pub(super) fn plan(before: &[Command], arguments: &[Operand]) -> Result<Plan, String> {
    let Some(text) = text(before, arguments) else {
        return Err("query wants its expression as a string literal, or as printf of one: what it selects must be known \
                    when rules load"
            .to_owned());
    };
    let plan: Result<Plan, PlanFault> = Plan::pattern(&text, HOLE);
    plan.map_err(|fault| format!("query {text:?}: {fault}").replace(HOLE, "%s"))
}

/// The text, with holes.
fn text(before: &[Command], arguments: &[Operand]) -> Option<String> {
    match (before, arguments) {
        ([], [Operand::Text(text)]) => Some(text.clone()),
        ([], [Operand::Pipeline(inner, fields)]) if fields.is_empty() => last(inner),
        ([.., command], []) => made(command),
        _ => None,
    }
}

fn last(pipeline: &Pipeline) -> Option<String> {
    pipeline.commands.last().and_then(made)
}

fn made(command: &Command) -> Option<String> {
    match command {
        Command::Operand(Operand::Text(text)) => Some(text.clone()),
        Command::Call(Function { name: "printf", .. }, operands) => {
            if let Some(Operand::Text(format)) = operands.first() { Some(holed(format)) } else { None }
        }
        Command::Operand(_) | Command::Call(..) | Command::Query(..) => None,
    }
}

/// A format with a hole for each verb. `%q` brings its quotes.
fn holed(format: &str) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        out += before;
        let length = after.find(|c: char| c.is_ascii_alphabetic() || c == '%').unwrap_or(after.len());
        let verb = after[length..].chars().next();
        match verb {
            Some('%') => out.push('%'),
            Some('q') => out.extend(["\"", HOLE, "\""]),
            Some(_) | None => out += HOLE,
        }
        rest = &after[(length + 1).min(after.len())..];
    }
    out + rest
}
