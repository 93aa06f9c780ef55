//! Assigns an `x-request-id` to every call: the client's, if it is acceptable, else a new one.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use keyward_crypto::TokenKind;
use uuid::Uuid;

/// Header in requests and responses.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Maximum length of a client's identifier, in bytes.
const MAX_BYTES: usize = 128;
/// Prefixes of keys and tokens. The first is also that of many providers' keys, the second of JSON Web Tokens.
const SECRET_PREFIXES: [&str; 4] = [
    TokenKind::ISSUED_KEY_FAMILY,
    "eyJ",
    TokenKind::REPO_AI_KEY.prefix(),
    TokenKind::REPO_AI_SECRET.prefix(),
];

/// Identifier of the call, in the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

pub(super) async fn layer(mut request: Request, next: Next) -> Response {
    let id = request.headers().get(HEADER).and_then(accepted);
    let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
    let value = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    if let Ok(value) = value {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// Accepts letters, digits and a little punctuation, which cannot forge a log line.
fn accepted(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:/+=".contains(c);
    let fits = (1..=MAX_BYTES).contains(&text.len()) && text.chars().all(fits);
    // A key or token that a client puts here by mistake must not reach the audit trail.
    let is_secret = SECRET_PREFIXES.iter().any(|it| text.starts_with(it));
    (fits && !is_secret).then(|| text.to_owned())
}
