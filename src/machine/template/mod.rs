//! Templates in labels and annotations: the part of Go's text/template that alerting rules live on.
//!
//! ```text
//!  {{ $labels.instance }} is {{ $value | humanizePercentage }} full{{- /* no newline */ -}}
//!  {{ printf "%.2f" $value }}   {{ .Labels.job | toUpper }}   {{ $labels }}
//! ```
//!
//! A template is parsed once, when rules load: what it uses beyond this part (`if`, `range`, `query`, …) is refused
//! there by name and place, and nothing that was accepted is ignored later. It is rendered when an alert changes its
//! state. The one thing that can go wrong then, a `humanize` of a label that is no number, gives the text
//! `<error expanding template: …>` in its place, as in Prometheus.

mod function;
mod number;
mod parse;

use super::fit;
use crate::wire::Labels;
use function::Function;

/// What a template is rendered with.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// `$labels`: the labels of the element that the expression returned, its name among them.
    pub labels: &'a Labels,
    /// `$value`: the element's value.
    pub value: f64,
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

/// Why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault {
    /// What, and the way out.
    pub message: String,
    /// Where in the template's text, bytes from its beginning.
    pub offset: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Action(Expression),
}

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Literal(String),
    Value,
    Label(String),
    Labels,
    /// There are no external labels: Prometheus's are of the server, ours would be of the worker.
    NoLabels,
    Call(Function, Vec<Expression>),
}

/// Longest text that is rendered, bytes, but for its last part.
const RENDERED_BYTES_MAX: usize = 64 << 10;

/// What an expression is when it is rendered.
#[derive(Debug, Clone, PartialEq)]
enum Datum {
    Text(String),
    Number(f64),
    Map(Labels),
}

impl Template {
    /// Parses. The first fault ends it.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        parse::parse(text)
    }

    /// A template that is `text` and has no actions.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self { parts: vec![Part::Text(text.to_owned())] }
    }

    /// Whether the text changes with the value.
    #[must_use]
    pub fn uses_value(&self) -> bool {
        fn uses(expression: &Expression) -> bool {
            match expression {
                Expression::Value => true,
                Expression::Call(_, arguments) => arguments.iter().any(uses),
                Expression::Literal(_) | Expression::Label(_) | Expression::Labels | Expression::NoLabels => {
                    false
                }
            }
        }
        self.parts.iter().any(|part| matches!(part, Part::Action(expression) if uses(expression)))
    }

    /// The text for one alert.
    #[must_use]
    pub fn render(&self, data: &Data<'_>) -> String {
        let mut out = String::new();
        for part in &self.parts {
            // What is longer is cut where it is sent; here it must not fill the memory.
            if out.len() > RENDERED_BYTES_MAX {
                return fit::cut(&out, RENDERED_BYTES_MAX);
            }
            match part {
                Part::Text(text) => out += text,
                Part::Action(expression) => match expression.evaluate(data) {
                    Ok(datum) => out += &datum.to_string(),
                    Err(message) => return format!("<error expanding template: {message}>"),
                },
            }
        }
        out
    }
}

impl Expression {
    fn evaluate(&self, data: &Data<'_>) -> Result<Datum, String> {
        Ok(match self {
            Self::Literal(text) => Datum::Text(text.clone()),
            Self::Value => Datum::Number(data.value),
            Self::Label(name) => Datum::Text(data.labels.get(name).to_owned()),
            Self::Labels => Datum::Map(data.labels.clone()),
            Self::NoLabels => Datum::Map(Labels::default()),
            Self::Call(function, arguments) => {
                let arguments: Result<Vec<_>, _> = arguments.iter().map(|a| a.evaluate(data)).collect();
                Datum::Text(function.call(&arguments?)?)
            }
        })
    }
}

/// As Go's `%v`.
impl std::fmt::Display for Datum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&function::print(self, 'v', None))
    }
}

#[cfg(test)]
mod tests;
