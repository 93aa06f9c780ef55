//! Named conditions that an operator should know of, such as an issuer whose keys cannot be fetched. They
//! are reasons in the body of `/readyz`; they do not by themselves decide whether the process is ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The conditions that hold now, by name. Names and texts are fixed, so that neither holds a value.
#[derive(Debug, Clone, Default)]
pub struct Conditions(Arc<Mutex<BTreeMap<&'static str, &'static str>>>);

impl Conditions {
    /// Says that a condition holds.
    pub fn set(&self, name: &'static str, text: &'static str) {
        self.lock().insert(name, text);
    }

    /// Says that a condition does not hold any longer.
    pub fn clear(&self, name: &'static str) {
        self.lock().remove(name);
    }

    /// Returns the conditions that hold, each as `name: text`, in the order of their names.
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
