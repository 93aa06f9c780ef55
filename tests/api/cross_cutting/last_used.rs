//! `last_used_at`: accurate to a minute, at the cost of one write per key and minute.

use keyward::proto::v1::{ListManagementKeysRequest, ManagementKey};
use keyward_core::clock::Clock;
use serde_json::{Value, json};

use crate::support::{Engine, ORGANIZATION, TestServer};

const MINUTE: u64 = 60;

async fn last_used(server: &TestServer, token: &str, hash: &str) -> Value {
    server.key(token, hash).await["last_used_at"].clone()
}

/// Counts the writes to a table from now on.
async fn count_writes(server: &TestServer, table: &str) {
    let count = "INSERT INTO writes SELECT 1";
    server
        .database
        .execute("CREATE TABLE writes (n INTEGER)")
        .await;
    if server.engine == Engine::Sqlite {
        let trigger = format!("CREATE TRIGGER note AFTER UPDATE ON {table} BEGIN {count}; END");
        server.database.execute(&trigger).await;
        return;
    }
    let function = format!(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN {count}; RETURN NULL; END $$"
    );
    let trigger =
        format!("CREATE TRIGGER note AFTER UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION note()");
    for statement in [function, trigger] {
        server.database.execute(&statement).await;
    }
}

async fn management_key(server: &TestServer) -> ManagementKey {
    let request = ListManagementKeysRequest {
        organization_id: ORGANIZATION.to_owned(),
        ..Default::default()
    };
    let mut service = server.management_keys(&server.service_token());
    let list = service.list_management_keys(request).await.unwrap();
    list.into_inner().management_keys.remove(0)
}

async fn key_was_never_used_before_it_is(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    assert_eq!(last_used(&server, &token, &issued.hash).await, json!(null));
    // Administration of a key is not use of it.
    server
        .change_key(&token, &issued.hash, json!({ "name": "m" }))
        .await;
    server.get("/keys").bearer(&token).send().await;
    assert_eq!(last_used(&server, &token, &issued.hash).await, json!(null));
}

async fn asking_and_being_verified_are_uses(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let asking = server.issued_key(&token, json!({})).await;
    let verified = server.issued_key(&token, json!({})).await;
    server.set_clock("2026-08-01T12:34:56.789Z");
    server.get("/key").bearer(&asking.key).send().await;
    server.verify(&verified.key).await;
    for hash in [asking.hash, verified.hash] {
        let expected = json!("2026-08-01T12:34:56.789Z");
        assert_eq!(last_used(&server, &token, &hash).await, expected);
    }
}

async fn use_is_recorded_once_per_minute(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let asking = server.issued_key(&token, json!({})).await;
    let verified = server.issued_key(&token, json!({})).await;
    for (now, noted) in [
        ("2026-08-01T12:00:00.000Z", "2026-08-01T12:00:00.000Z"),
        ("2026-08-01T12:00:00.001Z", "2026-08-01T12:00:00.000Z"),
        ("2026-08-01T12:00:59.999Z", "2026-08-01T12:00:00.000Z"),
        ("2026-08-01T12:01:00.000Z", "2026-08-01T12:01:00.000Z"),
        ("2026-08-01T12:01:59.999Z", "2026-08-01T12:01:00.000Z"),
        ("2026-08-01T12:05:00.000Z", "2026-08-01T12:05:00.000Z"),
        // A clock that is slightly behind moves nothing back.
        ("2026-08-01T12:04:00.001Z", "2026-08-01T12:05:00.000Z"),
        // The previous clock was ahead: its value is corrected.
        ("2026-08-01T12:04:00.000Z", "2026-08-01T12:04:00.000Z"),
    ] {
        server.set_clock(now);
        server.get("/key").bearer(&asking.key).send().await;
        server.verify(&verified.key).await;
        for hash in [&asking.hash, &verified.hash] {
            assert_eq!(last_used(&server, &token, hash).await, noted, "{now}");
        }
    }
}

async fn rejected_key_is_not_used(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let soon = json!({ "expires_at": "2026-08-01T12:00:01Z" });
    let issued = server.issued_key(&token, soon).await;
    server.advance_seconds(1);
    assert_eq!(
        server.get("/key").bearer(&issued.key).send().await.status,
        401
    );
    assert_eq!(last_used(&server, &token, &issued.hash).await, json!(null));
}

async fn many_uses_in_a_minute_cost_one_write(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    count_writes(&server, "issued_keys").await;
    for minute in 1..=2 {
        let uses = (0..32).map(|number| {
            let (server, key) = (&server, &issued.key);
            async move {
                if number % 2 == 0 {
                    server.verify(key).await;
                } else {
                    let answer = server.get("/key").bearer(key).send().await;
                    assert_eq!(answer.status, 200);
                }
            }
        });
        futures_util::future::join_all(uses).await;
        server.advance_seconds(MINUTE - 1);
        server.verify(&issued.key).await;
        assert_eq!(server.database.count("writes").await, minute);
        server.advance_seconds(1);
    }
}

async fn management_keys_are_noted_alike(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    assert_eq!(management_key(&server).await.last_used_at, None);
    count_writes(&server, "management_keys").await;
    let start = server.clock.now().unix_millis() / 1000;
    for (second, noted, writes) in [
        (0, 0, 1),
        (59, 0, 1),
        (60, 60, 2),
        (119, 60, 2),
        (120, 120, 3),
    ] {
        let now = start + second - server.clock.now().unix_millis() / 1000;
        server.advance_seconds(now.try_into().unwrap());
        assert_eq!(server.get("/keys").bearer(&token).send().await.status, 200);
        let last = management_key(&server).await.last_used_at.unwrap();
        assert_eq!((last.seconds - start, last.nanos), (noted, 0), "{second}");
        assert_eq!(server.database.count("writes").await, writes);
    }
}

async fn unrecorded_use_is_not_rejected(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let reject = if server.engine == Engine::Sqlite {
        vec![
            "CREATE TRIGGER no BEFORE UPDATE ON issued_keys \
             BEGIN SELECT RAISE(ABORT, 'no'); END",
        ]
    } else {
        vec![
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'no'; END $$",
            "CREATE TRIGGER no BEFORE UPDATE ON issued_keys FOR EACH ROW EXECUTE FUNCTION no()",
        ]
    };
    for statement in reject {
        server.database.execute(statement).await;
    }
    assert_eq!(
        server.get("/key").bearer(&issued.key).send().await.status,
        200
    );
    assert_eq!(server.verify(&issued.key).await.hash, issued.hash);
    assert_eq!(last_used(&server, &token, &issued.hash).await, json!(null));
}

each_engine! {
    key_was_never_used_before_it_is
    asking_and_being_verified_are_uses
    use_is_recorded_once_per_minute
    rejected_key_is_not_used
    many_uses_in_a_minute_cost_one_write
    management_keys_are_noted_alike
    unrecorded_use_is_not_rejected
}
