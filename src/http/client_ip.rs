//! Client addresses. That of a call is the peer's address, unless the peer is a proxy that the operator trusts.
//! Then it is the right-most entry of `x-forwarded-for` that is not a trusted proxy, read from the nearest proxy to
//! the farthest. Entries further to the left can be forged by any client and are ignored.
//!
//! RFC 7239's `forwarded` is not read. A proxy passes on headers that it does not write itself, so a server
//! that trusts both headers would trust the one that the client has forged.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use keyward_throttle::client_network;

/// Header to which proxies append the address of their peer.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Client address of a call, in the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientIp(pub(crate) IpAddr);

impl ClientIp {
    /// Returns the address that limits count: an IPv4 address, or a /64 of IPv6.
    pub(crate) fn network(self) -> IpAddr {
        client_network(self.0)
    }
}

/// Proxies trusted to report client addresses. Empty by default.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// Error for a text that is not a network, or that contains all addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotANetwork;

impl fmt::Display for NotANetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must hold networks such as \"10.1.0.0/16\" or \"2001:db8::/32\", or single addresses, \
             and none of everybody, such as \"0.0.0.0/0\"",
        )
    }
}

impl std::error::Error for NotANetwork {}

impl TrustedProxies {
    /// Parses networks in CIDR notation and single addresses, of IPv4 and IPv6.
    ///
    /// # Errors
    /// An entry is neither, or is a network of all addresses: then no client address could be determined.
    pub fn parse<T: AsRef<str>>(networks: &[T]) -> Result<Self, NotANetwork> {
        let networks = networks.iter().map(|network| parse(network.as_ref()));
        Ok(Self(networks.collect::<Result<_, _>>()?))
    }

    /// Returns true if no proxy is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if this is the address of a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the client address of a call.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            let Ok(text) = value.to_str() else {
                return peer;
            };
            let entries = text.rsplit(',').map(str::trim);
            for entry in entries.filter(|entry| !entry.is_empty()) {
                match address(entry) {
                    Some(address) if self.trusts(address) => {}
                    Some(address) => return address,
                    None => return peer,
                }
            }
        }
        // All entries are proxies: only the nearest is certain.
        peer
    }
}

fn parse(text: &str) -> Result<IpNet, NotANetwork> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| NotANetwork)?),
    };
    match network.prefix_len() {
        0 => Err(NotANetwork),
        _ => Ok(network),
    }
}

/// Parses an address as proxies write it: some of them with a port, and IPv6 in brackets.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|entry| entry.strip_suffix(']'))
        .unwrap_or(entry);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: [&str; 4] = ["10.1.0.0/16", "192.0.2.7", "2001:db8:f::/48", "2001:db8::7"];
    /// A trusted proxy.
    const PROXY: &str = "10.1.2.3";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Returns the client address, given its peer and the values of the header.
    fn client(peer: &str, values: &[&'static [u8]]) -> String {
        let proxies = TrustedProxies::parse(&PROXIES).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("forwarded", "for=203.0.113.99".parse().unwrap());
        for value in values {
            let value = http::HeaderValue::from_bytes(value).unwrap();
            headers.append(FORWARDED_FOR, value);
        }
        proxies.client(ip(peer), &headers).to_string()
    }

    #[test]
    fn networks_and_addresses_of_both_kinds_are_trusted() {
        let proxies = TrustedProxies::parse(&PROXIES).unwrap();
        for (address, trusted) in [
            ("10.1.0.0", true),
            ("10.1.255.255", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.0", false),
            ("10.0.255.255", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:f:1::1", true),
            ("2001:db8:10::1", false),
            ("2001:db8::7", true),
            ("2001:db8::8", false),
            ("127.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(proxies.trusts(ip(address)), trusted, "{address}");
        }
        assert!(!TrustedProxies::default().trusts(ip("127.0.0.1")));
    }

    #[test]
    fn invalid_network_is_rejected() {
        for text in [
            "",
            "*",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.1:80",
            "[::1]",
            "::1/129",
            "fe80::1%eth0",
            "proxy.example.com",
            "10.0.0.0/8,10.1.0.0/16",
            " 10.0.0.0/8",
            "0.0.0.0/0",
            "::/0",
        ] {
            let parsed = TrustedProxies::parse(&[text]);
            assert_eq!(parsed.map(|_| ()), Err(NotANetwork), "{text:?}");
        }
    }

    #[test]
    fn untrusted_peer_is_the_client_despite_its_headers() {
        for peer in ["203.0.113.5", "127.0.0.1", "2001:db8:10::1"] {
            assert_eq!(client(peer, &[]), peer);
            assert_eq!(client(peer, &[b"198.51.100.1"]), peer);
            assert_eq!(client(peer, &[b"198.51.100.1, 10.1.2.3"]), peer);
        }
        assert_eq!(
            client("::ffff:203.0.113.5", &[b"198.51.100.1"]),
            "203.0.113.5"
        );
    }

    #[test]
    fn a_trusted_peer_is_believed_about_its_own_peer_alone() {
        for (values, expected) in [
            (&[&b"203.0.113.5"[..]][..], "203.0.113.5"),
            // The client's own entry is to the left of the proxy's.
            (&[b"198.51.100.1, 203.0.113.5"], "203.0.113.5"),
            (&[b"10.1.9.9, 203.0.113.5"], "203.0.113.5"),
            (
                &[b"nonsense, \xff, 203.0.113.5, 10.1.9.9, 192.0.2.7"],
                PROXY,
            ),
            (
                &[b"nonsense, 203.0.113.5, 10.1.9.9,192.0.2.7 "],
                "203.0.113.5",
            ),
            (&[b"198.51.100.1", b"203.0.113.5"], "203.0.113.5"),
            (&[b"198.51.100.1,203.0.113.5", b"10.1.9.9"], "203.0.113.5"),
            (&[b"\xff", b"203.0.113.5"], "203.0.113.5"),
            (&[b"203.0.113.5", b"", b" , "], "203.0.113.5"),
            (&[b"203.0.113.5:49152"], "203.0.113.5"),
            (&[b"::ffff:203.0.113.5"], "203.0.113.5"),
            (&[b"2001:db8:10::1"], "2001:db8:10::1"),
            (&[b"[2001:db8:10::1]"], "2001:db8:10::1"),
            (&[b"[2001:db8:10::1]:443"], "2001:db8:10::1"),
            (&[b"2001:db8:10::1, 2001:db8:f::1"], "2001:db8:10::1"),
        ] {
            assert_eq!(client(PROXY, values), expected, "{values:?}");
        }
    }

    #[test]
    fn unreadable_header_leaves_the_peer() {
        for values in [
            &[][..],
            &[&b""[..]],
            &[b","],
            &[b"unknown"],
            &[b"203.0.113.5, unknown"],
            &[b"203.0.113.5, _hidden, 10.1.9.9"],
            &[b"203.0.113.5", b"\xff"],
            &[b"203.0.113.256"],
            &[b"203.0.113.5:"],
            &[b"[203.0.113.5"],
            &[b"fe80::1%eth0"],
            &[b"\"203.0.113.5\""],
            // Only proxies.
            &[b"10.1.9.9, 192.0.2.7"],
        ] {
            assert_eq!(client(PROXY, values), PROXY, "{values:?}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_counted_together() {
        for (one, other, together) in [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("203.0.113.5", "203.0.113.5", true),
            ("203.0.113.5", "203.0.113.4", false),
        ] {
            let (one, other) = (ClientIp(ip(one)), ClientIp(ip(other)));
            assert_eq!(
                one.network() == other.network(),
                together,
                "{one:?} {other:?}"
            );
        }
    }
}
