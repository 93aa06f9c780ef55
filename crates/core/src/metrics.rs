//! Metrics of the use cases, recorded through the OpenTelemetry API; without a meter provider nothing is recorded.
//!
//! No attribute contains a key, a user, a workspace or an organization; each has a few fixed values.

use std::sync::LazyLock;

use opentelemetry::metrics::{Counter, Meter};
use opentelemetry::{KeyValue, global};

use crate::model::account::Verdict;

/// The meter provider must be set before the first use, since instruments are created only once.
static METER: LazyLock<Meter> = LazyLock::new(|| global::meter("keyward"));

static VERDICTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("keyward.verdicts")
        .with_description("Verdicts on keys that services have asked about.")
        .build()
});

static RESERVATIONS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("keyward.reservations")
        .with_description(
            "Reservations of spend that were asked for or ended, by what became of it.",
        )
        .build()
});

static CHARGES: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("keyward.charges")
        .with_description("Charges that were added to keys; one that came twice counts once.")
        .build()
});

static VAULT: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("keyward.vault.operations")
        .with_description(
            "Operations of the vault, by the version of the key-encryption key behind them.",
        )
        .build()
});

/// Kind of key that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VerifiedKind {
    IssuedKey,
    RepoAiKey,
}

impl VerifiedKind {
    const fn name(self) -> &'static str {
        match self {
            Self::IssuedKey => "issued_key",
            Self::RepoAiKey => "repo_ai_key",
        }
    }
}

/// Outcome of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReservationOutcome {
    /// Its amount is reserved.
    Held,
    /// The available amount was too small.
    LimitExceeded,
    /// It became a charge.
    Settled,
    /// It was released.
    Released,
}

impl ReservationOutcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::LimitExceeded => "limit_exceeded",
            Self::Settled => "settled",
            Self::Released => "released",
        }
    }
}

/// Operation of the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VaultOperation {
    Wrap,
    Unwrap,
    Seal,
    Open,
}

impl VaultOperation {
    const fn name(self) -> &'static str {
        match self {
            Self::Wrap => "wrap",
            Self::Unwrap => "unwrap",
            Self::Seal => "seal",
            Self::Open => "open",
        }
    }
}

/// Counts a verdict; `None` if no key matches.
pub(crate) fn verdict(kind: VerifiedKind, verdict: Option<Verdict>) {
    count_verdict(1, kind, verdict);
}

/// Exports the series of a KEK version at 0: the first increase of a series that did not exist is invisible
/// to rate computations.
pub fn show_kek(version: u32) {
    use VaultOperation::{Open, Seal, Unwrap, Wrap};
    for operation in [Wrap, Unwrap, Seal, Open] {
        for succeeded in [true, false] {
            count_vault(0, operation, Some(version), succeeded);
        }
    }
}

fn count_verdict(times: u64, kind: VerifiedKind, verdict: Option<Verdict>) {
    let verdict = match verdict {
        Some(Verdict::Valid) => "valid",
        Some(Verdict::Disabled) => "disabled",
        Some(Verdict::Expired) => "expired",
        Some(Verdict::LimitExceeded) => "limit_exceeded",
        None => "not_found",
    };
    let kind = KeyValue::new("kind", kind.name());
    VERDICTS.add(times, &[kind, KeyValue::new("verdict", verdict)]);
}

/// Counts the outcome of a reservation.
pub(crate) fn reservation(outcome: ReservationOutcome) {
    RESERVATIONS.add(1, &[KeyValue::new("outcome", outcome.name())]);
}

/// Counts a new charge.
pub(crate) fn charge(byok: bool) {
    CHARGES.add(1, &[KeyValue::new("byok", byok)]);
}

/// Counts an operation of the vault. The version is 0 if the KEK cannot determine it.
pub(crate) fn vault(operation: VaultOperation, kek_version: Option<u32>, succeeded: bool) {
    count_vault(1, operation, kek_version, succeeded);
}

fn count_vault(times: u64, operation: VaultOperation, kek_version: Option<u32>, succeeded: bool) {
    let outcome = if succeeded { "success" } else { "failure" };
    let attributes = [
        KeyValue::new("operation", operation.name()),
        KeyValue::new("kek_version", i64::from(kek_version.unwrap_or(0))),
        KeyValue::new("outcome", outcome),
    ];
    VAULT.add(times, &attributes);
}

/// Exports all known series at 0, to distinguish an event that has not happened from an event that is not
/// counted.
pub fn show() {
    use ReservationOutcome::{Held, LimitExceeded, Released, Settled};
    let issued = [
        Some(Verdict::Valid),
        Some(Verdict::Disabled),
        Some(Verdict::Expired),
        Some(Verdict::LimitExceeded),
        None,
    ];
    for verdict in issued {
        count_verdict(0, VerifiedKind::IssuedKey, verdict);
    }
    for verdict in [Some(Verdict::Valid), None] {
        count_verdict(0, VerifiedKind::RepoAiKey, verdict);
    }
    for outcome in [Held, LimitExceeded, Settled, Released] {
        RESERVATIONS.add(0, &[KeyValue::new("outcome", outcome.name())]);
    }
    for byok in [false, true] {
        CHARGES.add(0, &[KeyValue::new("byok", byok)]);
    }
}
