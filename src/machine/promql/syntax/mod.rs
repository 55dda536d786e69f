//! The text of an expression to its tree: Prometheus 3's grammar, whole, with the place of every part.
//!
//! ```text
//!  text ──lexer──▶ tokens ──parser──▶ tree ──types──▶ the same tree, each operand of a type that its operator takes
//!            │                  └── duration: `[5m * 2]`, folded to milliseconds at once
//!            └── literal: numbers, durations, strings
//! ```
//!
//! The parser is ours because every fault must have a place in the rule file, because text from outside must not make
//! it panic, and because what Prometheus 3 reads must be read: UTF-8 names in braces, Go's regular expressions,
//! arithmetic on durations, `anchored`, `smoothed`, `fill`. Source: Prometheus's `promql/parser/generated_parser.y` and
//! `lex.go`.

mod duration;
mod lexer;
mod literal;
mod parser;
mod postfix;
mod selector;
mod tree;
mod types;

pub(super) use literal::quoted;
pub(in crate::machine) use literal::unquote;
pub(super) use parser::parse;
pub(super) use tree::*;

use super::fault::PlanFault;

/// Longest expression, bytes.
pub(super) const EXPR_BYTES_MAX: usize = 16 << 10;
/// Deepest nesting of an expression: the parser recurses.
pub(super) const NESTING_MAX: usize = 100;
/// Highest tree, which a long chain of operators makes without any nesting: whoever walks a tree recurses.
pub(super) const HEIGHT_MAX: usize = 200;
/// Longest range or offset: a hundred years, so that no arithmetic on times overflows.
pub(super) const DURATION_MS_MAX: i64 = 100 * 365 * 24 * 3600 * 1000;

/// Where the words of a text stand, in order; white space and comments left out.
pub(super) fn words(text: &str) -> Result<Vec<Place>, PlanFault> {
    let places = lexer::lex(text)?.into_iter().map(|lexeme| Place { start: lexeme.start, end: lexeme.end });
    Ok(places.filter(|place| place.start < place.end).collect())
}
