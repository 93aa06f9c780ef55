//! Bounds the time of a call by the client's `grpc-timeout` and by the operator's maximum. The store's
//! transactions use the deadline too.
//!
//! A stream must begin in that time. Then it may last until the client's deadline, if there is one. A list that is
//! sent page by page must begin in that time, and each further page has the same time.

mod timed_body;

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use keyward_gateway::Protocol;
use tokio::time::Instant;
use tonic::Code;

use self::timed_body::TimedBody;
use super::RequestLimits;
use crate::api::status;
use crate::http::route::RouteTarget;

/// Time at which a stream ends, in the extensions of a request whose client has set it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamDeadline(pub(crate) Instant);

pub(super) async fn layer(
    State(limits): State<RequestLimits>,
    mut request: Request,
    next: Next,
) -> Response {
    let target = super::target(&request);
    let requested = match grpc_timeout(request.headers()) {
        Ok(requested) => requested,
        Err(Malformed) => {
            let message = "The grpc-timeout header is malformed";
            let status = status::plain(Code::InvalidArgument, "TIMEOUT_INVALID", message);
            return super::reject(&target, status.into());
        }
    };
    let allowed = allowed(&limits, target.protocol, requested);
    if allowed.is_zero() {
        return super::reject(&target, status::deadline_exceeded().into());
    }
    let now = Instant::now();
    if let Some(end) = requested.and_then(|requested| now.checked_add(requested)) {
        request.extensions_mut().insert(StreamDeadline(end));
    }
    let deadline = now + allowed;
    let call = keyward_store::deadline::scope(deadline, next.run(request));
    match tokio::time::timeout_at(deadline, call).await {
        Ok(response) if comes_in_pages(&target, &response) => {
            response.map(|body| Body::new(TimedBody::new(body, allowed)))
        }
        Ok(response) => response,
        Err(_elapsed) => super::reject(&target, status::deadline_exceeded().into()),
    }
}

/// Returns true for a list that is sent page by page.
fn comes_in_pages(target: &RouteTarget, response: &Response) -> bool {
    target.protocol == Protocol::Rest
        && !target.spec.server_streaming
        && response.body().size_hint().exact().is_none()
}

/// Returns the time that a call may take. REST has no `grpc-timeout`: if a REST client sends it, it can only
/// shorten the time.
fn allowed(limits: &RequestLimits, protocol: Protocol, requested: Option<Duration>) -> Duration {
    let longest = match protocol {
        Protocol::Rest => limits.default_deadline,
        Protocol::Grpc | Protocol::GrpcWeb | Protocol::GrpcWebText => limits.max_deadline,
    };
    requested.unwrap_or(limits.default_deadline).min(longest)
}

#[derive(Debug, PartialEq, Eq)]
struct Malformed;

/// Parses a timeout: at most eight digits and a unit, as in gRPC over HTTP/2.
fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Malformed> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let value = value.to_str().map_err(|_| Malformed)?;
    let unit_at = value.len().checked_sub(1).ok_or(Malformed)?;
    let (digits, unit) = value.split_at_checked(unit_at).ok_or(Malformed)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Malformed);
    }
    let amount: u64 = digits.parse().map_err(|_| Malformed)?;
    Ok(Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return Err(Malformed),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &'static str) -> Result<Option<Duration>, Malformed> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", http::HeaderValue::from_static(value));
        grpc_timeout(&headers)
    }

    #[test]
    fn timeout_over_rest_only_shortens() {
        let text = r#"
            database.url = "sqlite:unused"
            vault.keyring_file = "unused"
            auth.session = { issuer = "unused", audience = "unused", jwks = "unused" }
        "#;
        let limits = crate::config::Config::from_text(text).unwrap().requests;
        let seconds = |protocol, requested: Option<u64>| {
            allowed(&limits, protocol, requested.map(Duration::from_secs)).as_secs()
        };
        for (protocol, requested, expected) in [
            (Protocol::Rest, None, 15),
            (Protocol::Rest, Some(5), 5),
            (Protocol::Rest, Some(60), 15),
            (Protocol::Grpc, None, 15),
            (Protocol::Grpc, Some(60), 60),
            (Protocol::GrpcWeb, Some(600), 60),
        ] {
            assert_eq!(
                seconds(protocol, requested),
                expected,
                "{protocol:?} {requested:?}"
            );
        }
    }

    #[test]
    fn every_unit_counts() {
        assert_eq!(parse("2H"), Ok(Some(Duration::from_secs(7200))));
        assert_eq!(parse("2M"), Ok(Some(Duration::from_secs(120))));
        assert_eq!(parse("2S"), Ok(Some(Duration::from_secs(2))));
        assert_eq!(parse("250m"), Ok(Some(Duration::from_millis(250))));
        assert_eq!(parse("7u"), Ok(Some(Duration::from_micros(7))));
        assert_eq!(
            parse("99999999n"),
            Ok(Some(Duration::from_nanos(99_999_999)))
        );
    }

    #[test]
    fn anything_else_is_malformed() {
        for value in ["", "S", "123456789S", "1", "1 S", "-1S", "1X", "1.5S", "١S"] {
            let mut headers = HeaderMap::new();
            let value = http::HeaderValue::from_bytes(value.as_bytes())
                .unwrap_or_else(|_| http::HeaderValue::from_static(""));
            headers.insert("grpc-timeout", value);
            assert_eq!(grpc_timeout(&headers), Err(Malformed));
        }
    }
}
