//! The program from the operator's side: the tests start the real binary, except for those that compare documents with
//! the code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests may"
)]

mod canary;
mod cli;
mod config;
mod docs;
mod durability;
mod lifecycle;
mod support;
mod telemetry;
mod tls;
