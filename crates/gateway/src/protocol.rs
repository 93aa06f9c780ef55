//! Protocol of a request.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Protocol of a request, which determines the form of an error response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Native gRPC.
    Grpc,
    /// gRPC-Web, binary.
    GrpcWeb,
    /// gRPC-Web in base64.
    GrpcWebText,
    /// REST with JSON, and anything else that is not gRPC.
    Rest,
}

impl Protocol {
    /// Returns the protocol for the request's `content-type`.
    pub fn of(headers: &HeaderMap) -> Self {
        match Self::named(headers) {
            Some((protocol, true)) => protocol,
            _ => Self::Rest,
        }
    }

    /// Returns true if the content type is a gRPC type whose messages are not protobuf, such as
    /// `application/grpc+json`.
    pub fn is_unsupported_grpc(headers: &HeaderMap) -> bool {
        matches!(Self::named(headers), Some((_, false)))
    }

    /// Returns the gRPC protocol that the content type names, and true if its messages are
    /// protobuf.
    fn named(headers: &HeaderMap) -> Option<(Self, bool)> {
        let value = headers.get(CONTENT_TYPE)?.as_bytes();
        let media_type = value.split(|byte| *byte == b';').next()?;
        let media_type = media_type.trim_ascii().to_ascii_lowercase();
        let (name, encoding) = match media_type.iter().position(|byte| *byte == b'+') {
            Some(index) => media_type.split_at(index),
            None => (media_type.as_slice(), &b"+proto"[..]),
        };
        let protocol = match name {
            b"application/grpc" => Self::Grpc,
            b"application/grpc-web" => Self::GrpcWeb,
            b"application/grpc-web-text" => Self::GrpcWebText,
            _ => return None,
        };
        Some((protocol, encoding == b"+proto"))
    }
}
