//! The tree of a template.

use super::function::Function;
use std::collections::BTreeMap;

/// A parsed text: what stands outside of `define`, and what each `define` and `block` holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Tree {
    pub(super) body: Vec<Node>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// Prints its value, unless it sets a variable.
    Action(Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Node>,
        or: Vec<Node>,
    },
    With {
        value: Pipeline,
        then: Vec<Node>,
        or: Vec<Node>,
    },
    Range {
        value: Pipeline,
        each: Vec<Node>,
        or: Vec<Node>,
    },
    Template {
        name: String,
        value: Option<Pipeline>,
    },
    Break,
    Continue,
}

/// Commands, each with the value of the one before as its last argument.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    /// Variables that it sets; two only in a `range`.
    pub(super) variables: Vec<String>,
    /// `=` and not `:=`.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// An operand by itself, or a function with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Operand(Operand),
    Call(Function, Vec<Operand>),
    /// `query`, with the number of its plan.
    Query(usize, Vec<Operand>),
}

/// What a function is given.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Nothing,
    Bool(bool),
    Int(i64),
    Number(f64),
    Text(String),
    /// `.a.b`; no field for the dot itself.
    Dot(Vec<String>),
    /// `$name.a.b`.
    Variable(String, Vec<String>),
    /// `(…).a.b`.
    Pipeline(Box<Pipeline>, Vec<String>),
}

impl Tree {
    /// Whether any of it names the value.
    pub(super) fn uses_value(&self) -> bool {
        nodes_use_value(&self.body) || self.defined.values().any(|nodes| nodes_use_value(nodes))
    }
}

fn nodes_use_value(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Action(pipeline) => uses_value(pipeline),
        Node::If { condition: value, then, or }
        | Node::With { value, then, or }
        | Node::Range { value, each: then, or } => {
            uses_value(value) || nodes_use_value(then) || nodes_use_value(or)
        }
        Node::Template { value, .. } => value.as_ref().is_some_and(uses_value),
    })
}

fn uses_value(pipeline: &Pipeline) -> bool {
    pipeline.commands.iter().any(|command| match command {
        Command::Operand(operand) => operand_uses_value(operand),
        Command::Call(_, operands) | Command::Query(_, operands) => operands.iter().any(operand_uses_value),
    })
}

fn operand_uses_value(operand: &Operand) -> bool {
    match operand {
        Operand::Variable(name, fields) => {
            name == "value" || (name.is_empty() && fields.first().is_some_and(|field| field == "Value"))
        }
        Operand::Dot(fields) => fields.first().is_some_and(|field| field == "Value"),
        Operand::Pipeline(inner, _) => uses_value(inner),
        Operand::Nothing | Operand::Bool(_) | Operand::Int(_) | Operand::Number(_) | Operand::Text(_) => {
            false
        }
    }
}
