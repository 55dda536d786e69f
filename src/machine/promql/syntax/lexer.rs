//! Text to tokens, each with its place. Comments and white space are left out; a colon is a token of its own between
//! square brackets and a part of a name elsewhere.

use super::super::fault::PlanFault;
use super::literal;
use crate::machine::rules::duration;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword, as written.
    Word(String),
    /// A number.
    Number(f64),
    /// A duration, milliseconds.
    Duration(i64),
    /// A string, unquoted.
    Text(Vec<u8>),
    /// An operator, a bracket, a comma.
    Symbol(&'static str),
    /// Behind the last.
    End,
}

/// A token and where it stands, bytes from the start of the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Symbols; of those that begin alike, the longest first.
const SYMBOLS: [&str; 27] = [
    "==", "!=", "=~", "!~", "</", ">/", "<=", ">=", "<", ">", "=", "(", ")", "{", "}", "[", "]", ",", "+",
    "-", "*", "/", "%", "^", "@", ":", "!",
];

/// Every token, and `End` as the last.
pub(super) fn lex(text: &str) -> Result<Vec<Lexeme>, PlanFault> {
    let mut lexemes = Vec::new();
    let mut at = 0;
    let mut in_brackets = false;
    loop {
        at += blank(&text[at..]);
        let (token, taken) = one(text, at, in_brackets)?;
        match token {
            Token::Symbol("[") => in_brackets = true,
            Token::Symbol("]") => in_brackets = false,
            Token::Word(_)
            | Token::Number(_)
            | Token::Duration(_)
            | Token::Text(_)
            | Token::Symbol(_)
            | Token::End => {}
        }
        let done = token == Token::End;
        lexemes.push(Lexeme { token, start: at, end: at + taken });
        if done {
            return Ok(lexemes);
        }
        at += taken;
    }
}

/// Length of the white space and comments that `rest` opens with.
fn blank(rest: &str) -> usize {
    let mut left = rest;
    loop {
        left = left.trim_start_matches([' ', '\t', '\n', '\r']);
        match left.strip_prefix('#') {
            Some(comment) => left = &comment[comment.find(['\n', '\r']).unwrap_or(comment.len())..],
            None => return rest.len() - left.len(),
        }
    }
}

/// The token at a place, and its length.
fn one(text: &str, at: usize, in_brackets: bool) -> Result<(Token, usize), PlanFault> {
    let rest = &text[at..];
    let fault = |detail: String, at: usize| Err(PlanFault::syntax(text, at, detail));
    let Some(first) = rest.chars().next() else { return Ok((Token::End, 0)) };
    match first {
        '"' | '\'' | '`' => {
            let Some(length) = string_bytes(rest, first) else {
                return fault("a string is not closed".to_owned(), at);
            };
            let inner = literal::unquote(&rest[..length]);
            inner
                .map(|bytes| (Token::Text(bytes), length))
                .or_else(|(detail, within)| fault(detail, at + within))
        }
        '0'..='9' | '.' => {
            let length = number_bytes(rest);
            let word = &rest[..length];
            match (literal::number(word), duration::parse_ms(word)) {
                (Some(value), _) => Ok((Token::Number(value), length)),
                (None, Some(ms)) => Ok((Token::Duration(ms), length)),
                (None, None) => fault(format!("bad number or duration syntax: {word:?}"), at),
            }
        }
        c if c.is_ascii_alphabetic() || c == '_' || (c == ':' && !in_brackets) => {
            let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || (c == ':' && !in_brackets);
            let length = rest.find(|c| !name(c)).unwrap_or(rest.len());
            Ok((word(&rest[..length]), length))
        }
        _ => match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            Some(symbol) => Ok((Token::Symbol(symbol), symbol.len())),
            None => fault(format!("unexpected character {first:?}"), at),
        },
    }
}

/// `Inf` and `NaN` are numbers in any case.
fn word(word: &str) -> Token {
    match word.to_ascii_lowercase().as_str() {
        "inf" => Token::Number(f64::INFINITY),
        "nan" => Token::Number(f64::NAN),
        _ => Token::Word(word.to_owned()),
    }
}

/// Length of the string that `rest` opens with, its quotes included; `None` if it does not end. Only a raw one may hold
/// a line feed.
fn string_bytes(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            '\n' if quote != '`' => return None,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Length of the number or duration that `rest` opens with, and of whatever letters stick to it.
fn number_bytes(rest: &str) -> usize {
    let hex = rest.starts_with("0x") || rest.starts_with("0X");
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        let exponent = if hex { matches!(before, 'p' | 'P') } else { matches!(before, 'e' | 'E') };
        let sign = matches!(c, '+' | '-') && exponent;
        if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || sign) {
            return at;
        }
        before = c;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        lex(text).expect(text).into_iter().map(|lexeme| lexeme.token).collect()
    }

    #[test]
    fn a_colon_is_a_part_of_a_name_but_not_between_brackets() {
        assert_eq!(tokens("a:b")[0], Token::Word("a:b".to_owned()));
        let inside = tokens("a[5m:step()]");
        assert_eq!(
            inside[1..4],
            [Token::Symbol("["), Token::Duration(300_000), Token::Symbol(":")],
            "{inside:?}"
        );
    }

    #[test]
    fn comments_and_space_are_nothing() {
        assert_eq!(
            tokens("# a\n 1e3 # b\r\n+2m"),
            [Token::Number(1000.0), Token::Symbol("+"), Token::Duration(120_000), Token::End]
        );
    }

    #[test]
    fn faults_have_places() {
        for (text, offset) in [("1 + \"abc", 4), ("é", 0), ("'é' + 5q", 6), ("\"ab\\q\"", 3), ("a ~ b", 2)]
        {
            assert_eq!(lex(text).expect_err(text).offset(), Some(offset), "{text}");
        }
    }
}
