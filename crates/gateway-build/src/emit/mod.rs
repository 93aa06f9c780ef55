//! Text of the generated Rust. All checks ran before.

mod debug;
mod json;
mod service;

pub(crate) use debug::{debug, redacted, with_own_debug};
pub(crate) use json::{check, enumeration, message, types};
pub(crate) use service::{methods, service};

/// Returns a Rust string literal.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}
