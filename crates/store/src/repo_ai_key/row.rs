//! Converts between rows and repo AI keys.

use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::id::{RepoAiKeyId, RepoId, WorkspaceId};
use keyward_core::repo_ai_key::{AiType, FoundRepoAiKey, RepoAiKey, StoredRepoAiKey};
use keyward_crypto::KeyHash;
use sea_orm::{ActiveModelTrait, DerivePartialModel, IntoActiveModel};
use uuid::Uuid;

use crate::creator;
use crate::directory::workspace_from_rows;
use crate::entity::repo_ai_key::{ActiveModel, Entity, Model};
use crate::entity::{organization, workspace};
use crate::error::Failure;

/// A row without the secret columns.
#[derive(DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub(super) struct Open {
    id: Uuid,
    workspace_id: String,
    repo_id: String,
    name: String,
    key: String,
    ai_type: String,
    created_at: i64,
    created_by_kind: Option<String>,
    created_by_id: Option<String>,
}

/// A row with the columns that verification needs.
#[derive(DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub(super) struct Found {
    secret_hash: Vec<u8>,
    #[sea_orm(nested)]
    open: Open,
    #[sea_orm(nested)]
    workspace: workspace::Model,
    #[sea_orm(nested)]
    organization: organization::Model,
}

/// Returns every column of a new key.
pub(super) fn insertion(stored: &StoredRepoAiKey) -> ActiveModel {
    let key = &stored.key;
    let (created_by_kind, created_by_id) = creator::to_columns(key.created_by.as_ref());
    let row = Model {
        id: key.id.as_uuid(),
        workspace_id: key.workspace.to_string(),
        repo_id: key.repo.to_string(),
        live_repo_id: Some(key.repo.to_string()),
        name: key.name.clone(),
        key: key.key.clone(),
        ai_type: key.ai_type.name().to_owned(),
        sealed_secret: Some(stored.sealed_secret.clone()),
        secret_hash: stored.secret_hash.as_bytes().to_vec(),
        created_at: key.created_at.unix_millis(),
        created_by_kind,
        created_by_id,
        deleted_at: None,
    };
    row.into_active_model().reset_all()
}

/// Converts a row to a key.
pub(super) fn open(row: Open) -> Result<RepoAiKey, Error> {
    Ok(RepoAiKey {
        id: RepoAiKeyId::from_uuid(row.id),
        workspace: WorkspaceId::parse(row.workspace_id).map_err(Error::internal)?,
        repo: RepoId::parse(row.repo_id).map_err(Error::internal)?,
        name: row.name,
        key: row.key,
        ai_type: AiType::from_name(&row.ai_type)
            .ok_or_else(|| Error::internal("a stored repo AI key has an unknown type"))?,
        created_at: Timestamp::from_unix_millis(row.created_at),
        created_by: creator::from_columns(row.created_by_kind, row.created_by_id),
    })
}

/// Converts a row to a key with its scope.
pub(super) fn found(row: Found) -> Result<FoundRepoAiKey, Failure> {
    let secret_hash = row
        .secret_hash
        .try_into()
        .map_err(|_| Error::internal("a stored hash has not 32 bytes"))?;
    Ok(FoundRepoAiKey {
        key: open(row.open)?,
        secret_hash: KeyHash::from_bytes(secret_hash),
        workspace: workspace_from_rows((row.workspace, Some(row.organization)))?,
    })
}
