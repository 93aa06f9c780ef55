//! Slots that a key holds for a time, such as the connections of an address. Dropping a slot releases it.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::counts::KeyedCounts;

/// Slots by key, of which each key can take a maximum number.
pub struct KeyedSlots<K> {
    /// Maximum for one key. Zero means no limit.
    max: usize,
    taken: Mutex<KeyedCounts<K>>,
}

/// A slot of a key, released on drop. Empty if the key is not limited.
pub struct Slot<K: Eq + Hash>(Option<(Arc<KeyedSlots<K>>, K)>);

impl<K: Clone + Eq + Hash> KeyedSlots<K> {
    /// Allows every key `max` slots; 0 means no limit.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            taken: Mutex::default(),
        })
    }

    /// Takes a slot for the key. `None` if all of its slots are taken.
    #[must_use]
    pub fn take(self: &Arc<Self>, key: K) -> Option<Slot<K>> {
        if self.max == 0 {
            return Some(Slot(None));
        }
        let mut taken = self.taken();
        if taken.get(&key) >= self.max {
            return None;
        }
        taken.add(key.clone(), 1);
        drop(taken);
        Some(Slot(Some((Arc::clone(self), key))))
    }
}

impl<K> KeyedSlots<K> {
    fn taken(&self) -> MutexGuard<'_, KeyedCounts<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        if let Some((slots, key)) = &self.0 {
            slots.taken().subtract(key, 1);
        }
    }
}

/// Predicate for addresses that are not counted, since many clients share them.
pub type Exempt = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Slots by client network.
#[derive(Clone)]
pub struct PerIpSlots {
    slots: Arc<KeyedSlots<IpAddr>>,
    exempt: Exempt,
}

impl PerIpSlots {
    /// Allows every network that is not exempt `max` slots; 0 means no limit.
    #[must_use]
    pub fn new(max: usize, exempt: Exempt) -> Self {
        Self {
            slots: KeyedSlots::new(max),
            exempt,
        }
    }

    /// Takes a slot for the address. `None` if all slots of its network are taken.
    #[must_use]
    pub fn take(&self, address: IpAddr) -> Option<Slot<IpAddr>> {
        if (self.exempt)(address) {
            return Some(Slot(None));
        }
        self.slots.take(client_network(address))
    }
}

/// Returns the address that limits count: for IPv6 the /64 network, since a client usually controls all
/// addresses of its network.
#[must_use]
pub fn client_network(address: IpAddr) -> IpAddr {
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
    fn address_gets_its_slots_back() {
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
    fn ipv6_network_counts_as_one_address() {
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
        assert!(slots.slots.taken().is_empty());
        let unlimited = PerIpSlots::new(0, Arc::new(|_| false));
        let all: Vec<_> = (0..10).filter_map(|_| unlimited.take(mine)).collect();
        assert_eq!(all.len(), 10);
    }
}
