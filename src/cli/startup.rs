//! Steps that several commands share: opening the store, building the application, listening, and serving until a
//! signal arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyward_core::Error;
use keyward_core::clock::SystemClock;
use keyward_core::ports::ProviderKeyStore;
use keyward_core::services::{SecretBinding, VerifyKekError};
use keyward_crypto::Keyring;
use keyward_listener::Server;
use keyward_store::{MigrateError, SchemaState, SchemaTooNew, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Failure;
use crate::app::{App, AppConfig};
use crate::background;
use crate::config::{BindSecrets, Config, ConfigError};
use crate::telemetry::{Exposition, Telemetry};

/// Timeout for closing the store's connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until a signal arrives, then shuts down gracefully.
pub(super) async fn serve_until_signal(
    server: Server,
    listener: TcpListener,
    app: App,
    store: Store,
    telemetry: Telemetry,
    signals: Signals,
) -> Result<(), Failure> {
    let background = tokio::spawn(background::run(
        store.clone(),
        app.use_cases.ledger,
        app.use_cases.audit,
        app.health.clone(),
    ));
    let shutdown = async {
        signals.received(1).await;
        // First, so that clients that watch the health service go elsewhere, and their streams do not delay
        // the shutdown.
        app.health.end();
    };
    let serving = server.serve(listener, app.router, shutdown);
    tokio::select! {
        () = serving => {}
        () = signals.received(2) => tracing::warn!("received a second signal, aborted calls"),
    }
    // The next start does the work that is left.
    background.abort();
    close(&store).await;
    // The exporter waits for the network, and must not block the runtime's own threads.
    let flushed = tokio::task::spawn_blocking(move || telemetry.shut_down()).await;
    flushed.map_err(|error| Failure::caused(Failure::SOFTWARE, "cannot stop", &error))
}

/// Closes the store. A connection may hang in the network; no acknowledged write waits for it.
pub(super) async fn close(store: &Store) {
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, store.close()).await;
}

pub(super) fn telemetry(config: &Config) -> Result<Telemetry, Failure> {
    Telemetry::start(&config.log.filter, config.log.format)
        .map_err(|error| Failure::caused(Failure::CONFIG, "cannot log", error.as_ref()))
}

pub(super) async fn open_store(config: &Config) -> Result<Store, Failure> {
    open_store_waiting(config, Duration::ZERO).await
}

/// Opens a store whose writes on SQLite wait for other processes for at least `max_wait`.
pub(super) async fn open_store_waiting(
    config: &Config,
    max_wait: Duration,
) -> Result<Store, Failure> {
    let mut options = config.database.read().map_err(misconfigured)?;
    options.limits.busy_timeout = options.limits.busy_timeout.max(max_wait);
    Store::connect(&options).await.map_err(|error| match error {
        keyward_core::Error::Invalid { .. } => Failure::new(
            Failure::CONFIG,
            format!("configuration: `database.url`: {error}"),
        ),
        error => unavailable(&error),
    })
}

/// Opens a store whose schema is current.
pub(super) async fn open_current_store(config: &Config) -> Result<Store, Failure> {
    let store = open_store(config).await?;
    match store.schema().await.map_err(|error| unavailable(&error))? {
        SchemaState::Current => Ok(store),
        SchemaState::Older { lacks, wanted } => {
            let message = format!(
                "the database lacks {lacks} schema migrations, up to `{wanted}`; run `keyward \
                 migrate` first"
            );
            Err(Failure::new(Failure::CONFIG, message))
        }
        SchemaState::Newer(newer) => Err(too_new(&newer)),
    }
}

pub(super) async fn build(
    config: &Config,
    store: Store,
    exposition: Option<Exposition>,
) -> Result<App, Failure> {
    let keyring = Keyring::load(&config.vault.keyring_file).map_err(|error| {
        // The path is the field's value, and so is not repeated.
        let problem = match error {
            keyward_crypto::Error::KeyringFile { defect, .. } => defect.to_string(),
            other => other.to_string(),
        };
        Failure::new(
            Failure::CONFIG,
            format!("configuration: `vault.keyring_file` {problem}"),
        )
    })?;
    for version in keyring.versions() {
        keyward_core::metrics::show_kek(version);
    }
    let binding = binding(config.vault.bind_secrets, &store).await?;
    let app = App::build(AppConfig {
        store,
        kek: Arc::new(keyring),
        clock: Arc::new(SystemClock),
        providers: config.providers.clone(),
        auth: config.auth.clone(),
        requests: config.requests.clone(),
        unauthenticated: config.unauthenticated.clone(),
        max_page_items: config.max_page_items,
        trusted_proxies: config.trusted_proxies.clone(),
        origins: config.origins.clone(),
        unknown_fields: config.unknown_fields,
        reflection: config.reflection,
        ledger: config.ledger,
        audit: config.audit,
        provider_keys: config.vault.provider_key_settings(binding),
        exposition,
    })
    .map_err(|error| Failure::caused(Failure::SOFTWARE, "cannot start", error.as_ref()))?;
    app.use_cases
        .vault
        .verify_kek()
        .await
        .map_err(|error| match error {
            VerifyKekError::Mismatch(problem) => Failure::new(
                Failure::CONFIG,
                format!("configuration: `vault.keyring_file` {problem}"),
            ),
            VerifyKekError::Failed(error) => unavailable(&error),
        })?;
    Ok(app)
}

/// Returns the form of new secrets. Only "auto" lets the content of the database decide, for an upgrade during
/// which replicas of a version that does not open bound secrets may run.
async fn binding(setting: BindSecrets, store: &Store) -> Result<SecretBinding, Failure> {
    match setting {
        BindSecrets::Off => Ok(SecretBinding::Unbound),
        BindSecrets::On => Ok(SecretBinding::Bound),
        BindSecrets::Required => Ok(SecretBinding::Required),
        BindSecrets::Auto => {
            let unbound = store.unbound(None, 1).await;
            if unbound.map_err(|error| unavailable(&error))?.is_empty() {
                return Ok(SecretBinding::Bound);
            }
            tracing::warn!(
                "found unbound secrets, sealing new ones unbound: see vault.bind_secrets"
            );
            Ok(SecretBinding::AsStored)
        }
    }
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

/// Migrates the schema to the current version and returns the number of applied migrations.
pub(super) async fn migrate(store: &Store) -> Result<usize, Failure> {
    store.migrate().await.map_err(|error| match error {
        MigrateError::TooNew(newer) => too_new(&newer),
        MigrateError::Failed(error) => unavailable(&error),
    })
}

fn too_new(newer: &SchemaTooNew) -> Failure {
    let remedy =
        "run the version that migrated it, or a later one, or restore a backup from before";
    Failure::new(Failure::CONFIG, format!("{newer}; {remedy}"))
}

/// Claims a SQLite file for this process.
pub(super) fn claim(store: &Store) -> Result<(), Failure> {
    store.claim().map_err(|error| unavailable(&error))
}

pub(super) fn unavailable(error: &keyward_core::Error) -> Failure {
    let what = match error {
        Error::DeadlineExceeded => "the database does not answer in time",
        _ => "the database cannot be used",
    };
    Failure::caused(Failure::UNAVAILABLE, what, error)
}

pub(super) fn no_signals(error: std::io::Error) -> Failure {
    Failure::caused(Failure::OS, "cannot listen for signals", &error)
}

/// Number of signals that requested a shutdown.
pub(super) struct Signals(watch::Receiver<u32>);

impl Signals {
    /// Starts to listen. From then on, a signal does not end the process at once. Call it before the server
    /// reports that it is running.
    pub(super) fn listen() -> Result<Self, Failure> {
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let (count, receiver) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self(receiver))
    }

    /// Completes once this number of signals has arrived.
    fn received(&self, times: u32) -> impl Future<Output = ()> + use<> {
        let mut count = self.0.clone();
        async move {
            // The sender exists for as long as the runtime.
            let _ = count.wait_for(|count| *count >= times).await;
        }
    }
}
