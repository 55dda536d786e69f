//! The keys of control records from the command line: made, shown, refused; and OpenSSL as the peer.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    reason = "a test that starts processes and reads files, and may panic"
)]

mod common;

use common::{Scratch, bellwether, succeed};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Exit code and all that a command said.
fn told(arguments: &[&str]) -> (Option<i32>, String) {
    let output = bellwether(arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().expect("openssl runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_key_is_made_once_and_shown() {
    let scratch = Scratch::new("keys-made");
    let folder = scratch.0.join("new").join("keys");
    let (folder, private) = (folder.to_string_lossy().into_owned(), folder.join("control.key"));
    let line = succeed(&["keys", "generate", "--out", &folder]);
    assert!(line.starts_with("ed25519:") && line.trim_end().len() == 8 + 64 + 1 + 16, "{line}");
    let public = private.with_extension("pub");
    assert_eq!((mode(&private), mode(&public)), (0o600, 0o644));
    let before = std::fs::read_to_string(&private).expect("a key");
    let (code, talk) = told(&["keys", "generate", "--out", &folder]);
    assert_eq!(code, Some(2));
    assert!(talk.contains("exists") && talk.contains("never overwritten"), "{talk}");
    assert_eq!(std::fs::read_to_string(&private).expect("a key"), before);
    let (private, public) = (private.to_string_lossy().into_owned(), public.to_string_lossy().into_owned());
    for path in [&private, &public] {
        assert_eq!(succeed(&["keys", "show", path]), format!("{} {path}\n", line.trim_end()));
    }
    // The configuration: its own key once, however often it is named, and another one.
    let other = format!("ed25519:{}", "00".repeat(32));
    let trusted = format!("control.trusted=['{public}', '{other}']");
    let shown = succeed(&["--set", &format!("control.key={private}"), "--set", &trusted, "keys", "show"]);
    assert_eq!(shown.lines().count(), 2);
    assert!(shown.contains(line.trim_end()) && shown.contains(&other), "{shown}");
    // OpenSSL reads what we write, and finds the same public half.
    assert_eq!(
        openssl(&["pkey", "-in", &private, "-pubout"]),
        std::fs::read_to_string(&public).expect("a key")
    );
}

#[test]
fn what_openssl_makes_is_read() {
    let scratch = Scratch::new("keys-openssl");
    let private = scratch.write("openssl.key", &openssl(&["genpkey", "-algorithm", "ed25519"]));
    std::fs::set_permissions(&private, Permissions::from_mode(0o600)).expect("it is ours");
    let public = scratch.write("openssl.pub", &openssl(&["pkey", "-in", &private, "-pubout"]));
    let line = |path: &str| succeed(&["keys", "show", path]).split(' ').next().map(str::to_owned);
    assert_eq!(line(&private), line(&public));
    let p256 = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let p256 = scratch.write("p256.key", &p256);
    std::fs::set_permissions(&p256, Permissions::from_mode(0o600)).expect("it is ours");
    let (code, talk) = told(&["keys", "show", &p256]);
    assert_eq!(code, Some(2));
    assert!(
        talk.contains("holds no Ed25519 private key") && talk.contains("genpkey -algorithm ed25519"),
        "{talk}"
    );
}

#[test]
fn who_writes_control_records_needs_a_key_that_is_its_own_alone() {
    let scratch = Scratch::new("keys-needed");
    let rules = scratch.write("rules.yaml", "groups: []\n");
    for command in [&["worker", "--id", "a"][..], &["rules", "apply", &rules]] {
        let (code, talk) = told(&[&["--set", "http.listen=127.0.0.1:0"], command].concat());
        assert_eq!(code, Some(2), "{talk}");
        assert!(
            talk.contains("bellwether keys generate --out DIR") && talk.contains("[no_control_key]"),
            "{talk}"
        );
    }
    let folder = scratch.0.join("keys");
    succeed(&["keys", "generate", "--out", &folder.to_string_lossy()]);
    let key = folder.join("control.key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o640)).expect("it is ours");
    let key = key.to_string_lossy().into_owned();
    let (code, talk) = told(&["--set", &format!("control.key={key}"), "rules", "apply", &rules]);
    assert_eq!(code, Some(2));
    assert!(talk.contains("has the mode 0640") && talk.contains(&format!("chmod 600 {key}")), "{talk}");
    let (code, talk) = told(&["--set", "control.trusted=['ed25519:12']", "keys", "show"]);
    assert_eq!(code, Some(2));
    assert!(talk.contains("64 hexadecimal digits"), "{talk}");
}
