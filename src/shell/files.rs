//! The door to files and to the environment: what the operator hands over at the start.

#![allow(clippy::disallowed_methods, reason = "door: the only file that reads files and the environment")]

use crate::error::Error;
use std::path::Path;

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File { path: path.display().to_string(), source })
}

/// Reads an environment variable; `HOSTNAME` is the machine's name where the variable is not set.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().or_else(|| {
        let host =
            (name == "HOSTNAME").then(|| std::fs::read_to_string("/proc/sys/kernel/hostname"))?.ok()?;
        Some(host.trim().to_owned())
    })
}
