//! Outcome of a call, by its response: the listener slows down clients whose calls fail.

use http::{Response, StatusCode};

/// Marks a response, in its extensions, as sent to a client that has presented a valid token or certificate.
#[derive(Debug, Clone, Copy)]
pub struct Authenticated;

/// Marks a response, in its extensions, as a rejection by a limit.
#[derive(Debug, Clone, Copy)]
pub struct Limited;

/// Header with the status of a gRPC call that has ended before its body.
const GRPC_STATUS: &str = "grpc-status";
/// `grpc-status` of PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNAVAILABLE and UNAUTHENTICATED.
const REJECTED: [&str; 4] = ["7", "8", "14", "16"];
/// `grpc-status` of DEADLINE_EXCEEDED and UNAVAILABLE.
const OUTAGE: [&str; 2] = ["4", "14"];

/// Returns true if a call was rejected because of its principal or a limit.
#[must_use]
pub fn is_rejected<B>(response: &Response<B>) -> bool {
    has_grpc_status(response, &REJECTED)
        || matches!(
            response.status(),
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::TOO_MANY_REQUESTS
                | StatusCode::SERVICE_UNAVAILABLE
        )
}

/// Returns true if the server failed to serve a call, or to do so in time.
pub(crate) fn is_outage<B>(response: &Response<B>) -> bool {
    has_grpc_status(response, &OUTAGE)
        || matches!(
            response.status(),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        )
}

fn has_grpc_status<B>(response: &Response<B>, codes: &[&str]) -> bool {
    let status = response.headers().get(GRPC_STATUS);
    status.is_some_and(|status| codes.iter().any(|code| status == code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_status_decides_where_http_status_is_ok() {
        for (status, rejected, outage) in [
            ("0", false, false),
            ("4", false, true),
            ("7", true, false),
            ("8", true, false),
            ("13", false, false),
            ("14", true, true),
            ("16", true, false),
        ] {
            let response = Response::builder().header(GRPC_STATUS, status).body(());
            let response = response.unwrap();
            assert_eq!(is_rejected(&response), rejected, "{status}");
            assert_eq!(is_outage(&response), outage, "{status}");
        }
    }

    #[test]
    fn http_status_decides_without_a_grpc_status() {
        for (status, rejected, outage) in [
            (200, false, false),
            (401, true, false),
            (403, true, false),
            (404, false, false),
            (429, true, false),
            (500, false, false),
            (503, true, true),
            (504, false, true),
        ] {
            let response = Response::builder().status(status).body(()).unwrap();
            assert_eq!(is_rejected(&response), rejected, "{status}");
            assert_eq!(is_outage(&response), outage, "{status}");
        }
    }
}
