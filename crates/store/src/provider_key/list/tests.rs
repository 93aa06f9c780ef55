//! Query plan of the list.

use keyward_testkit::TestDatabase;
use keyward_testkit::fixtures::read_grant;

use super::*;
use crate::query_plan::{assert_range, filled};

const KEYS: &str = "INSERT INTO provider_keys (id, workspace_id, provider, key, sealed_secret, \
     secret_version, fingerprint, created_at, version) NUMBERS \
     SELECT UUID(), CASE i % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' ELSE 'x' END, 'AWS', \
     'key-' || TEXT(i), BYTES, 1, BYTES, TIME, 1 FROM n";

async fn page_is_a_range_of_an_index(database: TestDatabase, bytes: &str) {
    let world = filled(&database, &[&KEYS.replace("BYTES", bytes)]).await;
    let grants = [read_grant(&world.a)];
    assert_range(&database, "ix_provider_keys_newest", |after| {
        newest(&grants, None, &PageRequest { limit: 100, after })
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
