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
