//! TLS 1.2 and 1.3, from files that may change while the server runs.
//!
//! The configuration in use is always complete and valid: a certificate with its key, and the CA certificates
//! for clients. New connections use the current configuration; open connections keep theirs.
//!
//! The files are polled, by content. Kubernetes updates a volume by renaming a symbolic link two directories
//! up; other systems write in place or over the network. Only reading the files detects all of these, so a
//! watch on directories would be redundant.

mod client_identity;
mod files;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use client_identity::ClientIdentities;
use files::{Digest, Files, Loaded};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::metrics;
use crate::settings::TlsSettings;

pub use files::TlsError;

/// TLS configuration loaded from the files.
pub struct Tls {
    settings: TlsSettings,
    identities: ClientIdentities,
    /// Returns the time in seconds since 1970-01-01T00:00:00Z.
    now: fn() -> i64,
    current: RwLock<Current>,
    /// Last rejected files, so that the error is logged once.
    rejected: Mutex<Option<(Option<Digest>, TlsError)>>,
}

struct Current {
    config: Arc<ServerConfig>,
    digest: Digest,
    /// In seconds since 1970-01-01T00:00:00Z.
    expires_at: i64,
}

impl Tls {
    /// Reads the files. `now` returns the time in seconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// A file cannot be used. An expired certificate can be used and logs a warning.
    pub fn load(settings: TlsSettings, now: fn() -> i64) -> Result<Arc<Self>, TlsError> {
        let files = Files::read(&settings)?;
        let Loaded { config, expires_at } = files.load(&settings)?;
        if now() >= expires_at {
            tracing::warn!(expires_at, "`server.tls.cert_file` has expired");
        }
        metrics::tls_certificate_expiry(expires_at);
        let current = Current {
            config,
            digest: files.digest(),
            expires_at,
        };
        Ok(Arc::new(Self {
            identities: ClientIdentities::new(&settings.services),
            settings,
            now,
            current: RwLock::new(current),
            rejected: Mutex::new(None),
        }))
    }

    /// Checks the files at each interval and whenever the number of SIGHUPs changes. Never returns.
    pub async fn keep_current(self: Arc<Self>, mut hangups: watch::Receiver<u64>) {
        loop {
            let is_asked = tokio::select! {
                () = tokio::time::sleep(self.settings.reload_interval) => false,
                Ok(()) = hangups.changed() => true,
            };
            let tls = Arc::clone(&self);
            // File access may be slow, such as on a network.
            let _ = tokio::task::spawn_blocking(move || tls.reload(is_asked)).await;
        }
    }

    /// Loads changed files if they are valid.
    fn reload(&self, is_asked: bool) {
        match self.changed() {
            Ok(None) if is_asked => tracing::info!("the files of TLS have not changed"),
            Ok(None) => {}
            Ok(Some(new)) => {
                let expires_at = new.expires_at;
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
                *self.rejected() = None;
                metrics::tls_certificate_expiry(expires_at);
                tracing::info!(expires_at, "the files of TLS have changed, and are in use");
            }
            Err(unusable) => {
                let mut rejected = self.rejected();
                if is_asked || rejected.as_ref() != Some(&unusable) {
                    tracing::error!(
                        cause = %unusable.1,
                        "failed to load changed TLS files; the previous ones stay in use"
                    );
                }
                *rejected = Some(unusable);
            }
        }
    }

    fn changed(&self) -> Result<Option<Current>, (Option<Digest>, TlsError)> {
        let files = Files::read(&self.settings).map_err(|error| (None, error))?;
        let digest = files.digest();
        let was = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            if current.digest == digest {
                return Ok(None);
            }
            current.expires_at
        };
        let Loaded { config, expires_at } = files
            .load(&self.settings)
            .map_err(|error| (Some(digest), error))?;
        let now = (self.now)();
        if now >= expires_at && now < was {
            return Err((Some(digest), TlsError::new("cert_file", "has expired")));
        }
        Ok(Some(Current {
            config,
            digest,
            expires_at,
        }))
    }

    /// Performs the handshake. `None` if it fails or times out.
    pub(crate) async fn accept<S>(&self, stream: S) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&current.config)
        };
        let handshake = TlsAcceptor::from(config).accept(stream);
        match tokio::time::timeout(self.settings.handshake_timeout, handshake).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(cause = %error, "failed to complete the TLS handshake");
                None
            }
            Err(_) => {
                tracing::debug!("timed out in the TLS handshake");
                None
            }
        }
    }

    /// Returns the service that the client's certificate names, if it is configured.
    pub(crate) fn service(&self, session: &ServerConnection) -> Option<String> {
        self.identities
            .service_of(session.peer_certificates()?.first()?)
    }

    fn rejected(&self) -> std::sync::MutexGuard<'_, Option<(Option<Digest>, TlsError)>> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
