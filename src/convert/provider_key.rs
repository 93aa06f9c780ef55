//! Provider keys.

use keyward_core::Error;
use keyward_core::id::{ResourceId, WorkspaceId};
use keyward_core::provider::Capabilities;
use keyward_core::provider_key::{
    Link, ListedProviderKey, NewProviderKey, ProviderKeyFilter, ProviderKeyPatch, Resource,
    ResourceKind as Kind,
};
use keyward_core::services::OpenedProviderKey;
use keyward_crypto::Secret;

use super::{creator, id, timestamp};
use crate::proto::v1::{
    ApiKey, ApiKeyLink, CreateApiKeyRequest, ListApiKeysRequest, ResolveApiKeyResponse,
    ResourceKind, UpdateApiKeyRequest,
};

fn workspace_id(text: String) -> Result<WorkspaceId, Error> {
    id(WorkspaceId::parse, "workspaceId", "Workspace ID", text)
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub(crate) fn filter(message: ListApiKeysRequest) -> Result<ProviderKeyFilter, Error> {
    Ok(ProviderKeyFilter {
        workspace: given(message.workspace_id).map(workspace_id).transpose()?,
        provider: given(message.provider),
        capability: message.capability.map(Capabilities),
    })
}

pub(crate) fn new_key(message: CreateApiKeyRequest) -> Result<NewProviderKey, Error> {
    Ok(NewProviderKey {
        secret: Secret::new(message.secret),
        workspace: workspace_id(message.workspace_id)?,
        provider: message.provider,
        key: message.key,
        endpoint: message.endpoint,
        region: message.region,
        tenant_id: message.tenant_id,
        subscription_id: message.subscription_id,
        description: message.description,
    })
}

pub(crate) fn patch(message: UpdateApiKeyRequest) -> ProviderKeyPatch {
    ProviderKeyPatch {
        provider: message.provider,
        key: message.key,
        secret: message.secret.map(Secret::new),
        endpoint: message.endpoint,
        region: message.region,
        tenant_id: message.tenant_id,
        subscription_id: message.subscription_id,
        description: message.description,
    }
}

pub(crate) fn api_key(listed: ListedProviderKey) -> ApiKey {
    let key = listed.key;
    let (created_by_kind, created_by_id) = creator(key.created_by);
    ApiKey {
        id: key.id.to_string(),
        key: key.key,
        endpoint: key.endpoint,
        region: key.region,
        tenant_id: key.tenant_id,
        subscription_id: key.subscription_id,
        provider: key.provider.as_str().to_owned(),
        description: key.description,
        created_at: Some(timestamp(key.created_at)),
        bucket_count: u32::try_from(listed.buckets).unwrap_or(u32::MAX),
        aillm_count: u32::try_from(listed.ai_models).unwrap_or(u32::MAX),
        created_by_kind,
        created_by_id,
    }
}

/// Converts an opened key. Only this function puts a credential's secret into a message.
pub(crate) fn resolved(opened: OpenedProviderKey) -> ResolveApiKeyResponse {
    let key = opened.key;
    ResolveApiKeyResponse {
        uuid: key.id.to_string(),
        workspace_id: key.workspace.to_string(),
        provider: key.provider.as_str().to_owned(),
        key: key.key,
        secret: opened.secret.expose().clone(),
        endpoint: key.endpoint,
        region: key.region,
        tenant_id: key.tenant_id,
        subscription_id: key.subscription_id,
        version: key.version,
    }
}

pub(crate) fn resource(kind: ResourceKind, resource_id: String) -> Result<Resource, Error> {
    let kind = match kind {
        ResourceKind::Bucket => Kind::Bucket,
        ResourceKind::AiModel => Kind::AiModel,
        ResourceKind::Unspecified => {
            return Err(Error::invalid("resourceKind", "Resource kind is required"));
        }
    };
    Ok(Resource {
        kind,
        id: id(ResourceId::parse, "resourceId", "Resource ID", resource_id)?,
    })
}

pub(crate) fn link(link: Link) -> ApiKeyLink {
    let kind = match link.resource.kind {
        Kind::Bucket => ResourceKind::Bucket,
        Kind::AiModel => ResourceKind::AiModel,
    };
    ApiKeyLink {
        uuid: link.key.to_string(),
        resource_kind: kind.into(),
        resource_id: link.resource.id.to_string(),
        created_at: Some(timestamp(link.created_at)),
    }
}
