//! Rules for the dependencies of the members, the source text and the prose. No test here starts the program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod api_names;
mod circles;
mod dependencies;
mod names;
mod paths;
mod prose;
mod secrets;
mod shipped;
mod source;
