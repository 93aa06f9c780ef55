//! Test utilities: the conformance suite for every store, a manual clock, fixtures and databases.
//!
//! Releases do not contain this crate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may"
)]

pub mod clock;
pub mod conformance;
pub mod database;
pub mod fixtures;

pub use clock::ManualClock;
pub use database::TestDatabase;
