//! The text of the generated Rust. Nothing is judged here any more.

mod debug;
mod json;
mod service;

pub(crate) use debug::{debug, redacted, with_own_debug};
pub(crate) use json::{check, enumeration, message, types};
pub(crate) use service::{methods, service};

/// A Rust string literal.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}
