//! Exposition of metrics in the text format of Prometheus.
//!
//! The exporter is OpenTelemetry's own `opentelemetry-prometheus`. It reads the same instruments as the OTLP
//! exporters and names them as OpenTelemetry's specification requires.

use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Registry, TextEncoder};

/// Exposes the metrics recorded so far. Clones share the same registry.
#[derive(Clone)]
pub struct Exposition(Registry);

impl Exposition {
    /// Version of the text format that every Prometheus reads.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Returns the exposition, and the exporter through which it reads the instruments.
    pub(super) fn new()
    -> Result<(Self, PrometheusExporter), Box<dyn std::error::Error + Send + Sync>> {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // The process has a single scope, and the scraper knows its target.
            .scope_info_enabled(false)
            .without_target_info()
            .build()?;
        Ok((Self(registry), reader))
    }

    /// Returns the metrics as text.
    ///
    /// # Errors
    /// A metric has a name that the format does not allow.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0.gather())
    }
}
