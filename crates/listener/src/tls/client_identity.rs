//! Maps a client's certificate to a service.
//!
//! The certificate was verified during the handshake. A name in it maps to a service: a URI matches exactly, a
//! DNS name ignores case. The subject's common name is not used.

use std::collections::{BTreeMap, BTreeSet};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// Services by the names in the certificates of clients.
pub(crate) struct ClientIdentities {
    by_uri: BTreeMap<String, String>,
    by_dns_name: BTreeMap<String, String>,
}

impl ClientIdentities {
    /// Builds the maps from the configuration. A name with a colon is a URI, since DNS names have no colon.
    pub(crate) fn new(configured: &BTreeMap<String, String>) -> Self {
        let (by_uri, others): (BTreeMap<_, _>, BTreeMap<_, _>) = configured
            .clone()
            .into_iter()
            .partition(|(name, _)| name.contains(':'));
        let others = others.into_iter();
        Self {
            by_uri,
            by_dns_name: others
                .map(|(name, service)| (name.to_ascii_lowercase(), service))
                .collect(),
        }
    }

    /// Returns the service if the certificate's names map to exactly one.
    pub(crate) fn service_of(&self, certificate: &CertificateDer<'_>) -> Option<String> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let services: BTreeSet<&String> = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => self.by_uri.get(*uri),
                GeneralName::DNSName(name) => self.by_dns_name.get(&name.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        if services.len() > 1 {
            tracing::warn!("ignored a client certificate that names several services");
            return None;
        }
        services.first().map(|name| (*name).clone())
    }
}
