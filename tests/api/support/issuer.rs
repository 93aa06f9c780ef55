//! A token issuer: signing keys, and a server that publishes them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
pub use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A key that signs tokens.
pub struct SigningKey {
    pub id: String,
    pub algorithm: Algorithm,
    encoding: EncodingKey,
}

impl SigningKey {
    pub fn generate(id: &str, algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let encoding = match algorithm {
            Algorithm::EdDSA => {
                let key = Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
                EncodingKey::from_ed_der(key.as_ref())
            }
            Algorithm::ES256 => {
                let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let key = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
                EncodingKey::from_ec_der(key.as_ref())
            }
            Algorithm::RS256 => {
                let key = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
                let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der>::as_der(&key).unwrap();
                EncodingKey::from_rsa_der(pkcs1(der.as_ref()))
            }
            other => panic!("no signing key for {other:?}"),
        };
        Self {
            id: id.to_owned(),
            algorithm,
            encoding,
        }
    }

    /// Signs a token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(Some(&self.id), claims)
    }

    /// Signs a token that names another key, or no key.
    pub fn sign_as(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.encoding).unwrap()
    }

    /// Signs a token whose header has these members.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding, self.algorithm);
        format!("{message}.{}", signature.unwrap())
    }

    /// Returns the public half, as it is published.
    pub fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.encoding, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        jwk
    }
}

/// Returns the PKCS #1 key inside a PKCS #8 one: the bytes after the OCTET STRING header with its length.
fn pkcs1(pkcs8: &[u8]) -> &[u8] {
    let at = (0..pkcs8.len() - 4).find(|&at| {
        let length = usize::from(pkcs8[at + 2]) << 8 | usize::from(pkcs8[at + 3]);
        pkcs8[at] == 0x04 && pkcs8[at + 1] == 0x82 && at + 4 + length == pkcs8.len()
    });
    &pkcs8[at.unwrap() + 4..]
}

/// An issuer with one signing key and the server that publishes its public half.
pub struct Issuer {
    pub key: SigningKey,
    pub server: KeyServer,
}

impl Issuer {
    pub async fn start(algorithm: Algorithm) -> Self {
        let key = SigningKey::generate("key-1", algorithm);
        let server = KeyServer::start(&[&key]).await;
        Self { key, server }
    }
}

/// A key server that counts its requests, and fails or changes its keys on demand.
pub struct KeyServer {
    address: SocketAddr,
    published: Arc<Published>,
    serving: tokio::task::JoinHandle<()>,
}

struct Published {
    keys: Mutex<String>,
    requests: watch::Sender<usize>,
    failing: AtomicBool,
    held: watch::Sender<bool>,
}

impl KeyServer {
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let published = Arc::new(Published {
            keys: Mutex::new(key_set(keys)),
            requests: watch::Sender::new(0),
            failing: AtomicBool::new(false),
            held: watch::Sender::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/jwks.json", get(publish));
        let router = router.with_state(Arc::clone(&published));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            published,
            serving,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    /// Publishes exactly these keys from now on.
    pub fn publish(&self, keys: &[&SigningKey]) {
        *self.published.keys.lock().unwrap() = key_set(keys);
    }

    /// Publishes this text from now on.
    pub fn publish_text(&self, text: &str) {
        text.clone_into(&mut self.published.keys.lock().unwrap());
    }

    /// Responds with 500 from now on, or with keys again.
    pub fn fail(&self, failing: bool) {
        self.published.failing.store(failing, Ordering::SeqCst);
    }

    /// Delays all responses from now on, or no longer.
    pub fn hold(&self, held: bool) {
        self.published.held.send_replace(held);
    }

    /// Returns the number of requests received.
    pub fn requests(&self) -> usize {
        *self.published.requests.borrow()
    }

    /// Waits until this number of requests was received.
    pub async fn asked(&self, times: usize) {
        let mut requests = self.published.requests.subscribe();
        let asked = requests.wait_for(|requests| *requests >= times);
        tokio::time::timeout(Duration::from_secs(60), asked)
            .await
            .unwrap()
            .unwrap();
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Returns the text that an issuer publishes.
pub(super) fn key_set(keys: &[&SigningKey]) -> String {
    let keys = keys.iter().map(|key| key.jwk()).collect();
    serde_json::to_string(&JwkSet { keys }).unwrap()
}

async fn publish(State(published): State<Arc<Published>>) -> (StatusCode, String) {
    published.requests.send_modify(|requests| *requests += 1);
    published
        .held
        .subscribe()
        .wait_for(|held| !held)
        .await
        .unwrap();
    if published.failing.load(Ordering::SeqCst) {
        return (StatusCode::INTERNAL_SERVER_ERROR, String::new());
    }
    (StatusCode::OK, published.keys.lock().unwrap().clone())
}
