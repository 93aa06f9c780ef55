//! `keyward serve`.

use std::path::Path;
use std::sync::Arc;

use keyward_core::clock::{Clock as _, SystemClock};
use keyward_listener::{Server, Tls};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Failure;
use super::startup::{
    Signals, build, claim, listen, misconfigured, no_signals, open_current_store,
    serve_until_signal, telemetry,
};
use crate::auth::Authenticator;
use crate::config::Config;
use crate::http::operations;

pub(super) async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let config = Config::load(file).map_err(misconfigured)?;
    config.check_exposure().map_err(misconfigured)?;
    let telemetry = telemetry(&config)?;
    let hangups = Hangups::listen()?;
    let tls = tls(&config, &hangups)?;
    // The port opens once the server is ready: until then, connections of readiness probes are refused.
    let store = open_current_store(&config).await?;
    claim(&store)?;
    let beside = config.operations.is_none().then(|| telemetry.exposition());
    let app = build(&config, store.clone(), beside).await?;
    app.authenticator
        .prepare()
        .await
        .map_err(|error| Failure::new(Failure::CONFIG, format!("configuration: {error}")))?;
    tokio::spawn(drop_tokens_on(hangups, Arc::clone(&app.authenticator)));
    let (listener, address) = listen(config.listen).await?;
    let operations = match config.operations {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let signals = Signals::listen()?;
    if config.has_unnamed_proxy {
        tracing::warn!(
            "limits for each address are off: `server.tls_terminated_by_proxy` is true and \
             `limits.trusted_proxies` is empty, so that all clients have the proxy's address"
        );
    }
    let proxies = config.trusted_proxies.clone();
    let server = Server::new(config.listener.clone())
        .with_tls(tls)
        .with_exempt(Arc::new(move |address| {
            config.has_unnamed_proxy || proxies.trusts(address)
        }));
    tracing::info!(%address, "listening");
    // This listener serves for as long as the process runs, so that a probe can observe the shutdown too.
    let _operations = operations.map(|(listener, address)| {
        tracing::info!(%address, "listening for operations");
        let router = operations::router(
            &app.health,
            &config.unauthenticated,
            &config.trusted_proxies,
            telemetry.exposition(),
        );
        let server = Server::new(config.listener.for_operations());
        OnDrop(tokio::spawn(server.serve(listener, router, std::future::pending())).abort_handle())
    });
    serve_until_signal(server, listener, app, store, telemetry, signals).await
}

/// Loads the TLS settings, if configured, and follows changes of their files from then on.
fn tls(config: &Config, hangups: &Hangups) -> Result<Option<Arc<Tls>>, Failure> {
    let Some(settings) = config.tls.clone() else {
        return Ok(None);
    };
    let tls = Tls::load(settings, || SystemClock.now().unix_millis() / 1000)
        .map_err(|error| Failure::new(Failure::CONFIG, format!("configuration: {error}")))?;
    tokio::spawn(Arc::clone(&tls).keep_current(hangups.0.clone()));
    Ok(Some(tls))
}

/// Drops verified tokens and issuers' keys on each SIGHUP, for as long as the process runs.
async fn drop_tokens_on(mut hangups: Hangups, authenticator: Arc<Authenticator>) {
    while hangups.0.changed().await.is_ok() {
        authenticator.drop_tokens_and_keys();
        tracing::info!("dropped verified tokens and issuers' keys");
    }
}

/// Number of SIGHUPs received. The signal no longer ends the process once this exists.
struct Hangups(watch::Receiver<u64>);

impl Hangups {
    fn listen() -> Result<Self, Failure> {
        let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
        let (count, receiver) = watch::channel(0);
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self(receiver))
    }
}

/// Aborts a task when dropped.
struct OnDrop(AbortHandle);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
