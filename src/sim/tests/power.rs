//! The simulator's power: each bug is planted in a thread of its own and must be found.

use super::super::planted::{Bug, plant};
use super::*;

/// Runs until the planted bug is found.
fn found(bug: Bug, runs_max: u64) {
    plant(bug, || {
        for seed in 0..runs_max {
            if let Some(violation) = run(&Plan::draw(seed), false).violation {
                return println!("{bug:?}: found by run {seed}: {violation}");
            }
        }
        panic!("{bug:?} survived {runs_max} runs");
    });
}

macro_rules! power {
    ($($name:ident: $bug:expr, $runs:expr;)*) => {
        $(#[test] fn $name() { found($bug, $runs); })*
    };
}

power! {
    marker_read_before_init: Bug::ReadBeforeInit, 300;
    producer_kept_after_a_bad_commit: Bug::ProducerKept, 300;
    two_writers_on_one_alerts_partition: Bug::SharedAlertsPartition, 300;
    marker_kept_in_a_group_offset: Bug::MarkerInGroupOffset, 300;
    markers_alone_say_what_is_out: Bug::MarkersOnly, 300;
    clock_not_clamped: Bug::ClockNotClamped, 300;
    forward_leap_trusted: Bug::LeapTrusted, 300;
    only_the_primary_ticks: Bug::OnlyPrimaryTicks, 300;
    order_of_a_hash_map: Bug::HashMapOrder, 300;
    unsigned_control_accepted: Bug::UnsignedAccepted, 300;
    newest_snapshot_restored: Bug::NewestSnapshot, 300;
    snapshot_at_an_offset: Bug::SnapshotAtOffset, 300;
    buffer_forgets: Bug::BufferForgets, 300;
    off_by_one: Bug::OffByOne, 300;
    fenced_worker_fences_back: Bug::FencesBack, 300;
}
