//! Metrics of the store. They use only the OpenTelemetry API and record nothing without a meter provider.

use std::sync::LazyLock;
use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use opentelemetry::{KeyValue, global};

/// Upper bounds of the histogram buckets for statement durations, in seconds.
const BOUNDARIES: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0,
];

/// The global meter provider must be set before the first measurement, because instruments are created once.
static METER: LazyLock<Meter> = LazyLock::new(|| global::meter("keyward"));

static STATEMENTS: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    METER
        .f64_histogram("db.client.operation.duration")
        .with_description("Duration of database statements, commits included.")
        .with_unit("s")
        .with_boundaries(BOUNDARIES.to_vec())
        .build()
});

static RETRIES: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("keyward.store.retries")
        .with_description("Attempts at an operation of the store beyond its first.")
        .build()
});

static DISCARDED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("keyward.store.connections_discarded")
        .with_description("Connections to the database that were given up, by reason.")
        .build()
});

static CLOCK_DIFFERENCE: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    METER
        .f64_gauge("keyward.database.clock.difference")
        .with_description("Time by which the machine's clock is ahead of the database's, less the uncertainty of the round trip.")
        .with_unit("s")
        .build()
});

static CACHE_LOOKUPS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("keyward.cache.lookups")
        .with_description("Look-ups in a cache of the store, by cache and result.")
        .build()
});

static FEED_POLLS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("keyward.feed.polls")
        .with_description("Reads of the changes that other replicas made, by result.")
        .build()
});

/// Counts a look-up in a cache.
pub(crate) fn cache_lookup(cache: &'static str, result: &'static str) {
    let (cache, result) = (
        KeyValue::new("cache", cache),
        KeyValue::new("result", result),
    );
    CACHE_LOOKUPS.add(1, &[cache, result]);
}

/// Counts a read of the feed.
pub(crate) fn feed_poll(result: &'static str) {
    FEED_POLLS.add(1, &[KeyValue::new("result", result)]);
}

/// Records the milliseconds by which the machine's clock is ahead of the database's.
pub(crate) fn clock_difference(millis: i64) {
    let seconds = Duration::from_millis(millis.unsigned_abs()).as_secs_f64();
    CLOCK_DIFFERENCE.record(if millis < 0 { -seconds } else { seconds }, &[]);
}

/// Records a statement.
pub(crate) fn statement(
    operation: &'static str,
    system: &'static str,
    error: Option<&'static str>,
    took: Duration,
) {
    let operation = KeyValue::new("db.operation.name", operation);
    let system = KeyValue::new("db.system.name", system);
    let took = took.as_secs_f64();
    match error {
        None => STATEMENTS.record(took, &[operation, system]),
        Some(error) => {
            let error = KeyValue::new("error.type", error);
            STATEMENTS.record(took, &[operation, system, error]);
        }
    }
}

/// Counts a retry.
pub(crate) fn retry(operation: &'static str) {
    RETRIES.add(1, &[KeyValue::new("operation", operation)]);
}

/// Counts a connection that is not used again.
pub(crate) fn connection_discarded(reason: &'static str) {
    DISCARDED.add(1, &[KeyValue::new("reason", reason)]);
}

/// Adds 0 to the counters of the most frequent retries and of lost connections, so that their time series exist before
/// the first event.
pub fn show() {
    for operation in ["record", "reserve", "settle", "release"] {
        RETRIES.add(0, &[KeyValue::new("operation", operation)]);
    }
    for reason in ["connection", "silent", "server", "read_only", "doubtful"] {
        DISCARDED.add(0, &[KeyValue::new("reason", reason)]);
    }
}
