//! `bellwether rules test`: promtool's unit tests of rules, through the machine that production runs.
//!
//! Exit codes are promtool's: 0 all passed, 1 one failed or a file is no good.

use super::counted;
use crate::command::output;
use crate::config::Config;
use crate::error::Error;
use crate::machine::rules::{self, RuleFault};
use crate::machine::unittest::file::{self, TestFile};
use crate::machine::unittest::run::{self, Failure, Outcome, Setting, diff};
use crate::shell::{clock, files, glob};
use crate::wire::yaml::Place;
use crate::wire::{Limits, RuleFile, RuleSet};
use regex::Regex;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Flags of `bellwether rules test`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files of tests, in promtool's format.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only tests whose name this regular expression finds. Repeatable.
    #[arg(long, value_name = "RE")]
    run: Vec<Regex>,
    /// Show what is only expected (-) and what is only there (+), line by line.
    #[arg(long)]
    diff: bool,
    /// Write the results as JUnit XML, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Label that holds a series' service. Input series are taken as they are written.
    #[arg(long, default_value = "service", value_name = "LABEL")]
    service_label: String,
}

/// What came of one file.
#[derive(Debug, Default)]
struct Report {
    file: String,
    /// Why no test of it could run.
    faults: Vec<String>,
    /// Each test that ran, by name.
    tests: Vec<(String, Vec<Failure>)>,
}

/// Runs it.
pub(super) fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let mut reports = Vec::new();
    for path in &args.files {
        let report = run_file(path, args, config.limits);
        output::print(&shown(&report, args.diff))?;
        reports.push(report);
    }
    if let Some(path) = &args.junit {
        files::write_text(path, &junit(&reports, &output::time(clock::wall_ms())))?;
    }
    let failed = reports.iter().filter(|report| !report.passed()).count();
    let tests: usize = reports.iter().map(|report| report.tests.len()).sum();
    eprintln!(
        "bellwether: {} in {}, {failed} failed",
        counted(tests, "test"),
        counted(reports.len(), "file")
    );
    Ok(ExitCode::from(u8::from(failed > 0)))
}

impl Report {
    fn passed(&self) -> bool {
        self.faults.is_empty() && self.tests.iter().all(|(_, failures)| failures.is_empty())
    }
}

fn run_file(path: &Path, args: &Args, limits: Limits) -> Report {
    let file = path.display().to_string();
    let mut report = Report { file, ..Report::default() };
    let tests = read(path).and_then(|tests| Ok((rule_set(path, &tests, args, limits)?, tests)));
    let (set, tests) = match tests {
        Ok(read) => read,
        Err(faults) => {
            report.faults = faults;
            return report;
        }
    };
    let TestFile { interval_ms, group_order, fuzzy, tests, .. } = tests;
    let setting = Setting { interval_ms, group_order, fuzzy };
    for test in tests {
        if args.run.is_empty() || args.run.iter().any(|wanted| wanted.is_match(&test.name)) {
            report.tests.push((test.name.clone(), run::run(test, &set, &setting)));
        }
    }
    report
}

/// The file's tests; or its faults, a line each.
fn read(path: &Path) -> Result<TestFile, Vec<String>> {
    let content = files::read_text(path).map_err(|fault| vec![fault.to_string()])?;
    let name = path.display().to_string();
    let tests = file::read(&RuleFile { name, content }).map_err(|faults| lines(&faults))?;
    tests.warnings.iter().for_each(|warning| eprintln!("bellwether: {warning}"));
    Ok(tests)
}

/// The rule files that the file of tests names, as one set.
fn rule_set(path: &Path, tests: &TestFile, args: &Args, limits: Limits) -> Result<RuleSet, Vec<String>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut read = Vec::new();
    let mut faults = Vec::new();
    for (place, pattern) in &tests.rule_files {
        let at = |place: &Place, message: String| format!("{}:{place}: {message}", path.display());
        match glob::glob(folder, pattern) {
            Ok(found) if found.is_empty() => {
                eprintln!("bellwether: {}", at(place, format!("no file matches {pattern:?}")));
            }
            Ok(found) => {
                for path in found {
                    match files::read_text(&path) {
                        Ok(content) => read.push(RuleFile { name: path.display().to_string(), content }),
                        Err(fault) => faults.push(at(place, fault.to_string())),
                    }
                }
            }
            Err(fault) => faults.push(at(place, fault.to_string())),
        }
    }
    let set = super::rule_set(read, &args.service_label, limits);
    if let Err(found) = rules::load(&set) {
        faults.extend(lines(&found));
    }
    if faults.is_empty() { Ok(set) } else { Err(faults) }
}

fn lines(faults: &[RuleFault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

/// What is printed of a file.
fn shown(report: &Report, as_diff: bool) -> String {
    let Report { file, faults, tests } = report;
    let count = counted(tests.len(), "test");
    if report.passed() {
        return format!("{file}: {count} passed\n");
    }
    let failed = tests.iter().filter(|(_, failures)| !failures.is_empty()).count();
    let mut out = if faults.is_empty() {
        format!("{file}: FAILED, {failed} of {count}\n")
    } else {
        format!("{file}: FAILED, no test ran\n")
    };
    faults.iter().for_each(|fault| out += &format!("{fault}\n"));
    for (name, failures) in tests {
        failures.iter().for_each(|failure| out += &told(file, name, failure, as_diff));
    }
    out
}

fn told(file: &str, test: &str, failure: &Failure, as_diff: bool) -> String {
    let Failure { place, what, outcome } = failure;
    let head = format!("{file}:{place}: test {test:?}: {what}");
    let block = |name: &str, lines: &[String]| {
        let lines: Vec<String> = lines.iter().map(|line| format!("        {line}\n")).collect();
        let nothing = if lines.is_empty() { " nothing" } else { "" };
        format!("    {name}:{nothing}\n{}", lines.concat())
    };
    match outcome {
        Outcome::Fault(why) => format!("{head}: {why}\n"),
        Outcome::Differs { expected, got } if as_diff => {
            let lines: Vec<String> =
                diff(expected, got).into_iter().map(|line| format!("    {}\n", line.trim_end())).collect();
            format!("{head}:\n{}", lines.concat())
        }
        Outcome::Differs { expected, got } => {
            format!("{head}:\n{}{}", block("expected", expected), block("got", got))
        }
    }
}

/// The results as promtool writes them: one suite a file, one case a test.
fn junit(reports: &[Report], timestamp: &str) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for report in reports {
        let failed = report.tests.iter().filter(|(_, failures)| !failures.is_empty()).count();
        out += &format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"{}\" timestamp=\"{timestamp}\">\n",
            escaped(&report.file),
            report.tests.len(),
            usize::from(!report.faults.is_empty()),
        );
        if !report.faults.is_empty() {
            let faults = escaped(&report.faults.join("\n"));
            out += &format!(
                "    <testcase name=\"the file\">\n      <error>{faults}</error>\n    </testcase>\n"
            );
        }
        for (name, failures) in &report.tests {
            out += &format!("    <testcase name=\"{}\">\n", escaped(name));
            for failure in failures {
                let text = escaped(told(&report.file, name, failure, true).trim_end());
                out += &format!("      <failure>{text}</failure>\n");
            }
            out += "    </testcase>\n";
        }
        out += "  </testsuite>\n";
    }
    out + "</testsuites>\n"
}

/// Text as XML takes it; a character that XML has not becomes the replacement character.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
