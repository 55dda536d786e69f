use super::*;
use serde_json::Value as Json;

/// What to do is in this file's opening essay.
#[test]
fn every_published_schema_is_kept_under_its_fingerprint() {
    let edited: Vec<String> = PUBLISHED
        .iter()
        .map(|published| (published, fingerprint(&parse(published.json))))
        .filter(|(published, seen)| published.fingerprint != *seen)
        .map(|(Published { kind, fingerprint: kept, .. }, seen)| {
            let name = kind.name();
            format!(
                "{name} was edited: its fingerprint is {seen:#018x}. \
                 Keep the old file as schemas/published/{name}.{kept:016x}.avsc, or undo the edit"
            )
        })
        .collect();
    assert!(edited.is_empty(), "{edited:#?}");
}

#[test]
fn every_file_under_schemas_is_in_the_registry() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut files = 0;
    for folder in [root.clone(), root.join("published")] {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let json = crate::shell::files::read_text(&path).expect("a readable file");
                assert!(
                    PUBLISHED.iter().any(|published| published.json == json),
                    "{path:?} is not in PUBLISHED"
                );
                files += 1;
            }
        }
    }
    assert_eq!(files, PUBLISHED.len());
}

#[test]
fn a_rule_set_is_the_same_type_in_its_topic_and_in_a_control_record() {
    let find = |kind| PUBLISHED[current(kind)].json;
    let control: Json = serde_json::from_str(find(Kind::Control)).expect("JSON");
    let rule_set: Json = serde_json::from_str(find(Kind::RuleSet)).expect("JSON");
    let fields = control["fields"].as_array().expect("fields");
    let command = fields.iter().find(|field| field["name"] == "command").expect("a command");
    assert_eq!(command["type"][1]["fields"], rule_set["fields"]);
}

#[test]
fn every_field_says_what_it_means() {
    fn look(node: &Json, path: &str) {
        for field in node["fields"].as_array().into_iter().flatten() {
            let path = format!("{path}.{}", field["name"]);
            assert!(
                field["doc"].as_str().is_some_and(|doc| !doc.is_empty()) || path.contains("command"),
                "{path}"
            );
            look(&field["type"], &path);
            look(&field["type"]["items"], &path);
            for variant in field["type"].as_array().into_iter().flatten() {
                look(variant, &path);
            }
        }
    }
    for published in PUBLISHED {
        look(&serde_json::from_str(published.json).expect("JSON"), published.kind.name());
    }
}

#[test]
fn framing_is_told_apart() {
    let code = |bytes: &[u8]| open(bytes).expect_err("a fault").code();
    assert_eq!(code(b""), "truncated");
    assert_eq!(code(&[0xC3]), "truncated");
    assert_eq!(code(&[0xC3, 0x02, 0, 0]), "unknown_framing");
    assert_eq!(code(&[0xC3, 0x01, 0, 0]), "truncated");
    assert_eq!(code(&[0x00, 0, 0, 0]), "truncated");
    assert_eq!(code(b"{}"), "unknown_framing");
    assert_eq!(
        open(&[0xC3, 1, 9, 0, 0, 0, 0, 0, 0, 0]).expect_err("unknown"),
        Fault::UnknownSchema { fingerprint: 9 }
    );
    assert_eq!(code(&vec![0; (1 << 20) + 1]), "oversize");
    let framed = open(&[0, 0, 0, 0, 7, b'x']).expect("Confluent framing");
    assert_eq!((framed.kind(), framed.current_body()), (Kind::Observations, Some(&b"x"[..])));
}

/// A version that was never published: the current one, edited.
fn edited(kind: Kind, edit: impl FnOnce(&mut Json)) -> Codec {
    let mut json: Json = serde_json::from_str(PUBLISHED[current(kind)].json).expect("JSON");
    edit(&mut json);
    Codec::new(Box::leak(Box::new(parse(&json.to_string()))))
}

fn take_field(node: &mut Json, name: &str) -> Json {
    let fields = node["fields"].as_array_mut().expect("a record");
    let at = fields.iter().position(|field| field["name"] == name).expect("a field of that name");
    fields.remove(at)
}

#[test]
fn an_older_writers_batch_is_brought_to_the_current_schema() {
    use crate::wire::{Batch, Labels, ObservationsWriter};
    let mut writer = ObservationsWriter::new("shop").expect("a service");
    writer.sample("up", &Labels::new([("a", "1")]), 5, f64::NAN).expect("a sample");
    let record = writer.finish();
    // The older writer had its fields in another order: what resolution is for.
    let older = edited(Kind::Observations, |json| {
        let service = take_field(json, "service");
        json["fields"].as_array_mut().expect("a record").push(service);
    });
    let now = codec(current(Kind::Observations));
    let old_body = upgrade(now, &older, &record[HEADER_BYTES..], "observations").expect("the older form");
    assert_ne!(old_body, &record[HEADER_BYTES..]);
    let body = upgrade(&older, now, &old_body, "observations").expect("the current form");
    assert_eq!(body, &record[HEADER_BYTES..]);
    assert_eq!(Batch::parse_owned(body).expect("a batch").samples().count(), 1);
    for end in 0..old_body.len() {
        assert!(upgrade(&older, now, &old_body[..end], "observations").is_err(), "cut at {end}");
    }
}

#[test]
fn an_older_writers_record_decodes_where_a_field_has_joined_with_a_default() {
    use crate::wire::keyring::{Signer, SigningKey};
    use crate::wire::{Control, Inbound, RuleFile, RuleSet};
    #[derive(serde::Deserialize)]
    struct Next {
        command: Control,
        note: String,
    }
    let set = RuleSet {
        version: 2,
        applied_ms: 1,
        author: "ann".into(),
        service_label: "service".into(),
        limits: crate::wire::Limits::default(),
        partitions: 0,
        files: vec![RuleFile { name: "a.yaml".into(), content: "groups: []".into() }],
    };
    let next = edited(Kind::Control, |json| {
        let note = serde_json::json!({ "name": "note", "type": "string", "default": "none" });
        json["fields"].as_array_mut().expect("a record").push(note);
    });
    let signer = Signer::new(SigningKey::from_seed(&[1; 32]), "test");
    let bytes = signer.seal(0, &Control::Rules(set.clone()));
    let now = codec(current(Kind::Control));
    let read: Next = resolve(now, &next, &bytes[HEADER_BYTES..], "control").expect("resolved");
    assert_eq!((read.command, read.note.as_str()), (Control::Rules(set), "none"));
    assert!(matches!(Inbound::read(&bytes), Ok(Inbound::Control(_))));
}
