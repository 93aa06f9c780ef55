//! Keyward keeps provider API keys, repo AI keys and spend-limited issued keys.
//!
//! This crate is the outermost one: configuration, protocols, authentication, telemetry and the process. The
//! domain logic is in `keyward_core`; see `docs/ARCHITECTURE.md`.

mod admission;
mod api;
pub mod app;
pub mod auth;
mod background;
pub mod cli;
pub mod config;
pub mod http;
pub mod telemetry;

pub use api::proto;
