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

/// Reads standard input to its end, as text.
pub fn read_stdin() -> Result<String, Error> {
    std::io::read_to_string(std::io::stdin())
        .map_err(|source| Error::File { path: "standard input".to_owned(), source })
}

/// Writes a text file that the command line names, in place of what is there.
pub fn write_text(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|source| Error::File { path: path.display().to_string(), source })
}

/// Whether there is a file or a folder.
#[must_use]
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Names of what a folder holds, those that are text; nothing where it is no folder that can be read.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
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
