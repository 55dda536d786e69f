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
    marker_read_before_init: Bug::ReadBeforeInit, 500;
    producer_kept_after_a_bad_commit: Bug::ProducerKept, 500;
    two_writers_on_one_alerts_partition: Bug::SharedAlertsPartition, 500;
    marker_kept_in_a_group_offset: Bug::MarkerInGroupOffset, 500;
    markers_alone_say_what_is_out: Bug::MarkersOnly, 500;
    clock_not_clamped: Bug::ClockNotClamped, 500;
    forward_leap_trusted: Bug::LeapTrusted, 500;
    only_the_primary_ticks: Bug::OnlyPrimaryTicks, 500;
    order_of_a_hash_map: Bug::UnorderedOutput, 500;
    unsigned_control_accepted: Bug::UnsignedAccepted, 500;
    newest_snapshot_restored: Bug::NewestSnapshot, 500;
    snapshot_at_an_offset: Bug::SnapshotAtOffset, 500;
    buffer_forgets: Bug::BufferForgets, 500;
    off_by_one: Bug::OffByOne, 500;
    fenced_worker_fences_back: Bug::FencesBack, 500;
}

#[test]
fn a_failing_run_shrinks_to_the_faults_that_matter() {
    plant(Bug::ProducerKept, || {
        let drawn = Plan::draw(0);
        let smallest = shrink(&drawn, 100);
        assert!(smallest.faults.len() <= 8, "{} of {}", smallest.faults.len(), drawn.faults.len());
        let outcome = run(&smallest, true);
        assert!(outcome.violation.is_some());
        assert!(
            outcome.story.last().is_some_and(|line| line.contains("ORACLE")),
            "{:?}",
            outcome.story.last()
        );
    });
}
