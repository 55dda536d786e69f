//! Text to a template: literal text and actions between `{{` and `}}`.

use super::function::{self, Function, NAMES};
use super::{Expression, Part, Template, TemplateFault};
use crate::wire::yaml::suggestion;

/// Deepest nesting of parentheses.
const DEPTH_MAX: usize = 8;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

pub(super) fn parse(text: &str) -> Result<Template, TemplateFault> {
    let mut parser = Parser { text, at: 0 };
    let mut parts = Vec::new();
    let mut trim_left = false;
    while let Some(length) = parser.rest().find("{{") {
        let literal = &parser.rest()[..length];
        parser.at += length + 2;
        let trim_right =
            parser.rest().starts_with('-') && parser.rest()[1..].starts_with(char::is_whitespace);
        parser.at += usize::from(trim_right);
        push_text(&mut parts, trimmed(literal, trim_left, trim_right));
        if let Some(expression) = parser.action()? {
            parts.push(Part::Action(expression));
        }
        trim_left = parser.close()?;
    }
    push_text(&mut parts, trimmed(parser.rest(), trim_left, false));
    Ok(Template { parts })
}

fn trimmed(text: &str, left: bool, right: bool) -> &str {
    let text = if left { text.trim_start() } else { text };
    if right { text.trim_end() } else { text }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
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

    /// A pipeline, or none for a comment.
    fn action(&mut self) -> Result<Option<Expression>, TemplateFault> {
        let opened = self.at;
        self.skip_space();
        if let Some(comment) = self.rest().strip_prefix("/*") {
            let Some(length) = comment.find("*/") else { return self.fault(opened, "unclosed comment") };
            self.at += length + 4;
            return Ok(None);
        }
        self.pipeline(0).map(Some)
    }

    /// The end of an action; true if it trims the text behind it.
    fn close(&mut self) -> Result<bool, TemplateFault> {
        self.skip_space();
        let spaced = self.text[..self.at].ends_with(char::is_whitespace);
        let trims = spaced && self.rest().starts_with("-}}");
        self.at += usize::from(trims);
        if !self.rest().starts_with("}}") {
            let seen: String = self.rest().chars().take(8).collect();
            return self.fault(self.at, format!("expected }}}} or |, found {seen:?}"));
        }
        self.at += 2;
        Ok(trims)
    }

    fn pipeline(&mut self, depth: usize) -> Result<Expression, TemplateFault> {
        let mut result = self.command(depth, None)?;
        loop {
            self.skip_space();
            if !self.rest().starts_with('|') {
                return Ok(result);
            }
            self.at += 1;
            result = self.command(depth, Some(result))?;
        }
    }

    /// One operand, or a function with its arguments, the piped one last.
    fn command(&mut self, depth: usize, piped: Option<Expression>) -> Result<Expression, TemplateFault> {
        self.skip_space();
        let start = self.at;
        let name_length = self.rest().bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        if name_length == 0 {
            let operand = self.operand(depth)?;
            if piped.is_some() {
                return self.fault(start, "only a function can stand behind a |");
            }
            return Ok(operand);
        }
        let name = &self.rest()[..name_length];
        self.at += name_length;
        let function = match name {
            "printf" => Function::Printf(self.format(piped.is_some())?),
            name => match Function::named(name) {
                Some(function) => function,
                None => return self.fault(start, unsupported(name)),
            },
        };
        let mut arguments = Vec::new();
        loop {
            self.skip_space();
            if self.rest().is_empty() || self.rest().starts_with(['}', '|', ')', '-']) {
                break;
            }
            arguments.push(self.operand(depth)?);
        }
        arguments.extend(piped);
        let (wanted, seen) = (function.arity(), arguments.len());
        if wanted != seen {
            let plural = if wanted == 1 { "" } else { "s" };
            return self.fault(start, format!("{name} wants {wanted} argument{plural} here, it has {seen}"));
        }
        Ok(Expression::Call(function, arguments))
    }

    /// The format of `printf`: a literal, so that it is checked now and not when the page goes out.
    fn format(&mut self, piped: bool) -> Result<Vec<function::Piece>, TemplateFault> {
        self.skip_space();
        let start = self.at;
        if !self.rest().starts_with(['"', '`']) {
            let what = if piped { "; the piped value is its last argument" } else { "" };
            return self.fault(start, format!("printf wants its format as a string literal{what}"));
        }
        let text = self.string()?;
        function::format(&text).or_else(|message| self.fault(start, format!("printf: {message}")))
    }

    fn operand(&mut self, depth: usize) -> Result<Expression, TemplateFault> {
        self.skip_space();
        let start = self.at;
        match self.rest().chars().next() {
            Some('"' | '`') => self.string().map(Expression::Literal),
            Some('(') if depth == DEPTH_MAX => {
                self.fault(start, format!("parentheses are nested deeper than {DEPTH_MAX}"))
            }
            Some('(') => {
                self.at += 1;
                let inner = self.pipeline(depth + 1)?;
                self.skip_space();
                if !self.rest().starts_with(')') {
                    return self.fault(start, "unclosed parenthesis");
                }
                self.at += 1;
                Ok(inner)
            }
            Some('$' | '.') => self.variable(),
            Some('}') => self.fault(start, "an action is empty"),
            Some(_) => {
                let length = self.rest().find(|c: char| c.is_whitespace() || "|)}".contains(c));
                let word = &self.rest()[..length.unwrap_or(self.rest().len())];
                self.fault(start, unsupported(word))
            }
            None => self.fault(start, "an action is not closed by }}"),
        }
    }

    fn variable(&mut self) -> Result<Expression, TemplateFault> {
        let start = self.at;
        let length = self.rest()[1..]
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .map_or(self.rest().len(), |length| length + 1);
        let word = &self.rest()[..length];
        self.at += length;
        let (root, field) = match word[1..].split_once('.') {
            Some((root, field)) => (&word[..=root.len()], Some(field)),
            None => (word, None),
        };
        match (root, field) {
            ("$value" | ".Value", None) => Ok(Expression::Value),
            ("$labels" | ".Labels", None) => Ok(Expression::Labels),
            ("$externalLabels" | ".ExternalLabels", None) => Ok(Expression::NoLabels),
            ("$labels" | ".Labels", Some(name)) if !name.is_empty() && !name.contains('.') => {
                Ok(Expression::Label(name.to_owned()))
            }
            ("$externalLabels" | ".ExternalLabels", Some(name))
                if !name.is_empty() && !name.contains('.') =>
            {
                Ok(Expression::Literal(String::new()))
            }
            _ => {
                let near = suggestion(root, ["$labels", "$value", ".Labels", ".Value"]);
                let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                self.fault(
                    start,
                    format!("{word} is not supported; there are $labels, $labels.<name> and $value{hint}"),
                )
            }
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

fn unsupported(word: &str) -> String {
    let near = suggestion(word, NAMES).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("{word:?} is not supported in a template; supported are {}{near}", NAMES.join(" "))
}
