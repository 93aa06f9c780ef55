//! Provider keys.

use keyward_core::Error;
use keyward_core::id::ResourceId;
use keyward_core::provider::Capabilities;
use keyward_core::provider_key::{
    Link, ListedProviderKey, NewProviderKey, ProviderKeyFilter, ProviderKeyPatch, Resource,
    ResourceKind,
};
use keyward_core::services::OpenedProviderKey;
use keyward_crypto::Secret;

use super::directory::workspace_id_from_proto;
use super::{creator_to_proto, id_from_proto, timestamp_to_proto};
use crate::api::proto::v1;

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub(crate) fn filter_from_proto(
    message: v1::ListApiKeysRequest,
) -> Result<ProviderKeyFilter, Error> {
    Ok(ProviderKeyFilter {
        workspace: given(message.workspace_id)
            .map(workspace_id_from_proto)
            .transpose()?,
        provider: given(message.provider),
        capability: message.capability.map(Capabilities),
    })
}

pub(crate) fn new_key_from_proto(
    message: v1::CreateApiKeyRequest,
) -> Result<NewProviderKey, Error> {
    Ok(NewProviderKey {
        secret: Secret::new(message.secret),
        workspace: workspace_id_from_proto(message.workspace_id)?,
        provider: message.provider,
        key: message.key,
        endpoint: message.endpoint,
        region: message.region,
        tenant_id: message.tenant_id,
        subscription_id: message.subscription_id,
        description: message.description,
    })
}

pub(crate) fn patch_from_proto(message: v1::UpdateApiKeyRequest) -> ProviderKeyPatch {
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

pub(crate) fn provider_key_to_proto(listed: ListedProviderKey) -> v1::ApiKey {
    let key = listed.key;
    let (created_by_kind, created_by_id) = creator_to_proto(key.created_by);
    v1::ApiKey {
        id: key.id.to_string(),
        key: key.key,
        endpoint: key.endpoint,
        region: key.region,
        tenant_id: key.tenant_id,
        subscription_id: key.subscription_id,
        provider: key.provider.as_str().to_owned(),
        description: key.description,
        created_at: Some(timestamp_to_proto(key.created_at)),
        bucket_count: u32::try_from(listed.buckets).unwrap_or(u32::MAX),
        aillm_count: u32::try_from(listed.ai_models).unwrap_or(u32::MAX),
        created_by_kind,
        created_by_id,
    }
}

/// Converts an opened key. Only this function puts a credential's secret into a message.
pub(crate) fn opened_key_to_proto(opened: OpenedProviderKey) -> v1::ResolveApiKeyResponse {
    let key = opened.key;
    v1::ResolveApiKeyResponse {
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

pub(crate) fn resource_from_proto(
    kind: v1::ResourceKind,
    resource_id: String,
) -> Result<Resource, Error> {
    let kind = match kind {
        v1::ResourceKind::Bucket => ResourceKind::Bucket,
        v1::ResourceKind::AiModel => ResourceKind::AiModel,
        v1::ResourceKind::Unspecified => {
            return Err(Error::invalid("resourceKind", "Resource kind is required"));
        }
    };
    Ok(Resource {
        kind,
        id: id_from_proto(ResourceId::parse, "resourceId", "Resource ID", resource_id)?,
    })
}

pub(crate) fn link_to_proto(link: Link) -> v1::ApiKeyLink {
    let kind = match link.resource.kind {
        ResourceKind::Bucket => v1::ResourceKind::Bucket,
        ResourceKind::AiModel => v1::ResourceKind::AiModel,
    };
    v1::ApiKeyLink {
        uuid: link.key.to_string(),
        resource_kind: kind.into(),
        resource_id: link.resource.id.to_string(),
        created_at: Some(timestamp_to_proto(link.created_at)),
    }
}
