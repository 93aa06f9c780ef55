//! Source of an issuer's published keys: a file or a URL.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyward_core::Cause;
use reqwest::Url;

/// Maximum size of a key set, in bytes.
const MAX_JWKS_BYTES: usize = 1024 * 1024;
/// Timeout for reading a file or fetching from an issuer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Source of an issuer's published keys.
#[derive(Debug, Clone)]
pub enum JwksSource {
    /// A file that the operator keeps current.
    File(PathBuf),
    /// An HTTP or HTTPS URL.
    Url(String),
}

/// Error for a text that does not name a source of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAJwksSource {
    /// It begins as a URL and is malformed.
    #[error("must be a file or a URL")]
    Malformed,
    /// The keys would be fetched in plaintext over a network.
    #[error(
        "must be an https URL or a file: over http, a machine on the way could replace the keys and sign \
         tokens of any caller; `auth.allow_insecure_jwks` allows it"
    )]
    Insecure,
}

impl JwksSource {
    /// Parses a setting: a text that begins with `http://` or `https://` is a URL, any other a path.
    ///
    /// # Errors
    /// The URL is malformed, or is an `http://` URL of a remote host and those are not allowed.
    pub fn parse(text: &str, allow_insecure: bool) -> Result<Self, NotAJwksSource> {
        let is_url = |scheme: &str| {
            let start = text.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if !is_url("http://") && !is_url("https://") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let url = Url::parse(text).map_err(|_| NotAJwksSource::Malformed)?;
        if url.scheme() == "http" && !is_loopback(&url) && !allow_insecure {
            return Err(NotAJwksSource::Insecure);
        }
        Ok(Self::Url(text.to_owned()))
    }
}

/// Returns true if the URL's host is `localhost` or a loopback address; makes no DNS lookup.
fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A source that can be read.
pub(super) enum Source {
    File(PathBuf),
    Url(String, reqwest::Client),
}

impl Source {
    pub(super) fn new(source: JwksSource) -> Result<Self, Cause> {
        Ok(match source {
            JwksSource::File(path) => Self::File(path),
            JwksSource::Url(url) => {
                let mut client = reqwest::Client::builder()
                    .timeout(FETCH_TIMEOUT)
                    // The operator names the issuer; the issuer must not redirect Keyward elsewhere.
                    .redirect(reqwest::redirect::Policy::none());
                // A proxy of the environment could replace keys that it forwards in plaintext, and a loopback
                // address would name another machine there.
                if Url::parse(&url)?.scheme() == "http" {
                    client = client.no_proxy();
                }
                Self::Url(url, client.build()?)
            }
        })
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Reads the keys published now.
    pub(super) async fn read(&self) -> Result<Vec<u8>, Cause> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                let reading = tokio::task::spawn_blocking(move || read_file(&path));
                tokio::time::timeout(FETCH_TIMEOUT, reading).await??
            }
            Self::Url(url, client) => download(client, url).await,
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Cause> {
    // Opening a pipe would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err("it is not a regular file".into());
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_JWKS_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > MAX_JWKS_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

async fn download(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, Cause> {
    // The URL may contain a password, which must not be logged.
    let plain = |error: reqwest::Error| error.without_url();
    let response = client.get(url).send().await.map_err(plain)?;
    let mut response = response.error_for_status().map_err(plain)?;
    if !response.status().is_success() {
        return Err(format!("the issuer answered {}", response.status().as_u16()).into());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(plain)? {
        if bytes.len() + chunk.len() > MAX_JWKS_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large() -> Cause {
    format!("it is larger than {MAX_JWKS_BYTES} bytes").into()
}
