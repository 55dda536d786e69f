//! Prometheus's regular expressions are Go's (RE2); ours are the crate `regex`. The dialects differ in few places, and
//! rule files must mean here what they mean there.

/// Rewrites an expression of Go's dialect into the crate's:
///
/// - `\d \w \s \b` and their opposites are ASCII in Go;
/// - `\Q…\E` is literal text in Go;
/// - a `{` that opens no repetition is a literal in Go;
/// - inside a class, `[`, `&&`, `--` and `~~` are literals in Go.
///
/// An expression that is wrong in Go's dialect may pass through as it is; compiling it says so.
pub(in crate::machine) fn translate(go: &str) -> String {
    let mut out = String::with_capacity(go.len() + 8);
    let mut class = false;
    let mut rest = go;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '\\' if rest.starts_with("\\Q") => {
                let (literal, _) = rest[2..].split_once("\\E").unwrap_or((&rest[2..], ""));
                out.push_str(&regex::escape(literal));
                taken = rest.len().min(2 + literal.len() + 2);
            }
            '\\' => {
                let escaped = rest[1..].chars().next();
                taken += escaped.map_or(0, char::len_utf8);
                if matches!(escaped, Some('x' | 'p' | 'P')) && rest[2..].starts_with('{') {
                    taken = rest.find('}').map_or(taken, |close| close + 1);
                }
                match escaped.and_then(|e| ascii_escape(e, class)) {
                    Some(ascii) => out.push_str(ascii),
                    None => out.push_str(&rest[..taken]),
                }
            }
            '[' if !class => {
                class = true;
                // A `]` right behind the opening is a literal, in both dialects.
                taken =
                    ["[^]", "[]", "[^"].iter().find(|open| rest.starts_with(**open)).map_or(1, |o| o.len());
                out.push_str(&rest[..taken]);
            }
            '[' if rest.starts_with("[:") && rest.contains(":]") => {
                taken = rest.find(":]").map_or(1, |at| at + 2);
                out.push_str(&rest[..taken]);
            }
            ']' if class => {
                class = false;
                out.push(c);
            }
            '[' | '&' | '~' if class => out.extend(['\\', c]),
            '-' if class && rest.starts_with("--") => out.extend(['\\', c]),
            '{' if !class && !opens_repetition(rest) => out.push_str("\\{"),
            _ => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

fn ascii_escape(escaped: char, class: bool) -> Option<&'static str> {
    match escaped {
        'd' => Some("[0-9]"),
        'D' => Some("[^0-9]"),
        'w' => Some("[0-9A-Za-z_]"),
        'W' => Some("[^0-9A-Za-z_]"),
        's' => Some("[\\t\\n\\f\\r ]"),
        'S' => Some("[^\\t\\n\\f\\r ]"),
        'b' if !class => Some("(?-u:\\b)"),
        _ => None,
    }
}

/// Whether `{…` reads `{n}`, `{n,}` or `{n,m}`.
fn opens_repetition(rest: &str) -> bool {
    let Some((bounds, _)) = rest[1..].split_once('}') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match bounds.split_once(',') {
        None => digits(bounds),
        Some((from, to)) => digits(from) && (to.is_empty() || digits(to)),
    }
}
