//! Stories: a rule file, what arrives and when, and the transitions that follow. They are the specification of the
//! machine; the format is meant to be handed to users for their own rules.
//!
//! ```text
//! # A comment. Lines without a time in front of them are blocks (4 blanks) or outputs (4 blanks and an arrow).
//! 0s rules [version 2 | limits 9 9 9 | partitions 4]   then the YAML as a block; versions count up by themselves; limits
//!                                          are series, alerts, firing_per_service
//! 15s..10m every 15s                       then one series a line: SERVICE SERIES VALUES (promtool's notation)
//!     web up{instance="a"} 1x7 0x20 _x3 stale
//! 70s sample web up{instance="a"} 0 [@65s]        event time, where it is not the time of arrival
//! 80s check web host=a check=http critical "refused" [@75s]
//! 90s forge | quarantine OFFSET | skipped      forged control records; one that tells of a quarantine; one that is in it
//! 90s garbage | tick | ticks stop | ticks start | ticks every 15s | broker clock +1h | worker clock -1h | show | end
//! ```
//!
//! Time 0 is the epoch. A worker ticks each second, unless a story says otherwise. Two machines are fed, and must agree after each record.

#![allow(dead_code, unused_imports, reason = "each test that includes this module uses a part of it")]

#[path = "../common/keys.rs"]
pub mod keys;
mod line;
mod run;

pub use line::{Input, Story, parse};
pub use run::{Alert, Run, STORY_PARTITION, run, run_from};

use std::path::{Path, PathBuf};

/// Every story file, in order of their names.
pub fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the stories are there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}
