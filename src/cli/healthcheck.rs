//! `keyward healthcheck`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyward_listener::{ClientCertificates, TlsSettings};

use super::Failure;
use super::startup::misconfigured;
use crate::config::Config;

/// Default URL of the server.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

#[derive(clap::Args)]
pub(super) struct HealthcheckArgs {
    /// URL of the server [default: http://127.0.0.1:8080].
    #[arg(long, value_name = "URL", env = "KEYWARD_URL")]
    url: Option<String>,
    /// Check the server that has this configuration on this machine, regardless of `--url`. Its certificate
    /// is not verified, since it is not issued for this machine's own address; no secret is sent.
    #[arg(long, value_name = "FILE", conflicts_with = "ca_file")]
    config: Option<PathBuf>,
    /// Certificate authority of an https URL, in PEM; by default those of the system.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Timeout of the request, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    timeout_ms: u64,
}

pub(super) async fn run(args: &HealthcheckArgs) -> Result<(), Failure> {
    let unavailable = |error: reqwest::Error| {
        Failure::caused(Failure::UNAVAILABLE, "not ready", &error.without_url())
    };
    let builder = reqwest::Client::builder()
        .timeout(Duration::from_millis(args.timeout_ms))
        // The server is nearby, usually on this machine.
        .no_proxy();
    let (builder, url) = match (&args.config, &args.ca_file) {
        (Some(file), _) => (
            // Like the probes of Kubernetes.
            builder.tls_danger_accept_invalid_certs(true),
            configured(file)?,
        ),
        (None, Some(file)) => (builder.tls_certs_only(issuers(file)?), given(args)),
        (None, None) => (builder, given(args)),
    };
    let client = builder.build().map_err(unavailable)?;
    let url = format!("{}/readyz", url.trim_end_matches('/'));
    let response = client.get(url).send().await.map_err(unavailable)?;
    if response.status().is_success() {
        Ok(())
    } else {
        Err(Failure::new(
            Failure::UNAVAILABLE,
            format!("not ready: HTTP {}", response.status()),
        ))
    }
}

fn given(args: &HealthcheckArgs) -> String {
    args.url.clone().unwrap_or_else(|| DEFAULT_URL.to_owned())
}

/// Returns the URL at which this machine reaches the server with this configuration.
fn configured(file: &Path) -> Result<String, Failure> {
    let config = Config::load(Some(file)).map_err(misconfigured)?;
    // This listener is meant for probes: it has no TLS and requests no client certificate.
    if let Some(address) = config.operations {
        return Ok(format!("http://{}", reached(address)));
    }
    let tls = config.tls;
    let is_closed = |tls: &TlsSettings| tls.client_certificates == ClientCertificates::Required;
    if tls.as_ref().is_some_and(is_closed) {
        let message = "`server.tls.client_certificates` is \"required\", and this has none: set \
                       `operations.listen` to be asked there";
        return Err(Failure::new(Failure::CONFIG, message.to_owned()));
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}", reached(config.listen)))
}

/// Returns the address at which this machine reaches a server that listens on `listen`.
fn reached(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

fn issuers(file: &Path) -> Result<Vec<reqwest::Certificate>, Failure> {
    let what = "the file of `--ca-file` cannot be used";
    let pem =
        std::fs::read(file).map_err(|error| Failure::caused(Failure::CONFIG, what, &error))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem)
        .map_err(|error| Failure::caused(Failure::CONFIG, what, &error))?;
    if found.is_empty() {
        let message = format!("{what}: it holds no certificate in PEM");
        return Err(Failure::new(Failure::CONFIG, message));
    }
    Ok(found)
}
