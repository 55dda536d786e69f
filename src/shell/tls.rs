//! The door to TLS: which cryptography the process uses.

/// Makes ring the process's provider. The first provider stays; a second call changes nothing.
pub fn install() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
