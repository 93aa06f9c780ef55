//! Tests of the generated code with the real messages: JSON, checks and specs.

mod calls;

use keyward_gateway::{Check, json};
use prost_types::Timestamp;
use tonic::Code;
use tonic_types::StatusExt;

use super::v1::*;

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn read<M: json::JsonMessage>(text: &str) -> Result<M, tonic::Status> {
    json::decode(text.as_bytes(), &json::JsonOptions::default())
        .map_err(|fault| fault.into_status("JSON_MALFORMED", "keyward"))
}

fn written<M: json::JsonMessage>(message: &M) -> String {
    String::from_utf8(json::encode(message, &json::JsonOptions::default()).unwrap()).unwrap()
}

#[test]
fn a_list_of_api_keys_is_written_as_documented() {
    let first = ApiKey {
        id: "e421a8cd".into(),
        key: "AKIAIOSFODNN7EXAMPLE".into(),
        endpoint: Some("s3.us-east-1.amazonaws.com".into()),
        region: Some("us-east-1".into()),
        provider: "AWS".into(),
        created_at: at(1_709_899_200),
        bucket_count: 2,
        ..Default::default()
    };
    let second = ApiKey {
        id: "f8a91b2c".into(),
        key: "some-other-key".into(),
        provider: "GCP".into(),
        created_at: at(1_709_627_400),
        bucket_count: 1,
        aillm_count: 1,
        ..Default::default()
    };
    let list = ListApiKeysResponse {
        success: true,
        api_keys: vec![first, second],
        next_page_token: String::new(),
    };
    let expected = concat!(
        r#"{"success":true,"apiKeys":[{"id":"e421a8cd","key":"AKIAIOSFODNN7EXAMPLE","#,
        r#""endpoint":"s3.us-east-1.amazonaws.com","region":"us-east-1","provider":"AWS","#,
        r#""createdAt":"2024-03-08T12:00:00.000Z","bucket_count":2,"aillm_count":0},"#,
        r#"{"id":"f8a91b2c","key":"some-other-key","provider":"GCP","#,
        r#""createdAt":"2024-03-05T08:30:00.000Z","bucket_count":1,"aillm_count":1}]}"#,
    );
    assert_eq!(written(&list), expected);
    assert_eq!(serde_json::to_string(&list).unwrap(), expected);
    assert_eq!(read::<ListApiKeysResponse>(expected).unwrap(), list);
    assert_eq!(
        serde_json::from_str::<ListApiKeysResponse>(expected).unwrap(),
        list
    );
    assert_eq!(
        written(&ListApiKeysResponse::default()),
        r#"{"success":false,"apiKeys":[]}"#
    );
    let paged = ListApiKeysResponse {
        next_page_token: "for gRPC alone".to_owned(),
        ..list
    };
    assert_eq!(serde_json::to_string(&paged).unwrap(), expected);
}

#[test]
fn an_issued_key_has_every_member_and_explicit_nulls() {
    let key = IssuedKey {
        hash: "ab".into(),
        limit_nanos: Some(1_500_000_000),
        limit_reset: Some(LimitReset::Daily.into()),
        created_at: at(0),
        ..Default::default()
    };
    let expected = concat!(
        r#"{"hash":"ab","name":"","label":"","disabled":false,"limit":1.5,"#,
        r#""limit_remaining":null,"limit_reset":"daily","include_byok_in_limit":false,"#,
        r#""usage":0,"usage_daily":0,"usage_weekly":0,"usage_monthly":0,"byok_usage":0,"#,
        r#""byok_usage_daily":0,"byok_usage_weekly":0,"byok_usage_monthly":0,"#,
        r#""created_at":"1970-01-01T00:00:00.000Z","updated_at":null,"expires_at":null,"#,
        r#""creator_user_id":null,"workspace_id":"","external_user":null,"#,
        r#""last_used_at":null}"#,
    );
    assert_eq!(written(&key), expected);
    assert_eq!(read::<IssuedKey>(expected).unwrap(), key);
}

#[test]
fn a_live_repo_ai_key_has_a_null_deletion() {
    let key = RepoAiKey {
        id: "1".into(),
        ai_type: AiType::Openai.into(),
        created_at: at(1_705_314_600),
        ..Default::default()
    };
    let expected = concat!(
        r#"{"id":"1","name":"","repoId":"","key":"","aiType":"OPENAI","#,
        r#""createdAt":"2024-01-15T10:30:00.000Z","deletedAt":null}"#,
    );
    assert_eq!(written(&key), expected);
    let unspecified = written(&RepoAiKey::default());
    assert!(
        unspecified.contains(r#""aiType":"AI_TYPE_UNSPECIFIED""#),
        "{unspecified}"
    );
}

#[test]
fn both_names_are_read_but_a_decimal_has_one() {
    let expected = CreateApiKeyRequest {
        workspace_id: "w".into(),
        key: "k".into(),
        ..Default::default()
    };
    for text in [
        r#"{"workspaceId":"w","key":"k"}"#,
        r#"{"workspace_id":"w","key":"k"}"#,
        r#" {"later":{"a":[1,{"b":null}]},"key":"k","workspaceId":"w","secret":null} "#,
    ] {
        assert_eq!(
            read::<CreateApiKeyRequest>(text).unwrap(),
            expected,
            "{text}"
        );
    }
    let limit = |text| read::<CreateKeyRequest>(text).unwrap().limit_nanos;
    assert_eq!(limit(r#"{"limit":75}"#), Some(75_000_000_000));
    assert_eq!(limit(r#"{"limit":0.1}"#), Some(100_000_000));
    assert_eq!(limit(r#"{"limit":null}"#), None);
    assert_eq!(limit(r#"{"limit_nanos":75}"#), None);
}

#[test]
fn enums_are_read_by_every_name_and_by_number() {
    for text in [r#""daily""#, r#""LIMIT_RESET_DAILY""#, "1", "1.0"] {
        let request: CreateKeyRequest = read(&format!(r#"{{"limit_reset":{text}}}"#)).unwrap();
        assert_eq!(request.limit_reset, Some(1), "{text}");
    }
}

#[test]
fn error_names_the_field_and_never_the_value() {
    fn check<M: json::JsonMessage + std::fmt::Debug>(text: &str, message: &str) {
        let status = read::<M>(text).unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, message)
        );
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("JSON_MALFORMED", "keyward")
        );
        let fields = details.bad_request().map(|bad| bad.field_violations.len());
        assert_eq!(fields, message.starts_with('`').then_some(1), "{message}");
        let everything = format!("{status:?}");
        assert!(!everything.contains("s3cr3t"), "{everything}");
    }
    type Create = CreateApiKeyRequest;
    check::<Create>(r#"{"secret":123}"#, "`secret` must be a string");
    check::<Create>(r#"{"secret":["s3cr3t"]}"#, "`secret` must be a string");
    check::<Create>(r#"{"secret":{"a":"s3cr3t"}}"#, "`secret` must be a string");
    check::<Create>(r#"{"secret":true}"#, "`secret` must be a string");
    check::<Create>(
        r#"{"secret":"s3cr3t","secret":"s3cr3t"}"#,
        "`secret` must be given once",
    );
    check::<Create>(
        r#"{"workspaceId":"a","workspace_id":"s3cr3t"}"#,
        "`workspaceId` must be given once",
    );
    check::<Create>(r#"{"key":null,"key":"s3cr3t"}"#, "`key` must be given once");
    check::<Create>(r#""s3cr3t""#, "The body must be a JSON object");
    check::<Create>("null", "The body must be a JSON object");
    check::<Create>("[]", "The body must be a JSON object");
    check::<Create>(r#"{"secret":"s3cr3t"#, "Malformed JSON at line 1 column 17");
    check::<Create>(
        r#"{"secret":"s3cr3t"} s3cr3t"#,
        "Malformed JSON at line 1 column 21",
    );
    check::<Create>("s3cr3t", "Malformed JSON at line 1 column 1");
    check::<Create>("{\n  \"key\" 1}", "Malformed JSON at line 2 column 9");
    check::<CreateRepoAiKeyRequest>(
        r#"{"aiType":"s3cr3t"}"#,
        "`aiType` must be one of OPENAI, GOOGLE, ANTHROPIC, AWS, OTHER",
    );
    type Update = UpdateKeyRequest;
    check::<Update>(
        r#"{"disabled":"s3cr3t"}"#,
        "`disabled` must be true or false",
    );
    check::<Update>(
        r#"{"limit":"s3cr3t"}"#,
        "`limit` must be a number from 0 to 9000000000 with at most 9 decimal places",
    );
    check::<Update>(
        r#"{"limit":1e99}"#,
        "`limit` must be a number from 0 to 9000000000 with at most 9 decimal places",
    );
    check::<Update>(
        r#"{"update_mask":["s3cr3t"]}"#,
        "`update_mask` must be a string of field names joined by commas",
    );
    check::<CreateKeyRequest>(
        r#"{"expires_at":"2027-01-31T00:00:00+00:00"}"#,
        "`expires_at` must be an RFC 3339 timestamp in UTC, such as 2027-01-31T00:00:00Z",
    );
    type List = ListApiKeysResponse;
    check::<List>(r#"{"apiKeys":"s3cr3t"}"#, "`apiKeys` must be an array");
    check::<List>(
        r#"{"apiKeys":[{},"s3cr3t"]}"#,
        "`apiKeys[1]` must be an object",
    );
    check::<List>(
        r#"{"apiKeys":[{"bucket_count":-1}]}"#,
        "`apiKeys[0].bucket_count` must be an unsigned 32-bit integer",
    );
    check::<List>(r#"{"apiKeys":[null]}"#, "`apiKeys[0]` must be an object");
    let deep = format!(r#"{{"later":{}"#, "[".repeat(200));
    assert!(
        read::<Create>(&deep)
            .unwrap_err()
            .message()
            .starts_with("Malformed JSON")
    );
}

#[test]
fn a_secret_is_not_printed() {
    let request = CreateApiKeyRequest {
        key: "AKIA".into(),
        secret: "s3cr3t".into(),
        ..Default::default()
    };
    let printed = format!("{request:?}");
    assert!(
        printed.contains("secret: [redacted]") && printed.contains("AKIA"),
        "{printed}"
    );
    let update = UpdateApiKeyRequest {
        secret: Some("s3cr3t".into()),
        ..Default::default()
    };
    let resolved = ResolveApiKeyResponse {
        secret: "s3cr3t".into(),
        ..Default::default()
    };
    let printed = format!("{printed}{update:?}{resolved:?}");
    assert!(!printed.contains("s3cr3t"), "{printed}");
}

#[test]
fn rules_inside_a_request_are_checked_under_their_path() {
    let mut violations = Vec::new();
    let request = UpsertOrganizationRequest {
        organization: Some(Organization::default()),
    };
    request.check(&mut violations);
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].field, "organization.id");
    assert_eq!(violations[0].description, "Organization ID is required");

    let mut violations = Vec::new();
    let text = r#"{"name":"n","external":{"api_key":"later"}}"#;
    read::<CreateKeyRequest>(text)
        .unwrap()
        .check(&mut violations);
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].field, "external.user");
    assert_eq!(violations[0].description, "External user is required");
}

#[test]
fn every_method_of_the_descriptor_has_its_spec() {
    let pool = prost_reflect::DescriptorPool::decode(super::DESCRIPTOR).unwrap();
    let mut expected: Vec<String> = pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
        .collect();
    let mut declared: Vec<String> = super::METHODS
        .iter()
        .map(|spec| spec.grpc_path.to_owned())
        .collect();
    expected.sort();
    declared.sort();
    assert_eq!(declared, expected);
}
