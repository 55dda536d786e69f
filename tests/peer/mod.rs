//! Prometheus as the peer: where its promtool is.
//!
//! promtool is `BELLWETHER_PROMTOOL`, else `PROMTOOL` (`tests/tools` finds or unpacks one and prints it; `tests/run` does
//! so by itself), else `promtool` on the PATH (Debian: `apt-get install prometheus`, or without
//! installing: `apt-get download prometheus && dpkg -x prometheus_*.deb DIR`, then `DIR/usr/bin/promtool`).

use std::path::PathBuf;
use std::process::Command;

/// A promtool that answers.
pub fn promtool() -> PathBuf {
    let named = ["BELLWETHER_PROMTOOL", "PROMTOOL"].into_iter().find_map(std::env::var_os);
    let path = named.map_or_else(|| PathBuf::from("promtool"), PathBuf::from);
    let answers = Command::new(&path).arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(
        answers,
        "no promtool at {}: run tests/tools and set PROMTOOL as it prints, install Debian's package prometheus, or \
         unpack it anywhere (apt-get download prometheus && dpkg -x prometheus_*.deb DIR) and set \
         BELLWETHER_PROMTOOL=DIR/usr/bin/promtool",
        path.display()
    );
    path
}
