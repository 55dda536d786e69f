//! Retention of snapshots: what [`replica::choice`](crate::replica::choice) says can go is taken away, a snapshot's
//! manifest first, so that half of one is never taken for a whole.

use super::{Site, read};
use crate::replica::choice;
use crate::shell::store::{Store, StoreError};
use crate::wire::manifest::MANIFEST_NAME;

/// Takes away what is no longer needed while `marker_seq` is out. Gives the number of snapshots that went.
pub fn thin_out(store: &Store, site: &Site, marker_seq: i64) -> Result<usize, StoreError> {
    let folders = read::folders(&store.list(&site.prefix())?);
    let candidates: Vec<_> =
        folders.iter().map(|(folder, objects)| read::candidate(store, folder.clone(), objects)).collect();
    let gone = choice::expired(&site.own, marker_seq, &candidates);
    for folder in &gone {
        store.delete(&format!("{folder}/{MANIFEST_NAME}"))?;
        let names = folders.get(*folder).into_iter().flat_map(|objects| objects.names.keys());
        for name in names.filter(|name| name.as_str() != MANIFEST_NAME) {
            store.delete(&format!("{folder}/{name}"))?;
        }
    }
    Ok(gone.len())
}
