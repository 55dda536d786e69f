use crate::wire::keyring::{Signer, SigningKey};
use crate::wire::{
    AlertId, AlertRecord, AlertState, Control, Fault, Inbound, Labels, Marker, Reason, Rejected, RuleFile,
    RuleSet, Tick, Transition,
};

fn transition() -> Transition {
    Transition {
        seq: 7,
        alert: AlertId::of("DiskFull", &Labels::new([("host", "a")])),
        from: AlertState::Pending,
        to: AlertState::Firing,
        reason: Reason::HeldFor,
        group: "disks".into(),
        rule: "DiskFull".into(),
        rule_set_version: 3,
        service: "storage".into(),
        labels: Labels::new([("alertname", "DiskFull"), ("host", "a")]),
        annotations: Labels::new([("summary", "wird knapp: größer als 90 %")]),
        value: f64::from_bits(0x7ff0_0000_0000_0002),
        output: String::new(),
        event_ms: 1_700_000_000_000,
        active_since_ms: 1_699_999_940_000,
        input_offset: 42,
        ordinal: 1,
        append_ms: 1_700_000_000_123,
        suppressed_by: None,
    }
}

fn marker() -> Marker {
    Marker {
        seq: 7,
        input_offset: 42,
        ordinal: 1,
        running_hash: [9; 32],
        epoch: 2,
        lock_czxid: 1,
        rule_set_version: 3,
        engine_version: 1,
        topic_id: String::new(),
        partition_count: 8,
        worker: "zone-a-1".into(),
        zone: "zone-a".into(),
        wall_ms: 5,
    }
}

fn signer() -> Signer {
    Signer::new(SigningKey::from_seed(&[1; 32]), "test")
}

fn seal(control: &Control) -> Vec<u8> {
    signer().seal(0, control)
}

fn rule_set() -> RuleSet {
    RuleSet {
        version: 3,
        applied_ms: 1,
        author: "ann".into(),
        service_label: "service".into(),
        limits: crate::wire::Limits::default(),
        partitions: 0,
        files: vec![RuleFile { name: "disk.yaml".into(), content: "groups: []\n".into() }],
    }
}

#[test]
fn every_type_is_read_back_as_it_was_written() {
    let Ok(AlertRecord::Transition(read)) = AlertRecord::read(&transition().encode()) else { panic!() };
    assert_eq!(read.value.to_bits(), 0x7ff0_0000_0000_0002);
    assert_eq!(Transition { value: 0.0, ..*read }, Transition { value: 0.0, ..transition() });
    let record = AlertRecord::Marker(marker());
    assert_eq!(AlertRecord::read(&record.encode()), Ok(record));
    assert_eq!(RuleSet::read(&rule_set().encode()), Ok(rule_set()));
    for control in [Control::Tick(Tick { worker: "w".into(), wall_ms: 8 }), Control::Rules(rule_set())] {
        let bytes = seal(&control);
        let Ok(Inbound::Control(read)) = Inbound::read(&bytes) else { panic!("no control record") };
        assert_eq!(signer().keyring().open(0, read), Ok(control));
    }
    let rejected = Rejected {
        reason: "truncated".into(),
        detail: "record ends".into(),
        topic: "bellwether.observations".into(),
        partition: 1,
        offset: 2,
        append_ms: 3,
        key: vec![0, 255],
        value: vec![0xC3, 0x28],
        value_bytes: 2,
    };
    assert_eq!(Rejected::read(&rejected.encode()), Ok(rejected));
}

/// Any state and any reason: the enum and its symbols stand in the same order.
#[test]
fn every_symbol_is_read_back() {
    use Reason as R;
    let reasons = [
        R::ConditionMet,
        R::HeldFor,
        R::ConditionCleared,
        R::KeepFiringElapsed,
        R::RuleRemoved,
        R::LimitExceeded,
        R::EvaluationFailed,
        R::LimitReached,
        R::LimitCleared,
        R::RecordQuarantined,
        R::QuarantineElapsed,
        R::HeldForSamples,
        R::ResolveConditionMet,
        R::NoData,
        R::MissingSeries,
        R::DataReturned,
        R::SeverityChanged,
        R::FlappingStarted,
        R::FlappingStopped,
        R::Suppressed,
        R::Inhibited,
        R::SuppressionEnded,
    ];
    for reason in reasons {
        for to in [AlertState::Inactive, AlertState::Pending, AlertState::Firing] {
            let written = Transition { reason, to, value: 0.0, ..transition() };
            let read = AlertRecord::read(&written.encode()).expect("a transition");
            assert_eq!(read, AlertRecord::Transition(Box::new(written)));
        }
    }
}

#[test]
fn a_record_on_the_wrong_topic_is_refused_by_name() {
    assert_eq!(
        Inbound::read(&transition().encode()).expect_err("refused"),
        Fault::UnexpectedSchema { schema: "transition" }
    );
    let marker = AlertRecord::Marker(marker()).encode();
    assert_eq!(RuleSet::read(&marker).expect_err("refused"), Fault::UnexpectedSchema { schema: "marker" });
    assert_eq!(
        AlertRecord::read(&rule_set().encode()).expect_err("refused"),
        Fault::UnexpectedSchema { schema: "rule_set" }
    );
    assert_eq!(
        Rejected::read(&rule_set().encode()).expect_err("refused"),
        Fault::UnexpectedSchema { schema: "rule_set" }
    );
}

#[test]
fn cut_and_padded_records_are_refused() {
    let whole = seal(&Control::Rules(rule_set()));
    for end in 0..whole.len() {
        assert!(Inbound::read(&whole[..end]).is_err(), "cut at {end}");
    }
    let padded = [&whole[..], &[0]].concat();
    assert_eq!(Inbound::read(&padded).expect_err("padded"), Fault::TrailingBytes { bytes: 1 });
}

#[test]
fn bounds_of_the_doc_strings_hold() {
    let code = |bytes: Vec<u8>| Inbound::read(&bytes).expect_err("refused").code();
    let early = Control::Tick(Tick { worker: String::new(), wall_ms: -1 });
    assert_eq!(code(seal(&early)), "out_of_bounds");
    assert_eq!(code(seal(&Control::Rules(RuleSet { version: 0, ..rule_set() }))), "out_of_bounds");
    let anonymous = RuleSet { service_label: String::new(), ..rule_set() };
    assert_eq!(code(seal(&Control::Rules(anonymous))), "out_of_bounds");
    let zeroth = AlertRecord::Transition(Box::new(Transition { seq: 0, ..transition() }));
    assert_eq!(AlertRecord::read(&zeroth.encode()).expect_err("refused").code(), "out_of_bounds");
}

/// The bytes are a contract: the running hash of yesterday's binary must be today's.
#[test]
fn hashes_and_identities_are_pinned() {
    assert_eq!(transition().alert.to_string(), "86fef2f0f5d208d5ef8a86ed2e1d0ce2");
    let chain = transition().chain(&[0; 32]);
    assert_eq!(
        blake3::Hash::from(chain).to_hex().as_str(),
        "fc84f1eebd25034476d37d5f490ee60f128e27639698aa14b52fa00005913bbd"
    );
    assert_ne!(transition().chain(&chain), chain);
    assert_ne!(AlertId::of("a", &Labels::new([("b", "c")])), AlertId::of("ab", &Labels::new([("c", "")])));
}

#[test]
fn json_shows_identities_as_hexadecimal_digits() {
    let json = serde_json::to_value(transition()).expect("JSON");
    assert_eq!(json["alert"], transition().alert.to_string());
    assert_eq!(json["to"], "firing");
    let read: Marker =
        serde_json::from_value(serde_json::to_value(marker()).expect("JSON")).expect("a marker");
    assert_eq!(read, marker());
    assert!(serde_json::from_str::<AlertId>("\"0g\"").is_err());
}
