//! Counts per address. Dropping a slot releases it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Predicate for addresses that are not counted, since many clients share them.
pub type Exempt = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Counts by address.
pub(crate) struct PerAddress {
    /// Maximum for one address. Zero means no limit.
    most: usize,
    exempt: Exempt,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A slot of an address.
pub(crate) struct Place(Option<(Arc<PerAddress>, IpAddr)>);

impl PerAddress {
    /// Allows every address that is not exempt `most` slots.
    pub(crate) fn new(most: usize, exempt: Exempt) -> Arc<Self> {
        Arc::new(Self {
            most,
            exempt,
            taken: Mutex::default(),
        })
    }

    /// Takes a slot for the address. `None` if all of its slots are taken.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        if self.most == 0 || (self.exempt)(address) {
            return Some(Place(None));
        }
        let counted = counted(address);
        let mut taken = self.taken();
        let count = taken.entry(counted).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place(Some((Arc::clone(self), counted))))
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((counts, address)) = &self.0 else {
            return;
        };
        let mut taken = counts.taken();
        if let Some(count) = taken.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(address);
            }
        }
    }
}

/// Returns the address that limits count: for IPv6 the /64 network, since a client usually controls all
/// addresses of its network.
pub(crate) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let places = PerAddress::new(2, Arc::new(|_| false));
        let one = address("192.0.2.1");
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert!(places.take(one).is_none());
        // The same address as a dual-stack socket reports it.
        assert!(places.take(address("::ffff:192.0.2.1")).is_none());
        let _other = places.take(address("192.0.2.2")).unwrap();
        drop(first);
        assert!(places.take(one).is_some());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let places = PerAddress::new(1, Arc::new(|_| false));
        let _one = places.take(address("2001:db8::1")).unwrap();
        assert!(places.take(address("2001:db8::ffff:2")).is_none());
        assert!(places.take(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn exempt_address_is_not_counted_and_closed_ones_are_removed() {
        let places = PerAddress::new(1, Arc::new(|address| address.is_loopback()));
        let mine = address("127.0.0.1");
        let all: Vec<_> = (0..10).map(|_| places.take(mine).unwrap()).collect();
        drop(all);
        drop(places.take(address("192.0.2.1")));
        assert!(places.taken().is_empty());
        let unlimited = PerAddress::new(0, Arc::new(|_| false));
        let all: Vec<_> = (0..10).filter_map(|_| unlimited.take(mine)).collect();
        assert_eq!(all.len(), 10);
    }
}
