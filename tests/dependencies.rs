//! What the crate is built from: permissive licences, registry sources, and no second version of a crate beyond those
//! that its own dependencies force.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "a test that runs cargo, and may panic")]

use std::collections::BTreeMap;
use std::process::Command;

/// Licences that ask for no more than a notice.
const PERMISSIVE: [&str; 12] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "CC0-1.0",
    "BSL-1.0",
    "MIT-0",
    "CDLA-Permissive-2.0",
];

/// Crates of which our dependencies force a second version: theirs to mend.
const FORCED_TWICE: [&str; 21] = [
    "ahash",
    "block-buffer",
    "cpufeatures",
    "crypto-common",
    "digest",
    "getrandom",
    "hashbrown",
    "heck",
    "http",
    "http-body",
    "num_enum",
    "num_enum_derive",
    "proc-macro-crate",
    "strum",
    "strum_macros",
    "syn",
    "thiserror",
    "thiserror-impl",
    "toml_datetime",
    "toml_edit",
    "winnow",
];

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// The packages that are built for this platform: those of the resolved graph.
fn packages(metadata: &serde_json::Value) -> Vec<&serde_json::Value> {
    let used: Vec<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("the graph is resolved")
        .iter()
        .map(|node| node["id"].as_str().expect("a node has an id"))
        .collect();
    let all = metadata["packages"].as_array().expect("there are packages");
    all.iter()
        .filter(|package| used.contains(&package["id"].as_str().expect("a package has an id")))
        .collect()
}

/// Whether an SPDX expression can be met with permissive licences alone.
fn is_permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    let permissive =
        |term: &str| PERMISSIVE.contains(&term.split(" WITH ").next().unwrap_or_default().trim());
    expression.split(" AND ").all(|all| all.split(" OR ").any(permissive))
}

#[test]
fn licences_are_permissive_and_sources_are_the_registry() {
    let metadata = metadata();
    for package in packages(&metadata) {
        let name = package["name"].as_str().expect("a package has a name");
        let licence = package["license"].as_str().unwrap_or("none given");
        assert!(is_permissive(licence), "{name}: {licence}");
        let source = package["source"].as_str();
        assert!(
            name == "bellwether" || source.is_some_and(|source| source.starts_with("registry+")),
            "{name}: {source:?}"
        );
    }
}

#[test]
fn no_crate_is_there_twice_but_those_that_others_force() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for package in packages(&metadata) {
        *versions.entry(package["name"].as_str().expect("a package has a name")).or_default() += 1;
    }
    let twice: Vec<&str> = versions.iter().filter(|(_, count)| **count > 1).map(|(name, _)| *name).collect();
    assert_eq!(twice, FORCED_TWICE, "update the list, or find the dependency that brings the second version");
}

#[test]
fn a_copyleft_licence_would_be_caught() {
    assert!(is_permissive("MIT OR LGPL-3.0") && is_permissive("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!is_permissive("LGPL-3.0") && !is_permissive("MIT AND MPL-2.0") && !is_permissive("none given"));
}
