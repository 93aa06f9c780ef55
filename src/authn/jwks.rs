//! An issuer's published keys (RFC 7517), from a file or a URL.
//!
//! They are fetched when first needed, again when they are old, and again when a token names a key
//! that is not among them, but never more often than once in a bounded time: otherwise anyone could
//! make Keyward call the issuer by inventing key names. A fetch runs in a task of its own, so that
//! no caller's deadline ends it for the others.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, ready};
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use keyward_core::error::Cause;
use tokio::time::Instant;

use super::AuthnError;

/// The largest key set that is read, in bytes.
const MAX_JWKS_BYTES: usize = 1024 * 1024;
/// How long an issuer may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where an issuer publishes its keys.
#[derive(Debug, Clone)]
pub enum JwksSource {
    /// A file that someone keeps current.
    File(PathBuf),
    /// An HTTP or HTTPS address.
    Url(String),
}

/// How published keys are fetched and kept.
#[derive(Debug, Clone)]
pub struct JwksSettings {
    /// The least time between two fetches.
    pub min_refresh: Duration,
    /// How old the keys may grow before they are fetched again.
    pub max_age: Duration,
}

/// The keys of one issuer.
pub(super) struct Jwks(Arc<Inner>);

struct Inner {
    source: Source,
    settings: JwksSettings,
    state: Mutex<State>,
}

enum Source {
    File(PathBuf),
    Url(String, reqwest::Client),
}

#[derive(Default)]
struct State {
    keys: Arc<KeySet>,
    last_fetch: Option<Fetch>,
    /// The fetch that is under way, for everyone who waits for it.
    fetching: Option<Fetching>,
}

struct Fetch {
    ended_at: Instant,
    failed: bool,
}

/// A fetch in a task of its own: a caller who gives up does not end it for the others.
type Fetching = Shared<BoxFuture<'static, Outcome>>;

/// The keys, or that they cannot be had now; why not is in the log.
type Outcome = Result<Arc<KeySet>, Unreachable>;

#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the issuer's keys cannot be fetched now")]
struct Unreachable;

#[derive(Default)]
struct KeySet {
    fetched_at: Option<Instant>,
    by_id: HashMap<String, Key>,
    /// The only key, which a token need not name.
    only: Option<Key>,
}

#[derive(Clone)]
struct Key {
    algorithm: Option<KeyAlgorithm>,
    decoding: Arc<DecodingKey>,
}

impl Jwks {
    pub(super) fn new(source: JwksSource, settings: JwksSettings) -> Result<Self, AuthnError> {
        let source = match source {
            JwksSource::File(path) => Source::File(path),
            JwksSource::Url(url) => Source::Url(url, client()?),
        };
        let state = Mutex::default();
        Ok(Self(Arc::new(Inner {
            source,
            settings,
            state,
        })))
    }

    /// The key that a token names, fit for the token's algorithm.
    pub(super) async fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<DecodingKey>, AuthnError> {
        let keys = Arc::clone(&self.0.state().keys);
        let key = match keys.find(id) {
            // What was published stays good while it is fetched again behind the call.
            Some(key) => {
                if keys.is_older_than(self.0.settings.max_age) {
                    drop(self.0.refresh(&keys));
                }
                key
            }
            None => {
                let refreshed = self.0.refresh(&keys).await;
                let keys = refreshed.map_err(|error| AuthnError::Unavailable(error.into()))?;
                keys.find(id)
                    .ok_or(AuthnError::Invalid("the key is not published"))?
            }
        };
        match key.algorithm {
            Some(declared) if declared != KeyAlgorithm::from(algorithm) => {
                Err(AuthnError::Invalid("the algorithm is not the key's"))
            }
            _ => Ok(key.decoding),
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Newer keys than those seen: fetched already, being fetched, or fetched from now on, unless it
    /// is too soon for that.
    fn refresh(self: &Arc<Self>, seen: &Arc<KeySet>) -> Fetching {
        let mut state = self.state();
        if !Arc::ptr_eq(&state.keys, seen) {
            return ready(Ok(Arc::clone(&state.keys))).boxed().shared();
        }
        // One that has ended and is still here did not come to its end.
        if let Some(fetching) = &state.fetching
            && fetching.peek().is_none()
        {
            return fetching.clone();
        }
        if let Some(last) = &state.last_fetch
            && last.ended_at.elapsed() < self.settings.min_refresh
        {
            let keys = Arc::clone(&state.keys);
            return ready(if last.failed {
                Err(Unreachable)
            } else {
                Ok(keys)
            })
            .boxed()
            .shared();
        }
        let inner = Arc::clone(self);
        let task = tokio::spawn(async move { inner.fetch_and_keep().await });
        let fetching = task
            .map(|ended| ended.unwrap_or(Err(Unreachable)))
            .boxed()
            .shared();
        state.fetching = Some(fetching.clone());
        fetching
    }

    async fn fetch_and_keep(&self) -> Outcome {
        let fetched = self.fetch().await;
        let mut state = self.state();
        let failed = fetched.is_err();
        state.last_fetch = Some(Fetch {
            ended_at: Instant::now(),
            failed,
        });
        state.fetching = None;
        match fetched {
            Ok(keys) => {
                state.keys = Arc::new(keys);
                Ok(Arc::clone(&state.keys))
            }
            Err(cause) => {
                tracing::warn!(%cause, "the issuer's keys cannot be fetched");
                Err(Unreachable)
            }
        }
    }

    #[tracing::instrument(name = "jwks.fetch", skip_all)]
    async fn fetch(&self) -> Result<KeySet, Cause> {
        let bytes = match &self.source {
            Source::File(path) => read_file(path.clone()).await?,
            Source::Url(url, client) => download(client, url).await?,
        };
        let set: JwkSet = serde_json::from_slice(&bytes)?;
        Ok(KeySet::new(&set))
    }
}

impl KeySet {
    /// Takes the keys that can verify one of our algorithms; the rest is for others.
    fn new(set: &JwkSet) -> Self {
        let mut keys = Self {
            fetched_at: Some(Instant::now()),
            ..Self::default()
        };
        let usable: Vec<_> = set
            .keys
            .iter()
            .filter_map(|jwk| Some((jwk, usable(jwk)?)))
            .collect();
        if let [(_, only)] = usable.as_slice() {
            keys.only = Some(only.clone());
        }
        for (jwk, key) in usable {
            if let Some(id) = &jwk.common.key_id {
                keys.by_id.insert(id.clone(), key);
            }
        }
        keys
    }

    fn is_older_than(&self, age: Duration) -> bool {
        self.fetched_at.is_none_or(|at| at.elapsed() >= age)
    }

    fn find(&self, id: Option<&str>) -> Option<Key> {
        match id {
            Some(id) => self.by_id.get(id).cloned(),
            None => self.only.clone(),
        }
    }
}

fn usable(jwk: &Jwk) -> Option<Key> {
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
        return None;
    }
    let decoding = Arc::new(DecodingKey::from_jwk(jwk).ok()?);
    Some(Key {
        algorithm: jwk.common.key_algorithm,
        decoding,
    })
}

fn client() -> Result<reqwest::Client, AuthnError> {
    reqwest::Client::builder()
        .timeout(FETCH_TIMEOUT)
        // An issuer is named by the operator; it must not send us elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| AuthnError::Internal(error.into()))
}

async fn read_file(path: PathBuf) -> Result<Vec<u8>, Cause> {
    let bytes = tokio::task::spawn_blocking(move || std::fs::read(path)).await??;
    if bytes.len() > MAX_JWKS_BYTES {
        return Err("the key set is too large".into());
    }
    Ok(bytes)
}

async fn download(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, Cause> {
    // Whoever put a password into the URL must not find it in the log.
    let plain = |error: reqwest::Error| error.without_url();
    let response = client.get(url).send().await.map_err(plain)?;
    let mut response = response.error_for_status().map_err(plain)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(plain)? {
        if bytes.len() + chunk.len() > MAX_JWKS_BYTES {
            return Err("the key set is too large".into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
