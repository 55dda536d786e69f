//! Templates in labels and annotations: Go's text/template with Prometheus's functions.
//!
//! ```text
//!  {{ $labels.instance }} is {{ $value | humanizePercentage }} full{{- /* no newline */ -}}
//!  {{ if gt $value 0.9 }}now{{ else }}soon{{ end }}   {{ range $name, $label := $labels }}{{ $name }} {{ end }}
//!  {{ with $labels.job }}{{ . | toUpper }}{{ end }}   {{ define "x" }}{{ .arg0 }}{{ end }}{{ template "x" (args 1) }}
//! ```
//!
//! A template is parsed once, when rules load: unknown functions, variables and templates, and wrong numbers of
//! arguments, are refused there by name and place. It is rendered when an alert changes its state; what goes wrong then
//! (a `humanize` of a label that is no number) gives the text `<error expanding template: …>` in place of all of it, as in
//! Prometheus.
//!
//! `query` asks the same store at the same grid point as the rule. What it selects must be known when rules load, so its
//! expression is a literal, or `printf` of one: then a matcher whose value has a `%` in it may match anything, and what
//! it does match is decided when the text is there. Where there is no store to ask, as for an alert that ends because
//! its rule is gone, it finds nothing. Outside of the log there is no `now`; and there are no external labels and no
//! external URL: those are of a server, ours would be of a worker, and are empty. Only a unit test sets them
//! ([`Server`]).

mod datum;
mod format;
mod function;
mod humanize;
mod number;
mod parse;
mod query;
mod run;
mod tree;

use super::fit;
use super::promql::Plan;
use super::series::Store;
use crate::wire::Labels;
pub(super) use number::general;
use tree::{Node, Tree};

/// What a template is rendered with.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// `$labels`: the labels of the element that the expression returned, its name among them.
    pub labels: &'a Labels,
    /// `$value`: the element's value.
    pub value: f64,
    /// What `query` asks, where there is something to ask.
    pub asked: Option<Asked<'a>>,
}

/// What `query` asks, and about what time.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The series. What the templates want of them must have been bound.
    pub store: &'a Store,
    /// The grid point, milliseconds since the epoch.
    pub at_ms: i64,
}

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    tree: Tree,
    /// One for each `query` in it.
    plans: Vec<Plan>,
    server: Server,
}

/// What a template is told of the server that it runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// `$externalLabels`.
    pub labels: Labels,
    /// `externalURL`; its path is `pathPrefix`.
    pub url: String,
}

/// Why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault {
    /// What, and the way out.
    pub message: String,
    /// Where in the template's text, bytes from its beginning.
    pub offset: usize,
}

/// Longest text that is rendered, bytes, but for its last part.
const RENDERED_BYTES_MAX: usize = 64 << 10;

impl Template {
    /// Parses. The first fault ends it.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        parse::parse(text).map(|(tree, plans)| Self { tree, plans, server: Server::default() })
    }

    /// A template that is `text` and has no actions.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let tree = Tree { body: vec![Node::Text(text.to_owned())], ..Tree::default() };
        Self { tree, plans: Vec::new(), server: Server::default() }
    }

    /// Tells it of a server.
    pub fn set_server(&mut self, server: &Server) {
        self.server = server.clone();
    }

    /// What its queries ask.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.plans.iter()
    }

    /// The same, to be bound.
    pub fn plans_mut(&mut self) -> impl Iterator<Item = &mut Plan> {
        self.plans.iter_mut()
    }

    /// Whether the text changes with the value.
    #[must_use]
    pub fn uses_value(&self) -> bool {
        self.tree.uses_value()
    }

    /// The text for one alert.
    #[must_use]
    pub fn render(&self, data: &Data<'_>) -> String {
        match run::run(&self.tree, &self.plans, &self.server, data) {
            Ok(text) => fit::cut(&text, RENDERED_BYTES_MAX),
            Err(message) => format!("<error expanding template: {message}>"),
        }
    }
}

#[cfg(test)]
mod tests;
