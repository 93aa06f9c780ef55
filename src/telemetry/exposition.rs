//! What was measured, in the text format of Prometheus.
//!
//! The exporter is OpenTelemetry's own, `opentelemetry-prometheus`, which reads the same instruments
//! as those of OTLP and gives them the names that OpenTelemetry's specification derives.

use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Registry, TextEncoder};

/// Tells what was measured so far. Clones tell the same.
#[derive(Clone)]
pub struct Exposition(Registry);

impl Exposition {
    /// The version of the text format that every Prometheus reads.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// The exposition, and what it reads the instruments through.
    pub(super) fn new()
    -> Result<(Self, PrometheusExporter), Box<dyn std::error::Error + Send + Sync>> {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // There is one scope, and what the target is, who scrapes it knows.
            .scope_info_enabled(false)
            .without_target_info()
            .build()?;
        Ok((Self(registry), reader))
    }

    /// The text.
    ///
    /// # Errors
    /// A measurement has no name that the format allows.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0.gather())
    }
}
