//! Rejects a connection to PostgreSQL that a machine in the network path could read or impersonate.

use std::net::IpAddr;

use keyward_core::Error;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Checks that the server is on this machine, or that its certificate is verified against its name. `verify-ca` is not
/// enough: if the authority also issues certificates for other parties, as a cloud provider's or a public one does,
/// each of them could impersonate the server.
///
/// # Errors
/// The connection would expose passwords and all stored data.
pub(crate) fn check(connect: &PgConnectOptions) -> Result<(), Error> {
    let is_verified = matches!(connect.get_ssl_mode(), PgSslMode::VerifyFull);
    if is_verified || is_local(connect) {
        return Ok(());
    }
    Err(Error::invalid(
        "database.url",
        "the server is beyond loopback and its certificate would not be verified: set \
         sslmode=verify-full, and sslrootcert for an authority of your own, or allow it with \
         `database.allow_unverified_tls`",
    ))
}

fn is_local(connect: &PgConnectOptions) -> bool {
    let host = connect.get_host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    connect.get_socket().is_some()
        // Directory of a Unix socket.
        || host.starts_with('/')
        || host == "localhost"
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn is_rejected(url: &str) -> bool {
        check(&PgConnectOptions::from_str(url).unwrap()).is_err()
    }

    #[test]
    fn server_beyond_loopback_needs_a_verified_certificate() {
        for url in [
            "postgres://db.example.com/keyward",
            "postgres://10.0.0.1/keyward?sslmode=disable",
            "postgres://db/keyward?sslmode=prefer",
            "postgres://db/keyward?sslmode=require",
            "postgres://db/keyward?sslmode=verify-ca",
            "postgres://localhost/keyward?host=db",
            "postgres://localhost.example.com/keyward",
            "postgres://[2001:db8::1]/keyward",
        ] {
            assert!(is_rejected(url), "{url}");
        }
        for url in [
            "postgres://db.example.com/keyward?sslmode=verify-full",
            "postgres://localhost/keyward",
            "postgres://127.0.0.1:5433/keyward?sslmode=disable",
            "postgres://[::1]/keyward",
            "postgres://%2Fvar%2Frun%2Fpostgresql/keyward",
            "postgres:///keyward?host=/var/run/postgresql",
        ] {
            assert!(!is_rejected(url), "{url}");
        }
    }
}
