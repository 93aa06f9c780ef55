//! Rules that hold for the text of the repository.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod names;
mod prose;
mod source;
