//! Tests of the vault when the key-encryption key cannot be reached.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use keyward_core::Error;
use keyward_core::clock::{SystemClock, Timestamp};
use keyward_core::data_key::{DataKeyPurpose, WrappedDataKey};
use keyward_core::id::{OrganizationId, WorkspaceId};
use keyward_core::policy::{self, Grant, Serve, WorkspaceScope};
use keyward_core::ports::DataKeyStore;
use keyward_core::principal::{Principal, ServiceName};
use keyward_core::services::{Vault, VerifyKekError};
use keyward_core::tenancy::Workspace;
use keyward_crypto::{AssociatedData, Kek, Key256};

/// A key service that cannot be reached.
struct Away;

#[async_trait]
impl Kek for Away {
    async fn wrap(&self, _: &Key256, _: &AssociatedData) -> Result<Vec<u8>, keyward_crypto::Error> {
        Err(keyward_crypto::Error::Unavailable("away".to_owned()))
    }

    async fn unwrap(&self, _: &[u8], _: &AssociatedData) -> Result<Key256, keyward_crypto::Error> {
        Err(keyward_crypto::Error::Unavailable("away".to_owned()))
    }

    fn primary_version(&self) -> u32 {
        1
    }
}

/// A store that always returns the same data keys.
struct Fixed(Vec<WrappedDataKey>);

#[async_trait]
impl DataKeyStore for Fixed {
    async fn data_keys(&self, _: &dyn WorkspaceScope) -> Result<Vec<WrappedDataKey>, Error> {
        Ok(self.0.clone())
    }

    async fn sample_data_keys(&self, _: u32) -> Result<Vec<(WorkspaceId, WrappedDataKey)>, Error> {
        let keys = self.0.iter().cloned();
        Ok(keys
            .map(|key| (WorkspaceId::parse("a").unwrap(), key))
            .collect())
    }

    async fn insert_missing_data_keys(
        &self,
        _: &dyn WorkspaceScope,
        _: &[WrappedDataKey],
    ) -> Result<(), Error> {
        panic!("a data key that was not wrapped is not stored")
    }
}

fn vault(keys: Vec<WrappedDataKey>) -> Vault {
    Vault::new(Arc::new(Away), Arc::new(Fixed(keys)), Arc::new(SystemClock))
}

fn grant() -> Grant<Serve> {
    let workspace = Workspace {
        id: WorkspaceId::parse("a").unwrap(),
        organization: OrganizationId::parse("org").unwrap(),
        name: "A".to_owned(),
        is_default: true,
    };
    let service = Principal::Service(ServiceName("platform".to_owned()));
    policy::authorize(&service, policy::RESOLVE_API_KEY, Some(&workspace)).unwrap()
}

/// Runs a future that never waits.
fn now<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the call waits"),
    }
}

#[test]
fn key_service_that_is_away_is_unavailable() {
    let kept = WrappedDataKey {
        purpose: DataKeyPurpose::Seal,
        version: 1,
        wrapped: vec![0],
        created_at: Timestamp::from_unix_millis(0),
    };
    for keys in [Vec::new(), vec![kept.clone()]] {
        let answer = now(vault(keys).keys(&grant())).map(|_| ());
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    }
    let answer = now(vault(vec![kept]).verify_kek());
    assert!(
        matches!(answer, Err(VerifyKekError::Failed(Error::Unavailable(_)))),
        "{answer:?}"
    );
}

#[test]
fn other_failures_of_the_key_are_internal() {
    let error = Error::from(keyward_crypto::Error::DecryptionFailed);
    assert!(matches!(error, Error::Internal(_)), "{error:?}");
}
