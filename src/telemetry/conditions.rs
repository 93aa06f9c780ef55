//! Named conditions for operators, such as an issuer whose keys cannot be fetched. They are reasons in the body
//! of `/readyz`; by themselves they do not affect readiness.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Current conditions, by name. Names and texts are fixed, so that neither contains a value.
#[derive(Debug, Clone, Default)]
pub struct Conditions(Arc<Mutex<BTreeMap<&'static str, &'static str>>>);

impl Conditions {
    /// Sets a condition.
    pub fn set(&self, name: &'static str, text: &'static str) {
        self.lock().insert(name, text);
    }

    /// Clears a condition.
    pub fn clear(&self, name: &'static str) {
        self.lock().remove(name);
    }

    /// Returns the current conditions, each as `name: text`, ordered by name.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let held = self.lock();
        held.iter()
            .map(|(name, text)| format!("{name}: {text}"))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, &'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
