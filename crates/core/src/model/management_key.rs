//! Management keys, which administer issued keys.

use keyward_crypto::KeyHash;

use crate::model::audit_changes::{Audited, Values};
use crate::model::clock::Timestamp;
use crate::model::id::{ManagementKeyId, OrganizationId};
use crate::model::principal::Creator;

/// A management key. Its plaintext is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementKey {
    /// Internal identifier.
    pub id: ManagementKeyId,
    /// Public identifier.
    pub hash: KeyHash,
    /// The redacted form of the plaintext.
    pub label: String,
    /// The organization whose keys it administers.
    pub organization: OrganizationId,
    /// Human-readable name.
    pub name: String,
    /// Creation time.
    pub created_at: Timestamp,
    /// Principal that created it; `None` for keys from before the store recorded it.
    pub created_by: Option<Creator>,
    /// Time of the last use, accurate to [`last_use::LAG`](crate::model::last_use::LAG).
    pub last_used_at: Option<Timestamp>,
}

impl Audited for ManagementKey {
    fn audited(&self) -> Values {
        vec![("name".into(), Some(self.name.clone()))]
    }
}
