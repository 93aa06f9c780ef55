//! Looks up callers in the store: issued and management keys, and the membership of users.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyward_core::Error;
use keyward_core::id::{OrganizationId, UserId};
use keyward_core::ports::DirectoryStore;
use keyward_core::principal::Principal;
use keyward_core::services::{IssuedKeys, PresentedKey};
use keyward_core::tenancy::Member;
use keyward_crypto::{KeyHash, Token, TokenKind};
use keyward_throttle::Owner;

use super::error::AuthError;
use crate::admission::entrance::Entrance;
use crate::admission::lookups::Lookups;
use crate::admission::permits::{Overloaded, unoccupied};

/// Time after which a call that was rejected, because too many wait for a look-up, may retry.
const RETRY_AFTER: Duration = Duration::from_secs(1);

type Found<T> = Result<Option<T>, AuthError>;

/// Callers in the store.
pub(super) struct Callers {
    directory: Arc<dyn DirectoryStore>,
    issued_keys: IssuedKeys,
    keys: Lookups<[u8; 32], Found<FoundKey>>,
    members: Lookups<(OrganizationId, UserId), Found<Member>>,
}

/// A key that calls share.
#[derive(Clone)]
struct FoundKey {
    key: PresentedKey,
    /// True once one of the calls has recorded the use.
    is_recorded: Arc<AtomicBool>,
}

impl Callers {
    pub(super) fn new(
        directory: Arc<dyn DirectoryStore>,
        issued_keys: IssuedKeys,
        entrance: &Arc<Entrance>,
    ) -> Self {
        Self {
            directory,
            issued_keys,
            keys: Lookups::new(entrance),
            members: Lookups::new(entrance),
        }
    }

    /// Returns the principal of the plaintext of an issued or a management key.
    pub(super) async fn key(&self, client: &Owner, token: &str) -> Found<Principal> {
        let Some(token) = Token::parse(TokenKind::ISSUED_KEY, token) else {
            return Ok(None);
        };
        let hash = *token.hash().as_bytes();
        let issued_keys = self.issued_keys.clone();
        let read = async move {
            let found = issued_keys.authenticate(KeyHash::from_bytes(hash)).await;
            let found = found.map_err(store_failure)?;
            Ok(found.map(|key| FoundKey {
                key,
                is_recorded: Arc::default(),
            }))
        };
        let found = self.keys.find(client, hash, read).await;
        let Some(FoundKey { key, is_recorded }) = found.map_err(overloaded)?? else {
            return Ok(None);
        };
        if !is_recorded.swap(true, Ordering::Relaxed) {
            let recorded = self.issued_keys.record_authentication(&key);
            unoccupied(recorded).await.map_err(overloaded)?;
        }
        Ok(Some(key.principal))
    }

    /// Returns a member of an organization.
    pub(super) async fn member(
        &self,
        client: &Owner,
        organization: OrganizationId,
        user: UserId,
    ) -> Found<Member> {
        let directory = Arc::clone(&self.directory);
        let key = (organization.clone(), user.clone());
        let read = async move {
            let found = directory.member(&organization, &user).await;
            found.map_err(store_failure)
        };
        let found = self.members.find(client, key, read).await;
        found.map_err(overloaded)?
    }
}

fn overloaded(_: Overloaded) -> AuthError {
    AuthError::Overloaded(RETRY_AFTER)
}

fn store_failure(error: Error) -> AuthError {
    match error {
        Error::DeadlineExceeded => AuthError::DeadlineExceeded,
        Error::Unavailable(cause) => AuthError::Unavailable(cause.into()),
        other => AuthError::Internal(Arc::new(other)),
    }
}
