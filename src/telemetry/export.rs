//! OTLP exporters, configured by the environment, and the providers that feed them.
//!
//! The exporters read the endpoint and headers from the environment, which was validated before. They run on
//! their own threads behind bounded queues: data that does not fit is dropped, so that no call waits for a
//! collector.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_semantic_conventions::resource::{SERVICE_INSTANCE_ID, SERVICE_VERSION};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use uuid::Uuid;

use super::Exposition;
use super::environment::{Environment, Exporting, Malformed, Protocol, malformed};
use super::reporting::Reporting;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Creates the exporter of a signal; those of different signals are different types with the same methods.
macro_rules! exporter {
    ($exporter:ident, $exporting:expr) => {
        match $exporting.protocol {
            Protocol::Grpc => {
                let mut builder = $exporter::builder()
                    .with_tonic()
                    .with_timeout($exporting.timeout);
                if let Some(tls) = tls($exporting)? {
                    builder = builder.with_tls_config(tls);
                }
                builder.build()
            }
            Protocol::HttpProtobuf => $exporter::builder()
                .with_http()
                .with_timeout($exporting.timeout)
                .with_http_client(client($exporting)?)
                .build(),
        }
    };
}

/// Returns the provider that exports spans, if enabled.
pub(super) fn traces(
    environment: &Environment,
    resource: &Resource,
) -> Result<Option<SdkTracerProvider>, Failure> {
    let Some(exporting) = &environment.traces else {
        return Ok(None);
    };
    let exporter = exporter!(SpanExporter, exporting).map_err(|_| unusable("TRACES"))?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Reporting::new("spans", exporter))
        .with_resource(resource.clone())
        .build();
    Ok(Some(provider))
}

/// Returns the provider of metrics, which the exposition reads and which exports them, if enabled.
pub(super) fn metrics(
    environment: &Environment,
    resource: &Resource,
) -> Result<(SdkMeterProvider, Exposition), Failure> {
    let (exposition, reader) = Exposition::new()?;
    let provider = SdkMeterProvider::builder()
        .with_reader(reader)
        .with_resource(resource.clone());
    let Some(exporting) = &environment.metrics else {
        return Ok((provider.build(), exposition));
    };
    let exporter = exporter!(MetricExporter, exporting).map_err(|_| unusable("METRICS"))?;
    let exporter = Reporting::new("measurements", exporter);
    let provider = provider.with_reader(PeriodicReader::builder(exporter).build());
    Ok((provider.build(), exposition))
}

/// Returns the resource that identifies this process in all exported data.
pub(super) fn resource(environment: &Environment) -> Resource {
    let mut resource = Resource::builder()
        .with_attribute(KeyValue::new(SERVICE_VERSION, env!("CARGO_PKG_VERSION")));
    if environment.is_nameless {
        resource = resource.with_service_name("keyward");
    }
    if environment.is_one_of_many {
        // Without it the metrics of replicas would be conflated.
        let id = Uuid::new_v4().to_string();
        resource = resource.with_attribute(KeyValue::new(SERVICE_INSTANCE_ID, id));
    }
    resource.build()
}

/// Returns an error without the cause, which would quote a value.
fn unusable(signal: &str) -> Malformed {
    let variable = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
    malformed(
        &variable,
        "or one of the variables beside it cannot be used",
    )
}

fn tls(exporting: &Exporting) -> Result<Option<ClientTlsConfig>, Malformed> {
    if !exporting.is_secure {
        return Ok(None);
    }
    let mut tls = match &exporting.authorities {
        Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(file.read()?)),
        None => ClientTlsConfig::new().with_enabled_roots(),
    };
    if let Some((certificate, key)) = &exporting.identity {
        tls = tls.identity(Identity::from_pem(certificate.read()?, key.read()?));
    }
    Ok(Some(tls))
}

/// Creates a blocking client, since the exporter's thread waits for it. It brings its own runtime, so it is
/// created on a thread without one.
fn client(exporting: &Exporting) -> Result<reqwest::blocking::Client, Failure> {
    let mut builder = reqwest::blocking::Client::builder()
        .timeout(exporting.timeout)
        .connect_timeout(exporting.timeout.min(Duration::from_secs(5)))
        .redirect(reqwest::redirect::Policy::none());
    if let Some(file) = &exporting.authorities {
        let not_pem = |_| file.malformed("names a file that holds no certificates in PEM");
        let authorities = reqwest::Certificate::from_pem_bundle(&file.read()?).map_err(not_pem)?;
        if authorities.is_empty() {
            return Err(file
                .malformed("names a file that holds no certificates in PEM")
                .into());
        }
        builder = builder.tls_certs_only(authorities);
    }
    if let Some((certificate, key)) = &exporting.identity {
        let both = [certificate.read()?, key.read()?].concat();
        let identity = reqwest::Identity::from_pem(&both);
        let unfit = |_| certificate.malformed("and its key are no certificate and key in PEM");
        builder = builder.identity(identity.map_err(unfit)?);
    }
    let made = std::thread::spawn(move || builder.build()).join();
    let client = made.map_err(|_| "the client for OTLP over HTTP cannot be made")?;
    Ok(client.map_err(reqwest::Error::without_url)?)
}
