//! Converts between rows and issued keys.

use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::id::{IssuedKeyId, OrganizationId, WorkspaceId};
use keyward_core::issued_key::IssuedKey;
use keyward_core::money::Nanos;
use keyward_core::window::LimitReset;
use sea_orm::ActiveValue::{Set, Unchanged};

use crate::creator;
use crate::entity::issued_key::{ActiveModel, Model};
use crate::key_hash;

/// Returns every column of a new key, with zero usage.
pub(super) fn insertion(key: &IssuedKey) -> ActiveModel {
    let (created_by_kind, created_by_id) = creator::to_columns(key.created_by.as_ref());
    ActiveModel {
        id: Set(key.id.as_uuid()),
        hash: Set(key.hash.to_string()),
        label: Set(key.label.clone()),
        organization_id: Set(key.organization.to_string()),
        workspace_id: Set(key.workspace.to_string()),
        live_workspace_id: Set(Some(key.workspace.to_string())),
        created_at: Set(key.created_at.unix_millis()),
        created_by_kind: Set(created_by_kind),
        created_by_id: Set(created_by_id),
        last_used_at: Set(key.last_used_at.map(Timestamp::unix_millis)),
        usage_nanos: Set(0),
        byok_usage_nanos: Set(0),
        ..replacement(key)
    }
}

/// Returns the columns that an update of the key can change. Last use and sums are not among them.
pub(super) fn replacement(key: &IssuedKey) -> ActiveModel {
    ActiveModel {
        id: Unchanged(key.id.as_uuid()),
        name: Set(key.name.clone()),
        disabled: Set(key.disabled),
        limit_nanos: Set(key.limit.map(Nanos::get)),
        limit_reset: Set(key.limit_reset.map(|reset| reset.name().to_owned())),
        include_byok_in_limit: Set(key.include_byok_in_limit),
        expires_at: Set(key.expires_at.map(Timestamp::unix_millis)),
        creator_user_id: Set(key.creator_user_id.clone()),
        external_user: Set(key.external_user.clone()),
        updated_at: Set(key.updated_at.map(Timestamp::unix_millis)),
        ..Default::default()
    }
}

/// Converts a row to a key.
pub(super) fn key(row: Model) -> Result<IssuedKey, Error> {
    Ok(IssuedKey {
        id: IssuedKeyId::from_uuid(row.id),
        hash: key_hash::parse(&row.hash)?,
        label: row.label,
        organization: OrganizationId::parse(row.organization_id).map_err(Error::internal)?,
        workspace: WorkspaceId::parse(row.workspace_id).map_err(Error::internal)?,
        name: row.name,
        disabled: row.disabled,
        limit: row.limit_nanos.map(nanos).transpose()?,
        limit_reset: row.limit_reset.as_deref().map(reset).transpose()?,
        include_byok_in_limit: row.include_byok_in_limit,
        expires_at: row.expires_at.map(Timestamp::from_unix_millis),
        creator_user_id: row.creator_user_id,
        external_user: row.external_user,
        created_at: Timestamp::from_unix_millis(row.created_at),
        created_by: creator::from_columns(row.created_by_kind, row.created_by_id),
        updated_at: row.updated_at.map(Timestamp::from_unix_millis),
        last_used_at: row.last_used_at.map(Timestamp::from_unix_millis),
    })
}

/// Converts a column to an amount, which is never negative.
pub(crate) fn nanos(column: i64) -> Result<Nanos, Error> {
    Nanos::new(column).ok_or_else(|| Error::internal("a stored amount is negative"))
}

fn reset(name: &str) -> Result<LimitReset, Error> {
    LimitReset::from_name(name)
        .ok_or_else(|| Error::internal("a stored key's limit has an unknown reset"))
}
