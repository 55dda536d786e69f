//! `bellwether rules test` and `rules check`, as a person calls them: what they print, and their exit codes. The same
//! files through promtool.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test starts programs, writes their input, and may panic"
)]

mod peer;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files that both tools read, below `tests/unittest`.
const SHARED: [&str; 4] = ["disk.yaml", "shop.yaml", "notation.yaml", "subquery.yaml"];

/// What a program said, and its exit code.
struct Said {
    out: String,
    talk: String,
    code: Option<i32>,
}

fn say(command: &mut Command, input: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads, or has ended");
    let output = child.wait_with_output().expect("it ends");
    Said {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        talk: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
    }
}

/// `bellwether rules` from the folder of the repository.
fn rules(arguments: &[&str]) -> Said {
    rules_of(arguments, "")
}

/// The same, with something on standard input.
fn rules_of(arguments: &[&str], input: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    say(command.arg("rules").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")), input)
}

/// A folder of one test, with these files.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rules_command").join(name);
    _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("a file");
    }
    folder
}

#[test]
fn the_same_files_pass_in_promtool_and_here() {
    for file in SHARED {
        let path = format!("tests/unittest/{file}");
        let said = rules(&["test", &path]);
        assert_eq!(said.code, Some(0), "{}{}", said.out, said.talk);
        let mut promtool = Command::new(peer::promtool());
        let said = say(promtool.args(["test", "rules", file]).current_dir("tests/unittest"), "");
        assert_eq!(said.code, Some(0), "promtool: {file}:\n{}{}", said.out, said.talk);
    }
    let said = rules(&["test", "tests/unittest/ours.yaml"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "tests/unittest/ours.yaml: 1 test passed\n"));
}

/// Each value that a shared file expects is changed in turn: neither tool passes any more.
#[test]
fn neither_passes_what_is_expected_wrong() {
    let text = std::fs::read_to_string("tests/unittest/shop.yaml").expect("a file");
    let text = text.replace("rules/shop.yaml", "shop.rules.yaml");
    let shop = std::fs::read_to_string("tests/unittest/rules/shop.yaml").expect("a file");
    let mut changes = 0;
    for (right, wrong) in [
        ("value: 0.5}", "value: 0.25}"),
        ("value: 480}", "value: 481}"),
        ("value: 1.5}", "value: 1.5000000000000002}"),
        ("alertname: Slow, exp_alerts: [{}]", "alertname: Slow, exp_alerts: []"),
        ("1200.0 requests", "1200.1 requests"),
        ("{severity: page}", "{severity: pages}"),
        ("owner: ann}\n      exp", "owner: ben}\n      exp"),
    ] {
        assert!(text.contains(right), "{right}");
        let folder =
            folder("wrong", &[("shop.rules.yaml", &shop), ("t.yaml", &text.replacen(right, wrong, 1))]);
        let here = rules(&["test", &folder.join("t.yaml").display().to_string()]);
        let there =
            say(Command::new(peer::promtool()).args(["test", "rules", "t.yaml"]).current_dir(&folder), "");
        assert_eq!((here.code, there.code), (Some(1), Some(1)), "{wrong}: {}{}", here.out, there.talk);
        changes += 1;
    }
    assert_eq!(changes, 7);
}

const RULES: &str = "groups:\n- name: g\n  rules:\n  - {alert: High, expr: m > 1, labels: {a: b}}\n";
const TESTS: &str = "rule_files: [r.yaml]
tests:
- name: first
  input_series: [{series: 'm{x=\"<1>\"}', values: 2x9}]
  alert_rule_test:
  - {eval_time: 1m, alertname: High, exp_alerts: [{exp_labels: {a: c, x: <1>}}]}
- name: second
  promql_expr_test: [{expr: vector(1), exp_samples: [{labels: '{}', value: 1}]}]
";

#[test]
fn what_fails_is_shown_with_its_place_and_may_be_chosen_by_name() {
    let folder = folder("shown", &[("r.yaml", RULES), ("t.yaml", TESTS)]);
    let path = folder.join("t.yaml").display().to_string();
    let said = rules(&["test", &path]);
    let expected = format!(
        "{path}: FAILED, 1 of 2 tests\n{path}:6:5: test \"first\": alert High at 1m:\n    expected:\n        \
         {{a=\"c\", alertname=\"High\", x=\"<1>\"}}\n    got:\n        {{a=\"b\", alertname=\"High\", x=\"<1>\"}}\n"
    );
    assert_eq!((said.code, said.out), (Some(1), expected));
    let junit = folder.join("junit.xml").display().to_string();
    let said = rules(&["test", &path, "--diff", "--junit", &junit]);
    let expected = format!(
        "{path}: FAILED, 1 of 2 tests\n{path}:6:5: test \"first\": alert High at 1m:\n    \
         - {{a=\"c\", alertname=\"High\", x=\"<1>\"}}\n    + {{a=\"b\", alertname=\"High\", x=\"<1>\"}}\n"
    );
    assert_eq!((said.code, said.out), (Some(1), expected));
    let xml = std::fs::read_to_string(&junit).expect("the results");
    for part in [
        format!("<testsuite name=\"{path}\" tests=\"2\" failures=\"1\" errors=\"0\" timestamp=\""),
        "<testcase name=\"second\">\n    </testcase>".to_owned(),
        "alertname=&quot;High&quot;, x=&quot;&lt;1&gt;&quot;}</failure>".to_owned(),
    ] {
        assert!(xml.contains(&part), "{part}:\n{xml}");
    }
    let said = rules(&["test", &path, "--run", "^sec", "--run", "^third"]);
    assert_eq!((said.code, said.out), (Some(0), format!("{path}: 1 test passed\n")));
}

/// Exit 1, as promtool: a file that is not there, no YAML, unknown keys, rules that have faults.
#[test]
fn files_that_are_no_good_are_named_with_every_fault() {
    let bad = RULES.replace("m > 1", "summ(m)").replace("rules:", "rulez: 1\n  rules:");
    let unknown = "rule_files: [r.yaml, none*.yaml]\ntest: []\n";
    let folder =
        folder("faults", &[("r.yaml", &bad), ("t.yaml", TESTS), ("u.yaml", unknown), ("n.yaml", "a: [")]);
    let path = |name: &str| folder.join(name).display().to_string();
    let said = rules(&["test", &path("t.yaml"), &path("u.yaml"), &path("n.yaml"), &path("missing.yaml")]);
    assert_eq!(said.code, Some(1), "{}", said.talk);
    let at = |file: &str, place: &str| format!("{}:{place}: ", path(file));
    for part in [
        at("r.yaml", "3:3") + "unknown key \"rulez\"",
        at("r.yaml", "5:25") + "rule \"High\": expr: unknown function summ(); did you mean sum()?",
        at("u.yaml", "2:1") + "unknown key \"test\" in a file of tests",
        at("n.yaml", "1:4") + "it is not YAML",
        path("missing.yaml") + ": No such file",
    ] {
        assert!(said.out.contains(&part), "{part}:\n{}", said.out);
    }
    assert!(said.talk.contains("4 failed"), "{}", said.talk);
    let empty = self::folder("no-match", &[("t.yaml", "rule_files: [no*.yaml]\n")]).join("t.yaml");
    let said = rules(&["test", &empty.display().to_string()]);
    assert_eq!(said.code, Some(0));
    assert!(said.talk.contains("t.yaml:1:14: no file matches \"no*.yaml\""), "{}", said.talk);
}

/// 0 where nothing is wrong, 1 for a fault, 3 for a lint where that was asked for: as promtool.
#[test]
fn rule_files_are_checked_with_the_exit_codes_of_promtool() {
    let lints = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: 'sum(rate(x[20s])) > 0', for: 30s}\n";
    let bad = "groups:\n- name: g\n  rules:\n  - {alert: A, expr: summ(x), fore: 30s}\n";
    let folder = folder("check", &[("good.yaml", RULES), ("lints.yaml", lints), ("bad.yaml", bad)]);
    let path = |name: &str| folder.join(name).display().to_string();
    let said = rules(&["check", "--partitions", "1", "--lint-fatal", &path("good.yaml")]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""));
    assert!(said.talk.contains("1 file (1 alert, 0 recordings), no fault, 0 lints"), "{}", said.talk);
    let said = rules(&["check", "--partitions", "1", &path("lints.yaml"), &path("good.yaml")]);
    let expected = [
        format!("{}:4:27: rule \"A\": rate() needs two samples", path("lints.yaml")),
        format!("{}:4:52: rule \"A\": for is 30s", path("lints.yaml")),
    ];
    assert_eq!(said.code, Some(0));
    for (line, start) in said.out.lines().zip(&expected) {
        assert!(line.starts_with(start), "{line}\nshould begin {start}");
    }
    assert_eq!(said.out.lines().count(), 2, "{}", said.out);
    let said = rules(&["check", "--partitions", "1", "--lint-fatal", &path("lints.yaml")]);
    assert_eq!(said.code, Some(3));
    let chosen = [
        "check",
        "--partitions",
        "1",
        "--lint-fatal",
        "--scrape-interval",
        "10s",
        "--lint",
        "few-samples,fixed-at",
    ];
    let said = rules(&[&chosen[..], &[&path("lints.yaml")]].concat());
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""));
    // Eight partitions are the default of the configuration.
    let said = rules(&["check", &path("lints.yaml")]);
    assert!(
        said.out.contains("4:23: rule \"A\": spans services: an aggregation by () combines"),
        "{}",
        said.out
    );
    assert!(said.out.contains("one of 8 partitions") && said.out.contains("\n  3. "), "{}", said.out);
    let said = rules(&["check", &path("bad.yaml"), &path("missing.yaml")]);
    assert_eq!(said.code, Some(1));
    for part in [
        path("missing.yaml") + ": No such file",
        path("bad.yaml") + ":4:22: rule \"A\": expr: unknown function summ(); did you mean sum()?",
        path("bad.yaml") + ":4:31: rule \"A\": unknown key \"fore\" in a rule; known are ",
    ] {
        assert!(said.out.contains(&part), "{part}:\n{}", said.out);
    }
    let said = rules_of(&["check", "-"], bad);
    assert!(said.code == Some(1) && said.out.contains("stdin:4:22: "), "{}", said.out);
    assert_eq!(rules_of(&["check", "--partitions", "1", "-"], RULES).code, Some(0));
    let said = rules(&["check", "--snapshots", &path("good.yaml")]);
    assert!(said.code == Some(2) && said.talk.contains("snapshots.url"), "{}", said.talk);
}

#[test]
fn an_edit_is_told_rule_by_rule() {
    let old =
        "groups:\n- name: g\n  rules:\n  - {alert: A, expr: x > 1, for: 5m}\n  - {record: r, expr: x}\n";
    let new = old.replace("5m", "10m").replace("record: r", "record: s");
    let folder = folder("diff", &[("old.yaml", old), ("new.yaml", &new), ("bad.yaml", "groups: 1")]);
    let path = |name: &str| folder.join(name).display().to_string();
    let said = rules(&["diff", &path("old.yaml"), &path("new.yaml")]);
    let expected = format!(
        "~ alert A{{}} of g  {new}:4:5\n    for: 5m -> 10m\n- record r{{}} of g  {old}:5:5\n+ record s{{}} of g  {new}:5:5\n",
        old = path("old.yaml"),
        new = path("new.yaml")
    );
    assert_eq!((said.code, said.out), (Some(1), expected));
    assert!(said.talk.contains("1 added, 1 changed, 1 removed"), "{}", said.talk);
    let said = rules(&["diff", "--json", &path("old.yaml"), &path("new.yaml")]);
    let lines: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["keys"][0], serde_json::json!({"key": "for", "old": "5m", "new": "10m"}));
    let said = rules(&["diff", &path("old.yaml"), &path("old.yaml")]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""));
    assert_eq!(rules(&["diff", "tests/unittest/rules", "tests/unittest/rules"]).code, Some(0));
    assert_eq!(rules(&["diff", &path("old.yaml"), &path("bad.yaml")]).code, Some(2));
    assert_eq!(rules(&["diff", &path("old.yaml"), &path("missing.yaml")]).code, Some(2));
}
