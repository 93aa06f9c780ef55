//! What tests share: the suite that every store passes, a manual clock, fixtures and databases.
//!
//! Nothing here is shipped.
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
