//! Every use of a key is a span and is counted, with the version of the key-encryption key behind it
//! and never with what it was used on.

use std::future::Future;

use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::error::Error;
use crate::metrics::{self, VaultOperation};

/// Does one thing that needs no waiting.
pub(super) fn observed<T>(
    operation: VaultOperation,
    kek_version: Option<u32>,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let span = span(operation, kek_version);
    let outcome = span.in_scope(work);
    record(&span, operation, kek_version, outcome.is_ok());
    outcome
}

/// Does one thing of the KEK's, which may be asked over a network.
pub(super) async fn observed_async<T>(
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
    // A number that is not known is not told.
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
