//! DirectoryService.

use keyward_core::services::Directory;
use tonic::{Request, Response, Status};

use crate::api::convert::directory;
use crate::api::proto::v1;
use crate::api::proto::v1::directory_service_server::DirectoryService;
use crate::api::services::{Pages, begin_call, begin_list};
use crate::api::status::to_status;

/// Serves the directory.
pub(crate) struct DirectoryGrpc {
    directory: Directory,
    pages: Pages,
}

impl DirectoryGrpc {
    /// Serves this directory, with pages of this size.
    pub(crate) fn new(directory: Directory, pages: Pages) -> Self {
        Self { directory, pages }
    }
}

#[tonic::async_trait]
impl DirectoryService for DirectoryGrpc {
    async fn upsert_organization(
        &self,
        request: Request<v1::UpsertOrganizationRequest>,
    ) -> Result<Response<v1::UpsertOrganizationResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let organization =
            directory::organization_from_proto(message.organization).map_err(to_status)?;
        let organization = self
            .directory
            .upsert_organization(&caller, organization)
            .await
            .map_err(to_status)?;
        let organization = Some(directory::organization_to_proto(organization));
        Ok(Response::new(v1::UpsertOrganizationResponse {
            organization,
        }))
    }

    async fn get_organization(
        &self,
        request: Request<v1::GetOrganizationRequest>,
    ) -> Result<Response<v1::GetOrganizationResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let id =
            directory::organization_id_from_proto(message.organization_id).map_err(to_status)?;
        let organization = self
            .directory
            .organization(&caller, &id)
            .await
            .map_err(to_status)?;
        let organization = Some(directory::organization_to_proto(organization));
        Ok(Response::new(v1::GetOrganizationResponse { organization }))
    }

    async fn list_organizations(
        &self,
        request: Request<v1::ListOrganizationsRequest>,
    ) -> Result<Response<v1::ListOrganizationsResponse>, Status> {
        let (caller, message, _running) = begin_list(request).await?;
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let page = self
            .directory
            .organizations(&caller, &page)
            .await
            .map_err(to_status)?;
        let next_page_token = page.next_token();
        let organizations = page
            .items
            .into_iter()
            .map(directory::organization_to_proto)
            .collect();
        Ok(Response::new(v1::ListOrganizationsResponse {
            organizations,
            next_page_token,
        }))
    }

    async fn delete_organization(
        &self,
        request: Request<v1::DeleteOrganizationRequest>,
    ) -> Result<Response<v1::DeleteOrganizationResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let id =
            directory::organization_id_from_proto(message.organization_id).map_err(to_status)?;
        self.directory
            .delete_organization(&caller, &id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(v1::DeleteOrganizationResponse {}))
    }

    async fn upsert_workspace(
        &self,
        request: Request<v1::UpsertWorkspaceRequest>,
    ) -> Result<Response<v1::UpsertWorkspaceResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let workspace = directory::workspace_from_proto(message.workspace).map_err(to_status)?;
        let workspace = self
            .directory
            .upsert_workspace(&caller, workspace)
            .await
            .map_err(to_status)?;
        let workspace = Some(directory::workspace_to_proto(workspace));
        Ok(Response::new(v1::UpsertWorkspaceResponse { workspace }))
    }

    async fn get_workspace(
        &self,
        request: Request<v1::GetWorkspaceRequest>,
    ) -> Result<Response<v1::GetWorkspaceResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let id = directory::workspace_id_from_proto(message.workspace_id).map_err(to_status)?;
        let workspace = self
            .directory
            .workspace(&caller, &id)
            .await
            .map_err(to_status)?;
        let workspace = Some(directory::workspace_to_proto(workspace));
        Ok(Response::new(v1::GetWorkspaceResponse { workspace }))
    }

    async fn list_workspaces(
        &self,
        request: Request<v1::ListWorkspacesRequest>,
    ) -> Result<Response<v1::ListWorkspacesResponse>, Status> {
        let (caller, message, _running) = begin_list(request).await?;
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let organization =
            directory::organization_id_from_proto(message.organization_id).map_err(to_status)?;
        let page = self
            .directory
            .workspaces(&caller, &organization, &page)
            .await
            .map_err(to_status)?;
        let next_page_token = page.next_token();
        let workspaces = page
            .items
            .into_iter()
            .map(directory::workspace_to_proto)
            .collect();
        Ok(Response::new(v1::ListWorkspacesResponse {
            workspaces,
            next_page_token,
        }))
    }

    async fn delete_workspace(
        &self,
        request: Request<v1::DeleteWorkspaceRequest>,
    ) -> Result<Response<v1::DeleteWorkspaceResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let id = directory::workspace_id_from_proto(message.workspace_id).map_err(to_status)?;
        self.directory
            .delete_workspace(&caller, &id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(v1::DeleteWorkspaceResponse {}))
    }

    async fn upsert_member(
        &self,
        request: Request<v1::UpsertMemberRequest>,
    ) -> Result<Response<v1::UpsertMemberResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let member = directory::member_from_proto(message.member).map_err(to_status)?;
        let member = self
            .directory
            .upsert_member(&caller, member)
            .await
            .map_err(to_status)?;
        let member = Some(directory::member_to_proto(member));
        Ok(Response::new(v1::UpsertMemberResponse { member }))
    }

    async fn get_member(
        &self,
        request: Request<v1::GetMemberRequest>,
    ) -> Result<Response<v1::GetMemberResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let organization =
            directory::organization_id_from_proto(message.organization_id).map_err(to_status)?;
        let user = directory::user_id_from_proto(message.user_id).map_err(to_status)?;
        let member = self
            .directory
            .member(&caller, &organization, &user)
            .await
            .map_err(to_status)?;
        let member = Some(directory::member_to_proto(member));
        Ok(Response::new(v1::GetMemberResponse { member }))
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        let (caller, message, _running) = begin_list(request).await?;
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let organization =
            directory::organization_id_from_proto(message.organization_id).map_err(to_status)?;
        let page = self
            .directory
            .members(&caller, &organization, &page)
            .await
            .map_err(to_status)?;
        let next_page_token = page.next_token();
        let members = page
            .items
            .into_iter()
            .map(directory::member_to_proto)
            .collect();
        Ok(Response::new(v1::ListMembersResponse {
            members,
            next_page_token,
        }))
    }

    async fn delete_member(
        &self,
        request: Request<v1::DeleteMemberRequest>,
    ) -> Result<Response<v1::DeleteMemberResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let organization =
            directory::organization_id_from_proto(message.organization_id).map_err(to_status)?;
        let user = directory::user_id_from_proto(message.user_id).map_err(to_status)?;
        self.directory
            .delete_member(&caller, &organization, &user)
            .await
            .map_err(to_status)?;
        Ok(Response::new(v1::DeleteMemberResponse {}))
    }

    async fn upsert_repo(
        &self,
        request: Request<v1::UpsertRepoRequest>,
    ) -> Result<Response<v1::UpsertRepoResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let repo = directory::repo_from_proto(message.repo).map_err(to_status)?;
        let repo = self
            .directory
            .upsert_repo(&caller, repo)
            .await
            .map_err(to_status)?;
        let repo = Some(directory::repo_to_proto(repo));
        Ok(Response::new(v1::UpsertRepoResponse { repo }))
    }

    async fn get_repo(
        &self,
        request: Request<v1::GetRepoRequest>,
    ) -> Result<Response<v1::GetRepoResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let id = directory::repo_id_from_proto(message.repo_id).map_err(to_status)?;
        let repo = self.directory.repo(&caller, &id).await.map_err(to_status)?;
        let repo = Some(directory::repo_to_proto(repo));
        Ok(Response::new(v1::GetRepoResponse { repo }))
    }

    async fn list_repos(
        &self,
        request: Request<v1::ListReposRequest>,
    ) -> Result<Response<v1::ListReposResponse>, Status> {
        let (caller, message, _running) = begin_list(request).await?;
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let workspace =
            directory::workspace_id_from_proto(message.workspace_id).map_err(to_status)?;
        let page = self
            .directory
            .repos(&caller, &workspace, &page)
            .await
            .map_err(to_status)?;
        let next_page_token = page.next_token();
        let repos = page
            .items
            .into_iter()
            .map(directory::repo_to_proto)
            .collect();
        Ok(Response::new(v1::ListReposResponse {
            repos,
            next_page_token,
        }))
    }

    async fn delete_repo(
        &self,
        request: Request<v1::DeleteRepoRequest>,
    ) -> Result<Response<v1::DeleteRepoResponse>, Status> {
        let (caller, message, _running) = begin_call(request).await?;
        let id = directory::repo_id_from_proto(message.repo_id).map_err(to_status)?;
        self.directory
            .delete_repo(&caller, &id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(v1::DeleteRepoResponse {}))
    }
}
