use super::*;
use proptest::prelude::*;

fn manifest() -> Manifest {
    let part = |raw: &[u8], stored: &[u8]| Part {
        raw_bytes: raw.len() as u64,
        stored_bytes: stored.len() as u64,
        raw_hash: blake3::hash(raw).into(),
        stored_hash: blake3::hash(stored).into(),
    };
    Manifest {
        format_version: FORMAT_VERSION,
        cluster: "shop".to_owned(),
        topic: "shop.observations".to_owned(),
        topic_id: "J8vWkTn0S8uL3p4a9Q1xZg".to_owned(),
        partition: 3,
        partition_count: 8,
        next_offset: 1_234_567,
        seq: 42,
        running_hash: [7; 32],
        clock_ms: 1_700_000_000_000,
        rule_set_version: 2,
        engine_version: 1,
        state_format: 1,
        digest: [9; 32],
        raw_bytes: 13,
        stored_bytes: 9,
        parts: vec![part(b"abcdefgh", b"12345"), part(b"ijklm", b"6789")],
        worker: "zone-a-1".to_owned(),
        zone: "zone-a".to_owned(),
        version: "0.1.0".to_owned(),
        written_ms: 1_700_000_000_123,
    }
}

fn cosign() -> Cosign {
    Cosign {
        partition: 3,
        next_offset: 1_234_567,
        seq: 42,
        running_hash: [7; 32],
        digest: [9; 32],
        worker: "zone-b-1".to_owned(),
        zone: "zone-b".to_owned(),
        written_ms: 1_700_000_000_456,
    }
}

#[test]
fn what_is_written_is_read() {
    assert_eq!(Manifest::read(&manifest().encode()), Ok(manifest()));
    assert_eq!(Cosign::read(&cosign().encode()), Ok(cosign()));
}

#[test]
fn every_flipped_cut_or_padded_byte_is_noticed() {
    for bytes in [manifest().encode(), cosign().encode()] {
        let read = |bytes: &[u8]| Manifest::read(bytes).is_ok() || Cosign::read(bytes).is_ok();
        assert!(read(&bytes));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut spoilt = bytes.clone();
                spoilt[at] ^= 1 << bit;
                assert!(!read(&spoilt), "bit {bit} of byte {at}");
            }
            assert!(!read(&bytes[..at]), "cut at {at}");
            let mut padded = bytes.clone();
            padded.insert(at, bytes[at]);
            assert!(!read(&padded), "doubled at {at}");
        }
        assert!(!read(&[bytes.as_slice(), b"\n"].concat()));
    }
}

#[test]
fn a_newer_layout_is_told_from_damage() {
    let mut value = serde_json::to_value(manifest()).expect("it is plain data");
    value["format_version"] = 2.into();
    value["of_the_future"] = "x".into();
    assert_eq!(Manifest::read(&seal(&value)), Err(ManifestFault::Newer { version: 2 }));
}

#[test]
fn lengths_that_cannot_be_are_refused_before_memory_is_taken() {
    type Spoil = (&'static str, fn(&mut Manifest));
    let spoil: [Spoil; 6] = [
        ("the length of a part", |manifest| manifest.parts[0].raw_bytes = PART_RAW_BYTES_MAX + 1),
        ("the length of a part", |manifest| manifest.parts[0].raw_bytes = RATIO_FREE_BYTES + 1),
        ("the stored length of a part", |manifest| manifest.parts[0].stored_bytes = u64::MAX),
        ("raw_bytes", |manifest| manifest.raw_bytes += 1),
        ("the number of parts", |manifest| manifest.parts.clear()),
        ("seq", |manifest| manifest.seq = -1),
    ];
    for (expected, spoil) in spoil {
        let mut spoilt = manifest();
        spoil(&mut spoilt);
        assert!(
            matches!(Manifest::read(&spoilt.encode()), Err(ManifestFault::Value { what, .. }) if what == expected),
            "{expected}: {:?}",
            Manifest::read(&spoilt.encode())
        );
    }
}

#[test]
fn folders_sort_as_numbers_do_and_read_back() {
    let mut names: Vec<String> =
        [(9, 100), (10, 5), (9, 99), (i64::MAX, 0)].map(|(s, o)| folder(s, o)).into();
    names.sort();
    let read: Vec<_> = names.iter().map(|name| read_folder(name)).collect();
    assert_eq!(read, [Some((9, 99)), Some((9, 100)), Some((10, 5)), Some((i64::MAX, 0))]);
    for name in [
        "",
        "1-2",
        "x",
        "00000000000000000009-0000000000000000001",
        "99999999999999999999-00000000000000000000",
    ] {
        assert_eq!(read_folder(name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Manifest::read(&bytes).is_err() && Cosign::read(&bytes).is_err());
    }
}
