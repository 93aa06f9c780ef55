//! Three replicas on one database: a change is seen at once on the replica that made it, and on the others within
//! `cache.max_staleness_ms`.
//!
//! Each change sets a key's limit to the change's number. VerifyKey returns the limit, since nothing is spent, and so
//! shows how many changes the replica had seen.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keyward::proto::v1::management_key_service_client::ManagementKeyServiceClient;
use keyward::proto::v1::{CreateKeyRequest, UpdateKeyRequest, VerifyKeyRequest};
use tonic::transport::Channel;

use crate::support::client::{called_by, channel};
use crate::support::deployment::{Deployment, Served};
use crate::support::random::{Random, seed};

const REPLICAS: usize = 3;
const KEYS: usize = 4;
/// Number of callers of each key that read; one more changes it.
const READERS: usize = 2;
/// Number of calls, unless the variable sets another one.
const CALLS: usize = 3000;
const CALLS_VARIABLE: &str = "KEYWARD_TEST_REPLICA_CALLS";
/// Default of `cache.max_staleness_ms`.
const MAX_STALENESS: Duration = Duration::from_secs(2);

/// A connection to one of the replicas.
#[derive(Clone)]
struct Replica {
    number: usize,
    client: ManagementKeyServiceClient<Channel>,
    service: String,
    management: String,
}

impl Replica {
    async fn new(number: usize, served: &Served, deployment: &Deployment) -> Self {
        Self {
            number,
            client: ManagementKeyServiceClient::new(channel(&served.url).await),
            service: deployment.env["SERVICE_TOKEN"].to_owned(),
            management: deployment.env["MANAGEMENT_KEY"].to_owned(),
        }
    }

    async fn create(&self) -> Key {
        let message = CreateKeyRequest {
            name: "a key".to_owned(),
            limit_nanos: Some(0),
            ..Default::default()
        };
        let request = called_by(&self.management, message);
        let created = self.client.clone().create_key(request).await.unwrap();
        let created = created.into_inner();
        Key {
            hash: created.data.unwrap().hash,
            token: created.key,
            changes: Mutex::default(),
            delays: Mutex::default(),
        }
    }

    async fn set_limit(&self, key: &Key, limit: usize) {
        let message = UpdateKeyRequest {
            hash: key.hash.clone(),
            limit_nanos: Some(i64::try_from(limit).unwrap()),
            ..Default::default()
        };
        let request = called_by(&self.management, message);
        self.client.clone().update_key(request).await.unwrap();
    }

    async fn limit(&self, key: &Key) -> usize {
        let message = VerifyKeyRequest {
            token: key.token.clone(),
            ..Default::default()
        };
        let request = called_by(&self.service, message);
        let verified = self.client.clone().verify_key(request).await.unwrap();
        let limit = verified.into_inner().limit_remaining_nanos.unwrap();
        usize::try_from(limit).unwrap()
    }
}

/// A change of a key, number 1 first.
struct Change {
    replica: usize,
    answered: Option<Instant>,
}

struct Key {
    hash: String,
    token: String,
    changes: Mutex<Vec<Change>>,
    /// For each stale answer, the time since the response to the first change that it lacks.
    delays: Mutex<Vec<Duration>>,
}

impl Key {
    /// Changes the key through a replica, which sees the change at once.
    async fn change(&self, replica: &Replica) {
        let number = {
            let mut changes = self.changes.lock().unwrap();
            changes.push(Change {
                replica: replica.number,
                answered: None,
            });
            changes.len()
        };
        replica.set_limit(self, number).await;
        self.changes.lock().unwrap()[number - 1].answered = Some(Instant::now());
        assert_eq!(replica.limit(self).await, number, "on its own replica");
    }

    /// Reads the key on a replica, which may be behind the others for a bounded time.
    async fn read(&self, replica: &Replica) {
        let begun = Instant::now();
        let (mut own, mut answered) = (0, 0);
        for (number, change) in (1..).zip(&*self.changes.lock().unwrap()) {
            if change.answered.is_some() {
                answered = number;
                if change.replica == replica.number {
                    own = number;
                }
            }
        }
        let seen = replica.limit(self).await;
        let changes = self.changes.lock().unwrap();
        assert!((own..=changes.len()).contains(&seen), "{seen}, own {own}");
        if seen < answered {
            let lacking = changes[seen].answered.unwrap();
            let delay = begun.duration_since(lacking);
            assert!(delay <= MAX_STALENESS, "{seen} after {delay:?}");
            self.delays.lock().unwrap().push(delay);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_see_changes_of_each_other_in_time() {
    let Some(deployment) = Deployment::postgres().await else {
        return;
    };
    let mut random = Random(seed());
    let served: Vec<_> = (0..REPLICAS).map(|_| deployment.start_patient()).collect();
    let mut replicas = Vec::new();
    for (number, served) in served.iter().enumerate() {
        replicas.push(Replica::new(number, served, &deployment).await);
    }
    let calls = std::env::var(CALLS_VARIABLE).map_or(CALLS, |calls| calls.parse().unwrap());
    let each = calls / KEYS / (READERS + 2);
    let mut keys = Vec::new();
    let mut calling = Vec::new();
    for _ in 0..KEYS {
        let key = Arc::new(replicas[0].create().await);
        for caller in 0..=READERS {
            let (key, replicas, mut random) = (Arc::clone(&key), replicas.clone(), random.fork());
            calling.push(tokio::spawn(async move {
                for _ in 0..each {
                    let chosen = usize::try_from(random.below(REPLICAS as u64)).unwrap();
                    match caller {
                        0 => key.change(&replicas[chosen]).await,
                        _ => key.read(&replicas[chosen]).await,
                    }
                }
            }));
        }
        keys.push(key);
    }
    for calling in calling {
        calling.await.unwrap();
    }
    let mut delays = Vec::new();
    for key in &keys {
        // Each replica comes to see the last change.
        let started = Instant::now();
        for replica in &replicas {
            while replica.limit(key).await < each {
                assert!(started.elapsed() < 2 * MAX_STALENESS, "a change is missed");
            }
        }
        delays.append(&mut key.delays.lock().unwrap());
    }
    delays.sort();
    let at = |percent: usize| delays.get(delays.len() * percent / 100);
    println!(
        "{calls} calls, {} stale answers: median {:?}, p99 {:?}, longest {:?}",
        delays.len(),
        at(50),
        at(99),
        delays.last()
    );
}
