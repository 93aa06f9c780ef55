//! Stores the directory: organizations, workspaces, members and repos.
//!
//! Locks are taken from the top down, organization before workspace, so that concurrent changes of one customer wait
//! for each other and do not deadlock.

mod member;
mod organization;
mod repo;
mod workspace;

use std::sync::Arc;

use async_trait::async_trait;
use keyward_core::Error;
use keyward_core::audit::{AuditEvent, EventScope};
use keyward_core::id::{OrganizationId, RepoId, UserId, WorkspaceId};
use keyward_core::page::{Page, PageRequest};
use keyward_core::policy::DirectoryGrant;
use keyward_core::ports::DirectoryStore;
use keyward_core::tenancy::{Member, Organization, Repo, Workspace};

use crate::change_feed;
use crate::error::Failure;
use crate::subject::Subject;
use crate::{Store, audit};

pub(crate) use organization::hold as hold_organization;
pub(crate) use workspace::{
    hold as hold_workspace, in_organization, of_workspace, with_organization as workspace_from_rows,
};

#[async_trait]
impl DirectoryStore for Store {
    async fn member(
        &self,
        organization: &OrganizationId,
        user: &UserId,
    ) -> Result<Option<Member>, Error> {
        let key = (organization.clone(), user.clone());
        let (store, asked) = (self.clone(), key.clone());
        let read = async move {
            let (organization, user) = &asked;
            let found = store.read("member", |db| async move {
                member::find(&db, organization, user).await
            });
            Ok(found.await?.map(Arc::new))
        };
        let subjects = [
            Subject::Member(organization.clone(), user.clone()),
            Subject::Members(organization.clone()),
        ];
        let found = self
            .caches
            .members
            .get_or_read(key, &subjects, read)
            .await?;
        Ok(found.map(Arc::unwrap_or_clone))
    }

    async fn workspace(&self, id: &WorkspaceId) -> Result<Option<Workspace>, Error> {
        self.read(
            "workspace",
            |db| async move { workspace::find(&db, id).await },
        )
        .await
    }

    async fn workspaces(&self, organization: &OrganizationId) -> Result<Vec<Workspace>, Error> {
        self.read("workspaces", |db| async move {
            workspace::all(&db, organization).await
        })
        .await
    }

    async fn default_workspace(
        &self,
        organization: &OrganizationId,
    ) -> Result<Option<Workspace>, Error> {
        self.read("default_workspace", |db| async move {
            workspace::default(&db, organization).await
        })
        .await
    }

    async fn repo(&self, id: &RepoId) -> Result<Option<Repo>, Error> {
        self.read("repo", |db| async move { repo::find(&db, id).await })
            .await
    }

    async fn upsert_organization(
        &self,
        _grant: &DirectoryGrant,
        organization: &Organization,
        event: &AuditEvent,
    ) -> Result<Organization, Error> {
        self.write("upsert_organization", |txn| async move {
            let (earlier, stored) = organization::upsert(&txn, organization).await?;
            let event = event.with_changes(earlier.as_ref(), &stored);
            audit::insert(&txn, &EventScope::organization(&stored.id), &event).await?;
            Ok(stored)
        })
        .await
    }

    async fn organization(
        &self,
        _grant: &DirectoryGrant,
        id: &OrganizationId,
    ) -> Result<Option<Organization>, Error> {
        self.read("organization", |db| async move {
            organization::find(&db, id).await
        })
        .await
    }

    async fn organizations(
        &self,
        _grant: &DirectoryGrant,
        page: &PageRequest,
    ) -> Result<Page<Organization>, Error> {
        self.read("organizations", |db| async move {
            organization::page(&db, page).await
        })
        .await
    }

    async fn delete_organization(
        &self,
        _grant: &DirectoryGrant,
        id: &OrganizationId,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("delete_organization", |txn| async move {
            organization::delete(&txn, id).await?;
            audit::insert(&txn, &EventScope::organization(id), event).await
        })
        .await
    }

    async fn upsert_workspace(
        &self,
        _grant: &DirectoryGrant,
        workspace: &Workspace,
        event: &AuditEvent,
    ) -> Result<Workspace, Error> {
        self.write("upsert_workspace", |txn| async move {
            let (earlier, stored) = workspace::upsert(&txn, workspace).await?;
            let scope = EventScope::workspace(&stored.organization, &stored.id);
            let event = event.with_changes(earlier.as_ref(), &stored);
            audit::insert(&txn, &scope, &event).await?;
            Ok(stored)
        })
        .await
    }

    async fn workspaces_page(
        &self,
        _grant: &DirectoryGrant,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Workspace>, Error> {
        self.read("workspaces_page", |db| async move {
            workspace::page(&db, organization, page).await
        })
        .await
    }

    async fn delete_workspace(
        &self,
        _grant: &DirectoryGrant,
        id: &WorkspaceId,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("delete_workspace", |txn| async move {
            let organization = workspace::delete(&txn, id).await?;
            // Deletes the members' access to it.
            let subject = Subject::Members(organization.clone());
            change_feed::append(&txn, &organization, &[subject]).await?;
            audit::insert(&txn, &EventScope::workspace(&organization, id), event).await
        })
        .await
    }

    async fn upsert_member(
        &self,
        _grant: &DirectoryGrant,
        member: &Member,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("upsert_member", |txn| async move {
            let earlier = member::upsert(&txn, member).await?;
            let subject = Subject::Member(member.organization.clone(), member.user.clone());
            change_feed::append(&txn, &member.organization, &[subject]).await?;
            let scope = EventScope::organization(&member.organization);
            let event = event.with_changes(earlier.as_ref(), member);
            audit::insert(&txn, &scope, &event).await
        })
        .await
    }

    async fn members(
        &self,
        _grant: &DirectoryGrant,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Member>, Error> {
        self.read("members", |db| async move {
            member::page(&db, organization, page).await
        })
        .await
    }

    async fn delete_member(
        &self,
        _grant: &DirectoryGrant,
        organization: &OrganizationId,
        user: &UserId,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("delete_member", |txn| async move {
            member::delete(&txn, organization, user).await?;
            let subject = Subject::Member(organization.clone(), user.clone());
            change_feed::append(&txn, organization, &[subject]).await?;
            audit::insert(&txn, &EventScope::organization(organization), event).await
        })
        .await
    }

    async fn upsert_repo(
        &self,
        _grant: &DirectoryGrant,
        repo: &Repo,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("upsert_repo", |txn| async move {
            let (organization, earlier) = repo::upsert(&txn, repo).await?;
            let scope = EventScope::workspace(&organization, &repo.workspace);
            let event = event.with_changes(earlier.as_ref(), repo);
            audit::insert(&txn, &scope, &event).await
        })
        .await
    }

    async fn repos(
        &self,
        _grant: &DirectoryGrant,
        workspace: &WorkspaceId,
        page: &PageRequest,
    ) -> Result<Page<Repo>, Error> {
        self.read("repos", |db| async move {
            repo::page(&db, workspace, page).await
        })
        .await
    }

    async fn delete_repo(
        &self,
        _grant: &DirectoryGrant,
        id: &RepoId,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("delete_repo", |txn| async move {
            let scope = repo::delete(&txn, id).await?;
            audit::insert(&txn, &scope, event).await
        })
        .await
    }
}

/// Parses a stored identifier, which was validated before it was stored.
fn stored_id<T>(id: Result<T, keyward_core::id::IdError>) -> Result<T, Failure> {
    id.map_err(|error| Failure::Rejected(Error::internal(error)))
}
