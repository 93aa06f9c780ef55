//! ApiKeyService.

use keyward_core::id::ProviderKeyId;
use keyward_core::services::ProviderKeys;
use tonic::{Request, Response, Status};

use crate::api::convert::provider_key;
use crate::api::proto::v1::api_key_service_server::ApiKeyService;
use crate::api::proto::v1::{
    CreateApiKeyRequest, CreateApiKeyResponse, DeleteApiKeyRequest, DeleteApiKeyResponse,
    LinkApiKeyRequest, LinkApiKeyResponse, ListApiKeyLinksRequest, ListApiKeyLinksResponse,
    ListApiKeysRequest, ListApiKeysResponse, ResolveApiKeyRequest, ResolveApiKeyResponse,
    UnlinkApiKeyRequest, UnlinkApiKeyResponse, UpdateApiKeyRequest, UpdateApiKeyResponse,
};
use crate::api::services::{Pages, begin_call, begin_call_of, begin_list, uncompressed};
use crate::api::status::to_status;

/// Serves provider keys.
pub(crate) struct ProviderKeyGrpc {
    keys: ProviderKeys,
    pages: Pages,
}

impl ProviderKeyGrpc {
    /// Serves these keys, with pages of this size.
    pub(crate) fn new(keys: ProviderKeys, pages: Pages) -> Self {
        Self { keys, pages }
    }
}

#[tonic::async_trait]
impl ApiKeyService for ProviderKeyGrpc {
    async fn list_api_keys(
        &self,
        request: Request<ListApiKeysRequest>,
    ) -> Result<Response<ListApiKeysResponse>, Status> {
        let (caller, message, _running) = begin_list(request).await?;
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let filter = provider_key::filter_from_proto(message).map_err(to_status)?;
        let page = self.keys.list(&caller, &filter, &page).await;
        let page = page.map_err(to_status)?;
        let next_page_token = page.next_token();
        Ok(Response::new(ListApiKeysResponse {
            success: true,
            api_keys: page
                .items
                .into_iter()
                .map(provider_key::provider_key_to_proto)
                .collect(),
            next_page_token,
        }))
    }

    async fn create_api_key(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Result<Response<CreateApiKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let new = provider_key::new_key_from_proto(message).map_err(to_status)?;
        let id = self.keys.create(&caller, new).await.map_err(to_status)?;
        Ok(Response::new(CreateApiKeyResponse {
            success: true,
            api_key_id: id.to_string(),
        }))
    }

    async fn update_api_key(
        &self,
        request: Request<UpdateApiKeyRequest>,
    ) -> Result<Response<UpdateApiKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let id = ProviderKeyId::parse(&message.uuid);
        self.keys
            .update(&caller, id, provider_key::patch_from_proto(message))
            .await
            .map_err(to_status)?;
        let message = "API key updated successfully".to_owned();
        Ok(Response::new(UpdateApiKeyResponse {
            success: true,
            message,
        }))
    }

    async fn delete_api_key(
        &self,
        request: Request<DeleteApiKeyRequest>,
    ) -> Result<Response<DeleteApiKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let id = ProviderKeyId::parse(&message.uuid);
        self.keys.delete(&caller, id).await.map_err(to_status)?;
        let message = "API key deleted successfully".to_owned();
        Ok(Response::new(DeleteApiKeyResponse {
            success: true,
            message,
        }))
    }

    async fn resolve_api_key(
        &self,
        request: Request<ResolveApiKeyRequest>,
    ) -> Result<Response<ResolveApiKeyResponse>, Status> {
        let (caller, message, _running) = begin_call_of(request, |it| &it.uuid).await?;
        let id = ProviderKeyId::parse(&message.uuid);
        let opened = self.keys.resolve(&caller, id).await.map_err(to_status)?;
        Ok(uncompressed(provider_key::opened_key_to_proto(opened)))
    }

    async fn link_api_key(
        &self,
        request: Request<LinkApiKeyRequest>,
    ) -> Result<Response<LinkApiKeyResponse>, Status> {
        let (caller, message, _running) = begin_call_of(request, |it| &it.uuid).await?;
        let id = ProviderKeyId::parse(&message.uuid);
        let kind = message.resource_kind();
        let resource =
            provider_key::resource_from_proto(kind, message.resource_id).map_err(to_status)?;
        let link = self
            .keys
            .link(&caller, id, resource)
            .await
            .map_err(to_status)?;
        Ok(Response::new(LinkApiKeyResponse {
            link: Some(provider_key::link_to_proto(link)),
        }))
    }

    async fn unlink_api_key(
        &self,
        request: Request<UnlinkApiKeyRequest>,
    ) -> Result<Response<UnlinkApiKeyResponse>, Status> {
        let (caller, message, _running) = begin_call_of(request, |it| &it.uuid).await?;
        let id = ProviderKeyId::parse(&message.uuid);
        let kind = message.resource_kind();
        let resource =
            provider_key::resource_from_proto(kind, message.resource_id).map_err(to_status)?;
        self.keys
            .unlink(&caller, id, &resource)
            .await
            .map_err(to_status)?;
        Ok(Response::new(UnlinkApiKeyResponse {}))
    }

    async fn list_api_key_links(
        &self,
        request: Request<ListApiKeyLinksRequest>,
    ) -> Result<Response<ListApiKeyLinksResponse>, Status> {
        let (caller, message, _running) = begin_list(request).await?;
        let id = ProviderKeyId::parse(&message.uuid);
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let page = self
            .keys
            .links(&caller, id, &page)
            .await
            .map_err(to_status)?;
        let next_page_token = page.next_token();
        let links = page
            .items
            .into_iter()
            .map(provider_key::link_to_proto)
            .collect();
        Ok(Response::new(ListApiKeyLinksResponse {
            links,
            next_page_token,
        }))
    }
}
