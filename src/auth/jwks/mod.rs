//! Published keys of an issuer (RFC 7517), from a file or a URL.
//!
//! Keys are fetched on first use, again when they are older than their maximum age, and again when no known key
//! signed a token, but never more often than once in a bounded time: otherwise a caller could make Keyward
//! flood the issuer with requests by inventing key names. Keys between one and two times their maximum age are
//! used while a background fetch runs; older keys are fetched before use.
//!
//! A fetch runs in its own task, so that the deadline of one caller does not cancel it for the others. The
//! number of calls that wait for it is bounded, and they hold no in-flight permit.

mod source;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::error::AuthError;
use super::key_set::KeySet;
use crate::admission::permits::unoccupied;
use crate::telemetry;
use crate::telemetry::conditions::Conditions;

use source::Source;
pub use source::{JwksSource, NotAJwksSource};

/// Maximum number of calls that wait for one issuer's keys. Further ones are rejected at once.
pub(super) const MAX_WAITING: usize = 64;
/// Time after which a call that was rejected for that reason may retry.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Condition that is set after a failed fetch.
const UNAVAILABLE: &str = "the key set cannot be fetched";

/// Settings for fetching and caching published keys.
#[derive(Debug, Clone)]
pub struct JwksSettings {
    /// Minimum time between the end of a fetch and the next one.
    pub min_refresh: Duration,
    /// Age at which keys are fetched again; keys of twice this age are not used.
    pub max_age: Duration,
}

/// Keys of one issuer.
pub(super) struct Jwks(Arc<Inner>);

struct Inner {
    /// Setting that names the source, for the log and for operators.
    field: &'static str,
    source: Source,
    settings: JwksSettings,
    conditions: Conditions,
    state: Mutex<State>,
    /// Permits of calls that wait for a fetch.
    waiting: Semaphore,
}

#[derive(Default)]
struct State {
    published: Arc<Published>,
    last_fetch: Option<LastFetch>,
    /// Fetch under way, shared by the calls that wait for it.
    fetching: Option<Fetching>,
    /// Number of times the keys were dropped; a fetch that began before the last time is repeated.
    drops: u64,
}

struct LastFetch {
    ended_at: Instant,
    failure: Option<Unavailable>,
}

type Fetching = Shared<BoxFuture<'static, Outcome>>;
type Outcome = Result<Arc<Published>, Unavailable>;

/// Error of a fetch, without a path or a URL.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the issuer's keys cannot be fetched: {0}")]
struct Unavailable(Arc<str>);

/// Keys that an issuer had published at one moment.
#[derive(Default)]
pub(super) struct Published {
    set: KeySet,
    /// None before the first fetch.
    fetched_at: Option<Instant>,
}

impl Published {
    pub(super) fn set(&self) -> &KeySet {
        &self.set
    }

    fn age(&self) -> Option<Duration> {
        self.fetched_at.map(|at| at.elapsed())
    }
}

/// Keys that are available without waiting.
pub(super) struct Known {
    published: Arc<Published>,
    is_usable: bool,
}

impl Known {
    /// Returns the keys, unless they must be fetched before use.
    pub(super) fn usable(&self) -> Option<&Published> {
        self.is_usable.then_some(&*self.published)
    }
}

impl Jwks {
    pub(super) fn new(
        field: &'static str,
        source: JwksSource,
        settings: JwksSettings,
        conditions: Conditions,
    ) -> Result<Self, AuthError> {
        let source = Source::new(source).map_err(|cause| AuthError::Internal(cause.into()))?;
        Ok(Self(Arc::new(Inner {
            field,
            source,
            settings,
            conditions,
            state: Mutex::default(),
            waiting: Semaphore::new(MAX_WAITING),
        })))
    }

    pub(super) fn max_age(&self) -> Duration {
        self.0.settings.max_age
    }

    /// Returns the available keys. Keys older than their maximum age are fetched in the background; keys older
    /// than twice that age are not usable.
    pub(super) fn known(&self) -> Known {
        let published = Arc::clone(&self.0.state().published);
        let max_age = self.0.settings.max_age;
        let age = published.age();
        let is_usable = age.is_some_and(|age| age < max_age.saturating_mul(2));
        if is_usable && age.is_some_and(|age| age >= max_age) {
            drop(self.0.refresh(&published));
        }
        Known {
            published,
            is_usable,
        }
    }

    /// Returns keys newer than the known ones, or the same ones if the last fetch ended too recently for
    /// another. The call releases its in-flight permit while it waits for a fetch.
    ///
    /// # Errors
    /// The keys cannot be fetched, or too many calls wait for them already.
    pub(super) async fn newer_than(&self, known: &Known) -> Result<Arc<Published>, AuthError> {
        let outcome = match self.0.refresh(&known.published) {
            Refresh::Ended(outcome) => outcome,
            Refresh::UnderWay(fetching) => {
                let Ok(_waiting) = self.0.waiting.try_acquire() else {
                    return Err(AuthError::Overloaded(RETRY_AFTER));
                };
                unoccupied(fetching)
                    .await
                    .map_err(|_| AuthError::Overloaded(RETRY_AFTER))?
            }
        };
        outcome.map_err(|error| AuthError::Unavailable(Arc::new(error)))
    }

    /// Fetches the keys once, before the first call needs them: a file immediately, a URL in the background.
    ///
    /// # Errors
    /// The setting, and the reason why its file cannot be used.
    pub(super) async fn prepare(&self) -> Result<(), (&'static str, Arc<str>)> {
        let unknown = Arc::clone(&self.0.state().published);
        let outcome = match self.0.refresh(&unknown) {
            Refresh::Ended(outcome) => outcome,
            Refresh::UnderWay(fetching) if self.0.source.is_file() => fetching.await,
            Refresh::UnderWay(_) => return Ok(()),
        };
        outcome.map_err(|Unavailable(reason)| (self.0.field, reason))?;
        Ok(())
    }

    /// Drops the keys, so that the next call that needs one fetches them.
    pub(super) fn drop_keys(&self) {
        let mut state = self.0.state();
        state.published = Arc::default();
        state.last_fetch = None;
        state.drops += 1;
    }
}

/// Newer keys, or the fetch that will return them.
enum Refresh {
    Ended(Outcome),
    UnderWay(Fetching),
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns keys newer than those seen: fetched already, being fetched, or fetched from now on, unless the
    /// last fetch is too recent.
    fn refresh(self: &Arc<Self>, seen: &Arc<Published>) -> Refresh {
        let mut state = self.state();
        if !Arc::ptr_eq(&state.published, seen) && state.published.fetched_at.is_some() {
            return Refresh::Ended(Ok(Arc::clone(&state.published)));
        }
        // A fetch that has ended and is still here panicked or was aborted.
        if let Some(fetching) = &state.fetching
            && fetching.peek().is_none()
        {
            return Refresh::UnderWay(fetching.clone());
        }
        if let Some(last) = &state.last_fetch
            && last.ended_at.elapsed() < self.settings.min_refresh
        {
            return Refresh::Ended(match &last.failure {
                Some(failure) => Err(failure.clone()),
                None => Ok(Arc::clone(&state.published)),
            });
        }
        let inner = Arc::clone(self);
        let task = tokio::spawn(async move { inner.fetch_and_keep().await });
        let fetching = task
            .map(|ended| ended.unwrap_or_else(|_| Err(Unavailable("it was cut off".into()))))
            .boxed()
            .shared();
        state.fetching = Some(fetching.clone());
        Refresh::UnderWay(fetching)
    }

    async fn fetch_and_keep(&self) -> Outcome {
        loop {
            let drops = self.state().drops;
            let fetched = self.fetch().await;
            let mut state = self.state();
            // Keys published before the drop are stale.
            if state.drops != drops {
                continue;
            }
            state.fetching = None;
            let failure = fetched.as_ref().err().cloned();
            state.last_fetch = Some(LastFetch {
                ended_at: Instant::now(),
                failure,
            });
            return match fetched {
                Ok(set) => {
                    self.conditions.clear(self.field);
                    state.published = Arc::new(Published {
                        set,
                        fetched_at: Some(Instant::now()),
                    });
                    Ok(Arc::clone(&state.published))
                }
                Err(error) => {
                    self.conditions.set(self.field, UNAVAILABLE);
                    tracing::warn!(setting = self.field, cause = %error.0, "failed to fetch JWKS");
                    Err(error)
                }
            };
        }
    }

    #[tracing::instrument(name = "jwks.fetch", skip_all)]
    async fn fetch(&self) -> Result<KeySet, Unavailable> {
        let unavailable = |cause: &dyn std::fmt::Display| Unavailable(cause.to_string().into());
        let text = self.source.read().await.map_err(|cause| {
            let causes = telemetry::causes(cause.as_ref());
            match causes.as_str() {
                "" => unavailable(&cause),
                causes => unavailable(&format!("{cause}: {causes}")),
            }
        })?;
        KeySet::parse(&text).map_err(|defect| unavailable(&defect))
    }
}

#[cfg(test)]
mod tests;
