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
    assert_eq!(control["fields"][0]["type"][1]["fields"], rule_set["fields"]);
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
