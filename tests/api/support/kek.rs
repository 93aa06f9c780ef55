//! A key-encryption key that responds when the test allows it.

use async_trait::async_trait;
use keyward_crypto::{AssociatedData, Error, Kek, Key256, Keyring};
use tokio::sync::{Semaphore, watch};

/// Wraps keys once the test has released it. A call that creates a workspace's first key is in flight until then,
/// with its permit, and holds no lock of the database.
pub struct HeldKek {
    keyring: Keyring,
    /// Number of calls that have begun to wrap a key.
    begun: watch::Sender<usize>,
    released: Semaphore,
}

impl HeldKek {
    pub fn new() -> Self {
        Self {
            keyring: Keyring::generate().unwrap(),
            begun: watch::Sender::new(0),
            released: Semaphore::new(0),
        }
    }

    /// Waits until this number of calls have begun to wrap a key.
    pub async fn until_begun(&self, count: usize) {
        let mut begun = self.begun.subscribe();
        begun.wait_for(|begun| *begun >= count).await.unwrap();
    }

    /// Responds to the waiting calls, and to all later ones without a wait.
    pub fn release(&self) {
        self.released.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

#[async_trait]
impl Kek for HeldKek {
    async fn wrap(&self, key: &Key256, aad: &AssociatedData) -> Result<Vec<u8>, Error> {
        self.begun.send_modify(|begun| *begun += 1);
        let _released = self.released.acquire().await.unwrap();
        self.keyring.wrap(key, aad).await
    }

    async fn unwrap(&self, wrapped: &[u8], aad: &AssociatedData) -> Result<Key256, Error> {
        self.keyring.unwrap(wrapped, aad).await
    }

    fn version_of(&self, wrapped: &[u8]) -> Option<u32> {
        self.keyring.version_of(wrapped)
    }

    fn primary_version(&self) -> u32 {
        self.keyring.primary_version()
    }
}
