//! The program from the operator's side: every test here starts the real binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests may"
)]

mod admin;
mod architecture;
mod bound_secrets;
mod canary;
mod certificates;
mod cli;
mod client;
mod clocks;
mod collector;
mod config;
mod config_faces;
mod config_ledger;
mod config_limits;
mod config_server;
mod connection_age;
mod connections;
mod database_file;
mod description;
mod dev;
mod dev_management_key;
mod disk_full;
mod durability;
mod durability_ledger;
mod frames;
mod house;
mod housekeeping;
mod invariants;
mod ledger;
mod log_lines;
mod metrics;
mod metrics_held;
mod migrate;
mod operations;
mod principals;
mod program;
mod random;
mod shutdown;
mod shutdown_delay;
mod spending;
mod switchover;
mod telemetry;
mod telemetry_export;
mod tls;
mod tls_clients;
mod tls_reload;
mod trace_tree;
