//! Text to a template: literal text, and actions between `{{` and `}}`.

use super::TemplateFault;
use super::function::{FUNCTIONS, Function, REFUSED};
use super::query;
use super::tree::{Command, Node, Operand, Pipeline, Tree};
use crate::machine::promql::Plan;
use crate::wire::yaml::suggestion;

/// Deepest nesting of parentheses and of blocks.
const DEPTH_MAX: usize = 32;
/// Variables that are there from the beginning.
const GIVEN: [&str; 4] = ["labels", "value", "externalLabels", "externalURL"];

/// How a list of nodes ended.
#[derive(Debug, Clone, PartialEq)]
enum Stop {
    /// With the text.
    Text,
    End,
    /// `{{ else }}`, or `{{ else if … }}` with what follows `else`, which is yet to be read.
    Else(bool),
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Whether the text that follows loses the space in front.
    trim_left: bool,
    /// Names of the variables in sight, without their `$`.
    variables: Vec<String>,
    /// Loops around.
    loops: usize,
    tree: Tree,
    /// Templates that are called, and where.
    called: Vec<(String, usize)>,
    /// One for each `query`.
    plans: Vec<Plan>,
}

/// The tree, and a plan for each `query` in it.
pub(super) fn parse(text: &str) -> Result<(Tree, Vec<Plan>), TemplateFault> {
    let variables = GIVEN.iter().map(|name| (*name).to_owned()).chain([String::new()]).collect();
    let (tree, called) = (Tree::default(), Vec::new());
    let plans = Vec::new();
    let mut parser =
        Parser { text, at: 0, depth: 0, trim_left: false, variables, loops: 0, tree, called, plans };
    let (body, stop) = parser.nodes()?;
    match stop {
        Stop::Text => {}
        Stop::End => return parser.fault(parser.at, "unexpected {{ end }}"),
        Stop::Else(_) => return parser.fault(parser.at, "unexpected {{ else }}"),
    }
    parser.tree.body = body;
    for (name, at) in std::mem::take(&mut parser.called) {
        if !parser.tree.defined.contains_key(&name) {
            return parser.fault(at, format!("template {name:?} is not defined"));
        }
    }
    Ok((parser.tree, parser.plans))
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fault<T>(&self, offset: usize, message: impl Into<String>) -> Result<T, TemplateFault> {
        Err(TemplateFault { message: message.into(), offset })
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn deeper(&mut self, start: usize) -> Result<(), TemplateFault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.fault(start, format!("it is nested deeper than {DEPTH_MAX}"));
        }
        Ok(())
    }

    /// Text and actions up to an `end`, an `else` or the end of the text.
    fn nodes(&mut self) -> Result<(Vec<Node>, Stop), TemplateFault> {
        let mut nodes = Vec::new();
        loop {
            let length = self.rest().find("{{");
            let literal = &self.rest()[..length.unwrap_or(self.rest().len())];
            self.at += literal.len() + if length.is_some() { 2 } else { 0 };
            let trim_right = length.is_some()
                && self.rest().starts_with('-')
                && self.rest()[1..].starts_with(char::is_whitespace);
            let literal = if self.trim_left { literal.trim_start() } else { literal };
            let literal = if trim_right { literal.trim_end() } else { literal };
            if !literal.is_empty() {
                nodes.push(Node::Text(literal.to_owned()));
            }
            if length.is_none() {
                return Ok((nodes, Stop::Text));
            }
            self.at += usize::from(trim_right);
            if let Some(stop) = self.action(&mut nodes)? {
                return Ok((nodes, stop));
            }
        }
    }

    /// One action; how the list ends, if it ends one.
    fn action(&mut self, nodes: &mut Vec<Node>) -> Result<Option<Stop>, TemplateFault> {
        let opened = self.at;
        self.skip_space();
        if let Some(comment) = self.rest().strip_prefix("/*") {
            let Some(length) = comment.find("*/") else { return self.fault(opened, "unclosed comment") };
            self.at += length + 4;
            self.close()?;
            return Ok(None);
        }
        let start = self.at;
        match self.word() {
            "end" => {
                self.at += 3;
                self.close()?;
                return Ok(Some(Stop::End));
            }
            "else" => {
                self.at += 4;
                self.skip_space();
                let chained = matches!(self.word(), "if" | "with");
                if !chained {
                    self.close()?;
                }
                return Ok(Some(Stop::Else(chained)));
            }
            word @ ("break" | "continue") => {
                if self.loops == 0 {
                    return self.fault(start, format!("{{{{ {word} }}}} outside {{{{ range }}}}"));
                }
                self.at += word.len();
                self.close()?;
                nodes.push(if word == "break" { Node::Break } else { Node::Continue });
            }
            word @ ("if" | "with" | "range") => nodes.push(self.block(word)?),
            word @ ("define" | "block" | "template") => nodes.extend(self.named(word)?),
            _ => {
                let pipeline = self.pipeline(false)?;
                self.close()?;
                nodes.push(Node::Action(pipeline));
            }
        }
        Ok(None)
    }

    /// The word that stands next, not taken.
    fn word(&self) -> &'a str {
        let rest = self.rest();
        &rest[..rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()]
    }

    /// `if`, `with` or `range`, to its `end`.
    fn block(&mut self, word: &str) -> Result<Node, TemplateFault> {
        let start = self.at;
        self.at += word.len();
        self.deeper(start)?;
        let in_sight = self.variables.len();
        let value = self.pipeline(word == "range")?;
        self.close()?;
        let loops = self.loops;
        self.loops += usize::from(word == "range");
        let (then, stop) = self.nodes()?;
        self.loops = loops;
        let or = match stop {
            Stop::End => Vec::new(),
            Stop::Text => return self.fault(start, format!("{{{{ {word} }}}} has no {{{{ end }}}}")),
            Stop::Else(true) if word != "range" => vec![self.block(self.word())?],
            Stop::Else(true) => return self.fault(self.at, "{{ range }} has a plain {{ else }}"),
            Stop::Else(false) => match self.nodes()? {
                (or, Stop::End) => or,
                (_, Stop::Text | Stop::Else(_)) => {
                    return self.fault(start, format!("{{{{ {word} }}}} has no {{{{ end }}}}"));
                }
            },
        };
        self.variables.truncate(in_sight);
        self.depth -= 1;
        Ok(match word {
            "if" => Node::If { condition: value, then, or },
            "with" => Node::With { value, then, or },
            _ => Node::Range { value, each: then, or },
        })
    }

    /// `define`, `block` or `template`.
    fn named(&mut self, word: &str) -> Result<Option<Node>, TemplateFault> {
        let start = self.at;
        self.at += word.len();
        self.skip_space();
        if !self.rest().starts_with(['"', '`']) {
            return self.fault(self.at, format!("{word} wants a name as a string literal"));
        }
        let name = self.string()?;
        self.skip_space();
        let bare = self.rest().starts_with("}}") || self.rest().starts_with("-}}");
        let value = if word == "define" || bare { None } else { Some(self.pipeline(false)?) };
        self.close()?;
        if word != "template" {
            self.deeper(start)?;
            // A template of its own sees no variable but its own dot.
            let outer = std::mem::replace(&mut self.variables, vec![String::new()]);
            let (loops, body) = (std::mem::take(&mut self.loops), self.nodes()?);
            self.variables = outer;
            self.loops = loops;
            self.depth -= 1;
            if body.1 != Stop::End {
                return self.fault(start, format!("{{{{ {word} }}}} has no {{{{ end }}}}"));
            }
            if self.tree.defined.insert(name.clone(), body.0).is_some() {
                return self.fault(start, format!("template {name:?} is defined twice"));
            }
        }
        if word == "define" {
            return Ok(None);
        }
        self.called.push((name.clone(), start));
        Ok(Some(Node::Template { name, value }))
    }

    /// The end of an action.
    fn close(&mut self) -> Result<(), TemplateFault> {
        self.skip_space();
        let spaced = self.text[..self.at].ends_with(char::is_whitespace);
        let trims = spaced && self.rest().starts_with("-}}");
        self.at += usize::from(trims);
        if !self.rest().starts_with("}}") {
            let seen: String = self.rest().chars().take(8).collect();
            return self.fault(self.at, format!("expected }}}} or |, found {seen:?}"));
        }
        self.at += 2;
        self.trim_left = trims;
        Ok(())
    }

    /// Commands between `|`, perhaps set to a variable.
    fn pipeline(&mut self, range: bool) -> Result<Pipeline, TemplateFault> {
        let (variables, assigns) = self.declaration(range)?;
        let mut commands = Vec::new();
        loop {
            let command = self.command(&commands)?;
            commands.push(command);
            self.skip_space();
            if !self.rest().starts_with('|') {
                break;
            }
            self.at += 1;
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, assigns, commands })
    }

    /// `$x :=`, `$x =`, and in a range `$k, $v :=`.
    fn declaration(&mut self, range: bool) -> Result<(Vec<String>, bool), TemplateFault> {
        self.skip_space();
        let start = self.at;
        let mut names = Vec::new();
        while self.rest().starts_with('$') {
            self.at += 1;
            let name = self.word();
            self.at += name.len();
            names.push(name.to_owned());
            self.skip_space();
            if range && names.len() == 1 && self.rest().starts_with(',') {
                self.at += 1;
                self.skip_space();
                continue;
            }
            break;
        }
        let declares = self.rest().starts_with(":=");
        let assigns = self.rest().starts_with('=');
        if names.is_empty() || !(declares || assigns) {
            self.at = start;
            return Ok((Vec::new(), false));
        }
        if let Some(unknown) = names.iter().find(|name| assigns && !self.variables.contains(name)) {
            return self.fault(start, format!("${unknown} is set and not declared: write :="));
        }
        self.at += if declares { 2 } else { 1 };
        Ok((names, assigns))
    }

    /// One operand, or a function with its arguments.
    fn command(&mut self, before: &[Command]) -> Result<Command, TemplateFault> {
        let piped = !before.is_empty();
        self.skip_space();
        let start = self.at;
        let name = self.word();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && !matches!(name, "true" | "false" | "nil");
        if !is_name {
            let operand = self.operand()?;
            if piped {
                return self.fault(start, "only a function can stand behind a |");
            }
            return Ok(Command::Operand(operand));
        }
        self.at += name.len();
        let function = Function::named(name);
        if function.is_none() && name != "query" {
            return self.fault(start, unknown(name));
        }
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            let closing =
                self.rest().starts_with("-}}") && self.text[..self.at].ends_with(char::is_whitespace);
            if closing || self.rest().is_empty() || self.rest().starts_with(['}', '|', ')']) {
                break;
            }
            operands.push(self.operand()?);
        }
        let Some(function) = function else {
            return match query::plan(before, &operands) {
                Ok(plan) => {
                    self.plans.push(plan);
                    Ok(Command::Query(self.plans.len() - 1, operands))
                }
                Err(message) => self.fault(start, message),
            };
        };
        match function.check_arity(operands.len() + usize::from(piped)) {
            Ok(()) => Ok(Command::Call(function, operands)),
            Err(message) => self.fault(start, message),
        }
    }

    fn operand(&mut self) -> Result<Operand, TemplateFault> {
        self.skip_space();
        let start = self.at;
        match self.rest().chars().next() {
            Some('"' | '`') => self.string().map(Operand::Text),
            Some('(') => {
                self.deeper(start)?;
                self.at += 1;
                let inner = self.pipeline(false)?;
                self.skip_space();
                if !self.rest().starts_with(')') {
                    return self.fault(start, "unclosed parenthesis");
                }
                self.at += 1;
                self.depth -= 1;
                let fields = self.fields();
                Ok(Operand::Pipeline(Box::new(inner), fields))
            }
            Some('$') => self.variable(),
            Some('.') if !self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let fields = self.fields();
                self.at += usize::from(fields.is_empty());
                Ok(Operand::Dot(fields))
            }
            Some('0'..='9' | '.' | '+' | '-' | '\'') => self.number(),
            Some('}') => self.fault(start, "an action is empty"),
            Some(_) => self.named_operand(),
            None => self.fault(start, "an action is not closed by }}"),
        }
    }

    /// `true`, `false`, `nil`, or a function without arguments among those of another.
    fn named_operand(&mut self) -> Result<Operand, TemplateFault> {
        let start = self.at;
        let word = self.word();
        self.at += word.len();
        match word {
            "true" | "false" => Ok(Operand::Bool(word == "true")),
            "nil" => Ok(Operand::Nothing),
            "" => {
                let length = self.rest().find(|c: char| c.is_whitespace() || "|)}".contains(c));
                self.fault(start, unknown(&self.rest()[..length.unwrap_or(self.rest().len())]))
            }
            word => match Function::named(word) {
                Some(function) => match function.check_arity(0) {
                    Ok(()) => {
                        let commands = vec![Command::Call(function, Vec::new())];
                        let inner = Pipeline { variables: Vec::new(), assigns: false, commands };
                        Ok(Operand::Pipeline(Box::new(inner), Vec::new()))
                    }
                    Err(message) => self.fault(start, message),
                },
                None => self.fault(start, unknown(word)),
            },
        }
    }

    /// `.a.b`.
    fn fields(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while let Some(rest) = self.rest().strip_prefix('.') {
            let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            if length == 0 {
                break;
            }
            fields.push(rest[..length].to_owned());
            self.at += 1 + length;
        }
        fields
    }

    fn variable(&mut self) -> Result<Operand, TemplateFault> {
        let start = self.at;
        self.at += 1;
        let name = self.word();
        self.at += name.len();
        if !self.variables.iter().any(|variable| variable == name) {
            let near =
                suggestion(name, self.variables.iter().map(String::as_str).filter(|name| !name.is_empty()));
            let hint = near.map(|near| format!("; did you mean ${near}?")).unwrap_or_default();
            return self.fault(start, format!("undefined variable \"${name}\"{hint}"));
        }
        Ok(Operand::Variable(name.to_owned(), self.fields()))
    }

    fn number(&mut self) -> Result<Operand, TemplateFault> {
        let start = self.at;
        if let Some(rest) = self.rest().strip_prefix('\'') {
            let mut chars = rest.chars();
            let (Some(c), Some('\'')) = (chars.next(), chars.next()) else {
                return self.fault(start, "a character stands between two quotes");
            };
            self.at += 2 + c.len_utf8();
            return Ok(Operand::Int(u32::from(c).into()));
        }
        let length = self.rest().find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c)));
        let word = &self.rest()[..length.unwrap_or(self.rest().len())];
        self.at += word.len();
        let digits = word.replace('_', "");
        let hex = digits.strip_prefix("0x").and_then(|digits| i64::from_str_radix(digits, 16).ok());
        if let Some(value) = hex.or_else(|| digits.parse().ok()) {
            return Ok(Operand::Int(value));
        }
        match digits.parse() {
            Ok(value) => Ok(Operand::Number(value)),
            Err(_) => self.fault(start, format!("bad number syntax: {word:?}")),
        }
    }

    /// A string literal, quoted or raw.
    fn string(&mut self) -> Result<String, TemplateFault> {
        let start = self.at;
        let mut out = String::new();
        let raw = self.rest().starts_with('`');
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' if !raw => return Ok(self.closed(at, out)),
                '`' if raw => return Ok(self.closed(at, out)),
                '\n' if !raw => break,
                '\\' if !raw => match chars.next().map(|(_, escaped)| escaped) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(c @ ('"' | '\\')) => out.push(c),
                    Some(c) => {
                        return self.fault(start + at, format!("\\{c} is not supported in a string literal"));
                    }
                    None => break,
                },
                c => out.push(c),
            }
        }
        self.fault(start, "a string literal is not closed")
    }

    fn closed(&mut self, length: usize, text: String) -> String {
        self.at += length + 1;
        text
    }
}

/// What is wrong with the name of a function.
fn unknown(word: &str) -> String {
    if let Some((_, why)) = REFUSED.iter().find(|(name, _)| *name == word) {
        return format!("{word:?} is not supported in a template: {why}");
    }
    let near = suggestion(word, FUNCTIONS.iter().map(|function| function.name));
    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("function {word:?} not defined{hint}")
}
