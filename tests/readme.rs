//! The examples of the README, run. A fenced block of YAML begins with its file's name as a comment: it is a file of rules,
//! which must be without fault but for the lines that say `# refused:`, or a file of tests, which must pass.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test starts programs, writes their input, and may panic"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A fenced block: its language and its lines.
type Block = (String, String);

fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut open): (_, Option<Block>) = (Vec::new(), None);
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) if !language.is_empty() => {
                open = Some((language.to_owned(), String::new()));
            }
            (Some(_), _) => blocks.extend(open.take()),
            (None, Some((_, content))) => *content += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    blocks
}

fn bellwether(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary was built")
}

/// What is wrong with the examples of a text, a line each; and how many files were tried.
fn faults(text: &str, name: &str) -> (Vec<String>, usize) {
    let folder: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme").join(name);
    _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let blocks = blocks(text);
    let (mut faults, mut files) = (Vec::new(), Vec::new());
    for (_, content) in blocks.iter().filter(|(language, _)| language == "yaml") {
        let first = content.lines().next().unwrap_or_default();
        let Some(file) = first.strip_prefix("# ").filter(|file| file.ends_with(".yaml")) else {
            faults.push(format!("a block begins {first:?}, and not with the name of its file: # NAME.yaml"));
            continue;
        };
        std::fs::write(folder.join(file), content).expect("a file");
        files.push((file.to_owned(), content.clone()));
    }
    for (file, content) in &files {
        let is_test = content.contains("rule_files:");
        let output = bellwether(&folder, &["rules", if is_test { "test" } else { "check" }, file]);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let refused: Vec<usize> = (1..)
            .zip(content.lines())
            .filter(|(_, line)| line.contains("# refused:"))
            .map(|(at, _)| at)
            .collect();
        let expected = i32::from(!refused.is_empty());
        if output.status.code() != Some(expected) {
            let talk = String::from_utf8_lossy(&output.stderr);
            faults.push(format!("{file}: {:?}: {printed}{talk}", output.status.code()));
        }
        for line in refused {
            if !printed.lines().any(|told| told.starts_with(&format!("{file}:{line}:"))) {
                faults.push(format!("{file}:{line} is not refused:\n{printed}"));
            }
        }
    }
    (faults, files.len())
}

#[test]
fn every_example_of_the_readme_does_what_it_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(path).expect("the README");
    let (found, tried) = faults(&text, "whole");
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(tried >= 7, "only {tried} examples found: has their form changed?");
}

#[test]
fn an_example_that_is_wrong_is_found() {
    let block = |language: &str, content: &str| format!("```{language}\n{content}```\n");
    let rules = "# r.yaml\ngroups:\n- name: g\n  rules:\n  - {alert: A, expr: x > 1}\n";
    let test = "# t.yaml\nrule_files: [r.yaml]\ntests:\n- input_series: [{series: x, values: 2}]\n  alert_rule_test:\n  \
                - {eval_time: 0s, alertname: A, exp_alerts: [{}]}\n";
    let right = block("yaml", rules) + &block("yaml", test);
    assert_eq!(faults(&right, "right"), (Vec::new(), 2));
    let refused = " # refused: x";
    for (right_part, wrong) in [
        ("x > 1", "x >> 1".to_owned()),
        ("x > 1", "x > 2".to_owned()),
        ("# t.yaml\n", String::new()),
        ("expr: x > 1}", format!("expr: x > 1}}{refused}")),
        ("groups:", format!("groups:{refused}")),
    ] {
        let (found, _) = faults(&right.replacen(right_part, &wrong, 1), "wrong");
        assert!(!found.is_empty(), "{wrong}");
    }
    let told = right.replacen("expr: x > 1}", &format!("expr: summ(x) > 1}}{refused}"), 1);
    let (found, _) = faults(&told, "refused");
    assert_eq!(found.len(), 1, "only the test, whose rules are refused: {found:?}");
}
