//! What is measured. Nothing collects it yet.

/// So many more connections are open, or fewer.
pub(crate) fn connections(_change: i64) {}

/// When the certificate in use expires, in seconds since 1970-01-01T00:00:00Z.
pub(crate) fn tls_certificate_expiry(_unix_seconds: i64) {}

/// A call was refused for one of the limits, whose ErrorInfo has this reason.
pub(crate) fn refused(_reason: &'static str) {}
