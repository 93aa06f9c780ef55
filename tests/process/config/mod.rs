//! The configuration of `keyward serve`.

mod cache;
mod cors_and_reflection;
mod ledger;
mod limits;
mod renamed;
mod serve;
mod server;
