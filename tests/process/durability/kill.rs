//! `kill -9` at random moments under write load: acknowledged writes are stored, complete and once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tokio::sync::Notify;

use crate::support::client::{Rest, channel, resolve};
use crate::support::deployment::Deployment;
use crate::support::random::{Random, seed};

const ROUNDS: usize = 8;
const WRITERS: usize = 8;

pub(crate) async fn count(database: &DatabaseConnection, from: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) AS n FROM {from}");
    let statement = Statement::from_string(database.get_database_backend(), sql);
    database
        .query_one_raw(statement)
        .await
        .unwrap()
        .unwrap()
        .try_get("", "n")
        .unwrap()
}

fn secret_of(key: &str) -> String {
    format!("the secret of {key}")
}

/// Creates keys until the program is gone; returns the acknowledged keys.
async fn write(
    rest: Rest,
    deployment: Arc<Deployment>,
    writer: String,
    acknowledged: Arc<AtomicUsize>,
    progress: Arc<Notify>,
) -> Vec<(String, String)> {
    let (token, workspace) = (
        &deployment.env["ADMIN_TOKEN"],
        &deployment.env["WORKSPACE_A"],
    );
    let mut created = Vec::new();
    for number in 0.. {
        let key = format!("{writer}-{number}");
        let body = serde_json::json!({
            "workspaceId": workspace, "provider": "AWS", "key": key, "secret": secret_of(&key),
        });
        let request = rest
            .request(http::Method::POST, "/apikeys")
            .bearer_auth(token);
        let request = request
            .header("content-type", "application/json")
            .body(body.to_string());
        // After the kill, requests fail; a complete response is an acknowledgement.
        let Ok(response) = request.send().await else {
            break;
        };
        let status = response.status();
        let Ok(body) = response.bytes().await else {
            break;
        };
        assert_eq!(status, 201, "{body:?}");
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        created.push((body["apiKeyId"].as_str().unwrap().to_owned(), key));
        acknowledged.fetch_add(1, Ordering::SeqCst);
        progress.notify_one();
    }
    created
}

/// Runs the program and kills it while all writers write.
async fn round(
    deployment: &Arc<Deployment>,
    round: usize,
    random: &mut Random,
) -> Vec<(String, String)> {
    let served = deployment.start();
    let rest = Rest::new(&served.url);
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let progress = Arc::new(Notify::new());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (acknowledged, progress) = (Arc::clone(&acknowledged), Arc::clone(&progress));
            let name = format!("{round}-{writer}");
            tokio::spawn(write(
                rest.clone(),
                Arc::clone(deployment),
                name,
                acknowledged,
                progress,
            ))
        })
        .collect();

    let enough = 1 + usize::try_from(random.below(60)).unwrap();
    while acknowledged.load(Ordering::SeqCst) < enough {
        progress.notified().await;
    }
    // From an acknowledgement to some point inside the next requests.
    for _ in 0..random.below(2_000_000) {
        std::hint::spin_loop();
    }
    served.running.kill();

    let mut created = Vec::new();
    for writer in writers {
        created.extend(writer.await.unwrap());
    }
    assert!(created.len() >= enough);
    created
}

/// Expects that every acknowledged key is listed and opens, and that no key is duplicated or partial.
async fn check(deployment: &Deployment, acknowledged: &BTreeMap<String, String>) {
    let served = deployment.start();
    let (admin, workspace) = (
        &deployment.env["ADMIN_TOKEN"],
        &deployment.env["WORKSPACE_A"],
    );
    let listed = Rest::new(&served.url).list(admin, workspace).await;
    let by_id: BTreeMap<_, _> = listed.iter().cloned().collect();
    let keys: BTreeSet<_> = listed.iter().map(|(_, key)| key).collect();
    assert_eq!(
        (by_id.len(), keys.len()),
        (listed.len(), listed.len()),
        "something is there twice"
    );
    for (id, key) in acknowledged {
        assert_eq!(by_id.get(id), Some(key), "an acknowledged key is lost");
    }
    // A writer has one request in flight, so each run may leave one unacknowledged key per writer.
    assert!(listed.len() <= acknowledged.len() + ROUNDS * WRITERS);

    let channel = channel(&served.url).await;
    for (id, key) in &listed {
        let secret = resolve(&channel, &deployment.env["SERVICE_TOKEN"], id).await;
        assert_eq!(secret, secret_of(key));
    }
    served.running.terminate().expect(0);

    let database = deployment.database.raw().await;
    let created = count(database, "audit_events WHERE action = 'api_key.create'").await;
    assert_eq!(
        created,
        i64::try_from(listed.len()).unwrap(),
        "a key without its audit event"
    );
    check_integrity(deployment).await;
}

/// Checks the integrity of the SQLite files.
pub(crate) async fn check_integrity(deployment: &Deployment) {
    if deployment.database.raw().await.get_database_backend() == DbBackend::Sqlite {
        let rows = deployment.database.query("PRAGMA integrity_check").await;
        assert_eq!(rows[0].try_get_by_index::<String>(0).unwrap(), "ok");
        let broken = deployment.database.query("PRAGMA foreign_key_check").await;
        assert!(broken.is_empty());
    }
}

async fn nothing_is_lost(deployment: Deployment) {
    let mut random = Random(seed());
    let deployment = Arc::new(deployment);
    let mut acknowledged = BTreeMap::new();
    for number in 0..ROUNDS {
        acknowledged.extend(round(&deployment, number, &mut random).await);
    }
    println!("{} acknowledged creates", acknowledged.len());
    check(&deployment, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_loses_no_acknowledged_create() {
    nothing_is_lost(Deployment::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_loses_no_acknowledged_create() {
    if let Some(deployment) = Deployment::postgres().await {
        nothing_is_lost(deployment).await;
    }
}
