use super::write::{Outcome, WriteFault};
use super::*;
use crate::config;
use crate::machine::{Event, Machine, Options, Position};
use crate::replica::choice::{self, Candidate, Facts, Refusal, Usable};
use crate::shell::store::tests::stub::{Fault, Stub};
use crate::shell::store::{Patience, Store};
use crate::wire::keyring::{Signer, SigningKey};
use crate::wire::manifest::{MANIFEST_NAME, Manifest};
use crate::wire::{Control, Labels, Marker, ObservationsWriter, RuleFile, RuleSet};
use std::sync::Arc;
use std::time::Duration;

const RULES: &str =
    "groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: High\n    expr: load > 5\n    for: 2s\n";

fn signer() -> Signer {
    Signer::new(SigningKey::from_seed(&[5; 32]), "test/test.observations")
}

fn options() -> Options {
    Options {
        partition: 3,
        keyring: signer().keyring(),
        hash_key: 7,
        producer_time: false,
        snapshot_interval_ms: 0,
    }
}

fn position(offset: i64) -> Position {
    Position { offset, append_ms: 1_700_000_000_000 + offset * 250, log_append: true }
}

/// Applies the records `from..to` of an endless log: rules first, then the loads of five hosts that come and go.
fn apply(machine: &mut Machine, from: i64, to: i64) {
    let mut out = Vec::new();
    for offset in from..to {
        if offset == 0 {
            let file = RuleFile { name: "r.yaml".to_owned(), content: RULES.to_owned() };
            let set = RuleSet {
                limits: crate::wire::Limits::default(),
                partitions: 0,
                version: 1,
                applied_ms: 0,
                author: String::new(),
                service_label: "service".to_owned(),
                files: vec![file],
            };
            let sealed = signer().seal(3, &Control::Rules(set));
            machine.step(Event::read(position(0), Some(&sealed)), &mut out);
            continue;
        }
        let mut writer = ObservationsWriter::new("shop").expect("a service");
        for host in 0..5_i64 {
            let labels = Labels::new([("host", host.to_string())]);
            let value = ((offset + host * 7) / 20 % 2 * 10) as f64;
            writer.sample("load", &labels, position(offset).append_ms, value).expect("a sample");
        }
        machine.step(Event::read(position(offset), Some(&writer.finish())), &mut out);
    }
}

fn machine(to: i64) -> Machine {
    let mut machine = Machine::new(options());
    apply(&mut machine, 0, to);
    machine
}

fn site(worker: &str) -> Site {
    let config = config::load(&[], &|_| None).expect("the defaults load");
    let config = Config { worker: worker.to_owned(), ..config };
    Site::new(&config, "bellwether.observations", "T1", 3, 8)
}

fn facts(seq: i64) -> Facts {
    let marker = Marker {
        seq,
        input_offset: 0,
        ordinal: 0,
        running_hash: [0; 32],
        epoch: 1,
        lock_czxid: 0,
        rule_set_version: 1,
        engine_version: 1,
        topic_id: "T1".to_owned(),
        partition_count: 8,
        worker: "a".to_owned(),
        zone: "zone-a".to_owned(),
        wall_ms: 0,
    };
    Facts { low: 0, high: 1_000_000, marker: Some(marker) }
}

fn usable(store: &Store) -> Vec<Usable> {
    choose(store).usable
}

fn choose(store: &Store) -> choice::Choice {
    let candidates = read::candidates(store, &site("c")).expect("it can be listed");
    choice::choose(&site("c").own, &facts(i64::MAX), &candidates)
}

fn store(worker: &str, to: i64, store: &Store) -> Result<Outcome, WriteFault> {
    write::write(store, &site(worker), &machine(to).capture(), &|| true)
}

fn directory(name: &str) -> (Store, std::path::PathBuf) {
    let path = std::env::temp_dir().join(format!("bellwether-snapshot-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let config = config::Snapshots {
        url: format!("file://{}", path.display()),
        interval: Duration::from_secs(3600),
        endpoint: String::new(),
        region: String::new(),
        access_key: None,
        secret_key: None,
    };
    (Store::open(&config, Patience::default()).expect("it opens").expect("it is configured"), path)
}

#[test]
fn a_snapshot_is_written_cosigned_restored_and_goes_on_as_if_nothing_had_been() {
    let (kept, path) = directory("round");
    assert!(matches!(store("a", 200, &kept), Ok(Outcome::Written { .. })));
    assert_eq!(store("b", 200, &kept), Ok(Outcome::Cosigned { worker: "a".to_owned() }));
    assert_eq!(store("b", 200, &kept), Ok(Outcome::Cosigned { worker: "a".to_owned() }), "again");
    assert!(matches!(store("a", 200, &kept), Ok(Outcome::Written { .. })), "after a restart");
    let usable = usable(&kept);
    assert_eq!(usable.len(), 1);
    assert!(usable[0].cosigned);
    assert_eq!(usable[0].manifest.digest, machine(200).digest());
    let (mut restored, spent) =
        read::restore(&Arc::new(kept), &usable[0], options()).expect("it can be restored");
    assert_eq!(spent.raw_bytes, usable[0].manifest.raw_bytes);
    assert_eq!(restored.digest(), machine(200).digest());
    apply(&mut restored, 200, 400);
    assert_eq!(restored.digest(), machine(400).digest());
    assert!(restored.summary().seq > usable[0].manifest.seq, "alerts went on");
    std::fs::remove_dir_all(path).expect("it is ours");
}

#[test]
fn a_replica_with_another_state_says_so_beside_the_snapshot_and_nobody_restores_it() {
    let (kept, path) = directory("disputed");
    assert!(matches!(store("a", 200, &kept), Ok(Outcome::Written { .. })));
    // Equal in offset and seq, not in what it has seen.
    let mut other = Machine::new(options());
    apply(&mut other, 0, 199);
    other.step(Event::read(position(199), Some(b"garbage")), &mut Vec::new());
    assert_eq!(other.head().seq, machine(200).head().seq, "the point of this test");
    let outcome = write::write(&kept, &site("b"), &other.capture(), &|| true);
    assert!(matches!(outcome, Ok(Outcome::Disputed { .. })), "{outcome:?}");
    let choice = choose(&kept);
    assert!(choice.usable.is_empty());
    assert!(matches!(choice.refused[0].why, Refusal::Disputed { against: 1, signers: 2 }));
    std::fs::remove_dir_all(path).expect("it is ours");
}

#[test]
fn every_spoilt_byte_is_noticed_and_the_older_snapshot_is_used() {
    let stub = Stub::start(|_, _, _| None);
    let kept = stub.store();
    store("a", 100, &kept).expect("the older one");
    store("b", 100, &kept).expect("is co-signed");
    let older: Vec<String> = stub.objects().into_keys().collect();
    store("a", 160, &kept).expect("the newer one");
    store("b", 160, &kept).expect("is co-signed");
    let newer: Vec<(String, Vec<u8>)> =
        stub.objects().into_iter().filter(|(key, _)| !older.contains(key)).collect();
    assert_eq!(newer.len(), 3, "a manifest, a co-signature, a part");
    let folder = newer[0].0.rsplit_once('/').expect("a folder").0.to_owned();
    let objects = read::Objects {
        names: newer.iter().map(|(key, bytes)| (name_of(key), bytes.len() as u64)).collect(),
    };
    let mut points = 0;
    for (key, bytes) in &newer {
        let mut spoilt: Vec<Vec<u8>> = (0..bytes.len())
            .map(|at| {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1 << (at % 8);
                bytes
            })
            .collect();
        spoilt.extend((0..bytes.len()).step_by(7).map(|length| bytes[..length].to_vec()));
        spoilt.push([bytes.as_slice(), b"\0"].concat());
        spoilt.push([bytes.as_slice(), bytes.as_slice()].concat());
        for bytes in spoilt {
            points += 1;
            check_spoilt(&newer, &folder, &objects, key, &bytes);
        }
    }
    assert!(points > 1500, "{points}");
    // Once through the store's own door.
    let part = newer.iter().find(|(key, _)| key.ends_with(".zst")).expect("a part");
    stub.plant(&part.0, &part.1[1..]);
    let usable = usable(&kept);
    let kept = Arc::new(kept);
    assert!(read::restore(&kept, &usable[0], options()).is_err());
    let (restored, _) = read::restore(&kept, &usable[1], options()).expect("the older one is whole");
    assert_eq!(restored.digest(), machine(100).digest());
}

fn name_of(key: &str) -> String {
    key.rsplit('/').next().unwrap_or_default().to_owned()
}

/// What a restore would make of a snapshot of which one object holds other bytes.
fn check_spoilt(
    newer: &[(String, Vec<u8>)],
    folder: &str,
    objects: &read::Objects,
    spoilt: &str,
    bytes: &[u8],
) {
    let held = |key: &str| newer.iter().find(|(name, _)| name == key).map(|(_, bytes)| bytes.as_slice());
    let name = name_of(spoilt);
    if name == MANIFEST_NAME {
        assert!(Manifest::read(bytes).is_err(), "{name}");
        return;
    }
    let manifest = held(&format!("{folder}/{MANIFEST_NAME}")).expect("it is there");
    let manifest = Manifest::read(manifest).expect("it is whole");
    if crate::wire::manifest::Cosign::is_name(&name) {
        // Without its second signer the snapshot is worth less, and no more: it is never taken for co-signed.
        let cosigns = crate::wire::manifest::Cosign::read(bytes).into_iter().collect();
        let candidate = Candidate {
            folder: folder.to_owned(),
            manifest: Ok(manifest.clone()),
            cosigns,
            unreadable_cosigns: 0,
        };
        assert_eq!(candidate.standing(&manifest).0, choice::Standing::Lone);
        return;
    }
    assert!(objects.names.contains_key(&name));
    assert!(pack::unpack(bytes, &manifest.parts[0]).is_err(), "{name}");
}

#[test]
fn a_missing_part_or_a_stale_listing_leads_to_the_older_snapshot() {
    let stub = Stub::start(|_, _, _| None);
    let kept = Arc::new(stub.store());
    store("a", 100, &kept).expect("the older one");
    store("a", 160, &kept).expect("the newer one");
    let part = stub.objects().into_keys().rev().find(|key| key.ends_with(".zst")).expect("a part");
    kept.delete(&part).expect("it can be taken away");
    let both = usable(&kept);
    assert!(matches!(read::restore(&kept, &both[0], options()), Err(Refusal::Missing { .. })));
    assert!(read::restore(&kept, &both[1], options()).is_ok());
    // The manifest is listed and gone.
    let manifest = format!("{}/{MANIFEST_NAME}", both[0].folder);
    stub.script(move |method, key, _| (method == "GET" && key == manifest).then_some(Fault::Status(404)));
    assert_eq!(usable(&kept).len(), 1);
    // It is there and not listed.
    stub.script(|_, key, _| key.is_empty().then_some(Fault::Stale));
    assert_eq!(usable(&kept).len(), 1);
}

#[test]
fn trouble_of_the_store_is_weathered_or_told_and_never_leaves_half_a_snapshot() {
    for fault in [Fault::Status(503), Fault::Reset, Fault::DoneAndReset, Fault::Hang] {
        let stub = Stub::start(move |method, _, nth| (method == "PUT" && nth % 2 == 0).then_some(fault));
        let outcome = store("a", 100, &stub.store());
        assert!(matches!(outcome, Ok(Outcome::Written { .. })), "{fault:?} each other time: {outcome:?}");
        assert_eq!(usable(&stub.store()).len(), 1, "{fault:?}");
        // The manifest never arrives: there is no snapshot.
        let stub = Stub::start(move |method, key, _| {
            (method == "PUT" && key.ends_with(MANIFEST_NAME) && fault != Fault::DoneAndReset).then_some(fault)
        });
        let outcome = store("a", 100, &stub.store());
        if fault != Fault::DoneAndReset {
            assert!(matches!(&outcome, Err(fault) if fault.is_retryable()), "{fault:?}: {outcome:?}");
            assert!(usable(&stub.store()).is_empty(), "{fault:?}");
        }
    }
}

#[test]
fn a_write_that_went_wrong_is_found_by_reading_back() {
    let stub = Stub::start(|_, _, _| None);
    let kept = stub.store();
    // What is read back of the first part is cut short, each time.
    stub.script(|method, key, _| (method == "GET" && key.ends_with(".zst")).then_some(Fault::Status(404)));
    assert!(matches!(store("a", 100, &kept), Err(WriteFault::ReadBack { .. })));
    stub.script(|_, _, _| None);
    assert!(matches!(store("a", 100, &kept), Ok(Outcome::Written { .. })), "the next attempt mends it");
}

#[test]
fn retention_takes_whole_snapshots_the_manifest_first() {
    let stub = Stub::start(|_, _, _| None);
    let kept = stub.store();
    for to in [60, 100, 140, 180, 220, 260] {
        store("a", to, &kept).expect("it is written");
        store("b", to, &kept).expect("it is co-signed");
    }
    let all = usable(&kept);
    let marker_seq = all[1].manifest.seq;
    assert_eq!(keep::thin_out(&kept, &site("a"), marker_seq), Ok(2));
    let left: Vec<String> = usable(&kept).into_iter().map(|usable| usable.folder).collect();
    let wanted: Vec<String> = all[..4].iter().map(|usable| usable.folder.clone()).collect();
    assert_eq!(left, wanted, "the one at the marker, two behind it, and the newer one");
    let folders: std::collections::BTreeSet<String> =
        stub.objects().keys().filter_map(|key| Some(key.rsplit_once('/')?.0.to_owned())).collect();
    assert_eq!(folders.len(), 4, "nothing of the others is left");
    assert_eq!(keep::thin_out(&kept, &site("a"), marker_seq), Ok(0));
}

#[test]
fn a_bomb_is_refused_by_its_declared_length_before_it_is_opened() {
    let raw = vec![0_u8; 8 << 20];
    let bomb = zstd::bulk::compress(&raw, 19).expect("zeros compress");
    let part = crate::wire::manifest::Part {
        raw_bytes: raw.len() as u64,
        stored_bytes: bomb.len() as u64,
        raw_hash: blake3::hash(&raw).into(),
        stored_hash: blake3::hash(&bomb).into(),
    };
    assert_eq!(pack::unpack(&bomb, &part), Err(pack::PartFault::RawLength { wanted: 8 << 20 }));
    let less = crate::wire::manifest::Part { raw_bytes: 1000, ..part };
    assert_eq!(pack::unpack(&bomb, &less), Err(pack::PartFault::RawLength { wanted: 1000 }));
    // An honest state of zeros is packed so that it can be opened again.
    let (stored, part) = pack::pack(&raw).expect("it can be packed");
    assert_eq!(pack::unpack(&stored, &part), Ok(raw));
}
