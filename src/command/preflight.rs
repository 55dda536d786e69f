//! `bellwether preflight`: what of this installation would cost alerts later.

use super::output;
use crate::config::Config;
use crate::error::Error;
use crate::shell::preflight::{self, Finding, Severity};
use std::process::ExitCode;

/// Flags of `bellwether preflight`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One JSON object a line, for each finding: code, severity, what, remedy.
    #[arg(long)]
    json: bool,
}

/// Runs it. Exit 0 where there is nothing to mend, 1 where there is, 2 where Kafka does not answer.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let findings = preflight::judge(&preflight::look(config)?);
    for finding in &findings {
        let text = if args.json { serde_json::to_string(finding).unwrap_or_default() } else { say(finding) };
        if !output::line(&text)? {
            break;
        }
    }
    if findings.is_empty() {
        eprintln!("bellwether: nothing to mend");
    }
    Ok(ExitCode::from(u8::from(!findings.is_empty())))
}

fn say(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    format!("{severity}[{}]: {}\n  remedy: {}", finding.code, finding.what, finding.remedy)
}
