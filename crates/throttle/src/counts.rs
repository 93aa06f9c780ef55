//! Counts by key.

use std::collections::HashMap;
use std::hash::Hash;

use crate::owner::{Owner, Payer, principal_share};

/// Counts by key. A key whose count is zero takes no memory.
#[derive(Debug)]
pub struct KeyedCounts<K>(HashMap<K, usize>);

impl<K> Default for KeyedCounts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> KeyedCounts<K> {
    /// Returns the count of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> usize {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// Adds to the count of a key.
    pub fn add(&mut self, key: K, amount: usize) {
        if amount > 0 {
            *self.0.entry(key).or_default() += amount;
        }
    }

    /// Subtracts from the count of a key.
    pub fn subtract(&mut self, key: &K, amount: usize) {
        if let Some(count) = self.0.get_mut(key) {
            *count = count.saturating_sub(amount);
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }

    /// Returns true if every count is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Counts by owner, and by principal within its organization. It has at most two entries for each counted item.
#[derive(Debug, Default)]
pub struct PayerCounts {
    owners: KeyedCounts<Owner>,
    principals: KeyedCounts<Payer>,
}

impl PayerCounts {
    /// Returns true if a caller may add this amount: its owner has at most `share`, and one principal of an
    /// organization at most half of it.
    #[must_use]
    pub fn has_room(&self, payer: &Payer, amount: usize, share: usize) -> bool {
        let fits = |count: usize, max: usize| count.saturating_add(amount) <= max;
        let is_principal = payer.principal().is_some();
        fits(self.owners.get(payer.owner()), share)
            && (!is_principal || fits(self.principals.get(payer), principal_share(share)))
    }

    /// Adds to the counts of a caller.
    pub fn add(&mut self, payer: &Payer, amount: usize) {
        self.owners.add(payer.owner().clone(), amount);
        if payer.principal().is_some() {
            self.principals.add(payer.clone(), amount);
        }
    }

    /// Subtracts from the counts of a caller.
    pub fn subtract(&mut self, payer: &Payer, amount: usize) {
        self.owners.subtract(payer.owner(), amount);
        self.principals.subtract(payer, amount);
    }

    /// Returns true if every count is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.principals.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_of_zero_takes_no_memory() {
        let mut counts = KeyedCounts::default();
        counts.add("a", 0);
        assert!(counts.is_empty());
        counts.add("a", 2);
        counts.add("b", 1);
        counts.subtract(&"a", 1);
        assert_eq!((counts.get(&"a"), counts.get(&"b")), (1, 1));
        counts.subtract(&"a", 1);
        counts.subtract(&"b", 1);
        assert_eq!(counts.get(&"a"), 0);
        assert!(counts.is_empty());
    }

    fn principal(organization: &str, name: &str) -> Payer {
        Payer::principal_of(organization.to_owned(), name.to_owned())
    }

    #[test]
    fn principal_leaves_half_of_the_share_to_its_colleagues() {
        let mut counts = PayerCounts::default();
        let (one, two) = (principal("o", "1"), principal("o", "2"));
        assert!(!counts.has_room(&one, 6, 10));
        counts.add(&one, 5);
        assert!(!counts.has_room(&one, 1, 10));
        assert!(!counts.has_room(&two, 6, 10) && counts.has_room(&two, 5, 10));
        counts.add(&two, 5);
        // The organization is full, and others are not affected.
        assert!(!counts.has_room(&principal("o", "3"), 1, 10));
        assert!(counts.has_room(&principal("p", "1"), 5, 10));
        let service = Payer::from(Owner::Service("o".to_owned()));
        assert!(counts.has_room(&service, 10, 10));
        counts.subtract(&one, 5);
        counts.subtract(&two, 5);
        assert!(counts.is_empty());
    }

    #[test]
    fn counts_of_many_principals_are_bounded_by_the_share() {
        let mut counts = PayerCounts::default();
        for number in 0..10_000 {
            let payer = principal("o", &number.to_string());
            if counts.has_room(&payer, 1, 100) {
                counts.add(&payer, 1);
            }
        }
        assert_eq!((counts.owners.0.len(), counts.principals.0.len()), (1, 100));
    }

    #[test]
    fn only_place_is_taken_by_any_principal() {
        let counts = PayerCounts::default();
        assert!(counts.has_room(&principal("o", "1"), 1, 1));
        assert!(!counts.has_room(&principal("o", "1"), 1, 0));
    }
}
