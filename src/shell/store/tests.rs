use super::*;

fn directory(name: &str) -> (Store, PathBuf) {
    let path = std::env::temp_dir().join(format!("bellwether-store-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let config = config::Snapshots {
        url: format!("file://{}", path.display()),
        interval: Duration::from_secs(3600),
        endpoint: String::new(),
        region: String::new(),
        access_key: None,
        secret_key: None,
    };
    let store = Store::open(&config, Patience::default()).expect("a directory").expect("is configured");
    (store, path)
}

#[test]
fn a_directory_keeps_what_was_written_first() {
    let (store, path) = directory("first");
    assert_eq!(store.put("a/b/c", b"one"), Ok(Put::Stored));
    assert_eq!(store.put("a/b/c", b"one"), Ok(Put::Same));
    assert_eq!(store.put("a/b/c", b"two"), Ok(Put::Other(Some(b"one".to_vec()))));
    assert_eq!(store.get("a/b/c", 3), Ok(b"one".to_vec()));
    assert_eq!(store.get("a/b/c", 2), Err(StoreError::TooLong { key: "a/b/c".to_owned(), max: 2 }));
    assert_eq!(store.get("a/b/d", 2), Err(StoreError::NotFound { key: "a/b/d".to_owned() }));
    assert_eq!(store.probe("cluster", "worker"), Ok(()));
    std::fs::remove_dir_all(path).expect("it is ours");
}

#[test]
fn a_directory_lists_in_order_and_deletes() {
    let (store, path) = directory("list");
    assert_eq!(store.list("none/"), Ok(Vec::new()));
    for key in ["p/2/y", "p/10/x", "p/2/x", "q/1"] {
        store.put(key, key.as_bytes()).expect("it can be written");
    }
    let keys = |prefix: &str| -> Vec<String> {
        store.list(prefix).expect("it can be listed").into_iter().map(|listed| listed.key).collect()
    };
    assert_eq!(keys("p/"), ["p/10/x", "p/2/x", "p/2/y"]);
    assert_eq!(keys("p/2/x"), ["p/2/x"]);
    assert_eq!(keys(""), ["p/10/x", "p/2/x", "p/2/y", "q/1"]);
    assert_eq!(store.delete("p/10/x"), Ok(()));
    assert_eq!(store.delete("p/10/x"), Ok(()));
    assert_eq!(keys("p/1"), Vec::<String>::new());
    assert!(!path.join("p/10").exists() && path.join("p/2").exists());
    std::fs::remove_dir_all(path).expect("it is ours");
}

#[test]
fn no_name_leads_out_of_the_directory() {
    let (store, _) = directory("out");
    for key in ["../x", "a/../../x", "/etc/passwd", "a//b", "", "a/.", "a\\b"] {
        assert!(matches!(store.get(key, 10), Err(StoreError::NotFound { .. })), "{key}");
        assert!(store.put(key, b"x").is_err(), "{key}");
    }
}

#[test]
fn urls_are_checked() {
    for url in ["", "s3://bucket", "s3://bucket/a/b", "s3://bucket/a/", "file:///var/lib/bellwether"] {
        assert_eq!(check_url(url), Ok(()), "{url}");
    }
    for url in
        ["bucket", "http://x/y", "s3://", "s3:///a", "s3://b/a//c", "s3://b/../c", "file://x", "s3://b/ö"]
    {
        assert!(check_url(url).is_err(), "{url}");
    }
}

pub(crate) mod stub;

use stub::{Fault, Stub};

/// The first `count` requests of a method meet with a fault.
fn first(
    method: &'static str,
    count: usize,
    fault: Fault,
) -> impl FnMut(&str, &str, usize) -> Option<Fault> + Send + 'static {
    move |of, _, nth| (of == method && nth < count).then_some(fault)
}

#[test]
fn s3_keeps_what_was_written_first_and_lists_page_by_page() {
    let stub = Stub::start(|_, _, _| None);
    let store = stub.store();
    assert_eq!(store.put("a/1", b"one"), Ok(Put::Stored));
    assert_eq!(store.put("a/1", b"one"), Ok(Put::Same));
    assert_eq!(store.put("a/1", b"two"), Ok(Put::Other(Some(b"one".to_vec()))));
    assert_eq!(store.get("a/1", 3), Ok(b"one".to_vec()));
    assert_eq!(store.get("a/1", 2), Err(StoreError::TooLong { key: "a/1".to_owned(), max: 2 }));
    assert_eq!(store.get("a/0", 2), Err(StoreError::NotFound { key: "a/0".to_owned() }));
    for at in 2..=9 {
        store.put(&format!("a/{at}"), b"x").expect("it can be written");
    }
    let keys: Vec<String> =
        store.list("a/").expect("it can be listed").into_iter().map(|listed| listed.key).collect();
    assert_eq!(keys, (1..=9).map(|at| format!("a/{at}")).collect::<Vec<_>>(), "over three pages");
    assert_eq!(store.delete("a/1"), Ok(()));
    assert_eq!(store.list("a/1"), Ok(Vec::new()));
    assert_eq!(store.probe("cluster", "worker"), Ok(()));
    assert!(stub.objects().keys().all(|key| !key.contains(".probe")), "the probe is taken away");
}

#[test]
fn what_passes_is_tried_again_and_what_lasts_is_told() {
    for fault in [Fault::Status(500), Fault::Status(503), Fault::Status(429), Fault::Reset, Fault::Hang] {
        let stub = Stub::start(first("PUT", 2, fault));
        assert_eq!(stub.store().put("k", b"bytes"), Ok(Put::Stored), "{fault:?} twice");
        assert_eq!(stub.objects().get("k").map(Vec::as_slice), Some(b"bytes".as_slice()));
        stub.script(first("PUT", 9, fault));
        let told = stub.store().put("l", b"bytes");
        assert!(matches!(told, Err(StoreError::Unavailable { attempts: 3, .. })), "{fault:?}: {told:?}");
        assert_eq!(stub.count("PUT"), 3, "{fault:?}: bounded");
    }
    let stub = Stub::start(first("PUT", 9, Fault::Status(403)));
    assert!(matches!(stub.store().put("k", b"x"), Err(StoreError::Refused { .. })));
    assert_eq!(stub.count("PUT"), 1, "a refusal is not asked again");
}

#[test]
fn a_server_of_another_time_is_asked_by_its_own_clock() {
    let stub = Stub::start(|_, _, _| Some(Fault::Skewed));
    let store = stub.store();
    assert_eq!(store.put("k", b"bytes"), Ok(Put::Stored));
    assert_eq!(stub.count("PUT"), 2, "refused once, then signed by the server's clock");
    assert_eq!(store.get("k", 9), Ok(b"bytes".to_vec()));
    assert_eq!(stub.count("GET"), 1, "and from then on");
}

#[test]
fn a_write_whose_answer_was_lost_is_found_to_be_ours() {
    for fault in [Fault::DoneAndReset, Fault::Status(409)] {
        let stub = Stub::start(first("PUT", 1, fault));
        let put = stub.store().put("k", b"ours").expect("it succeeds");
        assert!(matches!(put, Put::Same | Put::Stored), "{fault:?}: {put:?}");
        assert_eq!(stub.objects().len(), 1);
    }
    let stub = Stub::start(first("PUT", 1, Fault::Status(409)));
    stub.plant("k", b"theirs");
    assert_eq!(stub.store().put("k", b"ours"), Ok(Put::Other(Some(b"theirs".to_vec()))));
    assert_eq!(stub.objects().get("k").map(Vec::as_slice), Some(b"theirs".as_slice()));
}

#[test]
fn an_answer_that_ends_early_or_drips_is_not_taken_for_the_object() {
    for fault in [Fault::CutBody, Fault::Drip, Fault::Hang] {
        let stub = Stub::start(first("GET", 1, fault));
        stub.plant("k", b"twelve bytes");
        assert_eq!(stub.store().get("k", 12), Ok(b"twelve bytes".to_vec()), "{fault:?} once");
        stub.script(first("GET", 9, fault));
        assert!(matches!(stub.store().get("k", 12), Err(StoreError::Unavailable { .. })), "{fault:?}");
    }
}

#[test]
fn a_store_that_replaces_objects_is_refused() {
    let stub = Stub::start(|method, _, _| (method == "PUT").then_some(Fault::Replace));
    let told = stub.store().probe("cluster", "worker");
    assert!(matches!(told, Err(StoreError::Overwrites { .. })), "{told:?}");
    let text = told.expect_err("it is refused").to_string();
    assert!(text.contains("If-None-Match") && text.contains("snapshots.url"), "{text}");
}
