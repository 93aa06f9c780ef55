//! Logs for people or machines, and spans over OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` says where.

use std::backtrace::Backtrace;
use std::panic;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, Targets};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The environment variable that OpenTelemetry names the collector in.
const ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The crates whose spans are exported.
const OWN_TARGETS: [&str; 4] = [
    "keyward",
    "keyward_core",
    "keyward_store",
    "keyward_gateway",
];

/// The crates that write what a caller sent, such as a path or a content type, into their more
/// verbose lines. No filter raises them above this level, since a caller may put a secret anywhere.
const TALKATIVE_TARGETS: [(&str, LevelFilter); 2] = [
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
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts logging to standard error, and exporting if there is a collector.
    ///
    /// # Errors
    /// The filter is malformed, or the exporter cannot be made.
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
            );
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_span_events(FmtSpan::NONE)
            .with_target(true);
        let lines = match format {
            LogFormat::Human => lines.with_ansi(false).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        let provider = provider()?;
        let spans = provider.as_ref().map(|provider| {
            let own = OWN_TARGETS.map(|target| (target, LevelFilter::INFO));
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("keyward"))
                .with_location(false)
                .with_threads(false)
                .with_filter(Targets::new().with_targets(own))
        });
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .with(spans)
            .try_init()?;
        report_panics_without_their_message();
        Ok(Self { provider })
    }

    /// Exports what is left.
    pub fn shut_down(self) {
        if let Some(provider) = self.provider
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(cause = %error, "some spans were not exported");
        }
    }
}

fn provider() -> Result<Option<SdkTracerProvider>, Box<dyn std::error::Error + Send + Sync>> {
    if std::env::var_os(ENDPOINT_VARIABLE).is_none_or(|value| value.is_empty()) {
        return Ok(None);
    }
    // The cause quotes the variable's value.
    let exporter = SpanExporter::builder().with_tonic().build().map_err(
        |_| "`OTEL_EXPORTER_OTLP_ENDPOINT` or one of the variables beside it cannot be used",
    )?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("keyward");
    }
    let resource = resource.build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build();
    Ok(Some(provider))
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
