//! PURE. Who may emit which transition, and when: promotion, fencing, read-back, takeover.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
