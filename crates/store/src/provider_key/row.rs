//! Converts between rows and provider keys.

use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::id::{ProviderKeyId, WorkspaceId};
use keyward_core::provider::Provider;
use keyward_core::provider_key::{ProviderKey, StoredProviderKey};
use sea_orm::ActiveValue::{Set, Unchanged};

use crate::creator;
use crate::entity::provider_key::{ActiveModel, Model};

/// Returns every column of a new key.
pub(super) fn insertion(stored: &StoredProviderKey) -> Result<ActiveModel, Error> {
    let (created_by_kind, created_by_id) = creator::to_columns(stored.key.created_by.as_ref());
    Ok(ActiveModel {
        id: Set(stored.key.id.as_uuid()),
        workspace_id: Set(stored.key.workspace.to_string()),
        created_at: Set(stored.key.created_at.unix_millis()),
        created_by_kind: Set(created_by_kind),
        created_by_id: Set(created_by_id),
        ..replacement(stored)?
    })
}

/// Returns the columns that an update can change.
pub(super) fn replacement(stored: &StoredProviderKey) -> Result<ActiveModel, Error> {
    let key = &stored.key;
    Ok(ActiveModel {
        id: Unchanged(key.id.as_uuid()),
        provider: Set(key.provider.as_str().to_owned()),
        key: Set(key.key.clone()),
        endpoint: Set(key.endpoint.clone()),
        region: Set(key.region.clone()),
        tenant_id: Set(key.tenant_id.clone()),
        subscription_id: Set(key.subscription_id.clone()),
        description: Set(key.description.clone()),
        sealed_secret: Set(stored.sealed_secret.clone()),
        secret_version: Set(to_column(stored.secret_version)?),
        fingerprint: Set(stored.fingerprint.to_vec()),
        version: Set(to_column(key.version)?),
        ..Default::default()
    })
}

/// Converts a row to a key.
pub(super) fn stored(row: Model) -> Result<StoredProviderKey, Error> {
    Ok(StoredProviderKey {
        key: ProviderKey {
            id: ProviderKeyId::from_uuid(row.id),
            workspace: WorkspaceId::parse(row.workspace_id).map_err(Error::internal)?,
            provider: Provider::from_stored(row.provider),
            key: row.key,
            endpoint: row.endpoint,
            region: row.region,
            tenant_id: row.tenant_id,
            subscription_id: row.subscription_id,
            description: row.description,
            created_at: Timestamp::from_unix_millis(row.created_at),
            created_by: creator::from_columns(row.created_by_kind, row.created_by_id),
            version: from_column(row.version)?,
        },
        sealed_secret: row.sealed_secret,
        secret_version: from_column(row.secret_version)?,
        fingerprint: row
            .fingerprint
            .try_into()
            .map_err(|_| Error::internal("a stored fingerprint has not 32 bytes"))?,
    })
}

fn to_column(number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(Error::internal)
}

/// Converts a column to a count or version, which is never negative.
pub(super) fn from_column(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(Error::internal)
}
