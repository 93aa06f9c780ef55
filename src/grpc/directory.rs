//! DirectoryService.

use keyward_core::services::Directory;
use tonic::{Request, Response, Status};

use crate::convert::directory as convert;
use crate::error::status;
use crate::grpc::{Pages, enter, enter_list};
use crate::proto::v1 as pb;
use crate::proto::v1::directory_service_server::DirectoryService;

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
        request: Request<pb::UpsertOrganizationRequest>,
    ) -> Result<Response<pb::UpsertOrganizationResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let organization = convert::organization(message.organization).map_err(status)?;
        let organization = self
            .directory
            .upsert_organization(&caller, organization)
            .await
            .map_err(status)?;
        let organization = Some(convert::organization_message(organization));
        Ok(Response::new(pb::UpsertOrganizationResponse {
            organization,
        }))
    }

    async fn get_organization(
        &self,
        request: Request<pb::GetOrganizationRequest>,
    ) -> Result<Response<pb::GetOrganizationResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let id = convert::organization_id(message.organization_id).map_err(status)?;
        let organization = self
            .directory
            .organization(&caller, &id)
            .await
            .map_err(status)?;
        let organization = Some(convert::organization_message(organization));
        Ok(Response::new(pb::GetOrganizationResponse { organization }))
    }

    async fn list_organizations(
        &self,
        request: Request<pb::ListOrganizationsRequest>,
    ) -> Result<Response<pb::ListOrganizationsResponse>, Status> {
        let (caller, message, _running) = enter_list(request).await?;
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let page = self
            .directory
            .organizations(&caller, &page)
            .await
            .map_err(status)?;
        let next_page_token = page.next_token();
        let organizations = page
            .items
            .into_iter()
            .map(convert::organization_message)
            .collect();
        Ok(Response::new(pb::ListOrganizationsResponse {
            organizations,
            next_page_token,
        }))
    }

    async fn delete_organization(
        &self,
        request: Request<pb::DeleteOrganizationRequest>,
    ) -> Result<Response<pb::DeleteOrganizationResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let id = convert::organization_id(message.organization_id).map_err(status)?;
        self.directory
            .delete_organization(&caller, &id)
            .await
            .map_err(status)?;
        Ok(Response::new(pb::DeleteOrganizationResponse {}))
    }

    async fn upsert_workspace(
        &self,
        request: Request<pb::UpsertWorkspaceRequest>,
    ) -> Result<Response<pb::UpsertWorkspaceResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let workspace = convert::workspace(message.workspace).map_err(status)?;
        let workspace = self
            .directory
            .upsert_workspace(&caller, workspace)
            .await
            .map_err(status)?;
        let workspace = Some(convert::workspace_message(workspace));
        Ok(Response::new(pb::UpsertWorkspaceResponse { workspace }))
    }

    async fn get_workspace(
        &self,
        request: Request<pb::GetWorkspaceRequest>,
    ) -> Result<Response<pb::GetWorkspaceResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let id = convert::workspace_id(message.workspace_id).map_err(status)?;
        let workspace = self
            .directory
            .workspace(&caller, &id)
            .await
            .map_err(status)?;
        let workspace = Some(convert::workspace_message(workspace));
        Ok(Response::new(pb::GetWorkspaceResponse { workspace }))
    }

    async fn list_workspaces(
        &self,
        request: Request<pb::ListWorkspacesRequest>,
    ) -> Result<Response<pb::ListWorkspacesResponse>, Status> {
        let (caller, message, _running) = enter_list(request).await?;
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let organization = convert::organization_id(message.organization_id).map_err(status)?;
        let page = self
            .directory
            .workspaces(&caller, &organization, &page)
            .await
            .map_err(status)?;
        let next_page_token = page.next_token();
        let workspaces = page
            .items
            .into_iter()
            .map(convert::workspace_message)
            .collect();
        Ok(Response::new(pb::ListWorkspacesResponse {
            workspaces,
            next_page_token,
        }))
    }

    async fn delete_workspace(
        &self,
        request: Request<pb::DeleteWorkspaceRequest>,
    ) -> Result<Response<pb::DeleteWorkspaceResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let id = convert::workspace_id(message.workspace_id).map_err(status)?;
        self.directory
            .delete_workspace(&caller, &id)
            .await
            .map_err(status)?;
        Ok(Response::new(pb::DeleteWorkspaceResponse {}))
    }

    async fn upsert_member(
        &self,
        request: Request<pb::UpsertMemberRequest>,
    ) -> Result<Response<pb::UpsertMemberResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let member = convert::member(message.member).map_err(status)?;
        let member = self
            .directory
            .upsert_member(&caller, member)
            .await
            .map_err(status)?;
        let member = Some(convert::member_message(member));
        Ok(Response::new(pb::UpsertMemberResponse { member }))
    }

    async fn get_member(
        &self,
        request: Request<pb::GetMemberRequest>,
    ) -> Result<Response<pb::GetMemberResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let organization = convert::organization_id(message.organization_id).map_err(status)?;
        let user = convert::user_id(message.user_id).map_err(status)?;
        let member = self
            .directory
            .member(&caller, &organization, &user)
            .await
            .map_err(status)?;
        let member = Some(convert::member_message(member));
        Ok(Response::new(pb::GetMemberResponse { member }))
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let (caller, message, _running) = enter_list(request).await?;
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let organization = convert::organization_id(message.organization_id).map_err(status)?;
        let page = self
            .directory
            .members(&caller, &organization, &page)
            .await
            .map_err(status)?;
        let next_page_token = page.next_token();
        let members = page
            .items
            .into_iter()
            .map(convert::member_message)
            .collect();
        Ok(Response::new(pb::ListMembersResponse {
            members,
            next_page_token,
        }))
    }

    async fn delete_member(
        &self,
        request: Request<pb::DeleteMemberRequest>,
    ) -> Result<Response<pb::DeleteMemberResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let organization = convert::organization_id(message.organization_id).map_err(status)?;
        let user = convert::user_id(message.user_id).map_err(status)?;
        self.directory
            .delete_member(&caller, &organization, &user)
            .await
            .map_err(status)?;
        Ok(Response::new(pb::DeleteMemberResponse {}))
    }

    async fn upsert_repo(
        &self,
        request: Request<pb::UpsertRepoRequest>,
    ) -> Result<Response<pb::UpsertRepoResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let repo = convert::repo(message.repo).map_err(status)?;
        let repo = self
            .directory
            .upsert_repo(&caller, repo)
            .await
            .map_err(status)?;
        let repo = Some(convert::repo_message(repo));
        Ok(Response::new(pb::UpsertRepoResponse { repo }))
    }

    async fn get_repo(
        &self,
        request: Request<pb::GetRepoRequest>,
    ) -> Result<Response<pb::GetRepoResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let id = convert::repo_id(message.repo_id).map_err(status)?;
        let repo = self.directory.repo(&caller, &id).await.map_err(status)?;
        let repo = Some(convert::repo_message(repo));
        Ok(Response::new(pb::GetRepoResponse { repo }))
    }

    async fn list_repos(
        &self,
        request: Request<pb::ListReposRequest>,
    ) -> Result<Response<pb::ListReposResponse>, Status> {
        let (caller, message, _running) = enter_list(request).await?;
        let page = self.pages.request(message.page_size, &message.page_token)?;
        let workspace = convert::workspace_id(message.workspace_id).map_err(status)?;
        let page = self
            .directory
            .repos(&caller, &workspace, &page)
            .await
            .map_err(status)?;
        let next_page_token = page.next_token();
        let repos = page.items.into_iter().map(convert::repo_message).collect();
        Ok(Response::new(pb::ListReposResponse {
            repos,
            next_page_token,
        }))
    }

    async fn delete_repo(
        &self,
        request: Request<pb::DeleteRepoRequest>,
    ) -> Result<Response<pb::DeleteRepoResponse>, Status> {
        let (caller, message, _running) = enter(request).await?;
        let id = convert::repo_id(message.repo_id).map_err(status)?;
        self.directory
            .delete_repo(&caller, &id)
            .await
            .map_err(status)?;
        Ok(Response::new(pb::DeleteRepoResponse {}))
    }
}
