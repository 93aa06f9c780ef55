//! Records every use of a key as a span and a metric, with the version of the key-encryption key but without
//! the data that the key was used on.

use std::future::Future;

use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::error::Error;
use crate::metrics::{self, VaultOperation};

/// Runs a synchronous operation.
pub(super) fn instrumented<T>(
    operation: VaultOperation,
    kek_version: Option<u32>,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let span = span(operation, kek_version);
    let outcome = span.in_scope(work);
    record(&span, operation, kek_version, outcome.is_ok());
    outcome
}

/// Runs an operation of the KEK, which may be a remote service.
pub(super) async fn instrumented_async<T>(
    operation: VaultOperation,
    kek_version: Option<u32>,
    work: impl Future<Output = Result<T, keyward_crypto::Error>>,
) -> Result<T, Error> {
    let span = span(operation, kek_version);
    let outcome = work.instrument(span.clone()).await;
    record(&span, operation, kek_version, outcome.is_ok());
    Ok(outcome?)
}

fn span(operation: VaultOperation, kek_version: Option<u32>) -> Span {
    // An unknown version is omitted.
    let kek_version = kek_version.map(i64::from);
    macro_rules! span {
        ($name:literal) => {
            tracing::info_span!(
                $name,
                keyward.kek.version = kek_version,
                otel.status_code = Empty,
                error.type = Empty,
            )
        };
    }
    match operation {
        VaultOperation::Wrap => span!("vault.wrap"),
        VaultOperation::Unwrap => span!("vault.unwrap"),
        VaultOperation::Seal => span!("vault.seal"),
        VaultOperation::Open => span!("vault.open"),
    }
}

fn record(span: &Span, operation: VaultOperation, kek_version: Option<u32>, succeeded: bool) {
    metrics::vault(operation, kek_version, succeeded);
    if !succeeded {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", "vault_failure");
    }
}
