//! The snapshot that a judge begins with. Chosen apart from how workers choose theirs: by place alone, whoever signed it.

use super::{Beginning, VerifyError};
use crate::config::Config;
use crate::machine::{ENGINE_VERSION, Machine, Options};
use crate::replica::choice::{Candidate, Usable};
use crate::shell::kafka::Topics;
use crate::shell::kafka::topic_id::topic_id;
use crate::shell::snapshot::read;
use crate::shell::store::Store;
use std::sync::Arc;

/// The machine of the oldest or newest whole snapshot of a partition from which the log, kept from offset `low` on, goes on,
/// and the snapshot's folder.
pub(super) fn restore(
    config: &Config,
    store: &Arc<Store>,
    options: &Options,
    from: Beginning,
    low: i64,
) -> Result<(Machine, String), VerifyError> {
    let partition = options.partition;
    // A topic that was deleted and made again has offsets of the same names.
    let topic_id = topic_id(config, &Topics::new(&config.kafka.topic_prefix).observations)?;
    // <cluster>/<topic id>/<partition>/<engine>/<seq>-<offset>
    let listed = store.list(&format!("{}/", config.cluster))?;
    let place = [partition, ENGINE_VERSION].map(|number| number.to_string());
    let mut usable: Vec<Usable> = read::folders(&listed)
        .into_iter()
        .filter(|(folder, _)| folder.split('/').skip(2).take(2).eq(&place))
        .filter_map(|(folder, objects)| {
            let Candidate { folder, manifest, .. } = read::candidate(store, folder, &objects);
            Some(Usable { folder, manifest: manifest.ok()?, cosigned: false })
        })
        .filter(|Usable { manifest, .. }| {
            (manifest.partition, &manifest.topic_id) == (partition, &topic_id) && manifest.next_offset >= low
        })
        .collect();
    usable.sort_by_key(|usable| usable.manifest.next_offset);
    if from == Beginning::NewestSnapshot {
        usable.reverse();
    }
    let mut why = String::new();
    for usable in usable {
        match read::restore(store, &usable, options.clone()) {
            Ok((machine, _)) => return Ok((machine, usable.folder)),
            Err(refusal) => why += &format!("; not {}: {refusal}", usable.folder),
        }
    }
    Err(VerifyError::NoSnapshot { partition, store: store.url().to_owned(), low, why })
}
