//! Headers of REST responses from the metadata of gRPC.

use http::HeaderMap;
use tonic::metadata::MetadataMap;

/// Copies the service's own metadata and skips that of the protocol: headers of one connection (RFC
/// 9113, 8.2.2) and headers that the server sets itself.
pub(crate) fn copy_custom_headers(metadata: MetadataMap, headers: &mut HeaderMap) {
    const RESERVED: [&str; 13] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ];
    let custom = metadata.into_headers();
    for (name, value) in &custom {
        if !name.as_str().starts_with("grpc-") && !RESERVED.contains(&name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
}
