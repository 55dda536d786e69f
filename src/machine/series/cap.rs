//! The cap on series, counted and never measured by memory: what gives way is a function of the log, so both replicas
//! forget the same series at the same record.
//!
//! A new series always begins. Where it would be one too many, a sixteenth of the cap is forgotten first (at least one),
//! from the services that hold most: the series of all are cut down to one height, as few as possible from as few as
//! possible, and of each service those that have been silent longest go. So a service that floods loses its own series
//! and not its neighbours'. Where the height is not a whole number, the youngest series at it stay.
//!
//! "Silent longest": of the oldest newest sample, event time; among equals the one seen first. Event times are at most
//! ten minutes ahead of the log (`FUTURE_MS_MAX`), so nobody makes a series stay longer than that.

use super::{SeriesId, Store};
use crate::wire::Labels;
use std::collections::{BTreeMap, BTreeSet};

/// The part of the cap that is made free at once: the walk over all series is paid by so many new ones.
const PART: usize = 16;

/// Stands for the series that is about to begin. It is the youngest, so it is never among those that go.
const NEW: SeriesId = SeriesId(u32::MAX);

/// How many series there may be, and whose they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Cap {
    /// Most series; none where no rule set has said.
    pub(super) series: Option<usize>,
    pub(super) service_label: String,
    /// Services that lost series since they were last asked for.
    pub(super) trimmed: BTreeSet<String>,
}

impl Store {
    /// Holds itself to so many series from now on; `service_label` says whose a series is.
    pub(in crate::machine) fn set_cap(&mut self, series: usize, service_label: &str) {
        self.cap.series = Some(series);
        service_label.clone_into(&mut self.cap.service_label);
        if self.pages.len() > series {
            self.make_room(series, None);
        }
    }

    /// Services that lost series since the last call.
    pub(in crate::machine) fn take_trimmed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.cap.trimmed)
    }

    /// Makes room for one more series, if there is none.
    pub(super) fn make_room_for(&mut self, labels: &Labels) {
        if let Some(cap) = self.cap.series.filter(|cap| self.pages.len() >= *cap) {
            let service = labels.get(&self.cap.service_label).to_owned();
            self.make_room(cap.saturating_sub((cap / PART).max(1)), Some(&service));
        }
    }

    /// Forgets series until `left` are there, beside a new one of the service `comes`, which is counted with its own.
    fn make_room(&mut self, left: usize, comes: Option<&str>) {
        let mut services: BTreeMap<&str, Vec<(i64, u64, SeriesId)>> = BTreeMap::new();
        for (id, series) in self.pages.iter() {
            let service = series.labels.get(&self.cap.service_label);
            services.entry(service).or_default().push((series.newest_ms, series.first_seen, id));
        }
        let left = left + usize::from(comes.is_some());
        if let Some(service) = comes {
            services.entry(service).or_default().push((i64::MAX, u64::MAX, NEW));
        }
        let sizes: Vec<usize> = services.values().map(Vec::len).collect();
        let (height, mut spare) = level(&sizes, left);
        let mut gone = BTreeSet::new();
        let mut at_level = Vec::new();
        for (service, series) in &mut services {
            if series.len() <= height {
                continue;
            }
            series.sort_unstable();
            let over = series.len() - height;
            at_level.push((series[over - 1], *service));
            gone.extend(series[..over].iter().map(|(.., id)| *id));
        }
        at_level.sort_unstable();
        for ((.., id), _) in at_level.iter().rev() {
            if spare == 0 {
                break;
            }
            spare -= usize::from(gone.remove(id));
        }
        gone.remove(&NEW);
        let lost = |id: &SeriesId| self.pages.get(*id).labels.get(&self.cap.service_label).to_owned();
        let trimmed: BTreeSet<String> = gone.iter().map(lost).collect();
        self.cap.trimmed.extend(trimmed);
        self.forget_all(gone);
    }
}

/// The greatest height to which all are cut so that no more than `left` stay, and how many more could.
fn level(sizes: &[usize], left: usize) -> (usize, usize) {
    let kept = |height: usize| sizes.iter().map(|size| height.min(*size)).sum::<usize>();
    let (mut low, mut high) = (0, sizes.iter().copied().max().unwrap_or(0));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if kept(middle) <= left { low = middle } else { high = middle - 1 }
    }
    (low, left.saturating_sub(kept(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_are_cut_down_and_nobody_else() {
        for (sizes, left, expected) in [
            (&[10, 2, 3][..], 12, (7, 0)),
            (&[10, 10, 3], 15, (6, 0)),
            (&[10, 10, 3], 16, (6, 1)),
            (&[1, 1, 1, 1], 3, (0, 3)),
            (&[5], 9, (5, 4)),
            (&[], 3, (0, 3)),
        ] {
            assert_eq!(level(sizes, left), expected, "{sizes:?} {left}");
        }
    }
}
