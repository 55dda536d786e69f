use super::*;
use crate::wire::{Inbound, RuleFile, RuleSet, Tick};
use ring::rand::SystemRandom;

const LOG: &str = "test/test.observations";

/// RFC 8410, section 10.3 and 10.1: the private key and its public half, as any tool reads them.
const RFC_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
const RFC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn signer(seed: u8) -> Signer {
    Signer::new(key(seed), LOG)
}

fn tick() -> Control {
    Control::Tick(Tick { worker: "a1".into(), wall_ms: 1_700_000_000_000 })
}

fn rules() -> Control {
    Control::Rules(RuleSet {
        version: 3,
        applied_ms: 1,
        author: "ann".into(),
        service_label: "service".into(),
        limits: crate::wire::Limits::default(),
        partitions: 0,
        files: vec![RuleFile { name: "a.yaml".into(), content: "groups: []\n".into() }],
    })
}

fn open(keyring: &Keyring, partition: i32, bytes: &[u8]) -> Result<Control, Fault> {
    match Inbound::read(bytes)? {
        Inbound::Control(sealed) => keyring.open(partition, sealed).map_err(Fault::from),
        Inbound::Observations(_) => panic!("no control record"),
    }
}

#[test]
fn the_keys_of_the_standard_are_read_and_written_as_they_are() {
    let private = SigningKey::from_pem(RFC_PRIVATE).expect("a private key");
    let public = PublicKey::from_text(RFC_PUBLIC).expect("a public key");
    assert_eq!(private.public(), public);
    assert_eq!(public.to_pem(), RFC_PUBLIC);
    assert_eq!(
        public.to_string(),
        "ed25519:19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
    );
    assert_eq!(PublicKey::from_text(&format!("{public}\n")), Some(public));
    let der = pem::decode("PRIVATE KEY", RFC_PRIVATE).expect("base64");
    let seed: [u8; 32] = der[16..].try_into().expect("32 bytes");
    assert_eq!(private_pem(&seed), RFC_PRIVATE);
    assert_eq!(format!("{private:?}"), format!("SigningKey({})", public.id()), "never printed");
}

#[test]
fn a_private_key_with_its_public_half_is_read_if_the_two_fit() {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let text = pem::encode("PRIVATE KEY", der.as_ref());
    assert!(SigningKey::from_pem(&text).is_some());
    let mut other = der.as_ref().to_vec();
    *other.last_mut().expect("bytes") ^= 1;
    assert!(SigningKey::from_pem(&pem::encode("PRIVATE KEY", &other)).is_none());
}

#[test]
fn what_is_no_key_is_none() {
    for text in ["", RFC_PUBLIC, "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----"] {
        assert!(SigningKey::from_pem(text).is_none(), "{text}");
    }
    let short = "ed25519:19bf";
    let wide = format!("ed25519:{}é", "a".repeat(62));
    for text in ["", RFC_PRIVATE, short, &wide, &RFC_PUBLIC.replace("MCow", "MCox")] {
        assert!(PublicKey::from_text(text).is_none(), "{text}");
    }
}

#[test]
fn what_a_trusted_key_signed_is_accepted() {
    let keyring = signer(1).keyring();
    for control in [tick(), rules()] {
        let bytes = signer(1).seal(4, &control);
        assert_eq!(open(&keyring, 4, &bytes), Ok(control.clone()));
        assert_eq!(bytes, signer(1).seal(4, &control), "the same bytes each time");
    }
}

#[test]
fn each_reason_has_its_code() {
    let keyring = signer(1).keyring();
    let code = |bytes: &[u8]| open(&keyring, 4, bytes).expect_err("refused").code();
    let good = signer(1).seal(4, &tick());
    let unsigned = [&good[..10], &[0; SIGNATURE_BYTES], &good[10 + SIGNATURE_BYTES..]].concat();
    assert_eq!(code(&unsigned), "unsigned");
    assert_eq!(code(&signer(2).seal(4, &tick())), "unknown_key");
    assert_eq!(code(&signer(1).seal(5, &tick())), "other_partition");
    assert_eq!(code(&Signer::new(key(1), "other/test.observations").seal(4, &tick())), "other_log");
    let mut tampered = good.clone();
    *tampered.last_mut().expect("bytes") ^= 2;
    assert_eq!(code(&tampered), "bad_signature");
    // Format 2: the zigzag 4 behind signature and key id.
    let mut newer = good;
    newer[10 + SIGNATURE_BYTES + 8] = 4;
    assert_eq!(code(&newer), "unknown_signature_format");
    // Another's key id on a record that a stranger signed.
    let mut borrowed = signer(2).seal(4, &tick());
    borrowed[10 + SIGNATURE_BYTES..][..8].copy_from_slice(&key(1).public().id().0);
    assert_eq!(code(&borrowed), "bad_signature");
}

#[test]
fn no_changed_bit_of_a_record_is_accepted() {
    let keyring = signer(1).keyring();
    for control in [tick(), rules()] {
        let whole = signer(1).seal(4, &control);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // The framing's first byte may make it another kind of record: it is no control record then.
            if let Ok(Inbound::Control(sealed)) = Inbound::read(&bytes) {
                assert!(keyring.open(4, sealed).is_err(), "bit {bit}");
            }
        }
        for end in 0..whole.len() {
            assert!(!matches!(Inbound::read(&whole[..end]), Ok(Inbound::Control(_))), "cut at {end}");
        }
    }
}

#[test]
fn two_keys_may_be_trusted_at_once() {
    let both = Keyring::new(LOG, [key(2).public(), key(1).public(), key(2).public()]);
    for seed in [1, 2] {
        assert_eq!(open(&both, 0, &signer(seed).seal(0, &tick())), Ok(tick()));
    }
    assert_eq!(both.keys().len(), 2);
    let after = signer(2).keyring();
    assert!(open(&after, 0, &signer(1).seal(0, &tick())).is_err());
    let turned = Keyring::new(LOG, [key(1).public(), key(2).public()]);
    assert_eq!(both.hash(), turned.hash(), "in whatever order they were named");
    let hashes =
        [both.hash(), after.hash(), Keyring::new("test/x", [key(1).public(), key(2).public()]).hash()];
    assert!(hashes.iter().enumerate().all(|(at, hash)| !hashes[..at].contains(hash)));
}

/// The message and the id are a contract with other writers.
#[test]
fn the_signed_bytes_are_pinned() {
    let bytes = signer(1).seal(4, &tick());
    let body = &bytes[10 + SIGNATURE_BYTES..];
    let message = [&b"bellwether control record\n"[..], &bytes[2..10], body].concat();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a seed");
    assert_eq!(pair.sign(&message).as_ref(), &bytes[10..10 + SIGNATURE_BYTES]);
    assert_eq!(&body[..8], &key(1).public().id().0);
    assert_eq!(key(1).public().id().to_string(), "83561adb398fd87f");
}
