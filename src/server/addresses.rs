//! How many of something one address has: what is counted is given back when its place is dropped.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whose addresses are not counted, since many clients come from them.
pub type Exempt = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Counts by address.
pub(crate) struct PerAddress {
    /// How many one address may have. Zero limits nothing.
    most: usize,
    exempt: Exempt,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One of the places that an address has.
pub(crate) struct Place(Option<(Arc<PerAddress>, IpAddr)>);

impl PerAddress {
    /// Lets every address that is not exempt have so many.
    pub(crate) fn new(most: usize, exempt: Exempt) -> Arc<Self> {
        Arc::new(Self {
            most,
            exempt,
            taken: Mutex::default(),
        })
    }

    /// A place for the address, if it has not all of them.
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

/// Whom an address stands for where callers are counted: whoever has one IPv6 address has as a rule all
/// that share its first 64 bits.
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
        // The same, as a socket for both versions of IP has it.
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
    fn who_is_exempt_is_not_counted_and_who_has_left_is_forgotten() {
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
