//! From a character of a scalar's text back to its line and column in the YAML file.

use crate::wire::yaml::Place;

/// The place of the character at `offset` of a scalar that begins at `start`, whatever its style: plain, quoted,
/// literal (`|`) or folded (`>`), on one line or more.
///
/// YAML changes the white space of a scalar that spans lines, and nothing else but escapes. So the place is found by
/// counting characters that are no white space, in the file as in the scalar.
pub(super) fn within(file: &str, start: Place, scalar: &str, offset: usize) -> Place {
    let solid = scalar.chars().take(offset).filter(|c| !c.is_whitespace()).count();
    let mut walk = Walk::new(file, start);
    let style = walk.peek();
    match style {
        Some('|' | '>') => walk.next_line(),
        Some('"' | '\'') => _ = walk.step(),
        Some(_) | None => {}
    }
    for _ in 0..solid {
        walk.skip_space();
        match (style, walk.step()) {
            (Some('"'), Some('\\')) | (Some('\''), Some('\'')) => _ = walk.step(),
            (_, Some(_)) => {}
            (_, None) => return start,
        }
    }
    walk.skip_space();
    walk.place
}

struct Walk<'a> {
    rest: &'a str,
    place: Place,
}

impl<'a> Walk<'a> {
    fn new(file: &'a str, place: Place) -> Self {
        let before = usize::try_from(place.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let mut rest = file;
        for _ in 0..before {
            rest = rest.split_once('\n').map_or("", |(_, tail)| tail);
        }
        let column = usize::try_from(place.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let at = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
        Self { rest: &rest[at..], place }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn step(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.step();
        }
    }

    fn next_line(&mut self) {
        while self.step().is_some_and(|c| c != '\n') {}
    }
}

#[cfg(test)]
mod tests {
    use super::within;
    use crate::wire::yaml::{Value, parse};

    #[test]
    fn a_word_is_found_in_every_style_of_scalar() {
        let table = [
            ("e: up == 0 and topq(up)\n", "1:16"),
            ("e: 'up{a=''b''} and topq(up)'\n", "1:21"),
            ("e: \"up{a=\\\"b\\\"} and topq(up)\"\n", "1:21"),
            ("e: |\n  up == 0\n    and topq(up)\n", "3:9"),
            ("e: |2 # note\n  up == 0\n  topq(up)\n", "3:3"),
            ("e: >-\n\n  up == 0\n  and\n  topq(up)\n", "5:3"),
            ("e: up == 0\n  and   topq(up)\n", "2:9"),
            ("a: b\ne:\n  \u{e9} == 0 and\n\n  topq(up)\n", "5:3"),
        ];
        for (text, expected) in table {
            let Value::Mapping(pairs) = parse(text).expect("it is YAML").value else { panic!("{text}") };
            let (_, node) = pairs.last().expect("a pair");
            let Value::Scalar(scalar) = &node.value else { panic!("{text}") };
            let at = scalar.find("topq").expect("the word is there");
            let offset = scalar[..at].chars().count();
            assert_eq!(within(text, node.place, scalar, offset).to_string(), expected, "{text}");
        }
    }
}
