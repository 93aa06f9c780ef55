//! RepoAiKeyService.

use keyward_core::id::RepoAiKeyId;
use keyward_core::services::RepoAiKeys;
use keyward_crypto::Secret;
use tonic::{Request, Response, Status};

use crate::api::convert::repo_ai_key;
use crate::api::proto::v1::repo_ai_key_service_server::RepoAiKeyService;
use crate::api::proto::v1::{
    CreateRepoAiKeyRequest, CreateRepoAiKeyResponse, DeleteRepoAiKeyRequest,
    DeleteRepoAiKeyResponse, ListRepoAiKeysRequest, ListRepoAiKeysResponse, UpdateRepoAiKeyRequest,
    UpdateRepoAiKeyResponse, VerifyRepoAiKeyRequest, VerifyRepoAiKeyResponse,
};
use crate::api::services::{Pages, begin_call, begin_call_of, begin_list, uncompressed};
use crate::api::status::to_status;

/// Serves repo AI keys.
pub(crate) struct RepoAiKeyGrpc {
    keys: RepoAiKeys,
    pages: Pages,
}

impl RepoAiKeyGrpc {
    /// Serves these keys, with pages of this size.
    pub(crate) fn new(keys: RepoAiKeys, pages: Pages) -> Self {
        Self { keys, pages }
    }
}

#[tonic::async_trait]
impl RepoAiKeyService for RepoAiKeyGrpc {
    async fn list_repo_ai_keys(
        &self,
        request: Request<ListRepoAiKeysRequest>,
    ) -> Result<Response<ListRepoAiKeysResponse>, Status> {
        let (caller, message, _running) = begin_list(request).await?;
        let repo = repo_ai_key::repo_from_proto(message.repo_id);
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let page = self.keys.list(&caller, repo.as_ref(), &page).await;
        let page = page.map_err(to_status)?;
        let next_page_token = page.next_token();
        Ok(Response::new(ListRepoAiKeysResponse {
            success: true,
            api_keys: page
                .items
                .into_iter()
                .map(repo_ai_key::repo_ai_key_to_proto)
                .collect(),
            next_page_token,
        }))
    }

    async fn create_repo_ai_key(
        &self,
        request: Request<CreateRepoAiKeyRequest>,
    ) -> Result<Response<CreateRepoAiKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let new = repo_ai_key::new_key_from_proto(message).map_err(to_status)?;
        let created = self.keys.create(&caller, new).await.map_err(to_status)?;
        Ok(uncompressed(repo_ai_key::created_key_to_proto(created)))
    }

    async fn update_repo_ai_key(
        &self,
        request: Request<UpdateRepoAiKeyRequest>,
    ) -> Result<Response<UpdateRepoAiKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let repo = repo_ai_key::repo_from_proto(message.repo_id);
        let id = RepoAiKeyId::parse(&message.apikey_id);
        self.keys
            .rename(&caller, repo.as_ref(), id, message.name)
            .await
            .map_err(to_status)?;
        Ok(Response::new(UpdateRepoAiKeyResponse {
            success: true,
            message: "API key updated successfully".to_owned(),
        }))
    }

    async fn delete_repo_ai_key(
        &self,
        request: Request<DeleteRepoAiKeyRequest>,
    ) -> Result<Response<DeleteRepoAiKeyResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let repo = repo_ai_key::repo_from_proto(message.repo_id);
        let id = RepoAiKeyId::parse(&message.apikey_id);
        self.keys
            .delete(&caller, repo.as_ref(), id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(DeleteRepoAiKeyResponse {
            success: true,
            message: "API key deleted successfully".to_owned(),
        }))
    }

    async fn verify_repo_ai_key(
        &self,
        request: Request<VerifyRepoAiKeyRequest>,
    ) -> Result<Response<VerifyRepoAiKeyResponse>, Status> {
        let (caller, message, _running) = begin_call_of(request, |it| &it.key).await?;
        let secret = Secret::new(message.secret);
        let verified = self.keys.verify(&caller, &message.key, &secret).await;
        Ok(Response::new(repo_ai_key::verified_key_to_proto(
            verified.map_err(to_status)?,
        )))
    }
}
