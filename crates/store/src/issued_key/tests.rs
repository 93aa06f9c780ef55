//! Query plan of the list.

use keyward_testkit::TestDatabase;
use keyward_testkit::fixtures::manage_grant;

use super::*;
use crate::query_plan::{assert_range, filled};

const KEYS: &str = "INSERT INTO issued_keys (id, hash, label, organization_id, workspace_id, \
     live_workspace_id, name, disabled, include_byok_in_limit, created_at, usage_nanos, \
     byok_usage_nanos) NUMBERS \
     SELECT UUID(), TEXT(i), 'label', 'org', 'a', CASE i % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' END, \
     'name', i % 7 = 0, FALSE, TIME, 0, 0 FROM n";

async fn page_is_a_range_of_an_index(database: TestDatabase) {
    let world = filled(&database, &[KEYS]).await;
    let grant = manage_grant(&world.a);
    for include_disabled in [true, false] {
        assert_range(&database, "ix_issued_keys_created", |after| {
            let page = PageRequest { limit: 100, after };
            newest(&grant, include_disabled, &page)
        })
        .await;
    }
}

#[tokio::test]
async fn page_is_a_range_of_an_index_on_sqlite() {
    page_is_a_range_of_an_index(TestDatabase::sqlite()).await;
}

#[tokio::test]
async fn page_is_a_range_of_an_index_on_postgres() {
    if let Some(database) = TestDatabase::postgres().await {
        page_is_a_range_of_an_index(database).await;
    }
}
