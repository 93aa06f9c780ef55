//! Issued keys, which spend up to a limit, and management keys, which administer them.

mod management;
mod patch;
mod use_cases;

pub use management::ManagementKeys;
pub use use_cases::IssuedKeys;

use keyward_crypto::{KeyHash, Token};

use crate::audit::{Audited, Values};
use crate::clock::Timestamp;
use crate::id::{IssuedKeyId, ManagementKeyId, OrganizationId, WorkspaceId};
use crate::limit::{MeteredKey, Verdict};
use crate::money::Nanos;
use crate::principal::Creator;
use crate::window::LimitReset;

/// Maximum length of an identifier of a user that callers give along, in bytes of UTF-8.
pub const MAX_USER_BYTES: usize = 255;
/// How many keys a page of `/keys` has.
pub const LIST_KEYS_PAGE: u32 = 100;

/// An issued key. Its plaintext is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedKey {
    /// Names the key inside.
    pub id: IssuedKeyId,
    /// Names the key outside.
    pub hash: KeyHash,
    /// The redacted form of the plaintext.
    pub label: String,
    /// The organization of its workspace.
    pub organization: OrganizationId,
    /// The workspace that it belongs to, for good.
    pub workspace: WorkspaceId,
    /// Human-readable name.
    pub name: String,
    /// Whether it is disabled.
    pub disabled: bool,
    /// How much it may spend between two resets.
    pub limit: Option<Nanos>,
    /// When the limit starts anew.
    pub limit_reset: Option<LimitReset>,
    /// Whether what is spent through the customer's own provider keys counts too.
    pub include_byok_in_limit: bool,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Who created it, as the caller says.
    pub creator_user_id: Option<String>,
    /// The caller's own user for whom it is.
    pub external_user: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Principal that created it; `None` for keys from before the store recorded it.
    pub created_by: Option<Creator>,
    /// When it was last changed.
    pub updated_at: Option<Timestamp>,
    /// When it was last used, to within [`last_use::LAG`](crate::last_use::LAG).
    pub last_used_at: Option<Timestamp>,
}

impl IssuedKey {
    /// Whether it is past its expiry, which it is from that moment on.
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

/// A management key. Its plaintext is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementKey {
    /// Names the key inside.
    pub id: ManagementKeyId,
    /// Names the key outside.
    pub hash: KeyHash,
    /// The redacted form of the plaintext.
    pub label: String,
    /// The organization whose keys it administers.
    pub organization: OrganizationId,
    /// Human-readable name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Principal that created it; `None` for keys from before the store recorded it.
    pub created_by: Option<Creator>,
    /// When it was last used, to within [`last_use::LAG`](crate::last_use::LAG).
    pub last_used_at: Option<Timestamp>,
}

impl Audited for ManagementKey {
    fn audited(&self) -> Values {
        vec![("name".into(), Some(self.name.clone()))]
    }
}

/// A key to issue.
#[derive(Debug, Clone, Default)]
pub struct NewIssuedKey {
    /// Human-readable name.
    pub name: String,
    /// How much it may spend between two resets.
    pub limit: Option<Nanos>,
    /// When the limit starts anew.
    pub limit_reset: Option<LimitReset>,
    /// Whether what is spent through the customer's own provider keys counts too.
    pub include_byok_in_limit: bool,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// The workspace that it is to belong to; the organization's default one if none.
    pub workspace: Option<WorkspaceId>,
    /// Who creates it.
    pub creator_user_id: Option<String>,
    /// The caller's own user for whom it is.
    pub external_user: Option<String>,
}

/// Which fields of an issued key to change; `None` leaves one alone, `Some(None)` removes it.
#[derive(Debug, Clone, Default)]
pub struct IssuedKeyPatch {
    /// Human-readable name.
    pub name: Option<String>,
    /// Whether it is disabled.
    pub disabled: Option<bool>,
    /// How much it may spend between two resets.
    pub limit: Option<Option<Nanos>>,
    /// When the limit starts anew.
    pub limit_reset: Option<Option<LimitReset>>,
    /// Whether what is spent through the customer's own provider keys counts too.
    pub include_byok_in_limit: Option<bool>,
}

/// Which issued keys to list.
#[derive(Debug, Clone, Default)]
pub struct IssuedKeyFilter {
    /// Those of this workspace; the organization's default one if none.
    pub workspace: Option<WorkspaceId>,
    /// Whether disabled ones too.
    pub include_disabled: bool,
    /// How many to skip.
    pub offset: u64,
}

/// An issued key with its plaintext, for this one time.
pub struct Minted<K> {
    /// The key.
    pub key: K,
    /// Its plaintext.
    pub token: Token,
}

/// The key that makes a call, as it describes itself.
#[derive(Debug, Clone)]
pub enum CurrentKey {
    /// An issued key.
    Issued(Box<MeteredKey>),
    /// A management key, and its organization's default workspace.
    Management(Box<ManagementKey>, Option<WorkspaceId>),
}

/// The verdict on a token that is an issued key's.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Whether it may spend.
    pub verdict: Verdict,
    /// The key.
    pub metered: MeteredKey,
}
