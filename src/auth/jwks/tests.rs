//! Tests of the age of keys, with a simulated clock and real files.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::NamedTempFile;

use super::*;

const FIELD: &str = "auth.session.jwks";
const MAX_AGE: Duration = Duration::from_secs(600);
const MIN_REFRESH: Duration = Duration::from_secs(30);

struct Place {
    file: NamedTempFile,
    jwks: Jwks,
    conditions: Conditions,
}

impl Place {
    fn new() -> Self {
        let file = NamedTempFile::new().unwrap();
        let conditions = Conditions::default();
        let settings = JwksSettings {
            min_refresh: MIN_REFRESH,
            max_age: MAX_AGE,
        };
        let source = JwksSource::File(file.path().to_owned());
        let jwks = Jwks::new(FIELD, source, settings, conditions.clone()).unwrap();
        let place = Self {
            file,
            jwks,
            conditions,
        };
        place.publish_another();
        place
    }

    /// Publishes a new key.
    fn publish_another(&self) {
        let key = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        self.write(&format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#
        ));
    }

    fn write(&self, text: &str) {
        std::fs::write(self.file.path(), text).unwrap();
    }

    async fn newer(&self, known: &Known) -> Result<Arc<Published>, AuthError> {
        self.jwks.newer_than(known).await
    }

    /// Waits for the fetch under way.
    async fn fetched(&self) {
        let fetching = self.jwks.0.state().fetching.clone();
        if let Some(fetching) = fetching {
            let _ = fetching.await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_once_their_age_are_used_while_they_are_fetched() {
    let place = Place::new();
    place.jwks.prepare().await.unwrap();
    let first = place.jwks.known();
    assert!(first.usable().is_some());
    tokio::time::advance(MAX_AGE - Duration::from_millis(1)).await;
    let same = place.jwks.known();
    assert!(place.jwks.0.state().fetching.is_none());
    tokio::time::advance(Duration::from_millis(1)).await;
    let old = place.jwks.known();
    assert!(old.usable().is_some() && Arc::ptr_eq(&old.published, &same.published));
    place.fetched().await;
    let new = place.jwks.known();
    assert!(new.usable().is_some() && !Arc::ptr_eq(&old.published, &new.published));
}

#[tokio::test(start_paused = true)]
async fn keys_of_twice_their_age_are_not_used_before_a_fetch() {
    let place = Place::new();
    place.jwks.prepare().await.unwrap();
    place.write("{");
    tokio::time::advance(MAX_AGE * 2).await;
    let known = place.jwks.known();
    assert!(known.usable().is_none());
    let rejected = place.newer(&known).await;
    assert!(matches!(rejected, Err(AuthError::Unavailable(_))));
    assert_eq!(
        place.conditions.reasons(),
        ["auth.session.jwks: the key set cannot be fetched"]
    );
    place.publish_another();
    // The last fetch is too recent for another.
    assert!(place.newer(&known).await.is_err());
    tokio::time::advance(MIN_REFRESH).await;
    assert!(place.newer(&known).await.is_ok());
    assert!(place.jwks.known().usable().is_some());
    assert!(place.conditions.reasons().is_empty());
}

#[tokio::test(start_paused = true)]
async fn set_without_usable_key_does_not_replace_a_good_one() {
    let place = Place::new();
    place.jwks.prepare().await.unwrap();
    let good = place.jwks.known();
    for text in [
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","k":"AA"}]}"#,
        "{}",
    ] {
        place.write(text);
        tokio::time::advance(MIN_REFRESH).await;
        assert!(place.newer(&good).await.is_err(), "{text}");
        let known = place.jwks.known();
        assert!(known.usable().is_some());
        assert!(Arc::ptr_eq(&known.published, &good.published), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_keys_are_fetched_before_the_next_use() {
    let place = Place::new();
    place.jwks.prepare().await.unwrap();
    let old = place.jwks.known();
    place.jwks.drop_keys();
    let none = place.jwks.known();
    assert!(none.usable().is_none());
    // A fetch that began before the keys were dropped does not restore the old keys.
    let Refresh::UnderWay(fetching) = place.jwks.0.refresh(&none.published) else {
        panic!("no fetch began");
    };
    place.jwks.drop_keys();
    let fetched = fetching.await.unwrap();
    assert!(!Arc::ptr_eq(&fetched, &old.published));
    assert!(place.jwks.known().usable().is_some());
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_keys_are_bounded() {
    let place = Place::new();
    let waiting: Vec<_> = (0..MAX_WAITING)
        .map(|_| place.jwks.0.waiting.try_acquire().unwrap())
        .collect();
    let known = place.jwks.known();
    let rejected = place.newer(&known).await;
    assert!(matches!(rejected, Err(AuthError::Overloaded(RETRY_AFTER))));
    drop(waiting);
    assert!(place.newer(&known).await.is_ok());
}

#[tokio::test]
async fn source_of_plain_http_is_rejected_beyond_loopback() {
    use NotAJwksSource::{Insecure, Malformed};
    for (text, rejected) in [
        ("http://127.0.0.1:1/jwks", None),
        ("http://127.9.9.9/jwks", None),
        ("http://[::1]:1/jwks", None),
        ("http://localhost/jwks", None),
        ("https://id.example.com/jwks", None),
        ("/etc/keyward/jwks.json", None),
        ("http://id.example.com/jwks", Some(Insecure)),
        ("HTTP://id.example.com/jwks", Some(Insecure)),
        ("http://localhost.example.com/jwks", Some(Insecure)),
        ("http://127.0.0.1@id.example.com/jwks", Some(Insecure)),
        ("http://10.0.0.1/jwks", Some(Insecure)),
        ("http://", Some(Malformed)),
        ("https://[::1/jwks", Some(Malformed)),
    ] {
        assert_eq!(JwksSource::parse(text, false).err(), rejected, "{text}");
        let allowed = rejected.filter(|rejected| *rejected == Malformed);
        assert_eq!(JwksSource::parse(text, true).err(), allowed, "{text}");
    }
}
