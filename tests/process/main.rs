//! The program as its operators meet it: every test here starts the real binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests may"
)]

mod architecture;
mod canary;
mod cli;
mod client;
mod collector;
mod config;
mod dev;
mod durability;
mod house;
mod invariants;
mod program;
mod shutdown;
mod telemetry;
