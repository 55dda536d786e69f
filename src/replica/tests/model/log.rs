//! The model's alerts partition and transaction coordinator.

use super::super::*;

#[derive(Clone)]
pub(super) enum Entry {
    Transition(i64, Vec<u8>),
    Marker(Box<Marker>),
}

/// Alerts partition and transaction coordinator.
#[derive(Default)]
pub(super) struct Log {
    pub(super) producer_epoch: u32,
    pub(super) open: Option<Vec<Entry>>,
    pub(super) committed: Vec<Entry>,
    /// Copies of an EndTxn (commit) still in the network, by the epoch that they carry.
    pub(super) strays: Vec<u32>,
}

impl Log {
    pub(super) fn init(&mut self) -> u32 {
        self.open = None;
        self.producer_epoch += 1;
        self.producer_epoch
    }

    pub(super) fn produce(&mut self, epoch: u32, begun: bool, entry: Entry) -> Result<(), Failure> {
        if epoch != self.producer_epoch {
            return Err(Failure::Fenced);
        }
        match &mut self.open {
            Some(open) => open.push(entry),
            // Brokers verify that a transaction is open for a producer that says that it has begun.
            None if begun => return Err(Failure::Broken),
            None => self.open = Some(vec![entry]),
        }
        Ok(())
    }

    pub(super) fn end(&mut self, epoch: u32) -> Result<(), Failure> {
        if epoch != self.producer_epoch {
            return Err(Failure::Fenced);
        }
        self.committed.extend(self.open.take().unwrap_or_default());
        Ok(())
    }

    pub(super) fn last_marker(&self) -> Option<Box<Marker>> {
        self.committed.iter().rev().find_map(|entry| match entry {
            Entry::Marker(marker) => Some(marker.clone()),
            Entry::Transition(..) => None,
        })
    }
}
