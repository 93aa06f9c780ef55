//! POST /keys and CreateKey: the created key and its plaintext.

mod fields;

use keyward::config::UnknownFields;
use keyward::proto::v1::{CreateKeyRequest, External, LimitReset};
use keyward_crypto::{Token, TokenKind};
use serde_json::{Value, json};

use crate::support::{
    Engine, MOUNTS, ORGANIZATION, Setup, TestServer, WORKSPACE_A, WORKSPACE_B, WebFlavor,
    sha256_hex,
};

/// Every member of a key object, in the order of the definition.
const MEMBERS: [&str; 23] = [
    "hash",
    "name",
    "label",
    "disabled",
    "limit",
    "limit_remaining",
    "limit_reset",
    "include_byok_in_limit",
    "usage",
    "usage_daily",
    "usage_weekly",
    "usage_monthly",
    "byok_usage",
    "byok_usage_daily",
    "byok_usage_weekly",
    "byok_usage_monthly",
    "created_at",
    "updated_at",
    "expires_at",
    "creator_user_id",
    "workspace_id",
    "external_user",
    "last_used_at",
];

/// Returns the body of a response, without the name and the plaintext of its key, and the plaintext.
async fn created(server: &TestServer, path: &str, body: &Value) -> (String, String) {
    let token = server.management_key(ORGANIZATION).await;
    let answer = server.post(path).bearer(&token).json(body).send().await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let (status, text) = (answer.status, answer.body.clone());
    answer.is(status, &text);
    let json = answer.json();
    let key = json["key"].as_str().unwrap().to_owned();
    let label = format!("{}...{}", &key[..12], &key[key.len() - 4..]);
    let text = text
        .replace(
            &format!(r#""hash":"{}""#, sha256_hex(&key)),
            r#""hash":"$HASH""#,
        )
        .replace(&format!(r#""label":"{label}""#), r#""label":"$LABEL""#)
        .replace(&format!(r#""key":"{key}""#), r#""key":"$KEY""#);
    (key, text)
}

/// Returns everything that is stored of keys, as text.
async fn stored(server: &TestServer) -> String {
    if server.engine == Engine::Sqlite {
        let file = server.database.file();
        let log = file.with_extension("db-wal");
        let bytes = [file, log].map(|file| std::fs::read(file).unwrap_or_default());
        return String::from_utf8_lossy(&bytes.concat()).into_owned();
    }
    let mut stored = String::new();
    for table in ["issued_keys", "management_keys", "audit_events"] {
        let rows = format!("SELECT CAST(t AS TEXT) AS line FROM {table} AS t");
        for row in server.database.query(&rows).await {
            stored += &row.try_get::<String>("", "line").unwrap();
        }
    }
    stored
}

async fn key_of_which_only_the_name_is_given_has_every_member(server: TestServer) {
    for mount in MOUNTS {
        let path = format!("{mount}/keys");
        let (_, text) = created(&server, &path, &json!({ "name": "n" })).await;
        let expected = concat!(
            r#"{"data":{"hash":"$HASH","name":"n","label":"$LABEL","disabled":false,"#,
            r#""limit":null,"limit_remaining":null,"limit_reset":null,"#,
            r#""include_byok_in_limit":false,"usage":0,"usage_daily":0,"usage_weekly":0,"#,
            r#""usage_monthly":0,"byok_usage":0,"byok_usage_daily":0,"byok_usage_weekly":0,"#,
            r#""byok_usage_monthly":0,"created_at":"2026-08-01T12:00:00.000Z","#,
            r#""updated_at":null,"expires_at":null,"creator_user_id":null,"#,
            r#""workspace_id":"workspace-a","external_user":null,"last_used_at":null},"#,
            r#""key":"$KEY"}"#,
        );
        assert_eq!(text, expected);
    }
}

async fn key_of_which_everything_is_given_has_it(server: TestServer) {
    server.set_clock("2026-08-02T03:04:05.678Z");
    let body = json!({
        "name": "Zoë's \u{1F511}", "limit": 75.25, "limit_reset": "weekly",
        "include_byok_in_limit": true, "expires_at": "2027-12-31T23:59:59Z",
        "workspace_id": WORKSPACE_B, "creator_user_id": "user_2x", "external_user": "their-7",
    });
    for mount in MOUNTS {
        let (_, text) = created(&server, &format!("{mount}/keys"), &body).await;
        let expected = concat!(
            r#"{"data":{"hash":"$HASH","name":"Zoë's 🔑","label":"$LABEL","#,
            r#""disabled":false,"limit":75.25,"limit_remaining":75.25,"limit_reset":"weekly","#,
            r#""include_byok_in_limit":true,"usage":0,"usage_daily":0,"usage_weekly":0,"#,
            r#""usage_monthly":0,"byok_usage":0,"byok_usage_daily":0,"byok_usage_weekly":0,"#,
            r#""byok_usage_monthly":0,"created_at":"2026-08-02T03:04:05.678Z","#,
            r#""updated_at":null,"expires_at":"2027-12-31T23:59:59.000Z","#,
            r#""creator_user_id":"user_2x","workspace_id":"workspace-b","#,
            r#""external_user":"their-7","last_used_at":null},"key":"$KEY"}"#,
        );
        assert_eq!(text, expected);
    }
}

async fn plaintext_is_in_the_response_to_its_creation_alone(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let call = server
        .post("/keys")
        .bearer(&token)
        .json(&json!({ "name": "n" }));
    let answer = call.send().await.json();
    let names =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    let mut members: Vec<_> = MEMBERS.map(str::to_owned).into();
    members.sort_unstable();
    let key = answer["key"].as_str().unwrap();
    let hash = answer["data"]["hash"].as_str().unwrap();
    assert_eq!(names(&answer), ["data", "key"]);
    assert_eq!(names(&answer["data"]), members);

    let path = format!("/keys/{hash}");
    let rename = server.patch(&path).json(&json!({ "name": "m" }));
    for call in [
        server.get("/keys"),
        server.get(&path),
        rename,
        server.delete(&path),
    ] {
        let answer = call.bearer(&token).send().await;
        assert_eq!(answer.status, 200);
        assert!(
            !answer.body.contains(key) && !answer.body.contains("\"key\""),
            "{answer:?}"
        );
    }
}

async fn plaintext_is_a_token_whose_hash_and_label_name_the_key(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let mut keys = Vec::new();
    for _ in 0..5 {
        let issued = server.issued_key(&token, json!({})).await;
        let parsed = Token::parse(TokenKind::ISSUED_KEY, &issued.key).unwrap();
        assert_eq!(issued.hash, sha256_hex(&issued.key));
        assert_eq!(parsed.hash().to_string(), issued.hash);
        assert!(issued.key.starts_with("sk-kw-v1-") && issued.key.len() == 81);
        let label = server.key(&token, &issued.hash).await["label"].clone();
        let (first, last) = (&issued.key[9..12], &issued.key[77..]);
        assert_eq!(label, format!("sk-kw-v1-{first}...{last}"));
        keys.push(issued.key);
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 5);
}

async fn nothing_of_the_plaintext_is_stored(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let stored = stored(&server).await;
    assert!(stored.contains(&issued.hash), "{stored}");
    for key in [token, issued.key] {
        assert!(!stored.contains(&key[9..73]), "{stored}");
    }
}

async fn key_over_grpc_is_the_one_over_rest(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let request = CreateKeyRequest {
        name: "n".to_owned(),
        limit_nanos: Some(1),
        limit_reset: Some(LimitReset::Monthly.into()),
        include_byok_in_limit: Some(true),
        expires_at: Some("2027-01-01T00:00:00.123456789Z".parse().unwrap()),
        workspace_id: Some(WORKSPACE_A.to_owned()),
        creator_user_id: Some("creator".to_owned()),
        external_user: Some("external".to_owned()),
        external: None,
    };
    let created = server
        .management_keys(&token)
        .create_key(request)
        .await
        .unwrap();
    let created = created.into_inner();
    let data = created.data.unwrap();
    assert_eq!(data.hash, sha256_hex(&created.key));
    assert_eq!(
        (data.limit_nanos, data.limit_remaining_nanos),
        (Some(1), Some(1))
    );
    assert_eq!(data.limit_reset(), LimitReset::Monthly);
    assert_eq!((data.updated_at, data.last_used_at), (None, None));
    let shown = server.key(&token, &data.hash).await;
    assert_eq!(
        (&shown["limit"], &shown["limit_remaining"]),
        (&json!(1e-9), &json!(1e-9))
    );
    assert_eq!(shown["limit_reset"], "monthly");
    // Digits finer than a millisecond are cut off.
    assert_eq!(shown["expires_at"], "2027-01-01T00:00:00.123Z");
    assert_eq!(
        (&shown["creator_user_id"], &shown["external_user"]),
        (&json!("creator"), &json!("external"))
    );
}

async fn key_can_be_created_over_grpc_web(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let path = "/keyward.v1.ManagementKeyService/CreateKey";
    for flavor in WebFlavor::ALL {
        let request = CreateKeyRequest {
            name: format!("{flavor:?}"),
            ..Default::default()
        };
        let answer = server.grpc_web(flavor, path, Some(&token), &request).await;
        assert_eq!((answer.code(), answer.messages.len()), ("0", 1));
    }
    let listed = server.get("/keys").bearer(&token).send().await.json();
    let names: Vec<_> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| &k["name"])
        .collect();
    let newest_first = WebFlavor::ALL.map(|flavor| format!("{flavor:?}"));
    assert!(names.into_iter().eq(newest_first.iter().rev()), "{listed}");
}

async fn external_user_is_taken_in_both_forms(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for body in [
        json!({ "external_user": "their-7" }),
        json!({ "external": { "user": "their-7" } }),
        json!({ "external_user": null, "external": { "user": "their-7" } }),
        json!({ "external_user": "their-7", "external": null }),
    ] {
        let issued = server.issued_key(&token, body.clone()).await;
        let shown = server.key(&token, &issued.hash).await;
        assert_eq!(shown["external_user"], "their-7", "{body}");
    }
    let request = CreateKeyRequest {
        name: "n".to_owned(),
        external: Some(External {
            user: "their-8".to_owned(),
            api_key: None,
        }),
        ..Default::default()
    };
    let created = server
        .management_keys(&token)
        .create_key(request)
        .await
        .unwrap();
    let created = created.into_inner();
    assert_eq!(
        created.data.unwrap().external_user.as_deref(),
        Some("their-8")
    );
}

async fn api_key_of_an_external_user_is_discarded(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let theirs = "their-own-key-of-at-least-32-characters";
    for api_key in [json!(theirs), json!(null)] {
        let external = json!({ "user": "their-7", "api_key": api_key });
        let issued = server
            .issued_key(&token, json!({ "external": external }))
            .await;
        let shown = server.key(&token, &issued.hash).await;
        assert_eq!(shown["external_user"], "their-7");
        assert!(!shown.to_string().contains(theirs), "{shown}");
        assert_eq!(server.get("/key").bearer(theirs).send().await.status, 401);
    }
    let external = External {
        user: "u".to_owned(),
        api_key: Some(theirs.to_owned()),
    };
    assert!(!format!("{external:?}").contains(theirs));
    // Other members beside it are unknown members, as elsewhere.
    let body = json!({ "name": "n", "external": { "user": "u", "api_kye": theirs } });
    let answer = server.post("/keys").bearer(&token).json(&body).send().await;
    let message = "`external.api_kye` is not a known member; did you mean `api_key`?";
    answer.rejects_key(400, message);
}

async fn nulls_are_as_if_absent(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({
        "limit": null, "limit_reset": null, "include_byok_in_limit": null, "expires_at": null,
        "workspace_id": null, "creator_user_id": null, "external_user": null, "external": null,
    })).await;
    let shown = server.key(&token, &issued.hash).await;
    assert_eq!(
        (&shown["limit"], &shown["expires_at"]),
        (&json!(null), &json!(null))
    );
}

async fn unknown_member_makes_no_key_and_is_named(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for (member, message) in [
        (
            "limt",
            "`limt` is not a known member; did you mean `limit`?",
        ),
        // A number of nano-dollars is not read as a number of dollars.
        (
            "limit_nanos",
            "`limit_nanos` is not a known member; did you mean `limit`?",
        ),
        (
            "expiresAt",
            "`expiresAt` is not a known member; did you mean `expires_at`?",
        ),
        ("models", "`models` is not a known member"),
        ("hash", "`hash` is not a known member"),
    ] {
        for mount in ["/keys", "/api/v1/keys"] {
            let body = json!({ "name": "n", member: 5 });
            let answer = server.post(mount).bearer(&token).json(&body).send().await;
            answer.rejects_key(400, message);
        }
    }
    assert_eq!(server.database.count("issued_keys").await, 0);
}

async fn unknown_members_are_ignored_if_configured(setup: Setup) {
    let server = Setup {
        unknown_fields: UnknownFields::Ignore,
        ..setup
    }
    .start()
    .await;
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({
        "disabled": true, "hash": "mine", "key": "sk-mine", "usage": 7, "models": [{ "a": 1 }],
        "limit_nanos": 2,
    })).await;
    let shown = server.key(&token, &issued.hash).await;
    assert_eq!(
        (&shown["disabled"], &shown["usage"]),
        (&json!(false), &json!(0))
    );
    assert_eq!(shown["limit"], json!(null));
    let answer = server.get("/keys?offst=1").bearer(&token).send().await;
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), 1);
}

each_engine! {
    key_of_which_only_the_name_is_given_has_every_member
    key_of_which_everything_is_given_has_it
    plaintext_is_in_the_response_to_its_creation_alone
    plaintext_is_a_token_whose_hash_and_label_name_the_key
    nothing_of_the_plaintext_is_stored
    key_over_grpc_is_the_one_over_rest
    key_can_be_created_over_grpc_web
    external_user_is_taken_in_both_forms
    api_key_of_an_external_user_is_discarded
    nulls_are_as_if_absent
    unknown_member_makes_no_key_and_is_named
    unknown_members_are_ignored_if_configured
}
