//! `bellwether topics plan|apply`: the five topics, as the configuration wants them.

use super::output;
use crate::config::Config;
use crate::error::Error;
use crate::shell::kafka::admin::Admin;
use crate::shell::kafka::topics::{self, Change, Found, Step, Wanted};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Flags of `bellwether topics`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show what `apply` would do. Exit 0 if nothing, 1 if something differs.
    Plan(Flags),
    /// Create and change topics. A topic of which anything is refused is left as it is; then the exit code is 1.
    Apply(Flags),
}

#[derive(Debug, clap::Args)]
struct Flags {
    /// Allow partitions to be added to existing topics: services move to other partitions, away from the state of
    /// their alerts.
    #[arg(long)]
    add_partitions: bool,
    /// One JSON object a line, for each change: topic, action, and what it is about.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &Args, config: &Config) -> Result<ExitCode, Error> {
    let (flags, apply) = match &args.action {
        Action::Plan(flags) => (flags, false),
        Action::Apply(flags) => (flags, true),
    };
    let admin = Admin::connect(config)?;
    let wanted = topics::wanted(config);
    let found = admin.find(&wanted)?;
    let changes = topics::compare(&wanted, &found, flags.add_partitions);
    for change in &changes {
        let text = if flags.json { json(change) } else { change.to_string() };
        output::line(&text)?;
    }
    if changes.is_empty() {
        eprintln!("bellwether: the {} topics are as the configuration wants them", wanted.len());
        return Ok(ExitCode::SUCCESS);
    }
    if !apply {
        return Ok(ExitCode::from(1));
    }
    apply_changes(&admin, &wanted, &found, &changes)
}

fn apply_changes(
    admin: &Admin,
    wanted: &[Wanted],
    found: &BTreeMap<String, Found>,
    changes: &[Change],
) -> Result<ExitCode, Error> {
    let mut refused = 0;
    for wanted in wanted {
        let steps: Vec<&Step> =
            changes.iter().filter(|change| change.topic == wanted.name).map(|change| &change.step).collect();
        if steps.iter().any(|step| matches!(step, Step::Refuse { .. })) {
            refused += 1;
        } else {
            match found.get(&wanted.name) {
                None => admin.create(wanted)?,
                Some(found) => admin.change(wanted, found, &steps)?,
            }
        }
    }
    admin.await_all(wanted)?;
    if refused > 0 {
        eprintln!(
            "bellwether: {refused} of the topics left as they are (see the lines with !), the rest is done"
        );
        return Ok(ExitCode::from(1));
    }
    eprintln!("bellwether: done");
    Ok(ExitCode::SUCCESS)
}

fn json(change: &Change) -> String {
    serde_json::to_string(change).unwrap_or_default()
}
