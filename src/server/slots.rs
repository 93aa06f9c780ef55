//! Counts per address. Dropping a slot releases it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Predicate for addresses that are not counted, since many clients share them.
pub type Exempt = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Counts by address.
pub(crate) struct PerIpSlots {
    /// Maximum for one address. Zero means no limit.
    max: usize,
    exempt: Exempt,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A slot of an address.
pub(crate) struct Slot(Option<(Arc<PerIpSlots>, IpAddr)>);

impl PerIpSlots {
    /// Allows every address that is not exempt `max` slots.
    pub(crate) fn new(max: usize, exempt: Exempt) -> Arc<Self> {
        Arc::new(Self {
            max,
            exempt,
            taken: Mutex::default(),
        })
    }

    /// Takes a slot for the address. `None` if all of its slots are taken.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        if self.max == 0 || (self.exempt)(address) {
            return Some(Slot(None));
        }
        let counted = counted(address);
        let mut taken = self.taken();
        let count = taken.entry(counted).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Slot(Some((Arc::clone(self), counted))))
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
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
        let slots = PerIpSlots::new(2, Arc::new(|_| false));
        let one = address("192.0.2.1");
        let first = slots.take(one).unwrap();
        let _second = slots.take(one).unwrap();
        assert!(slots.take(one).is_none());
        // The same address as a dual-stack socket reports it.
        assert!(slots.take(address("::ffff:192.0.2.1")).is_none());
        let _other = slots.take(address("192.0.2.2")).unwrap();
        drop(first);
        assert!(slots.take(one).is_some());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let slots = PerIpSlots::new(1, Arc::new(|_| false));
        let _one = slots.take(address("2001:db8::1")).unwrap();
        assert!(slots.take(address("2001:db8::ffff:2")).is_none());
        assert!(slots.take(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn exempt_address_is_not_counted_and_closed_ones_are_removed() {
        let slots = PerIpSlots::new(1, Arc::new(|address| address.is_loopback()));
        let mine = address("127.0.0.1");
        let all: Vec<_> = (0..10).map(|_| slots.take(mine).unwrap()).collect();
        drop(all);
        drop(slots.take(address("192.0.2.1")));
        assert!(slots.taken().is_empty());
        let unlimited = PerIpSlots::new(0, Arc::new(|_| false));
        let all: Vec<_> = (0..10).filter_map(|_| unlimited.take(mine)).collect();
        assert_eq!(all.len(), 10);
    }
}
