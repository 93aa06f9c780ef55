//! Metrics of connections, recorded through the OpenTelemetry API; without a meter provider nothing is recorded.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{LazyLock, OnceLock};

use opentelemetry::metrics::{Counter, Meter};
use opentelemetry::{KeyValue, global};

/// Value of a gauge that was not set yet.
const UNKNOWN: i64 = -1;

/// Instruments are created once, on first use, so the meter provider must be set before.
static METER: LazyLock<Meter> = LazyLock::new(|| global::meter("keyward"));

static CONNECTIONS_REJECTED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("keyward.connections.rejected")
        .with_description("Connections that were closed at once, by reason.")
        .build()
});

static CONNECTIONS: AtomicI64 = AtomicI64::new(0);
static CERTIFICATE_EXPIRY: AtomicI64 = AtomicI64::new(UNKNOWN);
static ON_SHED: OnceLock<fn()> = OnceLock::new();

/// Creates the instruments that are read on collection, and initializes all series that are known in advance.
/// Call it once, after the meter provider is set. `on_shed` runs for every response that is shed because its
/// client does not read it: the application counts it with the calls that it rejects.
pub fn start(on_shed: fn()) {
    // A second start would register the instruments again.
    if ON_SHED.set(on_shed).is_err() {
        return;
    }
    for reason in ConnectionRejected::ALL {
        CONNECTIONS_REJECTED.add(0, &[KeyValue::new("reason", reason.name())]);
    }
    let connections = METER
        .i64_observable_gauge("keyward.connections")
        .with_description("Open connections.")
        .with_unit("");
    let _registered = connections
        .with_callback(|observer| observer.observe(CONNECTIONS.load(Ordering::Relaxed), &[]))
        .build();
    let expiry = METER
        .i64_observable_gauge("keyward.tls.certificate.expiry_timestamp")
        .with_description("Expiry of the server's certificate, since 1970-01-01T00:00:00Z.")
        .with_unit("s");
    let _registered = expiry
        .with_callback(|observer| {
            let expiry = CERTIFICATE_EXPIRY.load(Ordering::Relaxed);
            if expiry != UNKNOWN {
                observer.observe(expiry, &[]);
            }
        })
        .build();
}

/// Reason for closing a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionRejected {
    /// Its address has the maximum number of connections.
    PerIpLimit,
    /// Its address connects too often.
    PerIpRate,
    /// It was open without a valid token, and another connection needed its slot.
    Evicted,
}

impl ConnectionRejected {
    const ALL: [Self; 3] = [Self::PerIpLimit, Self::PerIpRate, Self::Evicted];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PerIpLimit => "per_ip_limit",
            Self::PerIpRate => "per_ip_rate",
            Self::Evicted => "evicted",
        }
    }
}

/// Counts a closed connection.
pub(crate) fn connection_rejected(reason: ConnectionRejected) {
    CONNECTIONS_REJECTED.add(1, &[KeyValue::new("reason", reason.name())]);
}

/// Changes the number of open connections.
pub(crate) fn connections(change: i64) {
    CONNECTIONS.fetch_add(change, Ordering::Relaxed);
}

/// Records that a response was shed.
pub(crate) fn response_shed() {
    if let Some(on_shed) = ON_SHED.get() {
        on_shed();
    }
}

/// Records the expiration time of the server's certificate, in seconds since 1970-01-01T00:00:00Z.
pub(crate) fn tls_certificate_expiry(unix_seconds: i64) {
    CERTIFICATE_EXPIRY.store(unix_seconds, Ordering::Relaxed);
}
