//! Durations inside of brackets and behind `offset`, and arithmetic on them: `[5m]`, `[2 * 5m]`, `[step() + 1m]`,
//! `offset -(1h / 2)`. Numbers are seconds. The result is folded at once: a rule's step and range are known when it is
//! read.

use super::super::fault::PlanFault;
use super::DURATION_MS_MAX;
use super::lexer::Token;
use super::parser::Parser;

impl Parser<'_> {
    /// A duration between brackets, milliseconds; above 0.
    pub(super) fn range_ms(&mut self) -> Result<i64, PlanFault> {
        let start = self.here();
        let ms = self.bounded(start, Self::duration_sum)?;
        if ms <= 0 {
            return Err(self.fault(start, "duration must be greater than 0"));
        }
        Ok(ms)
    }

    /// A duration behind `offset`, milliseconds. What is more than a number with its sign stands in parentheses.
    pub(super) fn offset_ms(&mut self) -> Result<i64, PlanFault> {
        let start = self.here();
        self.bounded(start, Self::duration_signed)
    }

    fn bounded(
        &mut self,
        start: usize,
        read: fn(&mut Self) -> Result<f64, PlanFault>,
    ) -> Result<i64, PlanFault> {
        let ms = (read(self)? * 1000.0).round();
        if ms.is_nan() {
            return Err(self.fault(start, "a duration is a number"));
        }
        if ms.abs() > DURATION_MS_MAX as f64 {
            return Err(PlanFault::TooFar { max: DURATION_MS_MAX, offset: self.characters(start) });
        }
        #[allow(clippy::cast_possible_truncation, reason = "a whole number below the bound")]
        Ok(ms as i64)
    }

    /// Seconds.
    fn duration_sum(&mut self) -> Result<f64, PlanFault> {
        let mut value = self.duration_product()?;
        loop {
            if self.take("+") {
                value += self.duration_product()?;
            } else if self.take("-") {
                value -= self.duration_product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn duration_product(&mut self) -> Result<f64, PlanFault> {
        let mut value = self.duration_signed_power()?;
        loop {
            let start = self.here();
            if self.take("*") {
                value *= self.duration_signed_power()?;
            } else if self.take("/") {
                let by = self.duration_signed_power()?;
                if by == 0.0 {
                    return Err(self.fault(start, "division by zero"));
                }
                value /= by;
            } else if self.take("%") {
                let by = self.duration_signed_power()?;
                if by == 0.0 {
                    return Err(self.fault(start, "modulo by zero"));
                }
                value = libm::fmod(value, by);
            } else {
                return Ok(value);
            }
        }
    }

    /// A sign binds less than `^`.
    fn duration_signed_power(&mut self) -> Result<f64, PlanFault> {
        if self.take("-") {
            return Ok(-self.deeper(Self::duration_signed_power)?);
        }
        if self.take("+") {
            return self.deeper(Self::duration_signed_power);
        }
        let base = self.duration_primary()?;
        if self.take("^") { Ok(libm::pow(base, self.deeper(Self::duration_signed_power)?)) } else { Ok(base) }
    }

    fn duration_signed(&mut self) -> Result<f64, PlanFault> {
        if self.take("-") {
            return Ok(-self.duration_primary()?);
        }
        _ = self.take("+");
        self.duration_primary()
    }

    fn duration_primary(&mut self) -> Result<f64, PlanFault> {
        let start = self.here();
        match self.next() {
            Token::Number(seconds) => Ok(seconds),
            Token::Duration(ms) => Ok(ms as f64 / 1000.0),
            Token::Symbol("(") => {
                let inner = self.deeper(Self::duration_sum)?;
                self.expect(")", "a duration")?;
                Ok(inner)
            }
            Token::Word(word) => self.duration_call(start, &word.to_ascii_lowercase()),
            Token::Text(_) | Token::Symbol(_) | Token::End => {
                Err(self.fault(start, "expected a duration, as in 5m or 300"))
            }
        }
    }

    fn duration_call(&mut self, start: usize, name: &str) -> Result<f64, PlanFault> {
        let ms = match name {
            "step" => self.settings.step_ms,
            "range" => self.settings.range_ms,
            "min" | "max" => {
                self.expect("(", name)?;
                let first = self.deeper(Self::duration_sum)?;
                self.expect(",", name)?;
                let second = self.deeper(Self::duration_sum)?;
                self.expect(")", name)?;
                return Ok(if name == "min" { first.min(second) } else { first.max(second) });
            }
            _ => return Err(self.fault(start, "expected a duration, as in 5m or 300")),
        };
        self.expect("(", name)?;
        self.expect(")", name)?;
        Ok(ms as f64 / 1000.0)
    }
}
