//! Support for every test of the API: a server of its own, and callers with and without rights.

mod grpc;
mod grpc_web;
mod issuer;
mod keys;
mod ledger;
mod people;
mod proxy;
mod repo_ai_keys;
mod rest;
mod server;
mod spans;
pub mod waiting;

pub use grpc::{refused, with_token};
pub use grpc_web::{WebAnswer, WebFlavor, flagged, frame as grpc_frame, unframe};
pub use issuer::{Algorithm, Issuer, SigningKey};
pub use keys::{Issued, KEY_NOT_FOUND, MOUNTS, NO_HEADER, sha256_hex};
pub use ledger::{CENT, DOLLAR, byok_charge, byok_hold, charge, charge_at, hold, hold_for};
pub use people::{
    AUDIENCE, ORGANIZATION, OTHER_ORGANIZATION, User, WORKSPACE_A, WORKSPACE_B, WORKSPACE_X,
};
pub use proxy::Proxy;
pub use repo_ai_keys::{
    NO_SUCH_ID, REPO_A, REPO_AI_KEY_EVENTS, REPO_AI_KEYS, REPO_AI_KEYS_DENIED, repo_ai_key_path,
    repo_ai_keys_path,
};
pub use rest::Call;

pub use server::{Engine, Jwks, OnEngine, Setup, TestServer};
pub use spans::spans_of;

/// Message of a 401.
pub const UNAUTHENTICATED: &str = "User not found or not validated";
/// Body of every 401 on these paths.
pub const UNAUTHENTICATED_BODY: &str =
    r#"{"success":false,"message":"User not found or not validated"}"#;
/// Message of a 403.
pub const DENIED: &str = "Insufficient permissions";
/// Message of a 403 of a list.
pub const LIST_DENIED: &str = "Insufficient permissions to read API keys in this workspace";

/// Runs each test on SQLite and on PostgreSQL; the type of the argument selects the fixture.
#[macro_export]
macro_rules! on_each_engine {
    ($($(#[$doc:meta])* async fn $name:ident($argument:ident: $type:ty) $body:block)*) => {
        $($(#[$doc])* async fn $name($argument: $type) $body)*

        mod sqlite {
            use super::*;
            use $crate::support::{Engine, OnEngine};

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(given) = <$type as OnEngine>::on(Engine::Sqlite).await {
                    super::$name(given).await;
                }
            })*
        }

        mod postgres {
            use super::*;
            use $crate::support::{Engine, OnEngine};

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(given) = <$type as OnEngine>::on(Engine::Postgres).await {
                    super::$name(given).await;
                }
            })*
        }
    };
}
