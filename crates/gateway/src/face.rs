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
        match Self::named(headers) {
            Some((face, true)) => face,
            _ => Self::Rest,
        }
    }

    /// Returns whether the content type is one of gRPC whose messages are not protobuf's, such as
    /// `application/grpc+json`.
    pub fn is_unsupported_grpc(headers: &HeaderMap) -> bool {
        matches!(Self::named(headers), Some((_, false)))
    }

    /// The form of gRPC that the content type names, and whether its messages are protobuf's.
    fn named(headers: &HeaderMap) -> Option<(Self, bool)> {
        let value = headers.get(CONTENT_TYPE)?.as_bytes();
        let media_type = value.split(|byte| *byte == b';').next()?;
        let media_type = media_type.trim_ascii().to_ascii_lowercase();
        let (name, encoding) = match media_type.iter().position(|byte| *byte == b'+') {
            Some(place) => media_type.split_at(place),
            None => (media_type.as_slice(), &b"+proto"[..]),
        };
        let face = match name {
            b"application/grpc" => Self::Grpc,
            b"application/grpc-web" => Self::GrpcWeb,
            b"application/grpc-web-text" => Self::GrpcWebText,
            _ => return None,
        };
        Some((face, encoding == b"+proto"))
    }
}
