//! PURE. Which transition becomes which notification, to whom and why: grouping, timers, repeats, retry schedule.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
