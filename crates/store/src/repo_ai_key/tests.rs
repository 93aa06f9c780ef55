//! Query plan of the list.

use keyward_testkit::TestDatabase;
use keyward_testkit::fixtures::{read_grant, repo_id};

use super::*;
use crate::query_plan::{assert_range, filled};

const REPOS: &str =
    "INSERT INTO repos (id, workspace_id, name) VALUES ('r', 'a', ''), ('s', 'a', '')";
const KEYS: &str = "INSERT INTO repo_ai_keys (id, workspace_id, repo_id, live_repo_id, name, key, \
     ai_type, secret_hash, created_at) NUMBERS \
     SELECT UUID(), 'a', 'r', CASE i % 3 WHEN 0 THEN 'r' WHEN 1 THEN 's' END, TEXT(i), TEXT(i), \
     'AWS', HASH, TIME FROM n";

async fn page_is_a_range_of_an_index(database: TestDatabase, hash: &str) {
    let world = filled(&database, &[REPOS, &KEYS.replace("HASH", hash)]).await;
    let (grant, repo) = (read_grant(&world.a), repo_id("r"));
    assert_range(&database, "ix_repo_ai_keys_created", |after| {
        newest(&grant, &repo, &PageRequest { limit: 100, after })
    })
    .await;
}

#[tokio::test]
async fn page_is_a_range_of_an_index_on_sqlite() {
    page_is_a_range_of_an_index(TestDatabase::sqlite(), "UUID()").await;
}

#[tokio::test]
async fn page_is_a_range_of_an_index_on_postgres() {
    if let Some(database) = TestDatabase::postgres().await {
        page_is_a_range_of_an_index(database, "sha256(TEXT(i)::bytea)").await;
    }
}
