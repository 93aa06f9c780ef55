//! Generations of subjects.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::subject::Subject;

/// Number of counters, a power of two; 512 KiB. Subjects share them by hash, so that memory does not grow with their
/// number. A change of a subject thus also outdates the entries of the few others with its counter.
const COUNTERS: usize = 1 << 16;

/// A generation for every subject.
pub(super) struct Generations {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Generations {
    fn default() -> Self {
        Self {
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Generations {
    /// Returns the sum of the subjects' generations. Since each only grows, the sum is another one after a change of
    /// any of them.
    pub(super) fn sum(&self, subjects: &[Subject]) -> u64 {
        let of = |subject| {
            self.counter(subject)
                .map_or(0, |counter| counter.load(Ordering::Acquire))
        };
        subjects.iter().map(of).fold(0, u64::wrapping_add)
    }

    /// Advances the generation of a subject.
    pub(super) fn advance(&self, subject: &Subject) {
        if let Some(counter) = self.counter(subject) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Advances all generations.
    pub(super) fn advance_all(&self) {
        for counter in &self.counters {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn counter(&self, subject: &Subject) -> Option<&AtomicU64> {
        let mut hasher = self.hasher.build_hasher();
        match subject {
            // A key is read together with its account.
            Subject::IssuedKey(hash) | Subject::Account(hash) => {
                (0, hash.as_bytes()).hash(&mut hasher)
            }
            Subject::ManagementKey(hash) => (1, hash.as_bytes()).hash(&mut hasher),
            Subject::Member(organization, user) => {
                (2, organization.as_str(), user.as_str()).hash(&mut hasher);
            }
            Subject::Members(organization) => (3, organization.as_str()).hash(&mut hasher),
            Subject::RepoAiKey(key) => (4, key).hash(&mut hasher),
            Subject::Trimmed(_) => return None,
        }
        let mask = COUNTERS as u64 - 1;
        let index = usize::try_from(hasher.finish() & mask).ok()?;
        self.counters.get(index)
    }
}
