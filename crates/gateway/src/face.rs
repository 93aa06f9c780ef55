//! Which protocol a caller speaks.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// The protocol that a caller speaks, and so the form that a refusal must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Face {
    /// Native gRPC.
    Grpc,
    /// gRPC-Web, binary.
    GrpcWeb,
    /// gRPC-Web in base64.
    GrpcWebText,
    /// REST with JSON, and whatever else is not gRPC.
    Rest,
}

impl Face {
    /// Tells the face by the request's `content-type`.
    pub fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Self::Rest;
        };
        let media_type = value
            .as_bytes()
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        let media_type = media_type.trim_ascii().to_ascii_lowercase();
        let is = |name: &[u8]| {
            media_type
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'+')
        };
        if is(b"application/grpc") {
            Self::Grpc
        } else if is(b"application/grpc-web") {
            Self::GrpcWeb
        } else if is(b"application/grpc-web-text") {
            Self::GrpcWebText
        } else {
            Self::Rest
        }
    }
}
