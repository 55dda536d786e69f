//! The door to files and to the environment: what the operator hands over at the start.

#![allow(clippy::disallowed_methods, reason = "door: the only file that reads files and the environment")]

use crate::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Reads a text file.
pub fn read(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// Reads a text file that the command line or the configuration names.
pub fn read_text(path: &Path) -> Result<String, Error> {
    read(path).map_err(|source| Error::File { path: path.display().to_string(), source })
}

/// Who may do what with a file: its permission bits.
pub fn mode(path: &Path) -> std::io::Result<u32> {
    std::fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o7777)
}

/// Writes a file that does not exist yet, with these permission bits from its first moment, and its folder if need be.
pub fn write_new(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
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
