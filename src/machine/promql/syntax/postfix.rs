//! What stands behind an operand: `[range]`, `[range:step]`, `offset`, `@`, `anchored`, `smoothed`.

use super::super::fault::PlanFault;
use super::lexer::Token;
use super::parser::Parser;
use super::tree::*;

impl Parser<'_> {
    /// An operand with its ranges, offsets and times.
    pub(super) fn postfixed(&mut self) -> Result<Expr, PlanFault> {
        let start = self.here();
        let mut expr = self.operand()?;
        loop {
            let at = self.here();
            if self.take("[") {
                expr = self.ranged(expr, start)?;
            } else if self.take("@") {
                let time = self.at_time()?;
                match expr.when() {
                    Some(when) if when.at.is_none() => when.at = Some(time),
                    Some(_) => return Err(self.fault(at, "@ <timestamp> may not be set multiple times")),
                    None => {
                        return Err(self.fault(at, "@ modifier must be preceded by a selector or a subquery"));
                    }
                }
            } else if self.take_word("offset") {
                let offset_ms = self.offset_ms()?;
                match expr.when() {
                    Some(when) if when.offset_ms.is_none() => when.offset_ms = Some(offset_ms),
                    Some(_) => return Err(self.fault(at, "offset may not be set multiple times")),
                    None => {
                        return Err(
                            self.fault(at, "offset modifier must be preceded by a selector or a subquery")
                        );
                    }
                }
            } else if let Some(edges) = self.edges(&expr) {
                self.next();
                self.set_edges(&mut expr, edges, at)?;
            } else {
                return Ok(expr);
            }
            expr.place = self.place(start);
        }
    }

    /// `anchored` or `smoothed`, where it stands next.
    fn edges(&self, expr: &Expr) -> Option<Edges> {
        let Token::Word(word) = self.peek() else { return None };
        if !matches!(expr.kind, Kind::Selector(_)) {
            return None;
        }
        match word.to_ascii_lowercase().as_str() {
            "anchored" => Some(Edges::Anchored),
            "smoothed" => Some(Edges::Smoothed),
            _ => None,
        }
    }

    fn set_edges(&self, expr: &mut Expr, edges: Edges, at: usize) -> Result<(), PlanFault> {
        let Kind::Selector(selector) = &mut expr.kind else { return Ok(()) };
        if selector.edges != Edges::Plain {
            return Err(self.fault(at, "anchored and smoothed may not be set together or twice"));
        }
        if edges == Edges::Anchored && selector.range_ms.is_none() {
            return Err(self.fault(at, "anchored modifier can only be used with range selectors"));
        }
        selector.edges = edges;
        Ok(())
    }

    /// `[range]` or `[range:step]`; the bracket is taken.
    fn ranged(&mut self, expr: Expr, start: usize) -> Result<Expr, PlanFault> {
        let at = self.here();
        let range_ms = self.range_ms()?;
        if self.take(":") {
            let step_ms =
                if matches!(self.peek(), Token::Symbol("]")) { None } else { Some(self.range_ms()?) };
            self.expect("]", "a subquery")?;
            let below = expr.height;
            let subquery = Subquery { inner: expr, range_ms, step_ms, when: When::default() };
            return self.node(Kind::Subquery(Box::new(subquery)), start, below);
        }
        self.expect("]", "a range")?;
        let Kind::Selector(selector) = expr.kind else {
            return Err(self.fault(at, "ranges only allowed for vector selectors"));
        };
        if selector.range_ms.is_some() {
            return Err(self.fault(at, "ranges only allowed for vector selectors"));
        }
        if selector.when.offset_ms.is_some() || selector.edges != Edges::Plain {
            return Err(self.fault(at, "no offset modifiers allowed before range"));
        }
        if selector.when.at.is_some() {
            return Err(self.fault(at, "no @ modifiers allowed before range"));
        }
        self.node(Kind::Selector(SelectorExpr { range_ms: Some(range_ms), ..selector }), start, 0)
    }

    fn at_time(&mut self) -> Result<At, PlanFault> {
        let start = self.here();
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.take_word(word) {
                self.expect("(", word)?;
                self.expect(")", word)?;
                return Ok(at);
            }
        }
        let negative = self.take("-");
        _ = !negative && self.take("+");
        let seconds = match self.next() {
            Token::Number(seconds) => seconds,
            Token::Duration(ms) => ms as f64 / 1000.0,
            Token::Word(_) | Token::Text(_) | Token::Symbol(_) | Token::End => {
                return Err(
                    self.fault(start, "expected a time behind @: seconds since the epoch, start() or end()")
                );
            }
        };
        let ms = (if negative { -seconds } else { seconds } * 1000.0).round();
        // Far from where times and ranges could overflow together.
        if ms.is_nan() || ms.abs() >= 1e17 {
            return Err(self.fault(start, format!("timestamp out of bounds for @ modifier: {seconds}")));
        }
        #[allow(clippy::cast_possible_truncation, reason = "a whole number below the bound")]
        Ok(At::Time(ms as i64))
    }
}

impl Expr {
    /// Its `offset` and `@`, if it may have some.
    fn when(&mut self) -> Option<&mut When> {
        match &mut self.kind {
            Kind::Selector(selector) => Some(&mut selector.when),
            Kind::Subquery(subquery) => Some(&mut subquery.when),
            Kind::Number(_)
            | Kind::Text(_)
            | Kind::Paren(_)
            | Kind::Negate(_)
            | Kind::Call(..)
            | Kind::Aggregate(_)
            | Kind::Binary(_) => None,
        }
    }
}
