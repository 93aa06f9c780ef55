//! Logs for humans or machines; traces and metrics over OTLP as configured by OpenTelemetry's environment
//! variables; and metrics for Prometheus.
//!
//! The log filter does not affect exports: spans go only to the exporter, and log lines identify their call
//! themselves.

pub mod conditions;
mod environment;
mod export;
mod exposition;
pub(crate) mod metrics;
mod process;
mod reporting;

use std::backtrace::Backtrace;
use std::panic;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use exposition::Exposition;

use environment::Environment;

/// Timeout for the final export, so that an unreachable collector does not delay the exit.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Target of the spans that identify the call of a log line. They are not exported.
const REQUEST_TARGET: &str = "keyward::request";
/// Crates whose spans are exported.
const OWN_TARGETS: [&str; 4] = [
    "keyward",
    "keyward_core",
    "keyward_store",
    "keyward_gateway",
];

/// Crates whose verbose lines contain data of requests, such as paths or content types. No filter raises them
/// above this level, since requests may contain secrets.
const VERBOSE_TARGETS: [(&str, LevelFilter); 3] = [
    // Its lines about collectors may contain secrets.
    ("opentelemetry", LevelFilter::WARN),
    ("tonic", LevelFilter::INFO),
    ("tonic_web", LevelFilter::INFO),
];

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For humans.
    Human,
    /// For machines.
    Json,
}

/// Flushes pending exports on shutdown.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: SdkMeterProvider,
    exposition: Exposition,
}

impl Telemetry {
    /// Starts logging to standard error, metrics, and exports if a collector is configured. Call it once, in a
    /// runtime, before the first metric is recorded.
    ///
    /// # Errors
    /// The filter or an OpenTelemetry variable is malformed, or an exporter cannot be created.
    pub fn start(
        filter: &str,
        format: LogFormat,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let filter = EnvFilter::builder()
            .with_default_directive(LevelFilter::WARN.into())
            .parse(filter)
            .map_err(|_| "`log.filter` is malformed")?
            .and(
                Targets::new()
                    .with_default(LevelFilter::TRACE)
                    .with_targets(VERBOSE_TARGETS),
            )
            .and(filter_fn(is_line));
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_span_events(FmtSpan::NONE)
            .with_target(true);
        let lines = match format {
            LogFormat::Human => lines.with_ansi(false).boxed(),
            LogFormat::Json => {
                let lines = lines.json().flatten_event(true);
                lines.with_current_span(true).with_span_list(false).boxed()
            }
        };
        let environment = Environment::read(|name| std::env::var_os(name))?;
        let resource = export::resource(&environment);
        let traces = export::traces(&environment, &resource)?;
        let (provider, exposition) = export::metrics(&environment, &resource)?;
        let spans = traces.as_ref().map(|provider| {
            let own = OWN_TARGETS.map(|target| (target, LevelFilter::INFO));
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("keyward"))
                .with_location(false)
                .with_threads(false)
                .with_filter(Targets::new().with_targets(own).and(filter_fn(is_exported)))
        });
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .with(spans)
            .try_init()?;
        report_panics_without_their_message();
        global::set_meter_provider(provider.clone());
        metrics::start();
        process::start();
        Ok(Self {
            traces,
            metrics: provider,
            exposition,
        })
    }

    /// Returns the exposition of the metrics.
    #[must_use]
    pub fn exposition(&self) -> Exposition {
        self.exposition.clone()
    }

    /// Exports the remaining data, for at most five seconds in total. Blocks.
    pub fn shut_down(self) {
        let metrics = self.metrics;
        // In parallel to the traces, so that both share the timeout.
        let measured =
            std::thread::spawn(move || metrics.shutdown_with_timeout(FLUSH_TIMEOUT).is_ok());
        if let Some(traces) = self.traces
            && traces.shutdown_with_timeout(FLUSH_TIMEOUT).is_err()
        {
            tracing::warn!("some spans were not exported");
        }
        if !measured.join().unwrap_or(false) {
            tracing::warn!("some measurements were not exported");
        }
    }
}

/// Returns true for the content of the log: events, and the spans that identify a call.
fn is_line(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() || metadata.target() == REQUEST_TARGET
}

/// Returns true for exported data: all other spans, and the warnings and errors in them.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    match metadata.is_span() {
        true => metadata.target() != REQUEST_TARGET,
        false => *metadata.level() <= tracing::Level::WARN,
    }
}

/// Returns the causes of an error, outermost first, for the log.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Logs the location of a panic without its message, which may contain secrets.
fn report_panics_without_their_message() {
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let backtrace = Backtrace::capture();
        tracing::error!(place, %backtrace, "panic");
    }));
}
