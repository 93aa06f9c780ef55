//! Rules for the dependencies of the members, the source text and the prose. No test here starts the program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod circles;
mod dependencies;
mod invariants;
mod names;
mod paths;
mod prose;
mod source;
