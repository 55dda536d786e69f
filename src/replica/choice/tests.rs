use super::*;
use crate::wire::manifest::Part;
use proptest::prelude::*;

fn own() -> Own {
    Own {
        cluster: "shop".to_owned(),
        topic_id: "T1".to_owned(),
        partition: 3,
        partition_count: 8,
        engine_version: 1,
        state_format: 1,
    }
}

/// History is a function of `seq` alone.
fn hash(seq: i64) -> [u8; 32] {
    blake3::hash(&seq.to_le_bytes()).into()
}

fn manifest(seq: i64, next_offset: i64) -> Manifest {
    let part = Part { raw_bytes: 4, stored_bytes: 4, raw_hash: [1; 32], stored_hash: [2; 32] };
    Manifest {
        format_version: FORMAT_VERSION,
        cluster: "shop".to_owned(),
        topic: "shop.observations".to_owned(),
        topic_id: "T1".to_owned(),
        partition: 3,
        partition_count: 8,
        next_offset,
        seq,
        running_hash: hash(seq),
        clock_ms: next_offset * 1000,
        rule_set_version: 1,
        engine_version: 1,
        state_format: 1,
        digest: [3; 32],
        raw_bytes: 4,
        stored_bytes: 4,
        parts: vec![part],
        worker: "a1".to_owned(),
        zone: "zone-a".to_owned(),
        version: "0.1.0".to_owned(),
        written_ms: 0,
    }
}

fn cosign(of: &Manifest, worker: &str) -> Cosign {
    Cosign {
        partition: of.partition,
        next_offset: of.next_offset,
        seq: of.seq,
        running_hash: of.running_hash,
        digest: of.digest,
        worker: worker.to_owned(),
        zone: "zone-b".to_owned(),
        written_ms: 0,
    }
}

fn candidate(manifest: Manifest, cosigners: &[&str]) -> Candidate {
    Candidate {
        folder: format!("shop/T1/3/1/{}", manifest.folder()),
        cosigns: cosigners.iter().map(|worker| cosign(&manifest, worker)).collect(),
        manifest: Ok(manifest),
        unreadable_cosigns: 0,
    }
}

fn marker(seq: i64) -> Marker {
    Marker {
        seq,
        input_offset: seq,
        ordinal: 0,
        running_hash: hash(seq),
        epoch: 1,
        lock_czxid: 0,
        rule_set_version: 1,
        engine_version: 1,
        topic_id: "T1".to_owned(),
        partition_count: 8,
        worker: "a1".to_owned(),
        zone: "zone-a".to_owned(),
        wall_ms: 0,
    }
}

fn facts(low: i64, high: i64, seq: Option<i64>) -> Facts {
    Facts { low, high, marker: seq.map(marker) }
}

fn order(choice: &Choice) -> Vec<(i64, bool)> {
    choice.usable.iter().map(|usable| (usable.manifest.seq, usable.cosigned)).collect()
}

fn reasons(choice: &Choice) -> Vec<&'static str> {
    choice.refused.iter().map(|refused| refused.why.code()).collect()
}

#[test]
fn the_newest_cosigned_at_or_before_the_marker_comes_first_then_older_then_lone_ones() {
    let snapshots = [
        candidate(manifest(10, 100), &["b1"]),
        candidate(manifest(20, 200), &["b1"]),
        candidate(manifest(30, 300), &[]),
        candidate(manifest(40, 400), &["b1"]),
    ];
    let choice = choose(&own(), &facts(50, 500, Some(35)), &snapshots);
    assert_eq!(order(&choice), [(20, true), (10, true), (30, false)]);
    assert_eq!(reasons(&choice), ["past_marker"]);
    assert!(matches!(choice.otherwise, Otherwise::Stop(Stop::NothingReaches { low: 50, marker: 35, .. })));
}

#[test]
fn a_snapshot_at_the_very_marker_is_used_and_one_past_it_is_not() {
    let snapshots = [candidate(manifest(20, 200), &["b1"]), candidate(manifest(21, 210), &["b1"])];
    let choice = choose(&own(), &facts(50, 500, Some(20)), &snapshots);
    assert_eq!(order(&choice), [(20, true)]);
    assert_eq!(choice.refused[0].why, Refusal::PastMarker { seq: 21, marker: 20 });
}

#[test]
fn without_a_marker_only_a_snapshot_that_swallowed_nothing_is_used() {
    let snapshots = [candidate(manifest(0, 200), &["b1"]), candidate(manifest(1, 210), &["b1"])];
    let choice = choose(&own(), &facts(0, 500, None), &snapshots);
    assert_eq!(order(&choice), [(0, true)]);
    assert_eq!(choice.otherwise, Otherwise::WholeLog);
}

#[test]
fn each_foreign_or_unfit_snapshot_is_refused_with_its_reason() {
    type Spoil = (&'static str, fn(&mut Candidate));
    let spoil: [Spoil; 14] = [
        ("manifest_damaged", |candidate| candidate.manifest = Err(ManifestFault::Hash)),
        ("newer_format", |candidate| candidate.manifest = Err(ManifestFault::Newer { version: 2 })),
        ("unfinished", |candidate| candidate.manifest = Err(ManifestFault::Missing)),
        ("unavailable", |candidate| candidate.manifest = Err(ManifestFault::Unavailable("503".to_owned()))),
        ("newer_format", |candidate| with(candidate, |manifest| manifest.state_format = 2)),
        ("other_cluster", |candidate| with(candidate, |manifest| manifest.cluster = "till".to_owned())),
        ("other_topic", |candidate| with(candidate, |manifest| manifest.topic_id = "T0".to_owned())),
        ("other_partition", |candidate| with(candidate, |manifest| manifest.partition = 4)),
        ("other_engine", |candidate| with(candidate, |manifest| manifest.engine_version = 2)),
        ("other_folder", |candidate| candidate.folder = "shop/T1/3/1/copy".to_owned()),
        ("other_history", |candidate| with(candidate, |manifest| manifest.running_hash = [0; 32])),
        ("disputed", |candidate| candidate.cosigns[0].digest = [0; 32]),
        ("log_cut", |candidate| {
            with(candidate, |manifest| manifest.next_offset = 49);
            candidate.folder = format!("shop/T1/3/1/{}", manifest(20, 49).folder());
            candidate.cosigns.clear();
        }),
        ("log_short", |candidate| {
            with(candidate, |manifest| manifest.next_offset = 501);
            candidate.folder = format!("shop/T1/3/1/{}", manifest(20, 501).folder());
            candidate.cosigns.clear();
        }),
    ];
    for (expected, spoil) in spoil {
        let mut spoilt = candidate(manifest(20, 200), &["b1"]);
        spoil(&mut spoilt);
        let older = candidate(manifest(10, 100), &["b1"]);
        let choice = choose(&own(), &facts(50, 500, Some(20)), &[older, spoilt]);
        assert_eq!(reasons(&choice), [expected]);
        assert_eq!(order(&choice), [(10, true)], "{expected}: the next older one is used");
    }
}

fn with(candidate: &mut Candidate, change: fn(&mut Manifest)) {
    if let Ok(manifest) = &mut candidate.manifest {
        change(manifest);
    }
}

#[test]
fn a_majority_of_signers_decides_and_nobody_counts_twice() {
    let of = manifest(20, 200);
    let mut odd = cosign(&of, "c1");
    odd.digest = [0; 32];
    let mut three = candidate(of.clone(), &["b1"]);
    three.cosigns.push(odd.clone());
    assert_eq!(three.standing(&of), (Standing::Cosigned, 2, 1));
    let mut two = candidate(of.clone(), &[]);
    two.cosigns.push(odd);
    assert_eq!(two.standing(&of), (Standing::Disputed, 1, 1));
    let own_name = candidate(of.clone(), &["a1", "a1"]);
    assert_eq!(own_name.standing(&of), (Standing::Lone, 1, 0));
    let mut other_cut = candidate(of.clone(), &["b1"]);
    other_cut.cosigns[0].next_offset = 199;
    assert_eq!(other_cut.standing(&of).0, Standing::Disputed);
}

#[test]
fn without_a_snapshot_the_log_decides() {
    let none = |low, seq| choose(&own(), &facts(low, 500, seq), &[]).otherwise;
    assert_eq!(none(0, Some(7)), Otherwise::WholeLog);
    assert_eq!(none(0, None), Otherwise::WholeLog);
    assert_eq!(none(9, None), Otherwise::NewInstallation { low: 9 });
    assert_eq!(none(9, Some(7)), Otherwise::Stop(Stop::NothingReaches { partition: 3, low: 9, marker: 7 }));
    let lost = choose(&own(), &facts(9, 500, None), &[candidate(manifest(20, 200), &["b1"])]);
    assert_eq!(lost.otherwise, Otherwise::Stop(Stop::MarkerLost { partition: 3, seq: 20 }));
    assert!(lost.usable.is_empty());
}

#[test]
fn a_topic_that_was_made_again_stops_even_where_its_log_is_whole() {
    let mut facts = facts(0, 500, Some(20));
    if let Some(marker) = &mut facts.marker {
        marker.topic_id = "T0".to_owned();
    }
    let choice = choose(&own(), &facts, &[candidate(manifest(20, 200), &["b1"])]);
    assert!(matches!(choice.otherwise, Otherwise::Stop(Stop::OtherTopic { .. })));
    assert!(choice.usable.is_empty());
}

#[test]
fn retention_keeps_the_restorable_one_two_behind_it_and_all_that_is_newer() {
    let all: Vec<Candidate> = (1..=9).map(|at| candidate(manifest(at * 10, at * 100), &["b1"])).collect();
    let gone = |marker_seq| -> Vec<&str> {
        let folders = expired(&own(), marker_seq, &all);
        folders.iter().filter_map(|folder| folder.rsplit('/').next()).collect()
    };
    let folder = |at: i64| manifest(at * 10, at * 100).folder();
    assert_eq!(gone(55), [folder(1), folder(2)], "5 is restorable, 4 and 3 stay");
    assert_eq!(gone(90), [1, 2, 3, 4, 5, 6].map(folder));
    assert_eq!(gone(25), Vec::<&str>::new());
    assert_eq!(gone(5), Vec::<&str>::new(), "nothing is restorable: everything stays");
}

#[test]
fn retention_counts_only_what_could_be_restored() {
    let mut all: Vec<Candidate> = (1..=9).map(|at| candidate(manifest(at * 10, at * 100), &["b1"])).collect();
    all[4].manifest = Err(ManifestFault::Hash);
    all[0].manifest = Err(ManifestFault::Hash);
    for lone in [3, 6, 8] {
        all[lone].cosigns.clear();
    }
    // Co-signed and readable: 2, 3, 6, 8 (from 1). The third from the end is 3.
    let folders: Vec<(i64, i64)> =
        expired(&own(), 90, &all).iter().filter_map(|folder| read_last(folder)).collect();
    assert_eq!(folders, [(10, 100), (20, 200)]);
    // Nobody co-signs: ten are kept.
    let lone: Vec<Candidate> = (1..=12).map(|at| candidate(manifest(at * 10, at * 100), &[])).collect();
    assert_eq!(expired(&own(), 200, &lone).len(), 2);
}

fn read_last(folder: &str) -> Option<(i64, i64)> {
    crate::wire::manifest::read_folder(folder.rsplit('/').next()?)
}

#[test]
fn retention_of_the_log_is_close_within_four_times_the_snapshots_age() {
    assert!(!is_retention_close(0, 1000, 0), "a log that was never cut");
    assert!(!is_retention_close(100, 1000, 775));
    assert!(is_retention_close(100, 1000, 774));
    assert!(!is_retention_close(1000, 1000, 1000));
}

proptest! {
    /// Whatever is in the store: nothing past the marker, nothing that the log no longer reaches, nothing disputed is
    /// tried; a usable co-signed one is never behind a lone one; and what would be tried is never retention's.
    #[test]
    fn no_listing_leads_to_a_wrong_restore(
        listing in proptest::collection::vec((0..40_i64, 0..400_i64, 0..3_usize, any::<bool>(), any::<bool>()), 0..12),
        marker_seq in proptest::option::of(0..40_i64),
        low in 0..300_i64,
    ) {
        // One log's: a later offset has no lower seq, and a folder stands in a listing once.
        let mut listing = listing;
        let (mut seqs, mut offsets): (Vec<i64>, Vec<i64>) = listing.iter().map(|one| (one.0, one.1)).unzip();
        seqs.sort_unstable();
        offsets.sort_unstable();
        for (one, place) in listing.iter_mut().zip(seqs.into_iter().zip(offsets)) {
            (one.0, one.1) = place;
        }
        listing.dedup_by_key(|one| (one.0, one.1));
        let snapshots: Vec<Candidate> = listing.iter().map(|(seq, offset, signers, disputed, damaged)| {
            let mut snapshot = candidate(manifest(*seq, *offset), &["b1", "c1"][..*signers]);
            if *disputed {
                snapshot.cosigns.iter_mut().for_each(|cosign| cosign.digest = [0; 32]);
            }
            if *damaged {
                snapshot.manifest = Err(ManifestFault::Hash);
            }
            snapshot
        }).collect();
        let choice = choose(&own(), &facts(low, 300, marker_seq), &snapshots);
        prop_assert_eq!(choice.usable.len() + choice.refused.len(), snapshots.len());
        for usable in &choice.usable {
            prop_assert!(usable.manifest.seq <= marker_seq.unwrap_or(0));
            prop_assert!((low..=300).contains(&usable.manifest.next_offset));
        }
        prop_assert!(choice.usable.is_sorted_by_key(|usable| std::cmp::Reverse((usable.cosigned, usable.manifest.seq))));
        let gone = expired(&own(), marker_seq.unwrap_or(0), &snapshots);
        // Snapshots from behind the log's end, which was cut back, count among the generations that are kept.
        let within = listing.iter().all(|one| one.1 <= 300);
        if let Some(first) = choice.usable.first().filter(|first| first.cosigned && within) {
            prop_assert!(!gone.contains(&first.folder.as_str()));
        }
    }
}
