//! Selectors and lists of labels: `name{label="value", "utf-8 label"=~"…"}`, `{"metric name"}`, `by (a, "b.c")`.

use super::super::fault::PlanFault;
use super::lexer::{Lexeme, Token};
use super::literal;
use super::parser::Parser;
use super::tree::*;
use crate::wire::labels::METRIC_NAME;

impl Parser<'_> {
    /// `(a, "b.c")`; a comma may stand at the end.
    pub(super) fn label_names(&mut self) -> Result<Vec<String>, PlanFault> {
        self.expect("(", "a list of labels")?;
        let mut names = Vec::new();
        while !self.take(")") {
            if !names.is_empty() {
                self.expect(",", "a list of labels")?;
                if self.take(")") {
                    break;
                }
            }
            names.push(self.label_name()?);
        }
        Ok(names)
    }

    /// The name of a label, perhaps quoted.
    fn label_name(&mut self) -> Result<String, PlanFault> {
        let start = self.here();
        let token = self.peek().clone();
        if let Token::Text(bytes) = token {
            self.next();
            return self.utf8(&bytes, start, "label name");
        }
        let Token::Word(name) = token else { return Err(self.unexpected("a label")) };
        if name.contains(':') {
            return Err(self.unexpected("a label"));
        }
        self.next();
        Ok(name)
    }

    fn utf8(&self, bytes: &[u8], at: usize, what: &str) -> Result<String, PlanFault> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(self.fault(at, format!("invalid {what} {}", literal::quoted(bytes)))),
        }
    }

    /// A selector; its name, if it has one in front, is taken.
    pub(super) fn selector(&mut self, start: usize, name: Option<&str>) -> Result<Expr, PlanFault> {
        let mut matchers = Vec::new();
        let mut named = name.is_some();
        if let Some(name) = name {
            matchers.push(named_by(name.to_owned(), self.place(start)));
        }
        if self.take("{") {
            let mut first = true;
            while !self.take("}") {
                if !first {
                    self.expect(",", "label matching")?;
                    if self.take("}") {
                        break;
                    }
                }
                first = false;
                let matcher = self.matcher(&mut named)?;
                matchers.push(matcher);
            }
        }
        // `{__name__="a", __name__!="b"}` is fine: neither sets the name for good.
        let mut set = matchers.iter().filter(|matcher| matcher.name == METRIC_NAME);
        if let Some(second) = set.nth(1).filter(|_| named) {
            return Err(self.fault(second.place.start, "metric name must not be set twice"));
        }
        let selector = SelectorExpr { matchers, range_ms: None, when: When::default(), edges: Edges::Plain };
        self.node(Kind::Selector(selector), start, 0)
    }

    /// `name op "value"`, or `"metric name"`.
    fn matcher(&mut self, named: &mut bool) -> Result<MatcherExpr, PlanFault> {
        let start = self.here();
        let quoted = matches!(self.peek(), Token::Text(_));
        let name = self.matcher_name()?;
        if quoted && matches!(self.peek(), Token::Symbol("," | "}")) {
            *named = true;
            return Ok(named_by(name, self.place(start)));
        }
        let Some(operator) = ["=", "!=", "=~", "!~"].into_iter().find(|operator| self.take(operator)) else {
            return Err(self.unexpected("a label matching operator: = != =~ !~"));
        };
        let at = self.here();
        let Token::Text(bytes) = self.peek().clone() else { return Err(self.unexpected("a string")) };
        self.next();
        let value = String::from_utf8(bytes).map_err(|_| self.fault(at, "the value of a label is UTF-8"))?;
        Ok(MatcherExpr { name, operator, value, place: self.place(start) })
    }

    /// Labels may be called `inf` and `nan`, too.
    fn matcher_name(&mut self) -> Result<String, PlanFault> {
        if matches!(self.peek(), Token::Number(value) if !value.is_finite()) {
            let Lexeme { start, end, .. } = self.lexemes[self.at];
            self.next();
            return Ok(self.text[start..end].to_owned());
        }
        self.label_name()
    }
}

/// `__name__="name"`.
fn named_by(name: String, place: Place) -> MatcherExpr {
    MatcherExpr { name: METRIC_NAME.to_owned(), operator: "=", value: name, place }
}
