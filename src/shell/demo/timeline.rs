//! What the demo tells: a line an event on standard output, and on a terminal one line of progress below them.

use crate::shell::clock;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// The story so far.
pub struct Timeline {
    start: Duration,
    /// Whether progress is drawn; a pipe gets plain lines alone.
    terminal: bool,
}

impl Timeline {
    /// Time begins.
    #[must_use]
    pub fn start() -> Self {
        Self { start: clock::monotonic(), terminal: std::io::stdout().is_terminal() }
    }

    /// Since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        clock::monotonic() - self.start
    }

    /// One line.
    pub fn say(&self, text: &str) {
        self.clear();
        println!("{:>6.1} s  {text}", self.elapsed().as_secs_f64());
    }

    /// Replaces the line of progress.
    pub fn progress(&self, text: &str) {
        if self.terminal {
            print!("\r\x1b[2K{:>6.1} s  … {text}", self.elapsed().as_secs_f64());
            // A terminal that is gone ends the demo at its next line.
            let _ = std::io::stdout().flush();
        }
    }

    fn clear(&self) {
        if self.terminal {
            print!("\r\x1b[2K");
        }
    }
}
