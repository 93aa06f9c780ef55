//! Use cases of repo AI keys.

use std::sync::Arc;

use keyward_crypto::{Secret, Token, TokenKind};

use crate::error::{Error, Noun};
use crate::metrics::{self, VerifiedKind};
use crate::model::account::Verdict;
use crate::model::audit::AuditEvent;
use crate::model::clock::{Clock, Timestamp};
use crate::model::filter_digest::FilterDigest;
use crate::model::id::{OrganizationId, RepoAiKeyId, RepoId};
use crate::model::page::{Page, PageRequest};
use crate::model::principal::Caller;
use crate::model::repo_ai_key::{NewRepoAiKey, RepoAiKey, StoredRepoAiKey};
use crate::model::text::check_own_name;
use crate::policy::{self, Action, Grant, Permission};
use crate::ports::{DirectoryStore, RepoAiKeyStore};
use crate::services::vault::{SecretContext, Vault};

/// Version of a secret, which never changes.
const SECRET_VERSION: u64 = 1;

/// A new repo AI key with its secret, which is available only now.
pub struct CreatedRepoAiKey {
    /// The key.
    pub key: RepoAiKey,
    /// Its secret.
    pub secret: Token,
}

/// A repo AI key whose secret was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRepoAiKey {
    /// The key.
    pub key: RepoAiKey,
    /// The organization of its workspace.
    pub organization: OrganizationId,
}

/// Use cases of repo AI keys.
#[derive(Clone)]
pub struct RepoAiKeys {
    store: Arc<dyn RepoAiKeyStore>,
    directory: Arc<dyn DirectoryStore>,
    vault: Vault,
    clock: Arc<dyn Clock>,
}

impl RepoAiKeys {
    /// Returns the use cases on a store.
    #[must_use]
    pub fn new(
        store: Arc<dyn RepoAiKeyStore>,
        directory: Arc<dyn DirectoryStore>,
        vault: Vault,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            directory,
            vault,
            clock,
        }
    }

    /// Lists a page of a repo's live keys, newest first.
    ///
    /// # Errors
    /// Denied in the repo's workspace, or the repo does not exist; the page token does not belong to this
    /// list.
    pub async fn list(
        &self,
        caller: &Caller,
        repo: Option<&RepoId>,
        page: &PageRequest,
    ) -> Result<Page<RepoAiKey>, Error> {
        let (repo, grant) = self.enter(caller, repo, policy::LIST_REPO_AI_KEYS).await?;
        let bound = FilterDigest::of("keyward.repo-ai-keys.v1").with_text(Some(repo.as_str()));
        let page = bound.read(page)?;
        Ok(bound.bind_page(self.store.list(&grant, repo, &page).await?))
    }

    /// Creates a key with a secret.
    ///
    /// # Errors
    /// The name is invalid; denied in the repo's workspace, or the repo does not exist; a live key of the
    /// repo has the name; the repo has the maximum number of keys.
    pub async fn create(
        &self,
        caller: &Caller,
        new: NewRepoAiKey,
    ) -> Result<CreatedRepoAiKey, Error> {
        check_own_name(&new.name)?;
        let action = policy::CREATE_REPO_AI_KEY;
        let (repo, grant) = self.enter(caller, Some(&new.repo), action).await?;
        let public = Token::generate(TokenKind::REPO_AI_KEY)?;
        let secret = Token::generate(TokenKind::REPO_AI_SECRET)?;
        let now = self.clock.now();
        let key = RepoAiKey {
            id: RepoAiKeyId::generate(now),
            workspace: grant.workspace().clone(),
            repo: repo.clone(),
            name: new.name,
            key: public.expose().to_owned(),
            ai_type: new.ai_type,
            created_at: now,
            created_by: Some(caller.creator()),
        };
        let keys = self.vault.keys(&grant).await?;
        let stored = StoredRepoAiKey {
            sealed_secret: keys.seal(secret_context(&key.id), secret.secret())?,
            secret_hash: secret.hash(),
            key,
        };
        let event = event(caller, now, &grant, &stored.key.id, repo);
        self.store
            .insert(&grant, &stored, keys.used(), &event)
            .await?;
        Ok(CreatedRepoAiKey {
            key: stored.key,
            secret,
        })
    }

    /// Renames a key, if a name is given. Key and secret cannot change. An id of `None` stands for a text
    /// that is not an id; no key has it.
    ///
    /// # Errors
    /// The name is invalid; denied in the repo's workspace, or the repo does not exist; not found in the
    /// repo; another live key of the repo has the name.
    pub async fn rename(
        &self,
        caller: &Caller,
        repo: Option<&RepoId>,
        id: Option<RepoAiKeyId>,
        name: Option<String>,
    ) -> Result<(), Error> {
        if let Some(name) = &name {
            check_own_name(name)?;
        }
        let (repo, grant) = self.enter(caller, repo, policy::UPDATE_REPO_AI_KEY).await?;
        let id = id.ok_or(Error::NotFound(Noun::RepoAiKey))?;
        let now = self.clock.now();
        let event = event(caller, now, &grant, &id, repo).with_detail("fields", "name");
        match &name {
            Some(name) => self.store.rename(&grant, repo, id, name, &event).await,
            None => self.store.get(&grant, repo, id).await.map(|_| ()),
        }
    }

    /// Deletes a key. It stops working immediately; its row remains.
    ///
    /// # Errors
    /// Denied in the repo's workspace, or the repo does not exist; not found in the repo, also if it was
    /// deleted before.
    pub async fn delete(
        &self,
        caller: &Caller,
        repo: Option<&RepoId>,
        id: Option<RepoAiKeyId>,
    ) -> Result<(), Error> {
        let (repo, grant) = self.enter(caller, repo, policy::DELETE_REPO_AI_KEY).await?;
        let id = id.ok_or(Error::NotFound(Noun::RepoAiKey))?;
        let now = self.clock.now();
        let event = event(caller, now, &grant, &id, repo);
        self.store.delete(&grant, repo, id, now, &event).await
    }

    /// Returns the live key with this public half and secret, if it exists.
    ///
    /// # Errors
    /// Denied for all callers but services.
    pub async fn verify(
        &self,
        caller: &Caller,
        key: &str,
        secret: &Secret<String>,
    ) -> Result<Option<VerifiedRepoAiKey>, Error> {
        policy::authorize_anywhere(&caller.principal, policy::VERIFY_REPO_AI_KEY)?;
        let key = Token::parse(TokenKind::REPO_AI_KEY, key);
        let secret = Token::parse(TokenKind::REPO_AI_SECRET, secret.expose());
        let found = match (key, secret) {
            (Some(key), Some(secret)) => {
                let found = self.store.find_by_key(key.expose()).await?;
                // The hashes compare in constant time.
                found.filter(|found| found.secret_hash == secret.hash())
            }
            _ => None,
        };
        let verified = found.map(|found| VerifiedRepoAiKey {
            key: found.key,
            organization: found.workspace.organization,
        });
        let verdict = verified.as_ref().map(|_| Verdict::Valid);
        metrics::verdict(VerifiedKind::RepoAiKey, verdict);
        Ok(verified)
    }

    /// Authorizes an action in the repo's workspace. A repo that does not exist is rejected like a repo that
    /// the principal may not see.
    async fn enter<'r, P: Permission>(
        &self,
        caller: &Caller,
        repo: Option<&'r RepoId>,
        action: Action<P>,
    ) -> Result<(&'r RepoId, Grant<P>), Error> {
        policy::precheck(&caller.principal, action)?;
        let repo = repo.ok_or(Error::Denied)?;
        let workspace = match self.directory.repo(repo).await? {
            Some(repo) => self.directory.workspace(&repo.workspace).await?,
            None => None,
        };
        let grant = policy::authorize(&caller.principal, action, workspace.as_ref())?;
        Ok((repo, grant))
    }
}

fn secret_context(id: &RepoAiKeyId) -> SecretContext<'_> {
    SecretContext {
        record: id.as_bytes(),
        field: "repo_ai_key.secret",
        version: SECRET_VERSION,
        bound_to: &[],
    }
}

fn event<P>(
    caller: &Caller,
    now: Timestamp,
    grant: &Grant<P>,
    id: &RepoAiKeyId,
    repo: &RepoId,
) -> AuditEvent {
    let (action, noun) = (grant.action(), Noun::RepoAiKey);
    AuditEvent::new(caller, now, action, noun, id.to_string()).with_detail("repo_id", repo.as_str())
}
