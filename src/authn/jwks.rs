//! An issuer's published keys (RFC 7517), from a file or a URL.
//!
//! They are fetched when first needed, again when they are old, and again when a token names a key
//! that is not among them, but never more often than once in a bounded time: otherwise anyone could
//! make Keyward call the issuer by inventing key names.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;
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
pub(super) struct Jwks {
    source: Source,
    settings: JwksSettings,
    keys: RwLock<Arc<KeySet>>,
    /// When the last fetch was tried, and whether it failed; held while fetching, so that one call
    /// fetches for all.
    last_fetch: Mutex<Option<Fetch>>,
}

enum Source {
    File(PathBuf),
    Url(String, reqwest::Client),
}

struct Fetch {
    at: Instant,
    failed: bool,
}

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
        let keys = RwLock::default();
        Ok(Self {
            source,
            settings,
            keys,
            last_fetch: Mutex::new(None),
        })
    }

    /// The key that a token names, fit for the token's algorithm.
    pub(super) async fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<DecodingKey>, AuthnError> {
        let current = self.current();
        let fresh = current
            .fetched_at
            .is_some_and(|at| at.elapsed() < self.settings.max_age);
        let key = match current.find(id) {
            Some(key) if fresh => key,
            stale => match (self.refreshed(&current).await, stale) {
                (Ok(keys), _) => keys
                    .find(id)
                    .ok_or(AuthnError::Invalid("the key is not published"))?,
                // An issuer that does not answer now does not take back what it has published.
                (Err(AuthnError::Unavailable(_)), Some(key)) => key,
                (Err(error), _) => return Err(error),
            },
        };
        match key.algorithm {
            Some(declared) if declared.to_string() != format!("{algorithm:?}") => {
                Err(AuthnError::Invalid("the algorithm is not the key's"))
            }
            _ => Ok(key.decoding),
        }
    }

    fn current(&self) -> Arc<KeySet> {
        Arc::clone(
            &self
                .keys
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    /// Fetches the keys, unless another call just did or it is too soon.
    async fn refreshed(&self, seen: &Arc<KeySet>) -> Result<Arc<KeySet>, AuthnError> {
        let mut last = self.last_fetch.lock().await;
        let current = self.current();
        if !Arc::ptr_eq(&current, seen) {
            return Ok(current);
        }
        if let Some(fetch) = &*last
            && fetch.at.elapsed() < self.settings.min_refresh
        {
            if fetch.failed {
                let cause = "the issuer's keys could not be fetched a moment ago";
                return Err(AuthnError::Unavailable(cause.into()));
            }
            return Ok(current);
        }
        // Until it succeeds the fetch counts as failed, also when the call is given up midway.
        *last = Some(Fetch {
            at: Instant::now(),
            failed: true,
        });
        let keys = Arc::new(
            self.fetch()
                .await
                .map_err(AuthnError::Unavailable)
                .inspect_err(|error| {
                    tracing::warn!(
                        cause = crate::error::chain(error),
                        "the issuer's keys cannot be fetched"
                    );
                })?,
        );
        *last = Some(Fetch {
            at: Instant::now(),
            failed: false,
        });
        *self
            .keys
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::clone(&keys);
        Ok(keys)
    }

    #[tracing::instrument(name = "jwks.fetch", skip_all)]
    async fn fetch(&self) -> Result<KeySet, keyward_core::error::Cause> {
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

async fn read_file(path: PathBuf) -> Result<Vec<u8>, keyward_core::error::Cause> {
    let bytes = tokio::task::spawn_blocking(move || std::fs::read(path)).await??;
    if bytes.len() > MAX_JWKS_BYTES {
        return Err("the key set is too large".into());
    }
    Ok(bytes)
}

async fn download(
    client: &reqwest::Client,
    url: &str,
) -> Result<Vec<u8>, keyward_core::error::Cause> {
    let mut response = client.get(url).send().await?.error_for_status()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > MAX_JWKS_BYTES {
            return Err("the key set is too large".into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
