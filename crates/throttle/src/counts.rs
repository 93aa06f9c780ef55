//! Counts by key.

use std::collections::HashMap;
use std::hash::Hash;

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
}
