//! Renders a tree.

use super::datum::Datum;
use super::tree::{Command, Node, Operand, Pipeline, Tree};
use super::{Asked, Data, RENDERED_BYTES_MAX, Server};
use crate::machine::promql::{Element, Plan, Value};
use crate::wire::Labels;

/// Most nodes that are rendered: bounds what a loop can cost.
const STEPS_MAX: usize = 100_000;
/// Deepest nesting of templates that call templates.
const DEPTH_MAX: usize = 100;

/// How a list of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Goes,
    Breaks,
    Continues,
}

/// One rendering.
pub(super) struct Run<'a> {
    tree: &'a Tree,
    plans: &'a [Plan],
    server: &'a Server,
    data: &'a Data<'a>,
    variables: Vec<(String, Datum)>,
    steps: usize,
    depth: usize,
    out: String,
}

/// The text for one alert, or why there is none.
pub(super) fn run(tree: &Tree, plans: &[Plan], server: &Server, data: &Data<'_>) -> Result<String, String> {
    let given = [
        ("", Datum::Root),
        ("labels", Datum::Labels(data.labels.clone())),
        ("value", Datum::Number(data.value)),
        ("externalLabels", Datum::Labels(server.labels.clone())),
        ("externalURL", Datum::Text(server.url.clone())),
    ];
    let variables = given.into_iter().map(|(name, datum)| (name.to_owned(), datum)).collect();
    let mut run = Run { tree, plans, server, data, variables, steps: 0, depth: 0, out: String::new() };
    run.nodes(&tree.body, &Datum::Root)?;
    Ok(run.out)
}

impl<'a> Run<'a> {
    fn nodes(&mut self, nodes: &'a [Node], dot: &Datum) -> Result<Flow, String> {
        let in_sight = self.variables.len();
        let mut flow = Flow::Goes;
        for node in nodes {
            self.step()?;
            // What is longer is cut where it is sent; here it must not fill the memory.
            if self.out.len() > RENDERED_BYTES_MAX {
                break;
            }
            flow = self.node(node, dot)?;
            if flow != Flow::Goes {
                break;
            }
        }
        self.variables.truncate(in_sight);
        Ok(flow)
    }

    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        if self.steps > STEPS_MAX { Err(format!("it takes more than {STEPS_MAX} steps")) } else { Ok(()) }
    }

    fn node(&mut self, node: &'a Node, dot: &Datum) -> Result<Flow, String> {
        match node {
            Node::Text(text) => self.out += text,
            Node::Break => return Ok(Flow::Breaks),
            Node::Continue => return Ok(Flow::Continues),
            Node::Action(pipeline) => {
                let datum = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    // Where nothing is, Go says so.
                    self.out +=
                        &if datum == Datum::Nothing { "<no value>".to_owned() } else { datum.to_string() };
                }
            }
            Node::If { condition, then, or } => {
                let in_sight = self.variables.len();
                let holds = self.pipeline(condition, dot)?.is_true();
                let flow = self.nodes(if holds { then } else { or }, dot);
                self.variables.truncate(in_sight);
                return flow;
            }
            Node::With { value, then, or } => {
                let in_sight = self.variables.len();
                let inner = self.pipeline(value, dot)?;
                let flow = if inner.is_true() { self.nodes(then, &inner) } else { self.nodes(or, dot) };
                self.variables.truncate(in_sight);
                return flow;
            }
            Node::Range { value, each, or } => self.range(value, each, or, dot)?,
            Node::Template { name, value } => self.template(name, value.as_ref(), dot)?,
        }
        Ok(Flow::Goes)
    }

    fn range(
        &mut self,
        value: &'a Pipeline,
        each: &'a [Node],
        or: &'a [Node],
        dot: &Datum,
    ) -> Result<(), String> {
        let in_sight = self.variables.len();
        let over = self.commands(value, dot)?;
        let elements: Vec<(Datum, Datum)> = match over {
            Datum::Labels(labels) => {
                let pair = |(name, value): (&str, &str)| {
                    (Datum::Text(name.to_owned()), Datum::Text(value.to_owned()))
                };
                labels.iter().map(pair).collect()
            }
            Datum::Map(map) => map.into_iter().map(|(name, value)| (Datum::Text(name), value)).collect(),
            Datum::Int(count) => {
                (0..count.clamp(0, STEPS_MAX as i64)).map(|at| (Datum::Int(at), Datum::Int(at))).collect()
            }
            Datum::List(list) => (0..).map(Datum::Int).zip(list).collect(),
            other @ (Datum::Nothing
            | Datum::Bool(_)
            | Datum::Number(_)
            | Datum::Text(_)
            | Datum::Time(_)
            | Datum::Duration(_)
            | Datum::Sample(..)
            | Datum::Root) => return Err(format!("range can't iterate over {other}")),
        };
        if elements.is_empty() {
            self.nodes(or, dot)?;
        }
        for (key, element) in elements {
            self.step()?;
            match &value.variables[..] {
                [] => {}
                [one] => self.variables.push((one.clone(), element.clone())),
                [first, second, ..] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), element.clone()));
                }
            }
            let flow = self.nodes(each, &element)?;
            self.variables.truncate(in_sight);
            if flow == Flow::Breaks {
                break;
            }
        }
        Ok(())
    }

    fn template(&mut self, name: &str, value: Option<&'a Pipeline>, dot: &Datum) -> Result<(), String> {
        let inner = match value {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Datum::Nothing,
        };
        let tree = self.tree;
        let Some(nodes) = tree.defined.get(name) else {
            return Err(format!("template {name:?} is not defined"));
        };
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("templates call each other deeper than {DEPTH_MAX}"));
        }
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), inner.clone())]);
        let flow = self.nodes(nodes, &inner);
        self.variables = outer;
        self.depth -= 1;
        flow.map(|_| ())
    }

    /// The value of a pipeline; variables are set to it.
    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Datum) -> Result<Datum, String> {
        let datum = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            if pipeline.assigns {
                let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
                known.into_iter().for_each(|(_, value)| *value = datum.clone());
            } else {
                self.variables.push((name.clone(), datum.clone()));
            }
        }
        Ok(datum)
    }

    fn commands(&mut self, pipeline: &'a Pipeline, dot: &Datum) -> Result<Datum, String> {
        let mut before: Option<Datum> = None;
        for command in &pipeline.commands {
            before = Some(match command {
                Command::Operand(operand) => self.operand(operand, dot)?,
                Command::Call(function, _) if function.name == "externalURL" => {
                    Datum::Text(self.server.url.clone())
                }
                Command::Call(function, _) if function.name == "pathPrefix" => {
                    Datum::Text(path(&self.server.url).to_owned())
                }
                Command::Call(function, operands) => {
                    let mut arguments = Vec::new();
                    for operand in operands {
                        arguments.push(self.operand(operand, dot)?);
                    }
                    arguments.extend(before);
                    (function.body)(&arguments)
                        .map_err(|message| format!("error calling {}: {message}", function.name))?
                }
                Command::Query(number, operands) => {
                    let text = match operands.first() {
                        Some(operand) => self.operand(operand, dot)?,
                        None => before.unwrap_or(Datum::Nothing),
                    };
                    let found = text.text().and_then(|text| self.query(*number, text));
                    found.map_err(|message| format!("error calling query: {message}"))?
                }
            });
        }
        Ok(before.unwrap_or(Datum::Nothing))
    }

    /// What the rule's store answers at the rule's time.
    fn query(&self, number: usize, text: &str) -> Result<Datum, String> {
        let Some(Asked { store, at_ms }) = self.data.asked else { return Ok(Datum::List(Vec::new())) };
        let plan = self.plans[number].within(text).map_err(|fault| fault.to_string())?;
        let elements = match plan.evaluate(store, at_ms).map_err(|fault| fault.to_string())? {
            Value::Vector(elements) => elements,
            Value::Scalar(value) => vec![Element { labels: Labels::default(), value }],
            Value::Ranges(_) | Value::Text(_) => {
                unreachable!("such an expression is refused when it is compiled")
            }
        };
        let sample = |element: Element| Datum::Sample(element.labels, element.value);
        Ok(Datum::List(elements.into_iter().map(sample).collect()))
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Datum) -> Result<Datum, String> {
        match operand {
            Operand::Nothing => Ok(Datum::Nothing),
            Operand::Bool(value) => Ok(Datum::Bool(*value)),
            Operand::Int(value) => Ok(Datum::Int(*value)),
            Operand::Number(value) => Ok(Datum::Number(*value)),
            Operand::Text(text) => Ok(Datum::Text(text.clone())),
            Operand::Dot(fields) => self.fields(dot.clone(), fields),
            Operand::Variable(name, fields) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let datum = known.map_or(Datum::Nothing, |(_, datum)| datum.clone());
                self.fields(datum, fields)
            }
            Operand::Pipeline(inner, fields) => {
                let in_sight = self.variables.len();
                let datum = self.pipeline(inner, dot)?;
                self.variables.truncate(in_sight);
                self.fields(datum, fields)
            }
        }
    }

    fn fields(&self, datum: Datum, fields: &[String]) -> Result<Datum, String> {
        fields.iter().try_fold(datum, |datum, field| match (&datum, field.as_str()) {
            (Datum::Root, "Labels") => Ok(Datum::Labels(self.data.labels.clone())),
            (Datum::Root, "Value") => Ok(Datum::Number(self.data.value)),
            (Datum::Root, "ExternalLabels") => Ok(Datum::Labels(self.server.labels.clone())),
            (Datum::Root, "ExternalURL") => Ok(Datum::Text(self.server.url.clone())),
            (Datum::Sample(labels, _), "Labels") => Ok(Datum::Labels(labels.clone())),
            (Datum::Sample(_, value), "Value") => Ok(Datum::Number(*value)),
            (Datum::Labels(labels), name) => Ok(Datum::Text(labels.get(name).to_owned())),
            (Datum::Map(map), name) => Ok(map.get(name).cloned().unwrap_or(Datum::Nothing)),
            (Datum::Time(seconds), name) => super::format::time_part(*seconds, name),
            (datum, name) => Err(format!("can't evaluate field {name} in type {}", datum.kind())),
        })
    }
}

/// The path of a URL, without what asks and what points.
fn path(url: &str) -> &str {
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    let from = behind.find('/').unwrap_or(behind.len());
    behind[from..].split(['?', '#']).next().unwrap_or_default()
}
