//! Issued keys, which spend up to a limit.

use keyward_crypto::KeyHash;

use crate::model::audit_changes::{Audited, Values};
use crate::model::clock::Timestamp;
use crate::model::id::{IssuedKeyId, OrganizationId, WorkspaceId};
use crate::model::money::Nanos;
use crate::model::principal::Creator;
use crate::model::window::LimitReset;

/// Maximum length of a user identifier that a caller supplies, in bytes of UTF-8.
pub const MAX_USER_BYTES: usize = 255;

/// An issued key. Its plaintext is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedKey {
    /// Internal identifier.
    pub id: IssuedKeyId,
    /// Public identifier.
    pub hash: KeyHash,
    /// The redacted form of the plaintext.
    pub label: String,
    /// The organization of its workspace.
    pub organization: OrganizationId,
    /// The workspace that it belongs to. Never changes.
    pub workspace: WorkspaceId,
    /// Human-readable name.
    pub name: String,
    /// True if the key is disabled.
    pub disabled: bool,
    /// Maximum spending between two resets.
    pub limit: Option<Nanos>,
    /// Period after which the spending that counts against the limit resets.
    pub limit_reset: Option<LimitReset>,
    /// True if spending through the customer's own provider keys counts against the limit.
    pub include_byok_in_limit: bool,
    /// Time at which the key expires.
    pub expires_at: Option<Timestamp>,
    /// User that created the key, as given by the caller.
    pub creator_user_id: Option<String>,
    /// The caller's own identifier of the user that the key is for.
    pub external_user: Option<String>,
    /// Creation time.
    pub created_at: Timestamp,
    /// Principal that created it; `None` for keys from before the store recorded it.
    pub created_by: Option<Creator>,
    /// Time of the last change.
    pub updated_at: Option<Timestamp>,
    /// Time of the last use, accurate to [`last_use::LAG`](crate::model::last_use::LAG).
    pub last_used_at: Option<Timestamp>,
}

impl IssuedKey {
    /// Returns true from the moment of expiry on.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

impl Audited for IssuedKey {
    fn audited(&self) -> Values {
        vec![
            ("limit".into(), self.limit.map(|limit| limit.to_string())),
            (
                "limit_reset".into(),
                self.limit_reset.map(|reset| reset.name().to_owned()),
            ),
            (
                "include_byok_in_limit".into(),
                Some(self.include_byok_in_limit.to_string()),
            ),
            (
                "expires_at".into(),
                self.expires_at.map(|at| at.to_string()),
            ),
            ("disabled".into(), Some(self.disabled.to_string())),
            ("name".into(), Some(self.name.clone())),
        ]
    }
}

/// A key to issue.
#[derive(Debug, Clone, Default)]
pub struct NewIssuedKey {
    /// Human-readable name.
    pub name: String,
    /// Maximum spending between two resets.
    pub limit: Option<Nanos>,
    /// Period after which the spending that counts against the limit resets.
    pub limit_reset: Option<LimitReset>,
    /// True if spending through the customer's own provider keys counts against the limit.
    pub include_byok_in_limit: bool,
    /// Time at which the key expires.
    pub expires_at: Option<Timestamp>,
    /// The workspace of the key; `None` for the organization's default workspace.
    pub workspace: Option<WorkspaceId>,
    /// User that creates the key, as given by the caller.
    pub creator_user_id: Option<String>,
    /// The caller's own identifier of the user that the key is for.
    pub external_user: Option<String>,
}

/// Changes to an issued key. `None` keeps a field, `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct IssuedKeyPatch {
    /// Human-readable name.
    pub name: Option<String>,
    /// True to disable the key.
    pub disabled: Option<bool>,
    /// Maximum spending between two resets.
    pub limit: Option<Option<Nanos>>,
    /// Period after which the spending that counts against the limit resets.
    pub limit_reset: Option<Option<LimitReset>>,
    /// True if spending through the customer's own provider keys counts against the limit.
    pub include_byok_in_limit: Option<bool>,
}

/// Filter for a list of issued keys.
#[derive(Debug, Clone, Default)]
pub struct IssuedKeyFilter {
    /// Workspace of the keys; `None` for the organization's default workspace.
    pub workspace: Option<WorkspaceId>,
    /// True to include disabled keys.
    pub include_disabled: bool,
    /// Number of keys to skip.
    pub offset: u64,
}
