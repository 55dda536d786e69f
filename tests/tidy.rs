//! Reads the sources and holds the house rules that no compiler checks: purity, size, reasons, documentation.
//! Each rule is shown to bite by a planted violation.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test that reads the sources reads files, and may panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

const PURE: [&str; 4] = ["src/machine/", "src/replica/", "src/notify/", "src/wire/"];
const LINES_MAX: usize = 500;

/// The files that may reopen what `.clippy.toml` closes, each for one outside thing.
const DOORS: [&str; 4] =
    ["src/shell/clock.rs", "src/shell/files.rs", "src/shell/store/server_clock.rs", "src/shell/thread.rs"];

/// The one file that may hold unsafe code: what librdkafka can and its binding does not pass on.
const UNSAFE_DOOR: &str = "src/shell/kafka/topic_id.rs";

/// What a pure file does not name, and the way out.
const IMPURE: [(&str, &str); 23] = [
    ("std::time::Instant", "time is in the event"),
    ("std::time::SystemTime", "time is in the event"),
    ("std::fs", "files are read by shell::files"),
    ("std::net", "sockets belong to shell/"),
    ("std::thread", "threads belong to shell::thread"),
    ("std::env", "the environment belongs to shell::files"),
    ("std::process", "processes belong to shell/"),
    ("std::io", "I/O belongs to shell/"),
    ("Mutex", "one owner, one loop, no locks"),
    ("RwLock", "one owner, one loop, no locks"),
    ("atomic", "one owner, one loop, no shared counters"),
    ("HashMap", "its order is random: BTreeMap"),
    ("HashSet", "its order is random: BTreeSet"),
    (" rand::", "randomness is an input"),
    ("tokio", "a step is not async"),
    ("async ", "a step is not async"),
    (".await", "a step is not async"),
    ("rdkafka", "Kafka belongs to shell::kafka"),
    ("zookeeper_client", "ZooKeeper belongs to shell::zookeeper"),
    ("reqwest", "HTTP belongs to shell/"),
    ("tracing::", "a step returns what is to be logged"),
    ("crate::shell", "the core does not know its shells"),
    ("crate::command", "the core does not know its commands"),
];

/// Every fault of one source file. `path` is relative to the repository, with `/`.
fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |line: usize, message: String| faults.push(format!("{path}:{}: {message}", line + 1));
    let is_test = path.ends_with("tests.rs") || path.contains("/tests/") || path.starts_with("tests/");
    let lines: Vec<&str> = text.lines().collect();
    let tests_from = lines.iter().position(|line| line.trim() == "mod tests {").unwrap_or(lines.len());
    let product = if is_test { 0 } else { tests_from };
    if product > LINES_MAX {
        fault(
            product,
            format!("{product} lines, at most {LINES_MAX}: split along a seam a reader would expect"),
        );
    }
    if path.starts_with("src/") && !is_test && !text.starts_with("//!") {
        fault(0, "no essay: a module opens with //! and says what it is for".to_owned());
    }
    for (at, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if ["#![allow(", "#[allow(", "#![expect(", "#[expect("]
            .iter()
            .any(|attribute| code.contains(attribute))
        {
            let attribute = attribute_from(&lines[at..]);
            if !attribute.contains("reason = ") {
                fault(at, "an allow without a reason".to_owned());
            }
            if attribute.contains("clippy::disallowed") && path.starts_with("src/") && !DOORS.contains(&path)
            {
                fault(at, "opens a door, and is none of the DOORS in tests/tidy.rs".to_owned());
            }
        }
        if code.contains("unsafe") && path.starts_with("src/") && path != UNSAFE_DOOR {
            fault(at, format!("unsafe code: {UNSAFE_DOOR} alone may hold some"));
        }
        if at >= product {
            continue;
        }
        for word in ["todo!", "unimplemented!", "dbg!"].iter().filter(|word| code.contains(**word)) {
            fault(at, format!("{word}: a stub is worse than an open issue"));
        }
        if PURE.iter().any(|folder| path.starts_with(folder)) {
            for (_, why) in IMPURE.iter().filter(|(word, _)| code.contains(word)) {
                fault(at, format!("impure: {why}: {}", code.trim()));
            }
        }
        if is_public_item(code) && !is_documented(&lines[..at]) {
            fault(at, format!("undocumented: {}", code.trim()));
        }
    }
    faults
}

/// An attribute's text to its closing bracket, over as many lines as it takes.
fn attribute_from(lines: &[&str]) -> String {
    let length =
        lines.iter().position(|line| line.trim_end().ends_with(']')).map_or(lines.len(), |last| last + 1);
    lines[..length].join(" ")
}

fn is_public_item(code: &str) -> bool {
    let Some(rest) = code.trim_start().strip_prefix("pub ") else { return false };
    let keywords = ["fn ", "struct ", "enum ", "const ", "static ", "type ", "trait ", "async fn "];
    keywords.iter().any(|keyword| rest.starts_with(keyword))
}

/// Whether a doc comment stands above an item's attributes.
fn is_documented(above: &[&str]) -> bool {
    for line in above.iter().rev().map(|line| line.trim()) {
        if line.starts_with("///") {
            return true;
        }
        let attribute = line.starts_with("#[") || line.ends_with([']', ',', '(', '"']);
        if !attribute {
            return false;
        }
    }
    false
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn the_sources_keep_the_house_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("tests"), &mut files);
    files.sort();
    assert!(files.len() > 20, "only {} files found: is this the repository?", files.len());
    let mut found = Vec::new();
    for file in &files {
        let name =
            file.strip_prefix(root).expect("it is below the root").to_string_lossy().replace('\\', "/");
        if name != "tests/tidy.rs" {
            found.extend(faults(&name, &fs::read_to_string(file).expect("a source is text")));
        }
    }
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_pure_folders_deny_what_clippy_bans() {
    for folder in PURE {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("mod.rs");
        let text = fs::read_to_string(&path).expect("a pure folder has a mod.rs");
        assert!(text.contains("#![deny(clippy::disallowed_methods, clippy::disallowed_types)]"), "{folder}");
    }
}

#[test]
fn the_top_level_is_what_it_is() {
    let expected = ["Cargo.lock", "Cargo.toml", "README.md", "config", "deploy", "schemas", "src", "tests"];
    let mut found: Vec<String> = fs::read_dir(env!("CARGO_MANIFEST_DIR"))
        .expect("the repository is there")
        .map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn every_rule_catches_its_planted_violation() {
    let essay = "//! Essay.\n";
    let planted = [
        ("src/machine/a.rs", "use std::time::Instant;\n".to_owned(), "impure"),
        ("src/replica/a.rs", "async fn f() {}\n".to_owned(), "impure"),
        ("src/notify/a.rs", "use std::collections::HashMap;\n".to_owned(), "impure"),
        ("src/wire/a.rs", "use rdkafka::Message;\n".to_owned(), "impure"),
        ("src/shell/a.rs", "fn f() {}\n".repeat(LINES_MAX + 1), "lines, at most"),
        ("src/shell/a.rs", "#[allow(dead_code)]\nfn f() {}\n".to_owned(), "without a reason"),
        (
            "src/command/a.rs",
            "#![allow(clippy::disallowed_methods, reason = \"x\")]\n".to_owned(),
            "opens a door",
        ),
        ("src/shell/a.rs", "fn f() { unsafe {} }\n".to_owned(), "unsafe code"),
        ("src/shell/a.rs", "pub fn f() {}\n".to_owned(), "undocumented"),
        ("src/shell/a.rs", "fn f() { todo!() }\n".to_owned(), "stub"),
    ];
    for (path, text, expected) in planted {
        let found = faults(path, &format!("{essay}{text}"));
        assert!(found.iter().any(|fault| fault.contains(expected)), "{path}: {expected}: {found:?}");
    }
    assert!(faults("src/shell/a.rs", "fn f() {}\n")[0].contains("no essay"));
    let clean = "/// Documented.\n#[must_use]\npub fn f() {} // async in a comment, std::time::Instant too\n";
    assert_eq!(faults("src/machine/a.rs", &format!("{essay}{clean}")), Vec::<String>::new());
}
