//! Query plans of the audit trail: each filter alone has an index that returns the rows in list order, so the cost of a
//! page depends on the size of the page and not on the length of the trail.
#![allow(clippy::unwrap_used, reason = "tests may")]

use keyward_testkit::TestDatabase;
use keyward_testkit::fixtures::{NOON, after_noon};
use sea_orm::{DbBackend, QueryTrait};

use super::*;
use crate::query_plan::plan;
use crate::test_options::options;

const EVENTS: u32 = 20_000;

/// Fills a long trail in which every text has a few values and most calls have their own request id.
async fn trail(database: &TestDatabase) -> Store {
    let store = Store::connect(&options(database.secret_url()))
        .await
        .unwrap();
    store.migrate().await.unwrap();
    let (id, text) = match store.engine().backend() {
        DbBackend::Postgres => ("gen_random_uuid()", "i::text"),
        _ => ("randomblob(16)", "CAST(i AS TEXT)"),
    };
    let noon = NOON.unix_millis();
    let rows = format!(
        "INSERT INTO audit_events (id, occurred_at, actor_kind, actor_id, action, organization_id, \
         workspace_id, resource_kind, resource_id, request_id, source, details) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {EVENTS}) \
         SELECT {id}, {noon} + i / 3, CASE i % 3 WHEN 0 THEN 'user' ELSE 'service' END, \
         'actor-' || (i % 50), 'action-' || (i % 20), 'org-' || (i % 10), 'ws-' || (i % 30), \
         'kind-' || (i % 9), 'thing-' || (i % 1000), 'request-' || {text}, NULL, '{{}}' FROM n"
    );
    let statistics = "ANALYZE";
    for sql in [rows.as_str(), statistics] {
        database.execute(sql).await;
    }
    store
}

/// Returns every filter alone, and the pairs that are used most.
fn filters() -> Vec<AuditFilter> {
    let text = |text: &str| Some(text.to_owned());
    let none = AuditFilter::default;
    let singles = [
        none(),
        AuditFilter {
            organization: text("org-1"),
            ..none()
        },
        AuditFilter {
            workspace: text("ws-1"),
            ..none()
        },
        AuditFilter {
            resource_kind: text("kind-1"),
            ..none()
        },
        AuditFilter {
            resource_id: text("thing-1"),
            ..none()
        },
        AuditFilter {
            action: text("action-1"),
            ..none()
        },
        AuditFilter {
            actor_kind: text("user"),
            ..none()
        },
        AuditFilter {
            actor_id: text("actor-1"),
            ..none()
        },
        AuditFilter {
            request_id: text("request-1"),
            ..none()
        },
        AuditFilter {
            start: Some(after_noon(6000)),
            ..none()
        },
        AuditFilter {
            end: Some(after_noon(100)),
            ..none()
        },
    ];
    let within = |filter: &AuditFilter| AuditFilter {
        start: Some(after_noon(1000)),
        end: Some(after_noon(3000)),
        ..filter.clone()
    };
    let bounded: Vec<_> = singles.iter().map(within).collect();
    singles.into_iter().chain(bounded).collect()
}

async fn every_filter_has_an_index(database: TestDatabase) {
    let store = trail(&database).await;
    let db = database.raw().await;
    let cursor = AuditCursor {
        occurred_at: after_noon(2000),
        id: AuditEventId::generate(NOON),
    };
    for filter in filters() {
        for after in [None, Some(cursor)] {
            let page = PageRequest { limit: 100, after };
            let query = listed(&filter, &page).build(db.get_database_backend());
            let plan = plan(db, query).await;
            let context = format!("{filter:?} after {after:?}:\n{plan}");
            match store.engine() {
                crate::Engine::Postgres => {
                    assert!(!plan.contains("Seq Scan"), "{context}");
                    assert!(plan.contains("Index Scan"), "{context}");
                }
                crate::Engine::Sqlite => {
                    assert!(plan.contains("USING INDEX ix_audit_events_"), "{context}");
                    // Only events of the same millisecond remain to be sorted.
                    assert!(!plan.contains("B-TREE FOR ORDER BY"), "{context}");
                }
            }
        }
    }
    let dropping = db.get_database_backend().build(&oldest(after_noon(9), 500));
    let plan = plan(db, dropping).await;
    assert!(plan.contains("ix_audit_events_occurred"), "{plan}");
}

#[tokio::test]
async fn every_filter_has_an_index_on_sqlite() {
    every_filter_has_an_index(TestDatabase::sqlite()).await;
}

#[tokio::test]
async fn every_filter_has_an_index_on_postgres() {
    if let Some(database) = TestDatabase::postgres().await {
        every_filter_has_an_index(database).await;
    }
}
