//! Reads, checks and combines the TLS files. Errors contain neither paths nor contents.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use keyward_crypto::{GroupAccess, PrivateFileDefect, Secret, read_private_file};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};

use crate::settings::{ClientCertificates, TlsSettings};

/// Maximum size of a file, in bytes.
const MAX_FILE_BYTES: usize = 1024 * 1024;
/// Number of attempts to read files that change while they are read.
const READS: usize = 3;
/// Digest of the contents of all files.
pub(crate) type Digest = [u8; 32];

/// Error for a TLS file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`server.tls.{field}` {problem}")]
pub struct TlsError {
    field: &'static str,
    problem: String,
}

impl TlsError {
    pub(crate) fn new(field: &'static str, problem: impl std::fmt::Display) -> Self {
        Self {
            field,
            problem: problem.to_string(),
        }
    }
}

/// Contents of the files.
pub(crate) struct Files {
    certificate: Vec<u8>,
    key: Secret<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

/// Loaded server configuration.
pub(crate) struct Loaded {
    pub(crate) config: Arc<ServerConfig>,
    /// Time at which the certificate expires, in seconds since 1970-01-01T00:00:00Z.
    pub(crate) expires_at: i64,
}

impl Files {
    /// Reads a consistent snapshot of all files.
    pub(crate) fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let mut files = Self::read_once(settings)?;
        for _ in 1..READS {
            let again = Self::read_once(settings)?;
            if again.digest() == files.digest() {
                break;
            }
            files = again;
        }
        Ok(files)
    }

    fn read_once(settings: &TlsSettings) -> Result<Self, TlsError> {
        let client_ca = settings.client_ca_file.as_deref();
        Ok(Self {
            certificate: read("cert_file", &settings.cert_file)?,
            key: read_key(&settings.key_file)?,
            client_ca: client_ca
                .map(|path| read("client_ca_file", path))
                .transpose()?,
        })
    }

    /// Returns the digest of the contents.
    pub(crate) fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        let client_ca = self.client_ca.as_deref().unwrap_or_default();
        for part in [&self.certificate, self.key.expose(), client_ca] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// Builds the server configuration.
    pub(crate) fn load(&self, settings: &TlsSettings) -> Result<Loaded, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = certificates("cert_file", &self.certificate)?;
        let expires_at = expires_at(&chain)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose())
            .map_err(|_| TlsError::new("key_file", "holds no private key in PEM"))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| TlsError::new("cert_file", error))?;
        let verifier = self.verifier(settings, provider)?;
        let asks = verifier.is_some();
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    let problem = "is not the key of the certificate in `server.tls.cert_file`";
                    TlsError::new("key_file", problem)
                }
                Error::InvalidCertificate(_) => {
                    TlsError::new("cert_file", "holds a certificate that cannot be used")
                }
                _ => TlsError::new("key_file", "holds a key that cannot be used"),
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if asks {
            // A resumed session would skip the check of its certificate, which may have expired.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Loaded {
            config: Arc::new(config),
            expires_at,
        })
    }

    fn verifier(
        &self,
        settings: &TlsSettings,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>, TlsError> {
        let field = "client_ca_file";
        let Some(client_ca) = &self.client_ca else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(field, client_ca)? {
            roots
                .add(certificate)
                .map_err(|_| TlsError::new(field, "holds a certificate that cannot be used"))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match settings.client_certificates {
            ClientCertificates::None => return Ok(None),
            ClientCertificates::Optional => builder.allow_unauthenticated(),
            ClientCertificates::Required => builder,
        };
        let verifier = builder
            .build()
            .map_err(|error| TlsError::new(field, error))?;
        Ok(Some(verifier))
    }
}

fn certificates(field: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::new(field, "holds no certificate in PEM")),
    }
}

/// Returns the time at which the first certificate of the chain expires.
fn expires_at(chain: &[CertificateDer<'_>]) -> Result<i64, TlsError> {
    let mut earliest = i64::MAX;
    for certificate in chain {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| TlsError::new("cert_file", "holds a certificate that cannot be used"))?;
        earliest = earliest.min(parsed.validity().not_after.timestamp());
    }
    Ok(earliest)
}

fn read_key(path: &Path) -> Result<Secret<Vec<u8>>, TlsError> {
    let field = "key_file";
    match read_private_file(path, MAX_FILE_BYTES, GroupAccess::Read) {
        Ok(mut content) => Ok(Secret::new(std::mem::take(&mut *content))),
        Err(PrivateFileDefect::OpenToOthers { .. }) => {
            let problem = "can be read or written by others; its mode may be 0600 or 0640 at most";
            Err(TlsError::new(field, problem))
        }
        Err(defect) => Err(TlsError::new(field, defect)),
    }
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        // Opening a special file, such as a pipe, might block forever.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mut content = Vec::new();
        File::open(path)?
            .take(MAX_FILE_BYTES as u64 + 1)
            .read_to_end(&mut content)?;
        match content.len() {
            0..=MAX_FILE_BYTES => Ok(content),
            _ => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
        }
    };
    read().map_err(|error| unreadable(field, &error))
}

fn unreadable(field: &'static str, error: &io::Error) -> TlsError {
    TlsError::new(field, format!("cannot be read: {error}"))
}
