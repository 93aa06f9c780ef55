//! Support for every test of the API: a server of its own, and callers with and without rights.

mod grpc;
mod grpc_web;
mod issuer;
mod kek;
mod keys;
mod ledger;
mod people;
mod proxy;
mod repo_ai_keys;
mod rest;
mod server;
mod spans;
pub mod waiting;

pub use grpc::{rejected, with_token};
pub use grpc_web::{WebAnswer, WebFlavor, flagged, frame as grpc_frame, unframe};
pub use issuer::{Algorithm, Issuer, SigningKey};
pub use kek::HeldKek;
pub use keys::{Issued, KEY_NOT_FOUND, MOUNTS, NO_HEADER, sha256_hex};
pub use ledger::{CENT, DOLLAR, byok_charge, byok_hold, charge, charge_at, hold, hold_for};
pub use people::{
    AUDIENCE, ORGANIZATION, OTHER_ORGANIZATION, User, WORKSPACE_A, WORKSPACE_B, WORKSPACE_X,
};
pub use proxy::{OnText, Proxy};
pub use repo_ai_keys::{
    NO_SUCH_ID, REPO_A, REPO_AI_KEY_EVENTS, REPO_AI_KEYS, REPO_AI_KEYS_DENIED, repo_ai_key_path,
    repo_ai_keys_path,
};
pub use rest::RestRequest;

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

/// Generates two tests of each named function: one on SQLite, one on PostgreSQL.
#[macro_export]
macro_rules! each_engine {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::support::run_on($crate::support::Engine::Sqlite, super::$test).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::support::run_on($crate::support::Engine::Postgres, super::$test).await;
            })*
        }
    };
}

/// Runs a test on an engine, if the engine is available; the type of the test's argument selects the fixture.
pub async fn run_on<F: OnEngine, R: Future<Output = ()>>(engine: Engine, test: fn(F) -> R) {
    if let Some(fixture) = F::on(engine).await {
        test(fixture).await;
    }
}
