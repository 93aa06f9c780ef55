//! Permit that authentication releases while it waits.

/// In-flight permit of a call, which the call does not need while it waits for an issuer.
pub trait Permit: Sync {
    /// Releases the permit.
    fn release(&self);
    /// Acquires a permit again. Returns false if all are taken.
    fn acquire(&self) -> bool;
}

/// Permits are not limited.
impl Permit for () {
    fn release(&self) {}

    fn acquire(&self) -> bool {
        true
    }
}
