//! `keyward serve`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use keyward_core::clock::SystemClock;
use keyward_crypto::Keyring;
use keyward_store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::app::{App, Parts};
use crate::config::{Config, ConfigError};
use crate::server;
use crate::telemetry::Telemetry;

pub(super) async fn run(file: Option<&Path>) -> Result<(), Failure> {
    let config = Config::load(file).map_err(misconfigured)?;
    let telemetry = telemetry(&config)?;
    let store = open_store(&config).await?;
    let pending = store
        .pending_migrations()
        .await
        .map_err(|error| unavailable(&error))?;
    if pending > 0 {
        let message =
            format!("the database lacks {pending} schema migrations; run `keyward migrate` first");
        return Err(Failure::new(Failure::CONFIG, message));
    }
    let app = build(&config, store.clone())?;
    let (listener, address) = listen(config.server.listen).await?;
    tracing::info!(%address, "listening");
    serve(&config, listener, app, store, telemetry).await
}

/// Serves until a signal ends it, and leaves everything in order.
pub(super) async fn serve(
    config: &Config,
    listener: TcpListener,
    app: App,
    store: Store,
    telemetry: Telemetry,
) -> Result<(), Failure> {
    let shutdown = shutdown_signal()?;
    server::serve(listener, app.router, shutdown, config.drain()).await;
    store.close().await;
    // The exporter waits for the network; it must not wait on the runtime's own threads.
    let flushed = tokio::task::spawn_blocking(move || telemetry.shut_down()).await;
    flushed.map_err(|error| Failure::caused(Failure::SOFTWARE, "cannot stop", &error))
}

pub(super) fn telemetry(config: &Config) -> Result<Telemetry, Failure> {
    Telemetry::start(&config.log.filter, config.log.format)
        .map_err(|error| Failure::caused(Failure::CONFIG, "cannot log", error.as_ref()))
}

pub(super) async fn open_store(config: &Config) -> Result<Store, Failure> {
    let options = config.store().map_err(misconfigured)?;
    Store::connect(&options).await.map_err(|error| match error {
        keyward_core::Error::Invalid { .. } => Failure::new(
            Failure::CONFIG,
            format!("configuration: `database.url`: {error}"),
        ),
        error => unavailable(&error),
    })
}

pub(super) fn build(config: &Config, store: Store) -> Result<App, Failure> {
    let keyring = Keyring::load(config.keyring_file()).map_err(|error| {
        Failure::new(
            Failure::CONFIG,
            format!("configuration: `vault.keyring_file`: {error}"),
        )
    })?;
    App::build(Parts {
        store,
        kek: Arc::new(keyring),
        clock: Arc::new(SystemClock),
        providers: config.providers().map_err(misconfigured)?,
        authn: config.authn().map_err(misconfigured)?,
        limits: config.limits(),
    })
    .map_err(|error| Failure::caused(Failure::SOFTWARE, "cannot start", error.as_ref()))
}

pub(super) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let what = format!("cannot listen on {address}");
    let failure = |error: std::io::Error| Failure::caused(Failure::OS, &what, &error);
    let listener = TcpListener::bind(address).await.map_err(failure)?;
    let address = listener.local_addr().map_err(failure)?;
    Ok((listener, address))
}

pub(super) fn misconfigured(error: ConfigError) -> Failure {
    Failure::new(Failure::CONFIG, error)
}

pub(super) fn unavailable(error: &keyward_core::Error) -> Failure {
    Failure::caused(Failure::UNAVAILABLE, "the database cannot be used", error)
}

/// Done when the process is asked to end.
fn shutdown_signal() -> Result<impl Future<Output = ()>, Failure> {
    let failure =
        |error: std::io::Error| Failure::caused(Failure::OS, "cannot listen for signals", &error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failure)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failure)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
