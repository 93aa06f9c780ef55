//! Use cases of management keys.

use std::sync::Arc;

use keyward_crypto::{KeyHash, Token, TokenKind};

use crate::error::{Error, Noun};
use crate::model::audit::AuditEvent;
use crate::model::clock::{Clock, Timestamp};
use crate::model::id::{ManagementKeyId, OrganizationId};
use crate::model::management_key::ManagementKey;
use crate::model::page::{Page, PageRequest};
use crate::model::principal::Caller;
use crate::model::text::check_own_name;
use crate::policy::{self, OrganizationGrant};
use crate::ports::{DirectoryStore, ManagementKeyStore};
use crate::services::issued_keys::Created;

/// Use cases of management keys, for organization administrators and internal services.
#[derive(Clone)]
pub struct ManagementKeys {
    store: Arc<dyn ManagementKeyStore>,
    directory: Arc<dyn DirectoryStore>,
    clock: Arc<dyn Clock>,
}

impl ManagementKeys {
    /// Returns the use cases on a store.
    #[must_use]
    pub fn new(
        store: Arc<dyn ManagementKeyStore>,
        directory: Arc<dyn DirectoryStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            directory,
            clock,
        }
    }

    /// Creates a management key.
    ///
    /// # Errors
    /// The name is invalid; denied for all callers but administrators of the organization and services; the
    /// organization is not found.
    pub async fn create(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        name: String,
    ) -> Result<Created<ManagementKey>, Error> {
        let action = policy::CREATE_MANAGEMENT_KEY;
        let grant = policy::authorize_organization(&caller.principal, action, organization)?;
        check_own_name(&name)?;
        let token = Token::generate(TokenKind::ISSUED_KEY)?;
        let now = self.clock.now();
        let key = ManagementKey {
            id: ManagementKeyId::generate(now),
            hash: token.hash(),
            label: token.label(),
            organization: organization.clone(),
            name,
            created_at: now,
            created_by: Some(caller.creator()),
            last_used_at: None,
        };
        let event = event(caller, now, &grant, &key.hash);
        self.store.insert(&grant, &key, &event).await?;
        Ok(Created { key, token })
    }

    /// Lists an organization's management keys, newest first.
    ///
    /// # Errors
    /// Denied for all callers but administrators of the organization and services; the organization is not
    /// found; the page token does not belong to this list.
    pub async fn list(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<ManagementKey>, Error> {
        let action = policy::LIST_MANAGEMENT_KEYS;
        let grant = policy::authorize_organization(&caller.principal, action, organization)?;
        let place =
            |text: &str| ManagementKeyId::parse(text).ok_or_else(crate::model::page::invalid);
        let page = page.read(place)?;
        // Only a principal with access to the whole directory can name an organization that does not exist.
        if let Some(all) = policy::as_directory_admin(&caller.principal) {
            let found = self.directory.organization(&all, organization).await?;
            found.ok_or(Error::NotFound(Noun::Organization))?;
        }
        self.store.list(&grant, &page).await
    }

    /// Revokes a management key permanently. `None` stands for a text that is not a hash; no key has it.
    ///
    /// # Errors
    /// Denied for all callers but administrators and services; not found in the organization.
    pub async fn revoke(&self, caller: &Caller, hash: Option<KeyHash>) -> Result<(), Error> {
        let action = policy::REVOKE_MANAGEMENT_KEY;
        policy::precheck_organization(&caller.principal)?;
        let not_found = || Error::NotFound(Noun::ManagementKey);
        let hash = hash.ok_or_else(not_found)?;
        let key = self.store.find_by_hash(&hash).await?;
        let organization = key.ok_or_else(not_found)?.organization;
        // Another organization's key gives the same error as a key that does not exist.
        let grant = policy::authorize_organization(&caller.principal, action, &organization)
            .map_err(|_| not_found())?;
        let now = self.clock.now();
        let event = event(caller, now, &grant, &hash);
        self.store.revoke(&grant, &hash, now, &event).await
    }
}

fn event(caller: &Caller, now: Timestamp, grant: &OrganizationGrant, hash: &KeyHash) -> AuditEvent {
    let (action, noun) = (grant.action(), Noun::ManagementKey);
    AuditEvent::new(caller, now, action, noun, hash.to_string())
}
