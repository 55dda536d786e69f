//! Thin shells round the pure core. Each file alone names its outside thing.

pub mod bench;
pub mod check;
pub mod clock;
pub mod demo;
pub mod emitter;
pub mod files;
pub mod http;
pub mod kafka;
pub mod keys;
pub mod lock;
pub mod meta;
pub mod monitor;
pub mod notify;
pub mod peers;
pub mod preflight;
pub mod receiver;
pub mod registry;
pub mod signal;
pub mod snapshot;
pub mod store;
pub mod telemetry;
pub mod thread;
pub mod tls;
pub mod verify;
pub mod worker;
pub mod zookeeper;
