//! Objects as files below a directory. A file appears whole or not at all: it is written beside its place under a name
//! of its own, brought to disk, and linked to its place, which fails where a file is there already.

use super::{LISTED_MAX, Listed, StoreError};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What names of files begin with that are not yet in their place.
const UNFINISHED: &str = ".unfinished-";

#[derive(Debug)]
pub(super) struct Directory {
    url: String,
    root: PathBuf,
    written: AtomicU64,
}

impl Directory {
    pub(super) fn new(url: String, root: PathBuf) -> Self {
        Self { url, root, written: AtomicU64::new(0) }
    }

    fn failed(&self, doing: String, fault: &std::io::Error) -> StoreError {
        let (url, why) = (self.url.clone(), fault.to_string());
        let lasting = [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem, ErrorKind::NotADirectory];
        if lasting.contains(&fault.kind()) {
            StoreError::Refused { url, doing, why }
        } else {
            StoreError::Unavailable { url, doing, attempts: 1, why }
        }
    }

    /// Where an object's file is. Names come from manifests and listings, so none may lead out of the root.
    fn path(&self, key: &str) -> Result<PathBuf, StoreError> {
        let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains(['\\', '\0']);
        if key.split('/').any(odd) {
            return Err(StoreError::NotFound { key: key.to_owned() });
        }
        Ok(self.root.join(key))
    }

    /// False where a file of that name is there.
    pub(super) fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let path = self.path(key)?;
        let failed = |fault: &std::io::Error| self.failed(format!("the write of {key}"), fault);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|fault| failed(&fault))?;
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = folder.join(format!("{UNFINISHED}{}-{number}", std::process::id()));
        let stored =
            write_to_disk(&unfinished, bytes).and_then(|()| match fs::hard_link(&unfinished, &path) {
                Ok(()) => fs::File::open(folder).and_then(|folder| folder.sync_all()).map(|()| true),
                Err(fault) if fault.kind() == ErrorKind::AlreadyExists => Ok(false),
                Err(fault) => Err(fault),
            });
        let _ = fs::remove_file(&unfinished);
        stored.map_err(|fault| failed(&fault))
    }

    pub(super) fn get(&self, key: &str, max: u64) -> Result<Vec<u8>, StoreError> {
        let failed = |fault: std::io::Error| {
            if fault.kind() == ErrorKind::NotFound {
                StoreError::NotFound { key: key.to_owned() }
            } else {
                self.failed(format!("the read of {key}"), &fault)
            }
        };
        let file = fs::File::open(self.path(key)?).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > max {
            return Err(StoreError::TooLong { key: key.to_owned(), max });
        }
        Ok(bytes)
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut listed = Vec::new();
        // The folder of the prefix; what stands behind its last slash is compared as text.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let failed = |fault: &std::io::Error| self.failed(format!("the listing of {folder:?}"), fault);
            let path = if folder.is_empty() { self.root.clone() } else { self.path(&folder)? };
            let entries = match fs::read_dir(path) {
                Ok(entries) => entries,
                Err(fault) if fault.kind() == ErrorKind::NotFound => continue,
                Err(fault) => return Err(failed(&fault)),
            };
            for entry in entries {
                let entry = entry.map_err(|fault| failed(&fault))?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let key = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_dir() {
                    folders.push(key);
                } else if key.starts_with(prefix) && !name.starts_with(UNFINISHED) {
                    listed.push(Listed { key, bytes: meta.len() });
                }
                if listed.len() > LISTED_MAX {
                    return Err(StoreError::TooMany { url: self.url.clone(), prefix: prefix.to_owned() });
                }
            }
        }
        Ok(listed)
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(fault) if fault.kind() == ErrorKind::NotFound => {}
            Err(fault) => return Err(self.failed(format!("the removal of {key}"), &fault)),
        }
        // Folders that are empty now; the first that is not ends it.
        let below = path.ancestors().skip(1).take_while(|folder| *folder != self.root);
        let _ = below.map(fs::remove_dir).take_while(Result::is_ok).count();
        Ok(())
    }
}

fn write_to_disk(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
