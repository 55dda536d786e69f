//! Stories of what is said to whom, and properties that hold whatever fails.

mod properties;
mod stories;
mod world;
