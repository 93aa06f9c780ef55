//! What is measured. Nothing collects it yet.

/// So many more connections are open, or fewer.
pub(crate) fn connections(_change: i64) {}

/// When the certificate in use expires, in seconds since 1970-01-01T00:00:00Z.
pub(crate) fn tls_certificate_expiry(_unix_seconds: i64) {}

/// Which limit a call was refused for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    /// Its caller calls too often.
    RateLimit,
    /// Its address calls too often.
    AddressRate,
    /// Its address has failed to authenticate too often.
    FailedAuthentications,
    /// Too many calls are under way.
    Overload,
}

/// Counts a call that went no further.
pub(crate) fn refused(_reason: Refused) {}
