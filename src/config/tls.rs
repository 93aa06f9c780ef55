//! `[server.tls]`: TLS, which is enabled if a certificate is configured.

use keyward_listener::{ClientCertificates, TlsSettings};

use super::value::positive_millis;
use super::{ConfigError, raw};

/// Returns the settings for TLS; `None` if it is disabled.
pub(super) fn parse(tls: raw::Tls) -> Result<Option<TlsSettings>, ConfigError> {
    let handshake_timeout =
        positive_millis("server.tls.handshake_timeout_ms", tls.handshake_timeout_ms)?;
    let reload_interval = positive_millis("server.tls.reload_interval_ms", tls.reload_interval_ms)?;
    check_pair(&tls)?;
    check_clients(&tls)?;
    let (Some(cert_file), Some(key_file)) = (tls.cert_file, tls.key_file) else {
        return Ok(None);
    };
    Ok(Some(TlsSettings {
        cert_file,
        key_file,
        client_ca_file: tls.client_ca_file,
        client_certificates: tls.client_certificates,
        handshake_timeout,
        reload_interval,
        services: tls.services,
    }))
}

fn check_pair(tls: &raw::Tls) -> Result<(), ConfigError> {
    let (field, other) = match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => ("server.tls.key_file", "server.tls.cert_file"),
        (None, Some(_)) => ("server.tls.cert_file", "server.tls.key_file"),
        _ => return Ok(()),
    };
    let problem = format!("is required with `{other}`");
    Err(ConfigError::field(field, problem))
}

/// Rejects settings for client certificates that lack another setting or would be ignored.
fn check_clients(tls: &raw::Tls) -> Result<(), ConfigError> {
    const NEEDS_REQUEST: &str =
        "needs `server.tls.client_certificates` to be \"optional\" or \"required\"";
    let problem = |field: &str, text: &str| Err(ConfigError::field(field, text));
    let are_requested = tls.client_certificates != ClientCertificates::None;
    if are_requested && tls.cert_file.is_none() {
        let text = "needs `server.tls.cert_file`";
        return problem("server.tls.client_certificates", text);
    }
    if are_requested && tls.client_ca_file.is_none() {
        let text = "is required where `server.tls.client_certificates` is not \"none\"";
        return problem("server.tls.client_ca_file", text);
    }
    // The file would be ignored, contrary to the operator's intent.
    if !are_requested && tls.client_ca_file.is_some() {
        return problem("server.tls.client_ca_file", NEEDS_REQUEST);
    }
    if !are_requested && !tls.services.is_empty() {
        return problem("server.tls.services", NEEDS_REQUEST);
    }
    let is_unfit = |(name, service): (&String, &String)| {
        name.is_empty() || name.contains('*') || service.is_empty()
    };
    if tls.services.iter().any(is_unfit) {
        let text = "must map whole names, without `*`, to names of services";
        return problem("server.tls.services", text);
    }
    Ok(())
}
