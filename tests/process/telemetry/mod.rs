//! Logs, metrics and traces.

mod active_reservations;
mod export;
pub(crate) mod log_lines;
pub(crate) mod metrics;
mod principals;
pub(crate) mod spans;
mod trace_tree;
