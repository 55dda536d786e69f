//! The demo's stage: a service that can be made to degrade, a person who is told, and the telling of it.

pub mod scene;
pub mod stage;
pub mod timeline;
