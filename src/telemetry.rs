//! Log lines for people or machines; spans and measurements over OTLP where OpenTelemetry's
//! environment variables say; and measurements for Prometheus.
//!
//! What is exported does not depend on which lines are logged: spans go to the exporter and never to
//! the log, whose lines say themselves to which call they belong.

mod environment;
mod export;
mod exposition;
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

use crate::metrics;
use environment::Environment;

/// How long the last export may take. A collector that is away must not hold up the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// The target of those spans by which log lines say to which call they belong. They are not exported.
const REQUEST_TARGET: &str = "keyward::request";
/// The crates whose spans are exported.
const OWN_TARGETS: [&str; 4] = [
    "keyward",
    "keyward_core",
    "keyward_store",
    "keyward_gateway",
];

/// The crates that write what a caller sent, such as a path or a content type, into their more
/// verbose lines. No filter raises them above this level, since a caller may put a secret anywhere.
const TALKATIVE_TARGETS: [(&str, LevelFilter); 3] = [
    // What it is told of collectors may hold a secret.
    ("opentelemetry", LevelFilter::WARN),
    ("tonic", LevelFilter::INFO),
    ("tonic_web", LevelFilter::INFO),
];

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// For machines.
    Json,
}

/// Flushes what is not exported yet when it is shut down.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: SdkMeterProvider,
    exposition: Exposition,
}

impl Telemetry {
    /// Starts logging to standard error, measuring, and exporting if there is a collector. To be called
    /// once, in a runtime, before anything is measured.
    ///
    /// # Errors
    /// The filter or one of OpenTelemetry's variables is malformed, or an exporter cannot be made.
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
                    .with_targets(TALKATIVE_TARGETS),
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

    /// Tells what was measured.
    #[must_use]
    pub fn exposition(&self) -> Exposition {
        self.exposition.clone()
    }

    /// Exports what is left, for no longer than five seconds in all. It blocks.
    pub fn shut_down(self) {
        let metrics = self.metrics;
        // Beside the other, so that the time for one is time for both.
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

/// What the log has: events, and the spans that say to which call they belong.
fn is_line(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() || metadata.target() == REQUEST_TARGET
}

/// What is exported: all other spans, and what went wrong in them.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    match metadata.is_span() {
        true => metadata.target() != REQUEST_TARGET,
        false => *metadata.level() <= tracing::Level::WARN,
    }
}

/// A panic's message may hold anything; its place cannot.
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
