//! Serves a router on a socket until shutdown.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use keyward_throttle::Exempt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::acceptor::Acceptor;
use crate::connection::Shared;
use crate::phase::Phase;
use crate::settings::Settings;
use crate::tls::Tls;

/// Listener: its settings, TLS, and the exempt addresses.
pub struct Server {
    settings: Settings,
    tls: Option<Arc<Tls>>,
    exempt: Exempt,
}

impl Server {
    /// Returns a plaintext server that limits connections from every address.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            tls: None,
            exempt: Arc::new(|_| false),
        }
    }

    /// Enables TLS if `tls` is `Some`.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// Exempts addresses that many clients share, such as a proxy's, from the limits on the number and the rate
    /// of connections.
    #[must_use]
    pub fn with_exempt(self, exempt: Exempt) -> Self {
        Self { exempt, ..self }
    }

    /// Serves until `shutdown` completes and for the configured delay after that, then drains the calls under
    /// way.
    pub async fn serve(
        self,
        listener: TcpListener,
        router: Router,
        shutdown: impl Future<Output = ()>,
    ) {
        let Settings {
            shutdown_delay,
            drain,
            ..
        } = self.settings;
        // Outlives the connections that watch it.
        let (phase, _) = watch::channel(Phase::Serving);
        let shared = Shared::new(self.settings, router, self.tls, phase.subscribe());
        let mut acceptor = Acceptor::new(Arc::new(shared), self.exempt);
        acceptor.admit_until(&listener, shutdown).await;
        phase.send_replace(Phase::Draining);
        if !shutdown_delay.is_zero() {
            tracing::info!(
                delay_ms = shutdown_delay.as_millis() as u64,
                "asked to end; serving on until it is noticed"
            );
            acceptor.admit_until(&listener, sleep(shutdown_delay)).await;
        }
        acceptor.admit_last(listener);
        phase.send_replace(Phase::Closing);
        tracing::info!("draining connections");
        if timeout(drain, acceptor.finished()).await.is_err() {
            tracing::warn!("some calls did not finish in time");
        }
        // Dropping the acceptor aborts the remaining connections.
    }
}

#[cfg(test)]
mod tests;
