//! Tokens to a tree. A parser by recursive descent, with the precedence of operators as a number:
//!
//! ```text
//!  1 or · 2 and unless · 3 == != < <= > >= · 4 + - · 5 * / % atan2, and a sign · 6 ^ (from the right)
//! ```

use super::super::Settings;
use super::super::fault::PlanFault;
use super::super::functions::{AGGREGATIONS, Aggregation, FUNCTIONS, NATIVE, OPERATORS, Operator, named};
use super::lexer::{Lexeme, Token, lex};
use super::tree::*;
use super::types;
use super::{EXPR_BYTES_MAX, HEIGHT_MAX, NESTING_MAX};
use crate::wire::yaml::suggestion;

/// How tight a sign binds: as `*`, so that `-1 ^ 2` is -1.
const SIGN: u8 = 5;
/// How tight `^` binds; it groups from the right.
const POWER: u8 = 6;
/// Words that are never the name of a metric.
const RESERVED: [&str; 5] = ["bool", "on", "ignoring", "group_left", "group_right"];

/// The state of a descent.
pub(super) struct Parser<'t> {
    pub(super) text: &'t str,
    pub(super) lexemes: Vec<Lexeme>,
    pub(super) at: usize,
    depth: usize,
    pub(super) settings: Settings,
}

/// Reads and checks an expression.
pub(in super::super) fn parse(text: &str, settings: Settings) -> Result<Expr, PlanFault> {
    if text.len() > EXPR_BYTES_MAX {
        return Err(PlanFault::TooLong { bytes: text.len(), max: EXPR_BYTES_MAX });
    }
    let mut parser = Parser { text, lexemes: lex(text)?, at: 0, depth: 0, settings };
    if *parser.peek() == Token::End {
        return Err(parser.fault(0, "no expression found in input"));
    }
    let expr = parser.expression(0)?;
    let done = *parser.peek() == Token::End;
    if done { Ok(expr) } else { Err(parser.unexpected("an operator or the end")) }
}

impl Parser<'_> {
    /// Where the next token stands.
    pub(super) fn here(&self) -> usize {
        self.lexemes[self.at].start
    }

    pub(super) fn peek(&self) -> &Token {
        &self.lexemes[self.at].token
    }

    /// The one behind the next.
    fn peek_second(&self) -> &Token {
        &self.lexemes[(self.at + 1).min(self.lexemes.len() - 1)].token
    }

    /// Takes the next token. The last, `End`, can be taken as often as one likes.
    pub(super) fn next(&mut self) -> Token {
        let token = self.lexemes[self.at].token.clone();
        self.at = (self.at + 1).min(self.lexemes.len() - 1);
        token
    }

    /// Takes a symbol if it is the next token.
    pub(super) fn take(&mut self, symbol: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Symbol(next) if *next == symbol);
        if is_next {
            self.next();
        }
        is_next
    }

    /// Takes a word, in any case, if it is the next token.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Word(next) if next.eq_ignore_ascii_case(word));
        if is_next {
            self.next();
        }
        is_next
    }

    /// Takes a symbol that must stand here.
    pub(super) fn expect(&mut self, symbol: &str, context: &str) -> Result<(), PlanFault> {
        if self.take(symbol) { Ok(()) } else { Err(self.unexpected(&format!("{symbol:?} in {context}"))) }
    }

    pub(super) fn characters(&self, at: usize) -> usize {
        self.text[..at].chars().count()
    }

    pub(super) fn fault(&self, at: usize, detail: impl Into<String>) -> PlanFault {
        PlanFault::syntax(self.text, at, detail)
    }

    pub(super) fn unexpected(&self, wanted: &str) -> PlanFault {
        let Lexeme { token, start, end } = &self.lexemes[self.at];
        let text = &self.text[*start..*end];
        let seen = if *token == Token::End { "the end".to_owned() } else { format!("{text:?}") };
        self.fault(*start, format!("unexpected {seen}, expected {wanted}"))
    }

    /// The part of the text from `start` to the last token taken.
    pub(super) fn place(&self, start: usize) -> Place {
        Place { start, end: self.lexemes[self.at.saturating_sub(1)].end.max(start) }
    }

    /// Goes a level down, unless that is one too many.
    pub(super) fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, PlanFault>,
    ) -> Result<T, PlanFault> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(PlanFault::TooDeep { depth: self.depth, max: NESTING_MAX });
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// A node, checked, unless the tree grows too high with it.
    pub(super) fn node(&self, kind: Kind, start: usize, below: usize) -> Result<Expr, PlanFault> {
        let expr = Expr::over(kind, self.place(start), below);
        if expr.height > HEIGHT_MAX {
            return Err(PlanFault::TooDeep { depth: expr.height, max: HEIGHT_MAX });
        }
        types::check(&expr).map_err(|(place, detail)| self.fault(place.start, detail))?;
        Ok(expr)
    }

    /// An expression of operators that bind tighter than `floor`.
    fn expression(&mut self, floor: u8) -> Result<Expr, PlanFault> {
        self.deeper(|parser| {
            let start = parser.here();
            let mut left = parser.signed()?;
            while let Some((symbol, operator, binding)) = parser.operator().filter(|(_, _, b)| *b > floor) {
                parser.next();
                let modifiers = parser.modifiers()?;
                let right = parser.expression(if binding == POWER { POWER - 1 } else { binding })?;
                let below = left.height.max(right.height);
                let binary = Binary { operator, symbol, modifiers, left, right };
                left = parser.node(Kind::Binary(Box::new(binary)), start, below)?;
            }
            parser.check_operator()?;
            Ok(left)
        })
    }

    fn operator(&self) -> Option<(&'static str, Operator, u8)> {
        let name = match self.peek() {
            Token::Symbol(symbol) => (*symbol).to_owned(),
            Token::Word(word) => word.to_ascii_lowercase(),
            Token::Number(_) | Token::Duration(_) | Token::Text(_) | Token::End => return None,
        };
        named(&OPERATORS, &name, |operator| operator.0).copied()
    }

    /// Refuses the operators that cut a native histogram off.
    fn check_operator(&self) -> Result<(), PlanFault> {
        match self.peek() {
            Token::Symbol(symbol @ ("</" | ">/")) => Err(PlanFault::Unsupported {
                what: format!("operator {symbol}"),
                why: NATIVE,
                offset: self.characters(self.here()),
            }),
            Token::Symbol(_)
            | Token::Word(_)
            | Token::Number(_)
            | Token::Duration(_)
            | Token::Text(_)
            | Token::End => Ok(()),
        }
    }

    /// A sign, and what it applies to: all that binds tighter than a product.
    fn signed(&mut self) -> Result<Expr, PlanFault> {
        let start = self.here();
        let negative = self.take("-");
        if !negative && !self.take("+") {
            return self.postfixed();
        }
        let operand = self.expression(SIGN)?;
        if !matches!(operand.of_type(), Type::Scalar | Type::Vector) {
            let got = operand.of_type().name();
            let detail = format!(
                "unary expression only allowed on expressions of type scalar or instant vector, got {got}"
            );
            return Err(self.fault(start, detail));
        }
        if !negative {
            return Ok(Expr { place: self.place(start), ..operand });
        }
        if let Kind::Number(value) = operand.kind {
            return self.node(Kind::Number(-value), start, 0);
        }
        let below = operand.height;
        self.node(Kind::Negate(Box::new(operand)), start, below)
    }

    pub(super) fn operand(&mut self) -> Result<Expr, PlanFault> {
        let start = self.here();
        match self.peek().clone() {
            Token::Number(value) => {
                self.next();
                self.node(Kind::Number(value), start, 0)
            }
            Token::Duration(ms) => {
                self.next();
                self.node(Kind::Number(ms as f64 / 1000.0), start, 0)
            }
            Token::Text(bytes) => {
                self.next();
                self.node(Kind::Text(bytes), start, 0)
            }
            Token::Symbol("(") => {
                self.next();
                let inner = self.expression(0)?;
                self.expect(")", "parentheses")?;
                let below = inner.height;
                self.node(Kind::Paren(Box::new(inner)), start, below)
            }
            Token::Symbol("{") => self.selector(start, None),
            Token::Word(word) => self.named(start, &word),
            Token::Symbol(_) | Token::End => Err(self.unexpected("an expression")),
        }
    }

    /// An aggregation, a call, or a selector, by the word that begins it.
    fn named(&mut self, start: usize, word: &str) -> Result<Expr, PlanFault> {
        let lower = word.to_ascii_lowercase();
        let opens = matches!(self.peek_second(), Token::Symbol("("));
        let groups = matches!(self.peek_second(), Token::Word(next)
            if next.eq_ignore_ascii_case("by") || next.eq_ignore_ascii_case("without"));
        if let Some((_, aggregation)) =
            named(&AGGREGATIONS, &lower, |known| known.0).filter(|_| opens || groups)
        {
            self.next();
            return self.aggregate(start, *aggregation);
        }
        if opens {
            return self.call(start, word);
        }
        if RESERVED.contains(&lower.as_str()) {
            return Err(self.unexpected("an expression"));
        }
        self.next();
        self.selector(start, Some(word))
    }

    fn call(&mut self, start: usize, name: &str) -> Result<Expr, PlanFault> {
        let Some(function) = named(&FUNCTIONS, name, |function| function.name) else {
            let known = FUNCTIONS.iter().map(|function| function.name);
            let near = suggestion(name, known.chain(AGGREGATIONS.iter().map(|aggregation| aggregation.0)));
            return Err(PlanFault::UnknownFunction {
                name: name.to_owned(),
                offset: self.characters(start),
                near: near.map(str::to_owned),
            });
        };
        self.next();
        let arguments = self.arguments()?;
        let below = arguments.iter().map(|argument| argument.height).max().unwrap_or(0);
        self.node(Kind::Call(function, arguments), start, below)
    }

    /// `(a, b)`.
    fn arguments(&mut self) -> Result<Vec<Expr>, PlanFault> {
        self.expect("(", "a call")?;
        let mut arguments = Vec::new();
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(0)?);
            if self.take(")") {
                return Ok(arguments);
            }
            self.expect(",", "the arguments of a call")?;
        }
    }

    fn aggregate(&mut self, start: usize, aggregation: Aggregation) -> Result<Expr, PlanFault> {
        let before = self.aggregate_grouping()?;
        let opened = self.here();
        let mut arguments = self.arguments()?;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => self.aggregate_grouping()?,
        };
        let wanted = if aggregation.takes_parameter() { 2 } else { 1 };
        if arguments.len() != wanted {
            let got = arguments.len();
            let detail = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"
            );
            return Err(self.fault(opened, detail));
        }
        let Some(vector) = arguments.pop() else {
            return Err(self.fault(opened, "an aggregation of nothing"));
        };
        let parameter = arguments.pop();
        let below = vector.height.max(parameter.as_ref().map_or(0, |parameter| parameter.height));
        let grouping = grouping.unwrap_or(Grouping::By(Vec::new()));
        let aggregate = Aggregate { aggregation, grouping, parameter, vector };
        self.node(Kind::Aggregate(Box::new(aggregate)), start, below)
    }

    fn aggregate_grouping(&mut self) -> Result<Option<Grouping>, PlanFault> {
        if self.take_word("by") {
            return self.label_names().map(Grouping::By).map(Some);
        }
        if self.take_word("without") {
            return self.label_names().map(Grouping::Without).map(Some);
        }
        Ok(None)
    }

    /// `bool`, `on` and `ignoring`, `group_left` and `group_right`, `fill`.
    fn modifiers(&mut self) -> Result<Modifiers, PlanFault> {
        let start = self.here();
        let mut modifiers = Modifiers { returns_bool: self.take_word("bool"), ..Modifiers::default() };
        if self.take_word("on") {
            modifiers.matching = Some(Grouping::By(self.label_names()?));
        } else if self.take_word("ignoring") {
            modifiers.matching = Some(Grouping::Without(self.label_names()?));
        }
        for (word, group) in [("group_left", Group::Left as fn(_) -> _), ("group_right", Group::Right)] {
            let at = self.here();
            if self.take_word(word) {
                if modifiers.matching.is_none() {
                    return Err(
                        self.fault(at, format!("unexpected <{word}>: it stands behind on() or ignoring()"))
                    );
                }
                let opens = matches!(self.peek(), Token::Symbol("("));
                modifiers.group = Some(group(if opens { self.label_names()? } else { Vec::new() }));
                break;
            }
        }
        while matches!(self.peek_second(), Token::Symbol("(")) {
            if self.take_word("fill") {
                modifiers.fill_left = Some(self.fill()?);
                modifiers.fill_right = modifiers.fill_left;
            } else if self.take_word("fill_left") {
                modifiers.fill_left = Some(self.fill()?);
            } else if self.take_word("fill_right") {
                modifiers.fill_right = Some(self.fill()?);
            } else {
                break;
            }
        }
        modifiers.place = self.place(start);
        Ok(modifiers)
    }

    fn fill(&mut self) -> Result<f64, PlanFault> {
        self.expect("(", "fill")?;
        let negative = self.take("-");
        _ = !negative && self.take("+");
        let Token::Number(value) = *self.peek() else { return Err(self.unexpected("a number")) };
        self.next();
        self.expect(")", "fill")?;
        Ok(if negative { -value } else { value })
    }
}
