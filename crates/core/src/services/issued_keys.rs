//! Use cases of issued keys.

use std::sync::Arc;

use keyward_crypto::{KeyHash, Secret, Token, TokenKind};

use crate::error::{Error, Noun};
use crate::metrics::{self, VerifiedKind};
use crate::model::account::{self, Account, MeteredKey, Verdict};
use crate::model::audit::AuditEvent;
use crate::model::clock::{Clock, Timestamp};
use crate::model::filter_digest::FilterDigest;
use crate::model::id::{IssuedKeyId, ManagementKeyId, WorkspaceId};
use crate::model::issued_key::{IssuedKey, IssuedKeyFilter, IssuedKeyPatch, NewIssuedKey};
use crate::model::issued_key_fields::{CREATOR_USER_ID, EXTERNAL_USER};
use crate::model::last_use;
use crate::model::management_key::ManagementKey;
use crate::model::page::{self, Page, PageRequest};
use crate::model::principal::{Caller, Principal};
use crate::model::tenancy::Workspace;
use crate::model::text::check_own_name;
use crate::policy::{self, Action, CallingKey, Grant, Manage};
use crate::ports::{DirectoryStore, IssuedKeyStore, ManagementKeyStore};

/// A new key with its plaintext, which is available only now.
pub struct Created<K> {
    /// The key.
    pub key: K,
    /// Its plaintext.
    pub token: Token,
}

/// The key that authenticates a call, with its own description.
#[derive(Debug, Clone)]
pub enum CurrentKey {
    /// An issued key.
    Issued(Box<MeteredKey>),
    /// A management key, and its organization's default workspace.
    Management(Box<ManagementKey>, Option<WorkspaceId>),
}

/// A key whose plaintext a caller presented.
#[derive(Debug, Clone)]
pub struct PresentedKey {
    /// Principal that the key identifies.
    pub principal: Principal,
    /// Use to record; `None` if one was recorded recently.
    new_use: Option<KeyUse>,
}

/// Use of a key, and its time.
#[derive(Debug, Clone, Copy)]
enum KeyUse {
    Issued(IssuedKeyId, Timestamp),
    Management(ManagementKeyId, Timestamp),
}

/// The verdict on the token of an issued key.
#[derive(Debug, Clone)]
pub struct VerifiedIssuedKey {
    /// Verdict on spending with the key.
    pub verdict: Verdict,
    /// The key.
    pub metered: MeteredKey,
}

/// Use cases of issued keys.
#[derive(Clone)]
pub struct IssuedKeys {
    store: Arc<dyn IssuedKeyStore>,
    management: Arc<dyn ManagementKeyStore>,
    directory: Arc<dyn DirectoryStore>,
    clock: Arc<dyn Clock>,
}

impl IssuedKeys {
    /// Returns the use cases on a store.
    #[must_use]
    pub fn new(
        store: Arc<dyn IssuedKeyStore>,
        management: Arc<dyn ManagementKeyStore>,
        directory: Arc<dyn DirectoryStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            management,
            directory,
            clock,
        }
    }

    /// Returns the key with this hash of its plaintext: an issued key that is neither disabled nor expired, or a
    /// management key. A key whose limit is used up can still authenticate. Only reads; the caller records the use.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub async fn authenticate(&self, hash: KeyHash) -> Result<Option<PresentedKey>, Error> {
        let now = self.clock.now();
        if let Some(key) = self.store.find_by_hash(&hash).await? {
            if key.disabled || key.is_expired(now) {
                return Ok(None);
            }
            let must_record = last_use::must_record(key.last_used_at, now);
            return Ok(Some(PresentedKey {
                principal: Principal::IssuedKey {
                    hash,
                    organization: key.organization,
                    workspace: key.workspace,
                },
                new_use: must_record.then_some(KeyUse::Issued(key.id, now)),
            }));
        }
        let Some(key) = self.management.find_by_hash(&hash).await? else {
            return Ok(None);
        };
        let must_record = last_use::must_record(key.last_used_at, now);
        Ok(Some(PresentedKey {
            principal: Principal::ManagementKey {
                hash,
                organization: key.organization,
            },
            new_use: must_record.then_some(KeyUse::Management(key.id, now)),
        }))
    }

    /// Stores the use of a key that has authenticated, unless a use was stored recently.
    pub async fn record_authentication(&self, key: &PresentedKey) {
        match key.new_use {
            Some(KeyUse::Issued(id, now)) => self.store.record_use(id, now).await,
            Some(KeyUse::Management(id, now)) => self.management.record_use(id, now).await,
            None => {}
        }
    }

    /// Returns the key that authenticates the call.
    ///
    /// # Errors
    /// Denied for callers that are not keys; not found if the key was deleted meanwhile.
    pub async fn current(&self, caller: &Caller) -> Result<CurrentKey, Error> {
        match policy::calling_key(&caller.principal)? {
            CallingKey::Issued(hash) => {
                let found = self.store.find_metered(hash, self.clock.now()).await?;
                let metered = found.ok_or(Error::NotFound(Noun::IssuedKey))?;
                Ok(CurrentKey::Issued(Box::new(metered)))
            }
            CallingKey::Management(hash) => {
                let found = self.management.find_by_hash(hash).await?;
                let key = found.ok_or(Error::NotFound(Noun::ManagementKey))?;
                let default = self.directory.default_workspace(&key.organization).await?;
                Ok(CurrentKey::Management(
                    Box::new(key),
                    default.map(|workspace| workspace.id),
                ))
            }
        }
    }

    /// Lists a page of issued keys, newest first. The offset of the filter is for the first page alone.
    ///
    /// # Errors
    /// Denied for all callers but management keys, and in the named workspace unless it belongs to the
    /// organization; both an offset and a page token are given; the page token does not belong to this list.
    pub async fn list(
        &self,
        caller: &Caller,
        filter: &IssuedKeyFilter,
        page: &PageRequest,
    ) -> Result<Page<MeteredKey>, Error> {
        let organization = policy::managed_organization(&caller.principal)?;
        let workspace = match &filter.workspace {
            Some(id) => self.directory.workspace(id).await?,
            None => match self.directory.default_workspace(organization).await? {
                Some(workspace) => Some(workspace),
                None if page.after.is_some() => return Err(page::invalid()),
                None => return Ok(Page::default()),
            },
        };
        let workspace = workspace.as_ref();
        let grant = policy::authorize(&caller.principal, policy::LIST_KEYS, workspace)?;
        if filter.offset > 0 && page.after.is_some() {
            let message = "Offset must not be given with a page token";
            return Err(Error::invalid("offset", message));
        }
        let bound = FilterDigest::of("keyward.issued-keys.v1")
            .with_text(Some(grant.organization().as_str()))
            .with_text(Some(grant.workspace().as_str()))
            .with(Some(&[u8::from(filter.include_disabled)]));
        let page = bound.read(page)?;
        let now = self.clock.now();
        let listed = self
            .store
            .list(&grant, filter.include_disabled, filter.offset, &page, now)
            .await?;
        Ok(bound.bind_page(listed))
    }

    /// Issues a key.
    ///
    /// # Errors
    /// A field is invalid; denied for all callers but management keys, and in the named workspace unless it
    /// belongs to the organization; there is neither a named nor a default workspace.
    pub async fn create(
        &self,
        caller: &Caller,
        new: NewIssuedKey,
    ) -> Result<Created<MeteredKey>, Error> {
        let workspace = self.workspace_for(caller, new.workspace.as_ref()).await?;
        let workspace = workspace.as_ref();
        let grant = policy::authorize(&caller.principal, policy::CREATE_KEY, workspace)?;
        check_own_name(&new.name)?;
        let token = Token::generate(TokenKind::ISSUED_KEY)?;
        let now = self.clock.now();
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::invalid("expires_at", "Expiry must be in the future"));
        }
        let key = IssuedKey {
            id: IssuedKeyId::generate(now),
            hash: token.hash(),
            label: token.label(),
            organization: grant.organization().clone(),
            workspace: grant.workspace().clone(),
            name: new.name,
            disabled: false,
            limit: new.limit,
            limit_reset: new.limit_reset,
            include_byok_in_limit: new.include_byok_in_limit,
            expires_at: new.expires_at,
            creator_user_id: CREATOR_USER_ID.parse(new.creator_user_id)?,
            external_user: EXTERNAL_USER.parse(new.external_user)?,
            created_at: now,
            created_by: Some(caller.creator()),
            updated_at: None,
            last_used_at: None,
        };
        let event = event(caller, now, &grant, &key.hash);
        self.store.insert(&grant, &key, &event).await?;
        Ok(Created {
            key: MeteredKey {
                key,
                account: Account::default(),
            },
            token,
        })
    }

    async fn workspace_for(
        &self,
        caller: &Caller,
        named: Option<&WorkspaceId>,
    ) -> Result<Option<Workspace>, Error> {
        let organization = policy::managed_organization(&caller.principal)?;
        if let Some(id) = named {
            return self.directory.workspace(id).await;
        }
        let default = self.directory.default_workspace(organization).await?;
        default.map(Some).ok_or_else(|| {
            let message = "Workspace ID is required, since there is no default workspace";
            Error::invalid("workspace_id", message)
        })
    }

    /// Returns an issued key. `None` stands for a text that is not a hash; no key has it.
    ///
    /// # Errors
    /// Denied for all callers but management keys; not found in the organization.
    pub async fn get(&self, caller: &Caller, hash: Option<KeyHash>) -> Result<MeteredKey, Error> {
        let (hash, grant) = self.find(caller, hash, policy::GET_KEY).await?;
        self.store.get(&grant, &hash, self.clock.now()).await
    }

    /// Changes the given fields.
    ///
    /// # Errors
    /// A field is invalid; denied for all callers but management keys; not found in the organization.
    pub async fn update(
        &self,
        caller: &Caller,
        hash: Option<KeyHash>,
        patch: IssuedKeyPatch,
    ) -> Result<MeteredKey, Error> {
        let (hash, grant) = self.find(caller, hash, policy::UPDATE_KEY).await?;
        patch.check()?;
        let now = self.clock.now();
        let fields = patch.fields();
        if fields.is_empty() {
            return self.store.get(&grant, &hash, now).await;
        }
        let event = event(caller, now, &grant, &hash).with_detail("fields", fields.join(","));
        self.store
            .modify(&grant, &hash, now, &|key| patch.apply(key, now), &event)
            .await
    }

    /// Deletes an issued key, which stops working immediately. Its charges remain.
    ///
    /// # Errors
    /// Denied for all callers but management keys; not found in the organization.
    pub async fn delete(&self, caller: &Caller, hash: Option<KeyHash>) -> Result<(), Error> {
        let (hash, grant) = self.find(caller, hash, policy::DELETE_KEY).await?;
        let now = self.clock.now();
        let event = event(caller, now, &grant, &hash);
        self.store.delete(&grant, &hash, now, &event).await
    }

    /// Returns the verdict on a plaintext key that is to spend, through the customer's own provider key or
    /// not. Returns `None` if the key does not exist or is a management key, which cannot spend.
    ///
    /// # Errors
    /// Denied for all callers but services.
    pub async fn verify(
        &self,
        caller: &Caller,
        token: &Secret<String>,
        byok: bool,
    ) -> Result<Option<VerifiedIssuedKey>, Error> {
        policy::authorize_anywhere(&caller.principal, policy::VERIFY_KEY)?;
        let now = self.clock.now();
        let metered = match Token::parse(TokenKind::ISSUED_KEY, token.expose()) {
            Some(token) => self.store.find_metered(&token.hash(), now).await?,
            None => None,
        };
        let verified = metered.map(|metered| VerifiedIssuedKey {
            verdict: account::verdict(&metered, byok, now),
            metered,
        });
        let verdict = verified.as_ref().map(|verified| verified.verdict);
        // As in authentication, presenting a key that is disabled or expired does not count as use.
        if let Some(VerifiedIssuedKey { verdict, metered }) = &verified
            && matches!(verdict, Verdict::Valid | Verdict::LimitExceeded)
        {
            self.record_use(&metered.key, now).await;
        }
        metrics::verdict(VerifiedKind::IssuedKey, verdict);
        Ok(verified)
    }

    /// Stores the use of a key, unless a use was stored recently.
    async fn record_use(&self, key: &IssuedKey, now: Timestamp) {
        if last_use::must_record(key.last_used_at, now) {
            self.store.record_use(key.id, now).await;
        }
    }

    async fn find(
        &self,
        caller: &Caller,
        hash: Option<KeyHash>,
        action: Action<Manage>,
    ) -> Result<(KeyHash, Grant<Manage>), Error> {
        policy::precheck(&caller.principal, action)?;
        let noun = Noun::IssuedKey;
        let hash = hash.ok_or(Error::NotFound(noun))?;
        let workspace = self.store.locate(&hash).await?;
        let workspace = workspace.as_ref();
        let grant = policy::authorize_or_not_found(&caller.principal, action, workspace, noun)?;
        Ok((hash, grant))
    }
}

fn event<P>(caller: &Caller, now: Timestamp, grant: &Grant<P>, hash: &KeyHash) -> AuditEvent {
    let (action, noun) = (grant.action(), Noun::IssuedKey);
    AuditEvent::new(caller, now, action, noun, hash.to_string())
}
