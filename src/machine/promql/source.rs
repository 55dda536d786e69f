//! Where a name stands in the text of an expression. promql-parser's tree has no places, so the text is scanned, with
//! strings and comments left out.

/// The text of an expression, cut into what faults may point at.
#[derive(Debug)]
pub(super) struct Source<'e> {
    tokens: Vec<Token<'e>>,
}

/// A word or a single character outside strings and comments.
#[derive(Debug)]
struct Token<'e> {
    /// Characters from the start of the expression.
    offset: usize,
    text: &'e str,
}

impl<'e> Source<'e> {
    /// Cuts the text.
    pub(super) fn new(expr: &'e str) -> Self {
        let mut tokens = Vec::new();
        let mut rest = expr;
        let mut offset = 0;
        while let Some(c) = rest.chars().next() {
            let bytes = match c {
                '"' | '\'' | '`' => string_bytes(rest, c),
                '#' => rest.find('\n').unwrap_or(rest.len()),
                _ if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                _ => c.len_utf8(),
            };
            let (text, after) = rest.split_at(bytes);
            if !matches!(c, '"' | '\'' | '`' | '#') && !c.is_whitespace() {
                tokens.push(Token { offset, text });
            }
            offset += text.chars().count();
            rest = after;
        }
        Self { tokens }
    }

    /// The first call of a function or aggregation, in any case: its name, then `(`, `by` or `without`.
    pub(super) fn call(&self, name: &str) -> Option<usize> {
        let opens = |token: &Token<'_>| {
            token.text == "("
                || ["by", "without"].iter().any(|modifier| token.text.eq_ignore_ascii_case(modifier))
        };
        let calls = self.tokens.windows(2).filter(|pair| opens(&pair[1]));
        calls
            .map(|pair| &pair[0])
            .find(|token| token.text.eq_ignore_ascii_case(name))
            .map(|token| token.offset)
    }

    /// The first time a word stands there, in any case.
    pub(super) fn word(&self, word: &str) -> Option<usize> {
        self.tokens.iter().find(|token| token.text.eq_ignore_ascii_case(word)).map(|token| token.offset)
    }

    /// The first time a character stands there by itself.
    pub(super) fn symbol(&self, symbol: char) -> Option<usize> {
        self.tokens.iter().find(|token| token.text.starts_with(symbol)).map(|token| token.offset)
    }

    /// The bracket that opens the first `[range:step]`.
    pub(super) fn subquery(&self) -> Option<usize> {
        let mut open = None;
        for token in &self.tokens {
            match token.text {
                "[" => open = Some(token.offset),
                "]" => open = None,
                text if text.contains(':') && open.is_some() => return open,
                _ => {}
            }
        }
        None
    }

    /// How deep parentheses nest.
    pub(super) fn depth(&self) -> usize {
        let (mut depth, mut deepest) = (0_usize, 0);
        for token in &self.tokens {
            match token.text {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        deepest
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ':' | '.')
}

/// Length of the string that `rest` opens with, its quotes included.
fn string_bytes(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}
