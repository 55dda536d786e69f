//! Files that a pattern names, as Go's `filepath.Glob` finds them: `*` and `?` stand for what is no `/`, `[a-z]` and
//! `[^a-z]` for one character, `\` takes the next one as it is. A hidden file is found like any other.

use crate::shell::files;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A pattern that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{pattern:?} is no pattern of files: {reason}")]
pub struct PatternFault {
    /// As written.
    pub pattern: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// The files and folders that match, in order of their names. A relative pattern begins at `folder`.
pub fn glob(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, PatternFault> {
    let mut found = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { folder.to_owned() }];
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let tokens = tokens(part).map_err(|reason| PatternFault { pattern: pattern.to_owned(), reason })?;
        let plain: Option<String> =
            tokens.iter().map(|token| if let Token::One(c) = token { Some(*c) } else { None }).collect();
        found = match plain {
            Some(name) => {
                found.iter().map(|path| path.join(&name)).filter(|path| files::exists(path)).collect()
            }
            None => {
                let inside = found.iter().flat_map(|path| {
                    let names = files::names(path).into_iter().filter(|name| matches(&tokens, name));
                    names.map(|name| path.join(name)).collect::<Vec<_>>()
                });
                inside.collect()
            }
        };
    }
    found.sort();
    Ok(found)
}

#[derive(Debug, PartialEq)]
enum Token {
    One(char),
    Any,
    Run,
    /// Whether it is none of them.
    Among(bool, Vec<(char, char)>),
}

fn tokens(part: &str) -> Result<Vec<Token>, &'static str> {
    let mut chars = part.chars();
    let mut out = Vec::new();
    while let Some(c) = chars.next() {
        out.push(match c {
            '*' => Token::Run,
            '?' => Token::Any,
            '\\' => Token::One(chars.next().ok_or("nothing follows the backslash")?),
            '[' => among(&mut chars)?,
            c => Token::One(c),
        });
    }
    Ok(out)
}

fn among(chars: &mut std::str::Chars<'_>) -> Result<Token, &'static str> {
    let unclosed = "the bracket is not closed";
    let mut next = chars.next().ok_or(unclosed)?;
    let none = next == '^';
    if none {
        next = chars.next().ok_or(unclosed)?;
    }
    let mut spans = Vec::new();
    while next != ']' || spans.is_empty() {
        let low = if next == '\\' { chars.next().ok_or(unclosed)? } else { next };
        next = chars.next().ok_or(unclosed)?;
        let mut high = low;
        if next == '-' {
            high = chars.next().ok_or(unclosed)?;
            next = chars.next().ok_or(unclosed)?;
        }
        spans.push((low, high));
    }
    Ok(Token::Among(none, spans))
}

fn matches(tokens: &[Token], name: &str) -> bool {
    let Some((first, rest)) = tokens.split_first() else { return name.is_empty() };
    if *first == Token::Run {
        let mut ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
        return ends.any(|at| matches(rest, &name[at..]));
    }
    let mut chars = name.chars();
    let Some(c) = chars.next() else { return false };
    let takes = match first {
        Token::One(wanted) => *wanted == c,
        Token::Any | Token::Run => true,
        Token::Among(none, spans) => spans.iter().any(|(low, high)| (low..=high).contains(&&c)) != *none,
    };
    takes && matches(rest, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, expected) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", ".yaml", true),
            ("*.yaml", "a.yml", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("??", "ab", true),
            ("??", "a", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("é?", "éé", true),
        ] {
            assert_eq!(matches(&tokens(pattern).expect(pattern), name), expected, "{pattern} {name}");
        }
        for pattern in ["[", "[a", "[a-", "[^", "a\\"] {
            assert!(glob(Path::new("."), pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn files_are_found_from_the_folder_in_order_of_their_names() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let names = |pattern: &str| -> Vec<String> {
            let found = glob(root, pattern).expect("a pattern");
            found.iter().map(|path| path.strip_prefix(root).expect("below").display().to_string()).collect()
        };
        assert_eq!(names("src/shell/gl?b.rs"), ["src/shell/glob.rs"]);
        assert_eq!(names("./src/*/glob.rs"), ["src/shell/glob.rs"]);
        assert_eq!(names("src/../Cargo.[lt]o[cm][kl]"), ["src/../Cargo.lock", "src/../Cargo.toml"]);
        assert_eq!(names("src/none*"), Vec::<String>::new());
        assert_eq!(names("src/none/x.rs"), Vec::<String>::new());
    }
}
