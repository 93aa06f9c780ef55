//! Fields that come from the body, and fields that come from path and query.

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{RestResponse, call, call_on, echoed, request, router};
use keyward_gateway_testserver::Probe;

fn nested(text: &str, number: &str) -> Value {
    json!({
        "text": text, "bigNumber": number, "tags": [], "color": "COLOR_UNSPECIFIED", "labels": {}
    })
}

#[tokio::test]
async fn all_of_the_request() {
    for (line, body, expected) in [
        ("POST /body", r#"{"aString":"x"}"#, json!({"aString": "x"})),
        ("POST /body", "{}", json!({})),
        // An absent body is an empty message, as in Envoy; grpc-gateway calls it EOF and, for most
        // methods, accepts it.
        ("POST /body", "", json!({})),
        (
            "DELETE /body",
            r#"{"aString":"x"}"#,
            json!({"aString": "x"}),
        ),
        // http.proto: with `*` "every field not bound by the path template should be mapped to the
        // request body". grpc-gateway ignores the query then; Envoy binds it. Like grpc-gateway:
        // the body is complete.
        ("POST /body?aString=query&anInt32=x", "{}", json!({})),
        // The path takes precedence. So in grpc-gateway; in Envoy too, since it adds the binding
        // after the body's members.
        (
            "PUT /body/path/inner",
            r#"{"aString":"body","nested":{"text":"body","bigNumber":5}}"#,
            json!({"aString": "path", "nested": nested("inner", "5")}),
        ),
        (
            "PUT /body/path/inner",
            "",
            json!({"aString": "path", "nested": nested("inner", "0")}),
        ),
        (
            "POST /body/choice/5",
            r#"{"choiceText":"body"}"#,
            json!({"choiceNumber": 5}),
        ),
    ] {
        assert_eq!(echoed(line, body).await, expected, "{line} {body}");
    }
}

#[tokio::test]
async fn one_field() {
    for (line, body, expected) in [
        (
            "POST /field/nested",
            r#"{"text":"x"}"#,
            json!({"nested": nested("x", "0")}),
        ),
        // Query parameters set the other fields; those of the body's are skipped.
        (
            "POST /field/nested?aString=y&nested.text=query&nested.text=twice&numbers=1&numbers=2",
            r#"{"text":"x"}"#,
            json!({"nested": nested("x", "0"), "aString": "y", "numbers": ["1", "2"]}),
        ),
        // Without a body the field is unset; an empty object sets it.
        ("POST /field/nested?aString=y", "", json!({"aString": "y"})),
        (
            "POST /field/nested",
            "{}",
            json!({"nested": nested("", "0")}),
        ),
        ("POST /field/nested", "null", json!({})),
        (
            "POST /field/nested/path",
            r#"{"text":"body","bigNumber":5}"#,
            json!({"nested": nested("path", "5")}),
        ),
        (
            "POST /field/strings",
            r#"["a","b"]"#,
            json!({"strings": ["a", "b"]}),
        ),
        (
            "POST /field/labels",
            r#"{"a":"b"}"#,
            json!({"labels": {"a": "b"}}),
        ),
        ("POST /field/string", r#""x""#, json!({"aString": "x"})),
        (
            "POST /field/timestamp",
            r#""1970-01-01T00:00:00Z""#,
            json!({"timestamp": "1970-01-01T00:00:00Z"}),
        ),
        ("POST /field/value", "[1,null]", json!({"value": [1, null]})),
        ("POST /field/value", "null", json!({"value": null})),
        (
            "POST /field/choice",
            "{}",
            json!({"choiceNested": nested("", "0")}),
        ),
    ] {
        assert_eq!(echoed(line, body).await, expected, "{line} {body}");
    }
}

#[tokio::test]
async fn one_field_of_the_response() {
    for (line, body, expected) in [
        (
            "POST /member/nested",
            r#"{"nested":{"text":"x"}}"#,
            nested("x", "0"),
        ),
        ("POST /member/strings", r#"{"strings":["a"]}"#, json!(["a"])),
        ("POST /member/strings", "{}", json!([])),
        ("POST /member/string", r#"{"aString":"x"}"#, json!("x")),
        ("POST /member/string", "{}", json!("")),
        // An absent value is null: the body must be JSON.
        ("POST /member/nested", "{}", json!(null)),
        ("POST /member/choice", r#"{"choiceText":""}"#, json!("")),
        ("POST /member/choice", r#"{"choiceNumber":1}"#, json!(null)),
    ] {
        let answer = call(line, body).await;
        assert_eq!(answer.json(), expected, "{line} {body}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn empty_messages_and_other_statuses() {
    let answer = call("DELETE /nothing", "").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    assert_eq!(call("POST /nothing", r#"{"unknown":1}"#).await.text(), "{}");
    assert_eq!(call("POST /create", "{}").await.status, 201);
    // 204 has no body, regardless of the message.
    let answer = call("DELETE /gone", "").await;
    assert_eq!((answer.status, answer.bytes.len()), (204, 0));
    assert_eq!(answer.header("content-type"), None);
}

async fn sent(line: &str, content_type: Option<&str>, body: &'static str) -> RestResponse {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut builder = Request::builder().method(method).uri(uri);
    if let Some(content_type) = content_type {
        builder = builder.header("content-type", content_type);
    }
    call_on(
        router(),
        builder.body(Full::<bytes::Bytes>::from(body)).unwrap(),
    )
    .await
}

#[tokio::test]
async fn a_body_must_be_json_unless_it_is_empty_or_not_bound() {
    for content_type in [
        None,
        Some("application/json"),
        Some("Application/JSON ; charset=utf-8"),
        Some("application/merge-patch+json"),
    ] {
        assert_eq!(
            sent("POST /body", content_type, "{}").await.status,
            200,
            "{content_type:?}"
        );
    }
    // A page of another origin may send the first three without a preflight.
    for content_type in [
        Some("text/plain"),
        Some("multipart/form-data; boundary=x"),
        Some("application/jsonx"),
        Some("text/x+json"),
        Some("application/x-www-form-urlencoded"),
    ] {
        let answer = sent("POST /body", content_type, "{}").await;
        assert_eq!(
            answer.rejection(),
            "415 The content type must be application/json"
        );
        assert_eq!(sent("POST /body", content_type, "").await.status, 200);
        // http.proto: without `body` the request has no body; a body that is sent is ignored.
        assert_eq!(
            sent("GET /query", content_type, "no json").await.status,
            200
        );
        assert_eq!(sent("POST /p/x", content_type, "no json").await.status, 200);
    }
}

#[tokio::test]
async fn error_names_the_field_and_omits_the_value() {
    for (line, body, message, field) in [
        (
            "POST /body",
            r#"{"anInt32":"s3cr3t"}"#,
            "`anInt32` must be a 32-bit integer",
            "anInt32",
        ),
        (
            "POST /body",
            r#"{"nested":{"text":5}}"#,
            "`nested.text` must be a string",
            "nested.text",
        ),
        (
            "POST /body",
            r#"{"numbers":[1,"x"]}"#,
            "`numbers[1]` must be a 64-bit integer",
            "numbers[1]",
        ),
        (
            "POST /body",
            r#"{"aString":"a","a_string":"b"}"#,
            "`aString` must be given once",
            "aString",
        ),
        ("POST /body", "[]", "The body must be a JSON object", ""),
        (
            "POST /field/nested",
            r#"{"text":5}"#,
            "`nested.text` must be a string",
            "nested.text",
        ),
        (
            "POST /field/string",
            "5",
            "`aString` must be a string",
            "aString",
        ),
        ("POST /body", "{", "Malformed JSON at line 1 column 1", ""),
        (
            "POST /body",
            "{} x",
            "Malformed JSON at line 1 column 4",
            "",
        ),
        (
            "POST /body",
            "{\"aString\": \"\u{1}\"}",
            "Malformed JSON at line 1 column 14",
            "",
        ),
    ] {
        let answer = call(line, body).await;
        assert_eq!(
            answer.rejection(),
            format!("400 {message}"),
            "{line} {body}"
        );
        assert_eq!(answer.field().unwrap_or_default(), field, "{line} {body}");
        assert_eq!(
            answer.json()["error"]["details"][0]["reason"],
            "JSON_MALFORMED"
        );
    }
}

#[tokio::test]
async fn unknown_members_are_rejected_where_that_is_asked_for() {
    // By default they are ignored. Envoy and grpc-gateway ignore them too.
    let body = r#"{"unknown":{"a":[1]},"nested":{"unknown":1},"aString":"x"}"#;
    assert_eq!(echoed("POST /body", body).await["aString"], "x");
    let router = Probe::default()
        .rest()
        .reject_unknown_members()
        .build()
        .unwrap();
    for (line, body, message, field) in [
        (
            "POST /body",
            r#"{"aStrng":1}"#,
            "`aStrng` is not a known member; did you mean `aString`?",
            "aStrng",
        ),
        (
            "POST /body",
            r#"{"nested":{"big_numbr":null}}"#,
            "`nested.big_numbr` is not a known member; did you mean `bigNumber`?",
            "nested.big_numbr",
        ),
        (
            "POST /field/nested",
            r#"{"zzz":"s3cr3t"}"#,
            "`nested.zzz` is not a known member",
            "nested.zzz",
        ),
        (
            "POST /body",
            r#"{"\u0000\u200b":1}"#,
            "The body must have no unknown members",
            "",
        ),
        // The unit of this field differs from the unit in JSON, so only the JSON name is accepted.
        (
            "PATCH /flat/n",
            r#"{"limit_nanos":5}"#,
            "`limit_nanos` is not a known member; did you mean `limit`?",
            "limit_nanos",
        ),
    ] {
        let answer = call_on(&router, request(line, body)).await;
        assert_eq!(
            answer.rejection(),
            format!("400 {message}"),
            "{line} {body}"
        );
        assert_eq!(answer.field().unwrap_or_default(), field, "{line} {body}");
        assert!(!answer.text().contains("s3cr3t"), "{line} {body}");
    }
    let answer = call_on(&router, request("POST /body", r#"{"aString":"x"}"#)).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_body_is_utf8_to_the_last_ignored_member() {
    // RFC 8259, section 8.1.
    for (line, body) in [
        ("POST /body", &b"{\"aString\":\"a\",\"x\":\"\xff\"}"[..]),
        ("POST /body", b"{\"\xff\":1}"),
        ("POST /body", b"{\"aString\":\"\xed\xa0\x80\"}"),
        ("POST /body", b"{\"struct\":{\"a\":\"\xc0\x80\"}}"),
        ("POST /create", b"{\"x\":[\"\xff\"]}"),
        ("POST /field/nested", b"{\"x\":\"\xff\"}"),
        ("PATCH /flat/n", b"{\"limit\":1,\"x\":\"\xff\"}"),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Full::new(body))
            .unwrap();
        let answer = call_on(router(), request).await;
        assert_eq!(answer.rejection(), "400 The body must be UTF-8", "{line}");
    }
}

#[tokio::test]
async fn ignored_members_must_be_json() {
    for value in ["1e999", r#""\ud800""#, "[01]", r#"{"a":nul}"#] {
        let body = format!(r#"{{"aString":"a","x":{value}}}"#);
        let answer = call("POST /create", &body).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    let body = r#"{"x":{"aString":["\u0000\ud83d\ude00",-0.0,1e-999,null]},"aString":"a"}"#;
    assert_eq!(echoed("POST /create", body).await, json!({"aString": "a"}));
}
