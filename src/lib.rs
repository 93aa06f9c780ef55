//! Keyward keeps provider API keys, repo AI keys and spend-limited issued keys.
//!
//! This crate is the outermost one: configuration, protocols, authentication, telemetry and the process. The
//! domain logic is in `keyward_core`; see `docs/ARCHITECTURE.md`.

mod admission;
pub mod app;
pub mod auth;
mod background;
mod body;
pub mod cli;
pub mod config;
mod convert;
mod dispatch;
pub mod docs;
pub mod error;
mod grpc;
pub mod health;
pub mod layers;
pub mod operations;
pub mod proto;
pub mod telemetry;
pub mod unauthenticated;
