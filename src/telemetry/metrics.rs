//! Metrics of the process, recorded with OpenTelemetry's API only: the SDK in `telemetry` exports them. The
//! metrics of use cases, of the store and of connections are in files of the same name in their crates.
//!
//! No attribute holds a key, a user, a workspace, an organization, or any other text that a client sent: each
//! has a few fixed values. Names and units are in OpenTelemetry's form; on `/metrics` dots are underscores, and
//! units and `_total` come at the end.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};
use opentelemetry::{KeyValue, global};
use opentelemetry_semantic_conventions::{attribute, metric};

/// Histogram boundaries for the duration of calls, in seconds. The conventions begin at 5 milliseconds, which
/// most calls of this server do not reach.
const BOUNDARIES: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    10.0,
];
/// Value of a gauge that was not set yet.
const UNKNOWN: i64 = -1;

/// Instruments are created once, on first use, so the SDK must be set up before.
static METER: LazyLock<Meter> = LazyLock::new(|| global::meter("keyward"));

static HTTP_CALLS: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    METER
        .f64_histogram(metric::HTTP_SERVER_REQUEST_DURATION)
        .with_description("Duration of HTTP server requests other than gRPC.")
        .with_unit("s")
        .with_boundaries(BOUNDARIES.to_vec())
        .build()
});

static RPC_CALLS: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    METER
        .f64_histogram(metric::RPC_SERVER_CALL_DURATION)
        .with_description("Duration of calls over gRPC and gRPC-Web, streams until their end.")
        .with_unit("s")
        .with_boundaries(BOUNDARIES.to_vec())
        .build()
});

static ACTIVE: LazyLock<UpDownCounter<i64>> = LazyLock::new(|| {
    METER
        .i64_up_down_counter(metric::HTTP_SERVER_ACTIVE_REQUESTS)
        .with_description("Number of active calls of all protocols.")
        .build()
});

static REJECTIONS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("keyward.requests.rejected")
        .with_description("Calls that were rejected before they reached their service, by reason.")
        .build()
});

static TOKEN_LOOKUPS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("keyward.token_cache.lookups")
        .with_description("Look-ups of session and service tokens among those verified before.")
        .build()
});

static READY: AtomicBool = AtomicBool::new(false);
static HELD: AtomicI64 = AtomicI64::new(UNKNOWN);

/// Creates the instruments that are read on collection, and initializes all series that are known in advance.
/// Call it once, after the SDK is set up and in a runtime.
pub(crate) fn start() {
    keyward_core::metrics::show();
    keyward_store::metrics::show();
    keyward_listener::metrics::start(|| rejected(RejectReason::UntakenAnswer));
    for hit in [false, true] {
        TOKEN_LOOKUPS.add(0, &[lookup(hit)]);
    }
    for reason in RejectReason::ALL {
        REJECTIONS.add(0, &[KeyValue::new("reason", reason.name())]);
    }
    gauge(
        "keyward.ready",
        "",
        "Whether the process is ready to serve: 1, else 0.",
        || Some(i64::from(READY.load(Ordering::Relaxed))),
    );
    gauge(
        "keyward.reservations.held",
        "",
        "Reservations that hold something, of all replicas together, as last read from the store.",
        || known(&HELD),
    );
    let runtime = tokio::runtime::Handle::current();
    gauge("keyward.tasks", "", "Tasks that are alive.", move || {
        i64::try_from(runtime.metrics().num_alive_tasks()).ok()
    });
}

fn gauge(
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    read: impl Fn() -> Option<i64> + Send + Sync + 'static,
) {
    let gauge = METER.i64_observable_gauge(name);
    let gauge = gauge.with_description(description).with_unit(unit);
    let _registered = gauge
        .with_callback(move |observer| {
            if let Some(value) = read() {
                observer.observe(value, &[]);
            }
        })
        .build();
}

fn known(value: &AtomicI64) -> Option<i64> {
    Some(value.load(Ordering::Relaxed)).filter(|value| *value != UNKNOWN)
}

/// Result of a call over HTTP.
pub(crate) struct HttpCall {
    /// Standard HTTP method, or `_OTHER`.
    pub(crate) method: &'static str,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Template of the path, if it is known.
    pub(crate) route: Option<&'static str>,
    /// Status; `None` if the client disconnected before the response.
    pub(crate) status: Option<u16>,
    /// Server error, if there was one.
    pub(crate) error: Option<String>,
}

/// Records a call over HTTP.
pub(crate) fn http_call(call: HttpCall, took: Duration) {
    let mut attributes = vec![
        KeyValue::new(attribute::HTTP_REQUEST_METHOD, call.method),
        KeyValue::new(attribute::URL_SCHEME, call.scheme),
    ];
    attributes.extend(
        call.route
            .map(|it| KeyValue::new(attribute::HTTP_ROUTE, it)),
    );
    let status = call.status.map(i64::from);
    attributes.extend(status.map(|it| KeyValue::new(attribute::HTTP_RESPONSE_STATUS_CODE, it)));
    attributes.extend(
        call.error
            .map(|it| KeyValue::new(attribute::ERROR_TYPE, it)),
    );
    HTTP_CALLS.record(took.as_secs_f64(), &attributes);
}

/// Records a call over gRPC or gRPC-Web: its method, or `_OTHER`, the name of its code, and the server error,
/// if there was one.
pub(crate) fn rpc_call(
    method: &'static str,
    code: &'static str,
    error: Option<&'static str>,
    took: Duration,
) {
    let mut attributes = vec![
        KeyValue::new(attribute::RPC_SYSTEM_NAME, "grpc"),
        KeyValue::new(attribute::RPC_METHOD, method),
        KeyValue::new(attribute::RPC_RESPONSE_STATUS_CODE, code),
    ];
    attributes.extend(error.map(|it| KeyValue::new(attribute::ERROR_TYPE, it)));
    RPC_CALLS.record(took.as_secs_f64(), &attributes);
}

/// Records the start of a call of this HTTP method.
pub(crate) fn call_begins(method: &'static str, scheme: &'static str) {
    ACTIVE.add(1, &active(method, scheme));
}

/// Records the end of a call of this HTTP method.
pub(crate) fn call_ends(method: &'static str, scheme: &'static str) {
    ACTIVE.add(-1, &active(method, scheme));
}

fn active(method: &'static str, scheme: &'static str) -> [KeyValue; 2] {
    [
        KeyValue::new(attribute::HTTP_REQUEST_METHOD, method),
        KeyValue::new(attribute::URL_SCHEME, scheme),
    ]
}

/// Reason for rejecting a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RejectReason {
    /// It has no valid token.
    Authentication,
    /// Its caller exceeds the rate limit.
    RateLimit,
    /// Its address exceeds the rate limit.
    AddressRate,
    /// Its address has failed to authenticate too often.
    FailedAuthentications,
    /// Too many calls are under way.
    Overload,
    /// Too many streams are open that need no token.
    UnauthenticatedStreams,
    /// Its body arrived too slowly.
    SlowBody,
    /// The memory for request bodies is used up.
    RequestMemory,
    /// Its response was not read.
    UntakenAnswer,
}

impl RejectReason {
    const ALL: [Self; 9] = [
        Self::Authentication,
        Self::RateLimit,
        Self::AddressRate,
        Self::FailedAuthentications,
        Self::Overload,
        Self::UnauthenticatedStreams,
        Self::SlowBody,
        Self::RequestMemory,
        Self::UntakenAnswer,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::RateLimit => "rate_limit",
            Self::AddressRate => "address_rate",
            Self::FailedAuthentications => "failed_authentications",
            Self::Overload => "overload",
            Self::UnauthenticatedStreams => "open_streams",
            Self::SlowBody => "slow_body",
            Self::RequestMemory => "request_memory",
            Self::UntakenAnswer => "untaken_answer",
        }
    }
}

/// Counts a rejected call.
pub(crate) fn rejected(reason: RejectReason) {
    REJECTIONS.add(1, &[KeyValue::new("reason", reason.name())]);
}

/// Counts a lookup in the cache of verified tokens.
pub(crate) fn token_looked_up(hit: bool) {
    TOKEN_LOOKUPS.add(1, &[lookup(hit)]);
}

fn lookup(hit: bool) -> KeyValue {
    KeyValue::new("result", if hit { "hit" } else { "miss" })
}

/// Records the last result for readiness.
pub(crate) fn ready(ready: bool) {
    READY.store(ready, Ordering::Relaxed);
}

/// Records the number of reservations, as last read; `None` if it could not be read.
pub(crate) fn reservations_held(held: Option<u64>) {
    let held = held.and_then(|held| i64::try_from(held).ok());
    HELD.store(held.unwrap_or(UNKNOWN), Ordering::Relaxed);
}
