//! Resolves the scope of keys, as input for the policy.

use keyward_core::Error;
use keyward_core::id::{OrganizationId, WorkspaceId};
use keyward_core::tenancy::Workspace;
use keyward_crypto::KeyHash;
use sea_orm::{ConnectionTrait, FromQueryResult, JoinType, QuerySelect, RelationTrait, Select};

use crate::entity::issued_key::{Column, Entity, Relation};
use crate::entity::{organization, workspace};
use crate::error::Failure;
use crate::key_hash;

/// Workspace and organization of a key, and the columns that describe them.
#[derive(FromQueryResult)]
struct KeyLocation {
    hash: String,
    workspace_id: String,
    organization_id: String,
    name: Option<String>,
    default_workspace_id: Option<String>,
}

/// Returns the workspace of a key. A deleted key may have outlived its workspace: then the result has the identifiers
/// of the key's row, which the policy needs, and no name.
pub(crate) async fn workspace_of(
    db: &impl ConnectionTrait,
    key: Select<Entity>,
) -> Result<Option<Workspace>, Failure> {
    let found = workspace_and_hash_of(db, key).await?;
    Ok(found.map(|(workspace, _)| workspace))
}

/// Returns the same together with the key's hash.
pub(crate) async fn workspace_and_hash_of(
    db: &impl ConnectionTrait,
    key: Select<Entity>,
) -> Result<Option<(Workspace, KeyHash)>, Failure> {
    let found = key
        .select_only()
        .columns([Column::Hash, Column::WorkspaceId, Column::OrganizationId])
        .column(workspace::Column::Name)
        .column(organization::Column::DefaultWorkspaceId)
        .join(JoinType::LeftJoin, Relation::Workspace.def())
        .join(JoinType::LeftJoin, workspace::Relation::Organization.def())
        .into_model::<KeyLocation>()
        .one(db)
        .await?;
    Ok(found.map(from_row).transpose()?)
}

fn from_row(location: KeyLocation) -> Result<(Workspace, KeyHash), Error> {
    let is_default = location.default_workspace_id.as_ref() == Some(&location.workspace_id);
    let workspace = Workspace {
        id: WorkspaceId::parse(location.workspace_id).map_err(Error::internal)?,
        organization: OrganizationId::parse(location.organization_id).map_err(Error::internal)?,
        name: location.name.unwrap_or_default(),
        is_default,
    };
    Ok((workspace, key_hash::parse(&location.hash)?))
}
