//! Wraps exporters to log when exports fail, and when they succeed again. Each change is logged once, so that
//! an unreachable collector does not fill the log. The collector's response may contain secrets and is not
//! logged.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// Exporter that logs changes of its success.
#[derive(Debug)]
pub(super) struct Reporting<E> {
    exporter: E,
    /// Name of the exported data.
    what: &'static str,
    fails: AtomicBool,
}

impl<E> Reporting<E> {
    /// Wraps the exporter.
    pub(super) fn new(what: &'static str, exporter: E) -> Self {
        Self {
            exporter,
            what,
            fails: AtomicBool::new(false),
        }
    }

    fn report(&self, outcome: &OTelSdkResult) {
        let fails = outcome.is_err();
        if self.fails.swap(fails, Ordering::Relaxed) == fails {
            return;
        }
        if fails {
            tracing::warn!(what = self.what, "failed to export telemetry");
        } else {
            tracing::info!(what = self.what, "export of telemetry succeeds again");
        }
    }
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let export = self.exporter.export(batch);
        async {
            let outcome = export.await;
            self.report(&outcome);
            outcome
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Reporting<E> {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        let export = self.exporter.export(metrics);
        async {
            let outcome = export.await;
            self.report(&outcome);
            outcome
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
