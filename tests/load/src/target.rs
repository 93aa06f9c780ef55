//! Allowed targets: literal addresses of 127.0.0.0/8. Names are rejected, since their resolution is
//! outside this program's control.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;

use http::Uri;

/// A URL whose host is a loopback address.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    uri: Uri,
    address: SocketAddrV4,
}

/// Error for an invalid URL or address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// The URL is not an http or https URL.
    #[error("not an http or https URL without a path")]
    Url,
    /// The address is not in 127.0.0.0/8.
    #[error("not an address of 127.0.0.0/8, and nothing is sent anywhere else")]
    NotLoopback,
}

impl Target {
    /// Returns the address to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.into()
    }

    /// Returns scheme and authority.
    pub(crate) fn uri(&self) -> Uri {
        self.uri.clone()
    }

    /// Returns the URL of a path at the target.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.uri.to_string().trim_end_matches('/'))
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let uri: Uri = text.parse().map_err(|_| TargetError::Url)?;
        let port = match (uri.scheme_str(), uri.port_u16()) {
            (Some("http" | "https"), Some(port)) => port,
            (Some("http"), None) => 80,
            (Some("https"), None) => 443,
            _ => return Err(TargetError::Url),
        };
        if !matches!(
            uri.path_and_query().map_or("", |path| path.as_str()),
            "" | "/"
        ) {
            return Err(TargetError::Url);
        }
        let ip = loopback(uri.host().unwrap_or_default())?;
        let address = SocketAddrV4::new(ip, port);
        Ok(Self { uri, address })
    }
}

/// Parses an address of 127.0.0.0/8.
///
/// # Errors
///
/// [`TargetError::NotLoopback`] for any other text, including names.
pub(crate) fn loopback(text: &str) -> Result<Ipv4Addr, TargetError> {
    let ip: Ipv4Addr = text.parse().map_err(|_| TargetError::NotLoopback)?;
    ip.is_loopback()
        .then_some(ip)
        .ok_or(TargetError::NotLoopback)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn loopback_alone_is_a_target() {
        let target: Target = "http://127.0.0.1:8080".parse().unwrap();
        assert_eq!(target.address().to_string(), "127.0.0.1:8080");
        assert_eq!(target.join("/key"), "http://127.0.0.1:8080/key");
        assert!("https://127.3.2.1/".parse::<Target>().is_ok());
        for rejected in [
            "http://10.0.0.1:8080",
            "http://128.0.0.1",
            "http://0.0.0.0:80",
            "http://localhost:8080",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@10.0.0.1:80",
            "http://[::1]:8080",
            "http://2130706433:80",
            "http://127.0.0.1/path",
            "ftp://127.0.0.1",
            "127.0.0.1:8080",
        ] {
            assert!(rejected.parse::<Target>().is_err(), "{rejected}");
        }
    }
}
