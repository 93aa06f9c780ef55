//! Text of the generated Rust. All checks ran before.

mod check;
mod debug;
mod json;
mod service;

pub(crate) use check::check;
pub(crate) use debug::{debug, redacted, with_own_debug};
pub(crate) use json::{enumeration, message, types};
pub(crate) use service::{methods, service};

/// Returns a Rust string literal.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}
